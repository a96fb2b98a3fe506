"""Time tasks in turns: each takes a turn in every round, so that a noisy machine is noisy for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Something to time.

    Attributes:
        name: Name of the tool.
        seconds: Repeats the task, and returns the seconds that it took.
        units: Updates, calls, … in one repetition.
        warm_up: Smallest number of untimed repetitions before each turn, which take a fifth of the turn: the task
            before has left the caches full and the threads of its pool spinning. 0 for none.
        form: The form of the task that was found to be the fastest.
    """

    name: str
    seconds: Callable[[int], float]
    units: int = 1
    warm_up: int = 1
    form: str = ""


def alternate(tasks: Sequence[Task], rounds: int, turn: float) -> dict[str, list[float]]:
    """Return the seconds per unit of each task in each round.

    Args:
        tasks: The tasks; every second round has them in reverse order.
        rounds: Number of rounds.
        turn: Smallest number of seconds of each turn.
    """
    times = {task.name: _times(task, turn) for task in tasks}
    found: dict[str, list[float]] = {task.name: [] for task in tasks}
    for number in range(rounds):
        for task in tasks if number % 2 == 0 else reversed(tasks):
            if task.warm_up:
                task.seconds(max(task.warm_up, times[task.name] // 5))
            found[task.name].append(task.seconds(times[task.name]) / (times[task.name] * task.units))
    return found


def _times(task: Task, turn: float) -> int:
    """Find the number of repetitions that fills a turn."""
    times = 1
    while (seconds := task.seconds(times)) < turn / 4:
        times *= 2
    return max(1, round(times * turn / seconds))
