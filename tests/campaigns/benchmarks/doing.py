"""Repeat and time a piece of work in its fastest form, in this process or in another.

Tools with thread pools of their own disturb one another in one process: which pool gets both cores differs from process
to process, and makes a factor of two.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from tests.campaigns.benchmarks.timing import Task, alternate

Repeated: TypeAlias = Callable[[int], Any]
"""Repeats a piece of work, and returns its result."""

Make: TypeAlias = Callable[[], Iterable[tuple[str, Repeated]]]
"""Makes the forms of a piece of work: what each is called, and what repeats it. All give the same result."""

ROUNDS, TURN = 5, 0.03
"""Rounds and seconds of the turns in which the fastest form is found."""


class Here:
    """Do the work in this process.

    Args:
        make: Makes its forms.
        times: Repetitions for the results.
        turn: Seconds of the turns in which the fastest form is found.

    Attributes:
        results: The result of each form; empty if the work cannot be done.
        form: The fastest form.
    """

    def __init__(self, make: Make, times: int, turn: float = TURN) -> None:
        forms = dict(make())
        self.results = {form: np.asarray(work(times)) for form, work in forms.items()}
        self.form = next(iter(forms), "")
        if len(forms) > 1:
            found = alternate([Task(form, partial(_seconds, work)) for form, work in forms.items()], ROUNDS, turn)
            self.form = min(found, key=lambda form: min(found[form]))
        self._work = forms.get(self.form)

    def seconds(self, times: int) -> float:
        """Repeat the work, and return the seconds that it took."""
        assert self._work is not None
        return _seconds(self._work, times)


class Elsewhere:
    """Do the work in another process, which times itself: as `Here`, but ``make`` can be pickled."""

    def __init__(self, make: Make, times: int, turn: float = TURN) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        context.Process(target=_serve, args=(there, make, times, turn), daemon=True).start()
        there.close()
        self.results, self.form = self._pipe.recv()

    def seconds(self, times: int) -> float:
        """Repeat the work, and return the seconds that it took."""
        self._pipe.send(times)
        return float(self._pipe.recv())


def _serve(pipe: Connection, make: Make, times: int, turn: float) -> None:
    here = Here(make, times, turn)
    pipe.send((here.results, here.form))
    while here.results:
        try:
            pipe.send(here.seconds(pipe.recv()))
        except EOFError:
            return


def _seconds(work: Repeated, times: int) -> float:
    began = time.perf_counter()
    work(times)
    return time.perf_counter() - began
