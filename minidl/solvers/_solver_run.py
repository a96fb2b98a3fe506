"""A run of a solver: the best parameters so far, the curves, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import isfinite
from typing import NoReturn

import numpy as np

from .._core.arrays import positive_int, real
from .._core.parameter import Buffer
from .._core.progress import Progress
from .._core.vector import ParameterVector
from ..errors import DataError
from ..layers._parts import named
from ..layers.base import forget
from ..layers.normalization import BatchNorm
from ._problem import Problem, parts
from ._result import Reason, SolverResult

WINDOW = 10
"""Steps over which the loss must decrease; a single step may gain little although later steps gain more."""


class Finished(Exception):  # noqa: N818 - no error: it ends the solver from inside of any call
    """The run is over, for ``reason``."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class SolverRun:
    """Record each step of a solver, and decide when to stop.

    Args:
        problem: The objective.
        goal: Loss at which to stop; None for the lowest possible loss.
        tolerance: The loss has settled if its relative decrease over the last steps is at most this.
        patience: Stop after this many steps without a better validation loss.
        max_iterations: Largest number of steps.
        progress: A bar: True, False, or None for one on a terminal.

    Attributes:
        vector: The parameters to learn; gathered here, after all checks.
        tolerance: The argument.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        goal: float | None,
        tolerance: float,
        patience: int,
        max_iterations: int,
        progress: bool | None,
    ) -> None:
        title = problem.title
        self._problem = problem
        self._goal = -np.inf if goal is None else real(goal, f"{title}(goal)")
        self.tolerance = real(tolerance, f"{title}(tolerance)", least=0, below=1)
        self._patience = positive_int(patience, f"{title}(patience)")
        self._limit = positive_int(max_iterations, f"{title}(max_iterations)")
        self._progress = Progress(self._limit, title, progress)
        self.loss: list[float] = []
        self.validation_loss: list[float] = []
        self.evaluations = 0
        self.vector = ParameterVector(problem.parameters)
        self._best, self._best_step = self.vector.values.copy(), 0

    def follow(self, solve: Callable[[], NoReturn], blas_threads: AbstractContextManager[None]) -> SolverResult:
        """Call ``solve`` until the run is over, then put the best parameters into the model."""
        began = time.perf_counter()
        statistics = [(buffer, buffer.value) for buffer in named(self._problem.model, Buffer).values()]
        reason: Reason = "interrupted"
        try:
            # A loss that is not finite only makes the next step shorter, so NumPy's warnings would not help.
            with self._progress, np.errstate(all="ignore"), blas_threads:
                self._drop_gradients()
                solve()
        except Finished as end:
            reason = end.reason
        except KeyboardInterrupt:
            pass
        except BaseException:
            for buffer, value in statistics if not self.loss else []:  # Not a step was taken: nothing has changed.
                buffer.value = value
            forget(part for _, part in parts(self._problem.model))
            raise
        finally:
            self.vector.values[...] = self._best
            self._drop_gradients()
        self._settle_statistics()
        forget(part for _, part in parts(self._problem.model))
        steps, seconds = max(len(self.loss) - 1, 0), time.perf_counter() - began
        return SolverResult(reason, steps, self.evaluations, self.loss, self.validation_loss, seconds)

    def _drop_gradients(self) -> None:
        for parameter in self._problem.model.parameters():
            parameter.zero_grad()

    def record(self, loss: float) -> None:
        """Record the loss at the start and after each step; the model has the parameters of that step.

        Raises:
            Finished: the run is over.
            DataError: the loss of the first parameters is not finite.
            StructureError: the first `forward` has made parameters.
        """
        if not self.loss:
            self._problem.refuse_new_parameters()
        if not self.loss and not isfinite(loss):
            raise DataError(f"{self._problem.title}: expected a finite loss at the first parameters, got {loss}; "
                            "scale the data to about 1, or draw smaller parameters")
        self.loss.append(loss)
        step = len(self.loss) - 1
        improved = True
        if self._problem.held_out is not None:
            self._settle_statistics()
            x, y, sample_weight = self._problem.held_out
            held_out = self._problem.loss(self._problem.model.predict(x), y, sample_weight)
            improved = not step or held_out < self.validation_loss[self._best_step]
            self.validation_loss.append(held_out)
        if improved:
            self._best, self._best_step = self.vector.values.copy(), step
        if step:
            self._progress.advance(f"loss {loss:.4g}")
        if (reason := self._verdict(step)) is not None:
            raise Finished(reason)

    def _verdict(self, step: int) -> Reason | None:
        if self.loss[-1] <= self._goal:
            return "goal"
        if step - self._best_step >= self._patience:
            return "validation"
        return "max_iterations" if step >= self._limit else None

    def settled(self, since: int = 0) -> bool:
        """Return whether the loss has decreased too little over the last steps; steps up to ``since`` do not count."""
        if len(self.loss) - 1 - since < WINDOW:
            return False
        before = self.loss[-1 - WINDOW]
        return before - self.loss[-1] <= self.tolerance * abs(before)

    def _settle_statistics(self) -> None:
        """Set the running statistics of batch norms to those of all rows.

        In training they follow the batches slowly. Here every batch has the same rows, so they can be exact at once.
        """
        model = self._problem.model
        norms = [part for _, part in parts(model) if isinstance(part, BatchNorm) and not part.running_mean.frozen]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        try:
            for norm in norms:
                norm.momentum = 1.0
            model.forward(self._problem.x)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
