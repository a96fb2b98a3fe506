"""The contract of a peer: the works that it can do, made ready to be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

from tests.campaigns.benchmarks.networks import Array, Network

Training: TypeAlias = Callable[[int], list[float]]
"""Trains for a number of epochs, batch by batch in order, and returns the mean loss of each epoch.
A second call goes on where the first one stopped."""

ManyTraining: TypeAlias = Callable[[int], list[list[float]]]
"""The same for many models; returns the mean losses of the models in each epoch."""

PredictionCall: TypeAlias = Callable[[], Any]
"""Predicts the rows that it was made for; ``np.asarray`` of the result has the numbers of ``(rows, outputs)``."""

Rows = TypeVar("Rows")


class Peer:
    """A tool that does the same work, in one form or several, of which the fastest is taken.

    A form is its name and what does the work. What the tool cannot do has no forms, as here, and is left out.

    Attributes:
        name: Its column in the table.
        package: What is imported in the import row.
        note: How it is measured, where that needs a word.
        apart: Whether it works in a process of its own, because it brings threads of its own.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    note: ClassVar[str] = ""
    apart: ClassVar[bool] = False

    def about(self) -> str:
        """Name its version and threads, for the head of the report; empty where there is nothing to say."""
        return ""

    def trainings(self, network: Network) -> Iterable[tuple[str, Training]]:
        """Make ready to train ``network`` from its first values, the loss computed in every update."""
        return ()

    def many_trainings(self, network: Network, models: int) -> Iterable[tuple[str, ManyTraining]]:
        """Make ready to train so many models of a network, each from first values of its own."""
        return ()

    def predictions(self, network: Network, x: Array) -> Iterable[tuple[str, PredictionCall]]:
        """Make ready to predict ``x`` with the first values of ``network``: its outputs, or logits."""
        return ()


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
