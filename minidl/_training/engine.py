"""The loop over batches: the definition of training, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import NamedTuple

from .._core.interrupts import Interrupts
from .._core.parameter import Parameter
from ..errors import GradientError
from ..layers.base import Layer, backward_alone
from ..losses import Loss
from ..optimizers import Optimizer
from ..optimizers.clipping import Clip
from ..optimizers.penalties import Penalty
from .batches import slices
from .sources import Batch, Source

AT_ONCE = 64
"""Batches between two snapshots, and between two looks at the weights: both together cost about a step of the
smallest networks."""


class Outcome(NamedTuple):
    """What came of some batches.

    Attributes:
        loss: Sum over the rows of the mean loss of their batch, continued from the sum before these batches.
        rows: How many rows.
        batches: How many batches were finished.
        finite: False where the loss or a gradient of the batch after these is not finite.
        ended: Whether the epoch is over.
    """

    loss: float
    rows: int
    batches: int
    finite: bool
    ended: bool


class NumpyEngine:
    """Run forward, loss, backward and step for one batch after the other.

    Args:
        model: What to train.
        loss: What to make small.
        optimizer: How.
        penalties: What is added to the loss.
        clip: What is done to the gradients before the step.
        micro_batch_size: Rows that go through the model at a time; gradients add up to those of the whole batch.
    """

    name = "numpy"

    at_once = AT_ONCE

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        penalties: Sequence[Penalty],
        clip: Clip | None,
        micro_batch_size: int | None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.predict = model.predict
        self.penalties, self.clip, self.micro_batch_size = penalties, clip, micro_batch_size
        owned = {id(parameter) for parameter in optimizer.vector.parameters}
        self._unowned: list[Parameter] = [p for p in model.parameters() if id(p) not in owned]
        self._batches: Iterator[Batch] = iter(())

    def enter(self, source: Source, start: int) -> None:
        """Go to batch ``start`` of the epoch that the source has begun."""
        self._batches = source.batches(start)

    def run(self, most: int, so_far: float, interrupts: Interrupts) -> Outcome:
        """Train on up to ``most`` batches, fewer where the epoch ends, an interrupt comes, or a loss is not finite.

        Args:
            most: How many batches at most.
            so_far: The sum of losses to continue; one sum in one order has the same bits wherever it is cut.
            interrupts: Where an interrupt is noted.
        """
        update = self.update
        total, rows, done = so_far, 0, 0
        for batch in self._batches:
            error = update(batch)
            if error - error != 0.0:
                return Outcome(total, rows, done, finite=False, ended=False)
            total += error * len(batch[0])
            rows += len(batch[0])
            done += 1
            if done == most or interrupts.received:
                return Outcome(total, rows, done, finite=True, ended=False)
        return Outcome(total, rows, done, finite=True, ended=True)

    def update(self, batch: Batch) -> float:
        """Make one update from a batch, and return its loss; none where the loss or a gradient is not finite."""
        if self.micro_batch_size is not None:
            return self._update_in_pieces(batch, self.micro_batch_size)
        model, loss = self.model, self.loss
        error = loss.forward(model.forward(batch[0]), *batch[1:])
        if self.penalties:
            error += sum(penalty.value() for penalty in self.penalties)
        if error - error != 0.0:
            return error
        backward_alone(model, loss.backward())
        return self._step(error)

    def _update_in_pieces(self, batch: Batch, size: int) -> float:
        """Make one update from a batch that goes through the model in pieces: e = Σ (rows of piece / rows) e_piece."""
        model, loss = self.model, self.loss
        error = float(sum(penalty.value() for penalty in self.penalties))
        for piece in slices(batch, None, size):
            share = len(piece[0]) / len(batch[0])
            error += share * loss.forward(model.forward(piece[0]), *piece[1:])
            if error - error != 0.0:
                return error
            backward_alone(model, share * loss.backward())
        return self._step(error)

    def _step(self, error: float) -> float:
        """Step with the gradients gathered, and return the loss; NaN where a gradient cannot be clipped."""
        for penalty in self.penalties:
            penalty.backward()
        if self.clip is not None:
            try:
                self.clip(self.optimizer.vector)
            except GradientError:
                return nan
        self.optimizer.step()
        for parameter in self._unowned:
            parameter.zero_grad()
        return error
