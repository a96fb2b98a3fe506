"""The contract of a peer: the works that it can do, made ready to be timed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np

from ..networks import Array, Network

Training: TypeAlias = Callable[[int], list[float]]
"""Goes through the data of a network so many times, batch by batch in order, and returns the mean loss of each time.
A second call goes on where the first one stopped."""

PredictionCall: TypeAlias = Callable[[], Any]
"""Predicts the rows that it was made for; ``np.asarray`` of the result has the numbers of ``(rows, outputs)``."""

Rows = TypeVar("Rows")


class Elsewhere:
    """A prediction in a process of its own: threads that go on waiting awake would slow down whoever shares theirs.

    Args:
        make: Makes the prediction there; a function that can be imported.
        network: For which network.
        x: The rows to predict.
    """

    def __init__(self, make: Callable[[Network, Array], PredictionCall | None], network: Network, x: Array) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        context.Process(target=_serve, args=(make, network, x, there), daemon=True).start()
        there.close()

    def __call__(self) -> Any:
        """Return the predictions."""
        return self._ask(0)

    def seconds(self, times: int) -> float:
        """Predict so many times, and return how long that took."""
        return float(self._ask(times))

    def _ask(self, times: int) -> Any:
        self._pipe.send(times)
        return self._pipe.recv()


def _serve(
    make: Callable[[Network, Array], PredictionCall | None], network: Network, x: Array, pipe: Connection
) -> None:
    call = make(network, x)
    assert call is not None
    while True:
        try:
            times = pipe.recv()
        except EOFError:
            return
        began = time.perf_counter()
        for _ in range(times):
            call()
        pipe.send(time.perf_counter() - began if times else np.asarray(call()))


class Peer:
    """A tool that does the same work. What it cannot do is None, as here, and left out of the table.

    Attributes:
        name: Its column in the table.
        package: What is imported in the import row.
        note: How it is measured, where that needs a word.
        apart: Whether its predictions are timed in a process of their own, because it brings threads of its own.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    note: ClassVar[str] = ""
    apart: ClassVar[bool] = False

    def about(self) -> str:
        """Name its version and threads, for the head of the report; empty where there is nothing to say."""
        return ""

    def training(self, network: Network) -> Training | None:
        """Make ready to train ``network`` from its first values, the loss computed in every update."""
        return None

    def prediction(self, network: Network, x: Array) -> PredictionCall | None:
        """Make ready to predict ``x`` with the first values of ``network``: its outputs, or logits."""
        return None


def by_steps(step: Callable[[Rows, Rows], float], batches: Sequence[tuple[Rows, Rows]]) -> Training:
    """Make the training out of one update, ``step(x, y)``, that returns the loss from before it."""

    def train(epochs: int) -> list[float]:
        means = []
        for _ in range(epochs):
            total = 0.0
            for x, y in batches:
                total += step(x, y)
            means.append(total / len(batches))
        return means

    return train
