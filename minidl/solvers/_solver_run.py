"""A run of a solver: the best parameters so far, the curves, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite
from typing import NoReturn

import numpy as np

from .._core.arrays import positive_int, real
from .._core.progress import Progress
from .._core.vector import ParameterVector
from ..errors import DataError
from ..layers._parts import walk
from ..layers.base import Layer
from ..layers.normalization import BatchNorm
from ._result import Reason, SolverResult

WINDOW = 10
"""Steps over which the loss must have fallen; a single step may gain little on the way to more."""


class Finished(Exception):  # noqa: N818 - no error: the way out of a solver, whoever calls whom
    """The run is over, for ``reason``."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Run:
    """Follow a solver from step to step.

    Args:
        title: Name of the solver.
        model: What is trained.
        vector: The parameters that are learned.
        validate: Computes the loss on held-out data; None without such data.
        goal: Loss at which to stop; None for as low as it gets.
        tolerance: Relative fall of the loss over the last steps below which the run has converged.
        patience: Steps without a better validation loss after which to stop.
        max_iterations: Steps allowed.
        progress: A bar: True, False, or None for one on a terminal.
    """

    def __init__(
        self,
        title: str,
        model: Layer,
        vector: ParameterVector,
        validate: Callable[[], float] | None,
        *,
        goal: float | None,
        tolerance: float,
        patience: int,
        max_iterations: int,
        progress: bool | None,
    ) -> None:
        self._title, self._model, self._vector, self._validate = title, model, vector, validate
        self._goal = -np.inf if goal is None else real(goal, f"{title}(goal)")
        self._tolerance = real(tolerance, f"{title}(tolerance)", least=0, below=1)
        self._patience = positive_int(patience, f"{title}(patience)")
        self._limit = positive_int(max_iterations, f"{title}(max_iterations)")
        self._progress = Progress(self._limit, title, progress)
        self._best = vector.values.copy()
        self._best_step = 0
        self.loss: list[float] = []
        self.validation_loss: list[float] = []
        self.evaluations = 0

    def follow(self, solve: Callable[[], NoReturn]) -> SolverResult:
        """Let ``solve`` work until the run is over, and leave the best parameters in the model."""
        began = time.perf_counter()
        reason: Reason = "interrupted"
        try:
            # What is not finite is met by a shorter step; NumPy's warnings on the way there would only be noise.
            with self._progress, np.errstate(all="ignore"):
                self._drop_gradients()
                solve()
        except Finished as end:
            reason = end.reason
        except KeyboardInterrupt:
            pass
        finally:
            self._vector.values[...] = self._best
            self._drop_gradients()
        seconds = time.perf_counter() - began
        steps = max(len(self.loss) - 1, 0)
        return SolverResult(reason, steps, self.evaluations, self.loss, self.validation_loss, seconds)

    def _drop_gradients(self) -> None:
        for parameter in self._model.parameters():
            parameter.zero_grad()

    def record(self, loss: float) -> None:
        """Note where the run stands, at the start and after each step; the model holds the parameters of that step.

        Raises:
            Finished: the run is over.
            DataError: the loss of the first parameters is not finite.
        """
        if not self.loss and not isfinite(loss):
            raise DataError(f"{self._title}: expected a finite loss at the first parameters, got {loss}; "
                            "scale the data to about 1, or draw smaller parameters")
        held_out = None if self._validate is None else self._validate()
        improved = held_out is None or not self.validation_loss or held_out < self.validation_loss[self._best_step]
        self.loss.append(loss)
        if held_out is not None:
            self.validation_loss.append(held_out)
        step = len(self.loss) - 1
        if improved:
            self._best, self._best_step = self._vector.values.copy(), step
        if step:
            self._progress.advance(f"loss {loss:.4g}")
        reason = self._verdict(step)
        if reason is not None:
            raise Finished(reason)

    def _verdict(self, step: int) -> Reason | None:
        if self.loss[-1] <= self._goal:
            return "goal"
        if step - self._best_step >= self._patience:
            return "validation"
        if step >= WINDOW:
            before = self.loss[-1 - WINDOW]
            if before - self.loss[-1] <= self._tolerance * abs(before):
                return "converged"
        return "max_iterations" if step >= self._limit else None


def settle_statistics(model: Layer, forward: Callable[[], object]) -> None:
    """Bring the running statistics of batch norms to those of the rows that ``forward`` passes through the model.

    In training they follow the batches slowly; where every batch is the same rows, they can be exact at once.
    """
    parts = [model, *(part for _, part in walk(model))]
    norms = [part for part in parts if isinstance(part, BatchNorm) and not part.running_mean.frozen]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
        forward()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
