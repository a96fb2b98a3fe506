"""Timing in turns: what is compared takes turns in every round, so that a noisy machine is noisy for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Something to time.

    Attributes:
        name: Whose it is.
        seconds: Does it so many times, and says how long that took.
        units: Updates, calls, … in one time.
        warm_up: How many times it is done at least, untimed, before each turn, for a fifth of the turn: whoever came
            before has left the caches full and the threads of his pool spinning. 0 for none.
    """

    name: str
    seconds: Callable[[int], float]
    units: int = 1
    warm_up: int = 1


def alternate(tasks: Sequence[Task], rounds: int, turn: float) -> dict[str, list[float]]:
    """Return the seconds per unit of each task in each round.

    Args:
        tasks: What takes turns; every second round goes backwards.
        rounds: How many rounds.
        turn: Seconds that each turn should take at least.
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
    """Find how many times fill a turn."""
    times = 1
    while (seconds := task.seconds(times)) < turn / 4:
        times *= 2
    return max(1, round(times * turn / seconds))
