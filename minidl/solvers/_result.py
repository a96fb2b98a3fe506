"""The result of a solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["goal", "converged", "stalled", "validation", "interrupted", "max_iterations"]


@dataclass
class SolverResult:
    """How a run of a solver went.

    Attributes:
        reason: Why it stopped. ``"goal"``: the loss is as low as asked. ``"converged"``: the loss no longer falls, and
            the gradient is small in the scale of each parameter. ``"stalled"``: the loss no longer falls, but the
            gradient is not small; that is the limit of rounding, a kink, or a ``backward`` that is not the derivative
            of its ``forward``. ``"validation"``: the validation loss no longer falls. ``"interrupted"``: by Ctrl-C.
            ``"max_iterations"``: as many as allowed.
        iterations: Steps taken.
        evaluations: Passes over all rows that they took.
        loss: What is minimised, penalties included: at the start, and after each step.
        validation_loss: The loss on the validation data at the same points, without penalties; empty without such data.
        seconds: Time of the run.
    """

    reason: Reason
    iterations: int
    evaluations: int
    loss: list[float]
    validation_loss: list[float]
    seconds: float

    def __repr__(self) -> str:
        curve = f", loss {self.loss[0]:.4g} -> {min(self.loss):.4g}" if self.loss else ""
        return f"SolverResult({self.reason!r} after {self.iterations} iterations, {self.seconds:.2f} s{curve})"
