"""Time the check for divergence: snapshots, and checks of the loss and the weights.

``python -m tests.campaigns.divergence_cost`` times training with and without the check in alternating rounds, and
prints the share of a step that the check costs, with its spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from typing_extensions import override

from minidl import SGD, HalfSquaredError, ReLU, Sigmoid, SoftmaxCrossEntropy, Trainer, mlp
from minidl._core.interrupts import Interrupts
from minidl._training.numpy_engine import BatchResult, NumpyEngine
from minidl._training.snapshot import Snapshot
from minidl._training.sources import ArraySource, Batch
from minidl.layers.sequential import Sequential
from minidl.losses import Loss

AT_ONCE = NumpyEngine.at_once
BATCHES = 20 * AT_ONCE


def small() -> tuple[Sequential, Loss, Batch, int]:
    """Make the network of the sine experiment, one row an update."""
    x = np.linspace(0.0, 3.0 * np.pi, BATCHES)[:, None]
    return mlp([1, 20, 20, 1], activation=Sigmoid, rng=0), HalfSquaredError(), (x, np.sin(x)), 1


def middle() -> tuple[Sequential, Loss, Batch, int]:
    """Make a 64-128-10 classifier in float32, 32 rows an update."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32 * BATCHES, 64)).astype(np.float32)
    model = mlp([64, 128, 10], activation=ReLU, dtype=np.float32, rng=0)
    return model, SoftmaxCrossEntropy(), (x, rng.integers(0, 10, len(x))), 32


WORKS: dict[str, Callable[[], tuple[Sequential, Loss, Batch, int]]] = {"1-20-20-1": small, "64-128-10": middle}


class Unwatched(NumpyEngine):
    """The same loop without the check."""

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> BatchResult:
        update = self.update
        total, rows, done = so_far, 0, 0
        for batch in self._batches:
            total += update(batch) * len(batch[0])
            rows += len(batch[0])
            done += 1
            if done == most or interrupts.received:
                return BatchResult(total, rows, done, finite=True, ended=False)
        return BatchResult(total, rows, done, finite=True, ended=True)

    @override
    def update(self, batch: Batch) -> float:
        model, loss = self.model, self.loss
        error = loss.forward(model.forward(batch[0]), *batch[1:])
        if self.penalties:
            error += sum(penalty.value() for penalty in self.penalties)
        model.backward_parameters(loss.backward())
        return self._step(error)


def rounds(work: str, count: int) -> Iterator[float]:
    """Yield the share of a step that the check costs, once for each round."""
    model, loss, data, batch_size = WORKS[work]()
    optimizer = SGD(model.parameters(), learning_rate=0.001)
    source = ArraySource(data, batch_size, shuffle=False)
    run = Trainer(model, loss, optimizer)._run
    snapshot = Snapshot(model, optimizer)
    watched, unwatched = NumpyEngine(run, ()), Unwatched(run, ())
    for number in range(count + 1):
        unwatched.enter(source, 0)
        watched.enter(source, 0)
        plain = looking = total = 0.0
        for _ in range(BATCHES // AT_ONCE):
            began = time.perf_counter()
            unwatched.run(AT_ONCE, total, Interrupts())
            between = time.perf_counter()
            snapshot.take()
            source.mark()
            outcome = watched.run(AT_ONCE, total, Interrupts())
            assert outcome.finite
            assert np.isfinite(optimizer.vector.values).all()
            looking += time.perf_counter() - between
            plain += between - began
        if number:  # the first round warms up
            yield looking / plain - 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    count = parser.parse_args().rounds
    for work in WORKS:
        shares = sorted(rounds(work, count))
        low, high = shares[len(shares) // 4], shares[-1 - len(shares) // 4]
        middle_share = statistics.median(shares)
        print(f"divergence check at {work}: {middle_share:+.1%} of a step (quartiles {low:+.1%} … {high:+.1%})")


if __name__ == "__main__":
    main()
