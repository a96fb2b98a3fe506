"""Levenberg–Marquardt: damped Gauss–Newton steps for squared error on small data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, real
from .._core.parameter import Parameter
from ..errors import ArgumentError
from ..layers.base import Layer
from ..losses import HalfSquaredError, Loss, MeanSquaredError
from ..optimizers.penalties import Penalty
from ._jacobians import RowGradients
from ._problem import Problem, Validation, l2_strengths, loss_by_keyword, refuse_coupled_rows
from ._result import SolverResult
from ._solver_run import Finished, SolverRun

RELAX, TIGHTEN = 2.0 / 3.0, 3.0
"""Factors of the damping after a step that lowered the loss, and after one that did not."""

TRIALS = 40
"""Dampings tried for one step: 3⁴⁰ is beyond the precision of any number."""

LEAST_DAMPING = 1e-15
"""Where the damping stops falling."""


@loss_by_keyword
def levenberg_marquardt(
    model: Layer,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: MeanSquaredError | HalfSquaredError | None = None,
    sample_weight: npt.ArrayLike | None = None,
    penalties: Iterable[Penalty] = (),
    max_iterations: int = 1000,
    goal: float | None = None,
    tolerance: float = 1e-8,
    validation: Validation | None = None,
    patience: int = 20,
    parameters: Iterable[Parameter] | None = None,
    damping: float = 1.0,
    progress: bool | None = None,
) -> SolverResult:
    """Minimise a squared error plus L2 penalties by damped Gauss–Newton steps (Marquardt 1963).

    e(w) = (1/N) Σᵢ sᵢ eᵢ(w) + ½ Σₖ λₖ wₖ², as in `lbfgs`; eᵢ is the squared error of row i out of all N, sᵢ its weight.

    Up to a factor, e is the sum of squares ‖r‖² + Σₖ dₖ wₖ². r holds √sᵢ (pᵢⱼ − tᵢⱼ) for the prediction p and the
    target t at each row and output, J holds ∂r/∂w, and D is the diagonal of dₖ. Each step δ solves
    (JᵀJ + D + μ) δ = −(Jᵀr + D w), or the same in the rows × outputs unknowns of J Jᵀ where those are fewer. A step
    that lowers e is taken and relaxes the damping μ; else μ grows and the step shrinks. The Jacobian takes rows ×
    outputs × parameters numbers of memory, and each step the cube of the smaller side: some thousand rows or some
    thousand parameters are the limit of what is quick.

    Args:
        model: What to train, from the parameters that it has.
        x: Input, ``(rows, features)``.
        y: Target, ``(rows, outputs)``.
        loss: eᵢ, `MeanSquaredError` or `HalfSquaredError`; default `MeanSquaredError()`.
        sample_weight: sᵢ ≥ 0 of each row, ``(rows,)``; default ones.
        penalties: `L2` penalties on any parameters of the model; λₖ is the sum of the strengths of those on wₖ.
        max_iterations: Steps allowed.
        goal: Value of e at which to stop; None for as low as it gets.
        tolerance: Stop when over 10 steps e has fallen by no more than this fraction.
        validation: (x, y) or (x, y, sample_weight) on which the loss without penalties is computed after each step;
            the best parameters on it stand at the end.
        patience: Stop after this many steps without a better validation loss.
        parameters: What to learn; default all. The others stay as they are.
        damping: First μ > 0.
        progress: A bar: True, False, or None for one on a terminal.

    Returns:
        The reason for stopping, and the curve of e. Ctrl-C is a reason as well; the best parameters stand.

    Raises:
        StructureError: a layer that draws random numbers, or couples rows as `BatchNorm` does.
        ShapeError, DTypeError, DataError, ArgumentError: found before anything is changed.

    Example:
        >>> from minidl import Sigmoid, mlp
        >>> x = np.linspace(0, 6, 50)[:, None]
        >>> model = mlp([1, 8, 1], activation=Sigmoid, rng=0)
        >>> levenberg_marquardt(model, x, np.sin(x), goal=1e-6).reason
        'goal'
    """
    if isinstance(loss, Loss) and type(loss) not in (MeanSquaredError, HalfSquaredError):
        raise ArgumentError(
            f"levenberg_marquardt(loss): expected MeanSquaredError() or HalfSquaredError(), got {loss!r}; use lbfgs, "
            "which takes any loss"
        )
    problem = Problem("levenberg_marquardt", model, loss, x, y, sample_weight, penalties, validation, parameters)
    rows, targets, weights = problem.x, problem.y, problem.sample_weight
    refuse_coupled_rows(problem.title, model, rows)
    strengths = l2_strengths(problem)
    first_damping = real(damping, "levenberg_marquardt(damping)", above=0)
    run = SolverRun(problem, goal=goal, tolerance=tolerance, patience=patience, max_iterations=max_iterations,
                    progress=progress)
    vector = run.vector
    # Everything below is in sums of squares: e times this number, without the penalties on what is not learned.
    divisor = targets.size if type(problem.loss) is MeanSquaredError else 2 * len(targets)
    decay = np.concatenate([np.full(p.size, strengths.get(p, 0.0)) for p in vector.parameters]) * (0.5 * divisor)
    constant = sum(0.5 * strength * float(np.sum(np.square(p.value, dtype=np.float64)))
                   for p, strength in strengths.items() if p not in vector.parameters)
    root = None if weights is None else np.sqrt(weights.astype(np.float64))[:, None]

    def residuals(outputs: Array) -> Array:
        difference = (outputs - targets).astype(np.float64)
        return (difference if root is None else root * difference).ravel()

    def sum_of_squares(outputs: Array) -> float:
        residual, values = residuals(outputs), vector.values.astype(np.float64)
        return float(np.dot(residual, residual) + np.dot(decay * values, values))

    def linearise(gradients: RowGradients, jacobian: Array) -> Array:
        """Write ∂r/∂w into ``jacobian`` and return the outputs of the model."""
        outputs = gradients.evaluate(rows, jacobian)
        if root is not None:
            jacobian *= root[:, :, None]
        run.evaluations += 1
        return outputs

    def solve() -> NoReturn:
        mu = first_damping
        precision = float(np.finfo(vector.values.dtype).eps)
        gradients = RowGradients(model, vector.parameters)
        jacobian = np.empty((*targets.shape, gradients.size))
        outputs = linearise(gradients, jacobian)
        best = sum_of_squares(outputs)
        run.record(best / divisor + constant)
        while True:
            start = vector.values.astype(np.float64)
            step = DampedStep(jacobian.reshape(targets.size, -1), residuals(outputs), start, decay)
            for trial in range(TRIALS):
                try:
                    change = step.change(mu)
                except np.linalg.LinAlgError:
                    mu *= TIGHTEN
                    continue
                if trial == 0 and step.predicted_fall(change, mu) <= precision * best:
                    raise Finished("converged")
                vector.values[...] = start + change
                reached = sum_of_squares(model.forward(rows))
                run.evaluations += 1
                if reached < best:
                    break
                mu *= TIGHTEN
            else:
                raise Finished("stalled")
            best = reached
            mu = max(mu * RELAX, LEAST_DAMPING)
            run.record(best / divisor + constant)
            outputs = linearise(gradients, jacobian)

    return run.follow(solve)


class DampedStep:
    """Minimise ‖r + J δ‖² + Σ dᵢ (wᵢ + δᵢ)² + μ ‖δ‖² over the step δ.

    With sᵢ = dᵢ wᵢ / (dᵢ + μ) the last two terms are Σ (dᵢ + μ) (δᵢ + sᵢ)² and a constant, so that u = δ + s
    minimises ‖(r − J s) + J u‖² + Σ (dᵢ + μ) uᵢ²: `by_parameters` or `by_rows`, whichever has fewer unknowns.

    Args:
        jacobian: J, ``(count, parameters)``.
        residual: r, ``(count,)``.
        values: w, ``(parameters,)``.
        decay: d, ``(parameters,)``.
    """

    def __init__(self, jacobian: Array, residual: Array, values: Array, decay: Array) -> None:
        self._jacobian, self._residual, self._values, self._decay = jacobian, residual, values, decay
        self._few_rows = jacobian.shape[0] < jacobian.shape[1]
        self._decays = bool(decay.any())
        # Trials with other dampings share the products of J with itself, unless the weights differ between columns.
        self._products: Array | None = None
        if not self._few_rows:
            self._products = jacobian.T @ jacobian
        elif not self._decays:
            self._products = jacobian @ jacobian.T
        self._gradient: Array = jacobian.T @ residual + decay * values

    def change(self, mu: float) -> Array:
        """Return δ for one damping μ.

        Raises:
            numpy.linalg.LinAlgError: μ is lost in the rounding of JᵀJ.
        """
        weights = self._decay + mu
        shift = self._decay * self._values / weights
        residual = self._residual - self._jacobian @ shift if self._decays else self._residual
        if not self._few_rows:
            return by_parameters(self._jacobian, residual, weights, self._products) - shift
        return by_rows(self._jacobian, residual, weights, self._products) - shift

    def predicted_fall(self, change: Array, mu: float) -> float:
        """Return by how much ‖r + J δ‖² + Σ dᵢ (wᵢ + δᵢ)² falls from δ = 0 to this δ: μ ‖δ‖² − gᵀδ, g = Jᵀr + d ∘ w."""
        return float(mu * np.dot(change, change) - np.dot(self._gradient, change))


def by_parameters(jacobian: Array, residual: Array, weights: Array, products: Array | None = None) -> Array:
    """Return u = −(JᵀJ + D)⁻¹ Jᵀ r, the minimum of ‖r + J u‖² + uᵀD u; one unknown for each parameter.

    Args:
        jacobian: J, ``(count, parameters)``.
        residual: r, ``(count,)``.
        weights: The diagonal of D, ``(parameters,)``.
        products: JᵀJ where it is known.
    """
    system = jacobian.T @ jacobian if products is None else products.copy()
    np.einsum("ii->i", system)[...] += weights
    return -np.linalg.solve(system, jacobian.T @ residual)


def by_rows(jacobian: Array, residual: Array, weights: Array, products: Array | None = None) -> Array:
    """Return the same as u = −D⁻¹Jᵀ (J D⁻¹ Jᵀ + 1)⁻¹ r; one unknown for each residual.

    Args:
        jacobian: J, ``(count, parameters)``.
        residual: r, ``(count,)``.
        weights: The diagonal of D, ``(parameters,)``.
        products: J Jᵀ where it is known; then the weights must all be the same.
    """
    system = (jacobian / weights) @ jacobian.T if products is None else products / weights[0]
    np.einsum("ii->i", system)[...] += 1.0
    return -(jacobian.T @ np.linalg.solve(system, residual)) / weights
