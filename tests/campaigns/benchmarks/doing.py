"""Repeat and time a piece of work, in this process or in another.

Tools with thread pools of their own disturb one another in one process: which pool gets both cores differs from process
to process, and makes a factor of two.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

Repeated: TypeAlias = Callable[[int], Any]
"""Repeats a piece of work, and returns its result."""


class Here:
    """Do the work in this process.

    Args:
        work: What to repeat.
    """

    def __init__(self, work: Repeated) -> None:
        self._work = work

    def result(self, times: int) -> Any:
        """Repeat the work, and return its result as an array."""
        return np.asarray(self._work(times))

    def seconds(self, times: int) -> float:
        """Repeat the work, and return the seconds that it took."""
        began = time.perf_counter()
        self._work(times)
        return time.perf_counter() - began


class Elsewhere:
    """Do the work in another process, which times itself.

    Args:
        make: Makes the work there, or returns None if it cannot be done; a function that can be pickled.
    """

    def __init__(self, make: Callable[[], Repeated | None]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        context.Process(target=_serve, args=(make, there), daemon=True).start()
        there.close()
        self.able = bool(self._pipe.recv())

    def result(self, times: int) -> Any:
        """Repeat the work, and return its result as an array."""
        return self._ask("result", times)

    def seconds(self, times: int) -> float:
        """Repeat the work, and return the seconds that it took."""
        return float(self._ask("seconds", times))

    def _ask(self, what: str, times: int) -> Any:
        self._pipe.send((what, times))
        return self._pipe.recv()


def _serve(make: Callable[[], Repeated | None], pipe: Connection) -> None:
    work = make()
    pipe.send(work is not None)
    if work is None:
        return
    here = Here(work)
    while True:
        try:
            what, times = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(here, what)(times))


def ready(make: Callable[[], Repeated | None], *, apart: bool) -> Here | Elsewhere | None:
    """Make a piece of work ready, in another process if `apart`; None if it cannot be done."""
    if apart:
        there = Elsewhere(make)
        return there if there.able else None
    work = make()
    return None if work is None else Here(work)
