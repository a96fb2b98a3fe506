"""The result of a solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["goal", "converged", "stalled", "validation", "interrupted", "max_iterations"]


@dataclass
class SolverResult:
    """The result of a run of a solver.

    Attributes:
        reason: Why it stopped. ``"goal"``: the loss reached the goal. ``"converged"``: the loss no longer decreases,
            and the gradient is small in the scale of each parameter. ``"stalled"``: the loss no longer decreases, but
            the gradient is not small. The cause is the limit of rounding, a kink, or a ``backward`` that is not the
            derivative of its ``forward``. ``"validation"``: the validation loss no longer decreases. ``"interrupted"``:
            Ctrl-C. ``"max_iterations"``: the largest number of steps.
        iterations: Steps taken.
        evaluations: Passes over all rows in these steps.
        loss: The objective, penalties included: at the start, and after each step.
        validation_loss: The loss on the validation data at the same points, without penalties; empty without such data.
        seconds: Time of the run.
    """

    reason: Reason
    iterations: int
    evaluations: int
    loss: list[float]
    validation_loss: list[float]
    seconds: float

    def _repr_html_(self) -> str:
        """Show the losses in a notebook."""
        from .._drawing.curves import html_of_run

        return html_of_run(repr(self), {"loss": self.loss, "validation loss": self.validation_loss})

    def __repr__(self) -> str:
        curve = f", loss {self.loss[0]:.4g} -> {min(self.loss):.4g}" if self.loss else ""
        return f"SolverResult({self.reason!r} after {self.iterations} iterations, {self.seconds:.2f} s{curve})"
