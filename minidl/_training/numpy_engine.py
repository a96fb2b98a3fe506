"""The interface of an engine, and the loop over batches in NumPy: the definition of training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from math import nan
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from .._core.interrupts import Interrupts
from .._core.parameter import Parameter
from ..errors import CallOrderError, GradientError
from ..layers.base import backward_alone
from .batches import slices
from .run import Run
from .sources import Batch, Source

BATCHES_AT_ONCE = 64
"""Batches between two snapshots, and between two checks of the weights. A snapshot and a check together take about as
long as one step of the smallest networks."""


class BatchResult(NamedTuple):
    """The result of some batches.

    Attributes:
        loss: Sum over the rows of the mean loss of their batch, continued from the sum before these batches.
        rows: Number of their rows.
        batches: Number of finished batches.
        finite: False if the loss or a gradient of the batch after these is not finite.
        ended: Whether the epoch is over.
    """

    loss: float
    rows: int
    batches: int
    finite: bool
    ended: bool


Figures: TypeAlias = tuple[float, float]
"""The mean loss over the rows of an epoch, and the learning rate of its last step."""


class Engine(ABC):
    """Base class of engines, which run the batches of an epoch.

    Attributes:
        name: ``"numpy"`` or ``"compiled"``.
        runs_epochs: Whether `run_epochs` can run several epochs in one call.
        at_once: Most batches in one call of `run`.
        predict: Computes predictions for the figures of an epoch.
        update: Makes one update from a batch in NumPy, and returns its loss; used to find the layer of a divergence.
    """

    name: ClassVar[str]
    runs_epochs: ClassVar[bool] = False
    at_once: int
    predict: Callable[[Array], Array]
    update: Callable[[Batch], float]

    @abstractmethod
    def enter(self, source: Source, start: int) -> None:
        """Go to batch ``start`` of the epoch that the source has begun."""

    @abstractmethod
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> BatchResult:
        """Train on up to ``most`` batches; stop earlier at the end of the epoch, an interrupt, or a loss not finite.

        Args:
            most: Largest number of batches.
            so_far: The sum of losses to continue. One sum in one order gives the same bits for any division into calls.
            interrupts: Tells whether an interrupt has come.
        """

    def run_epochs(self, source: Source, epochs: range, rng: Callable[[int], np.random.Generator]) -> list[Figures]:
        """Train on the first of these epochs in one call, as many as take about as long as one `run`.

        Args:
            source: Gives the batches.
            epochs: The numbers of the epochs.
            rng: Gives the generator of an epoch.

        Returns:
            The figures of the epochs that were run, none if one epoch is too long. If one of the losses or weights is
            not finite, none of the figures counts.
        """
        return []


class NumpyEngine(Engine):
    """Run forward, loss, backward and step for one batch after the other.

    Args:
        run: The run; its plan may limit the rows that go through the model at a time.
        not_held: Parameters of the model that the optimizer does not hold.
    """

    name = "numpy"
    at_once = BATCHES_AT_ONCE

    def __init__(self, run: Run, not_held: Iterable[Parameter]) -> None:
        self.model, self.loss, self.optimizer = run.model, run.loss, run.optimizer
        self.penalties, self.clip, self.ranks = run.penalties, run.clip, run.ranks
        self.micro_batch_size = None if run.plan is None else run.plan.micro_batch_size
        self.predict = run.model.predict
        self._not_held = list(not_held)
        self._batches: Iterator[Batch] = iter(())

    @override
    def enter(self, source: Source, start: int) -> None:
        self._batches = source.batches(start)

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> BatchResult:
        update = self.update
        total, rows, done = so_far, 0, 0
        for batch in self._batches:
            error = update(batch)
            if error - error != 0.0:
                return BatchResult(total, rows, done, finite=False, ended=False)
            total += error * len(batch[0])
            rows += len(batch[0])
            done += 1
            if done == most or interrupts.received:
                return BatchResult(total, rows, done, finite=True, ended=False)
        return BatchResult(total, rows, done, finite=True, ended=True)

    def update(self, batch: Batch) -> float:
        """Make one update from a batch, and return its loss; no update if the loss or a gradient is not finite."""
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
        """Make one update from a batch that goes through the model in pieces."""
        error = self._add_pieces(batch, size, len(batch[0])) + sum(penalty.value() for penalty in self.penalties)
        return error if error - error != 0.0 else self._step(error)

    def _add_pieces(self, part: Batch, size: int, rows: int) -> float:
        """Add the gradients of a part of a batch, piece by piece; return its loss, Σ (rows of piece / rows) e_piece.

        Args:
            part: The batch, or a part of it.
            size: Rows of a piece.
            rows: Rows of the batch.
        """
        model, loss, error = self.model, self.loss, 0.0
        for piece in slices(part, None, size):
            share = len(piece[0]) / rows
            error += share * loss.forward(model.forward(piece[0]), *piece[1:])
            if error - error != 0.0:
                break
            backward_alone(model, share * loss.backward())
        return error

    def _step(self, error: float) -> float:
        """Do a step with the gradients, and return the loss; NaN if a gradient cannot be clipped."""
        for penalty in self.penalties:
            penalty.backward()
        try:
            if self.clip is not None:
                self.clip(self.optimizer.vector)
            self.optimizer.step()
        except GradientError:
            return nan
        except CallOrderError:
            # With p.grad[rows] += g a layer may have added only zeros; here they count as a gradient.
            held = [p for p in self.optimizer.vector.parameters if p._shared and not p.frozen]
            if not held or held[0]._added:
                raise
            held[0].grad += 0.0
            return self._step(error)
        for parameter in self._not_held:
            parameter.zero_grad()
        return error
