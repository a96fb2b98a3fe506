"""Levenberg–Marquardt: damped Gauss–Newton steps for squared error on small data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, real
from .._core.blas import one_blas_thread
from .._core.parameter import Parameter
from ..errors import ArgumentError
from ..layers.base import Layer
from ..layers.dense import Dense
from ..losses import HalfSquaredError, Loss, MeanSquaredError
from ..optimizers.penalties import Penalty
from ._jacobians import RowGradients
from ._problem import (
    Problem,
    Validation,
    blas_threads_for,
    forward_by_rows,
    l2_strengths,
    loss_by_keyword,
    parts,
    refuse_coupling_layers,
)
from ._result import SolverResult
from ._solver_run import Finished, SolverRun

TRIALS = 40
"""Most dampings tried for one step: they grow by 2, 4, 8, …, so the last ones exceed the precision of any number."""

LEAST_DAMPING = 1e-16
"""Smallest damping: the rounding error of JᵀJ, which has a diagonal of about 1 in the scaled parameters."""

LAST_DAMPINGS = (1e-30, 1e-24, 1e-18, 1e-14, 1e-10, 1e-6, 1e-3)
"""Dampings of the last steps: a run ends only if all of them fail, because a large damping may hide a possible gain."""

SMALL_STEP = 1 << 27
"""Multiplications of JᵀJ or J Jᵀ up to which a step is small. Where BLAS takes a second thread, it waits in each of the
many smaller products of a step too."""


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

    e(w) = (1/N) Σᵢ sᵢ eᵢ(w) + ½ Σₖ λₖ wₖ², as in `lbfgs`; eᵢ is the squared error of row i of N rows, sᵢ its weight.

    Up to a factor, e is the sum of squares ‖r‖² + Σₖ dₖ wₖ². r holds √sᵢ (pᵢⱼ − tᵢⱼ) for the prediction p and the
    target t at each row and output, J holds ∂r/∂w, and D is the diagonal of dₖ. Each step δ solves
    (JᵀJ + D + μ S²) δ = −(Jᵀr + D w), or an equal system with rows × outputs unknowns if these are fewer. The diagonal
    S holds √(JᵀJ + D)ₖₖ at the first parameters, so steps do not depend on the units of x. All outputs of a `Dense`
    share one number for each of its inputs. If a step lowers e, it is taken, and μ depends on how well the linear model
    predicted the decrease (Nielsen 1999). Otherwise μ grows and the step shrinks. The Jacobian holds rows × outputs ×
    parameters numbers. The time of a step grows with the cube of its smaller side. So the method is fast up to some
    thousand rows or some thousand parameters.

    Args:
        model: The model; training starts from its present parameters.
        x: Input, ``(rows, features)``.
        y: Target, ``(rows, outputs)``.
        loss: eᵢ, `MeanSquaredError` or `HalfSquaredError`; default `MeanSquaredError()`.
        sample_weight: sᵢ ≥ 0 of each row, ``(rows,)``; default ones.
        penalties: `L2` penalties on any parameters of the model; λₖ is the sum of the strengths of those on wₖ.
        max_iterations: Largest number of steps.
        goal: Stop when e reaches this value; None for the lowest possible e.
        tolerance: Stop when e has decreased over 10 steps by at most this fraction, and no undamped step lowers it by
            more. The run has converged if no parameter alone could lower e by more.
        validation: (x, y) or (x, y, sample_weight) on which the loss without penalties is computed after each step;
            at the end the model has the parameters with the lowest one.
        patience: Stop after this many steps without a better validation loss.
        parameters: Parameters to learn; default all. The others do not change.
        damping: First μ > 0, relative to the diagonal of JᵀJ. With 1, each parameter alone would do half of its step.
        progress: A bar: True, False, or None for one on a terminal.

    Returns:
        The reason for stopping, and the curve of e. After Ctrl-C, too, the model has the best parameters.

    Raises:
        StructureError: a layer that draws random numbers, or couples rows as `BatchNorm` does.
        ShapeError, DTypeError, DataError, ArgumentError: raised before anything is changed.

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
    refuse_coupling_layers(problem.title, model)
    with blas_threads_for(model, rows):
        forward_by_rows(problem.title, copy.deepcopy(model), rows)
    strengths = l2_strengths(problem)
    first_damping = real(damping, "levenberg_marquardt(damping)", above=0)
    run = SolverRun(problem, goal=goal, tolerance=tolerance, patience=patience, max_iterations=max_iterations,
                    progress=progress)
    vector = run.vector
    # The code below uses sums of squares: e times this number, without penalties on parameters that are not learned.
    divisor = targets.size if type(problem.loss) is MeanSquaredError else 2 * len(targets)
    decay = np.concatenate([np.full(p.size, strengths.get(p, 0.0)) for p in vector.parameters]) * (0.5 * divisor)
    constant = sum(0.5 * strength * float(np.sum(np.square(p.value, dtype=np.float64)))
                   for p, strength in strengths.items() if p not in vector.parameters)
    root: Array = np.ones((1, 1)) if weights is None else np.sqrt(weights.astype(np.float64))[:, None]

    def weighted(outputs: Array) -> Array:
        return (root * outputs.astype(np.float64)).ravel()

    def sum_of_squares(outputs: Array) -> float:
        residual, values = weighted(outputs - targets), vector.values.astype(np.float64)
        return float(np.dot(residual, residual) + np.dot(decay * values, values))

    def attempt(solution: Callable[[float], tuple[Array, float]], start: Array, mu: float) -> tuple[float, float]:
        """Do the step of one damping; return the new sum of squares, and the decrease that the model predicted."""
        try:
            change, promised = solution(mu)
        except np.linalg.LinAlgError:
            return np.inf, np.inf
        vector.values[...] = start + change
        run.evaluations += 1
        return sum_of_squares(model.forward(rows)), promised

    def solve() -> NoReturn:
        mu, scale = first_damping, np.zeros(vector.values.size)
        precision = float(np.finfo(vector.values.dtype).eps)
        dense = {parameter for _, part in parts(model) if isinstance(part, Dense) for parameter in part.parameters()}
        pooled = [(place, parameter.shape) for parameter, place in zip(vector.parameters, vector.slices(), strict=True)
                  if parameter in dense]
        gradients = RowGradients(model, vector.parameters)
        jacobian = np.empty((*targets.shape, gradients.size))
        best = None
        while True:
            outputs = gradients.evaluate(rows, jacobian)
            run.evaluations += 1
            if best is None:
                best = sum_of_squares(outputs)
                run.record(best / divisor + constant)
            if weights is not None:
                jacobian *= root[:, :, None]
            matrix, start = jacobian.reshape(targets.size, -1), vector.values.astype(np.float64)
            if not scale.all():  # A parameter behind weights of 0 has no effect at first: its scale is set later.
                scale = np.where(scale > 0, scale, sensitivities(matrix, decay, pooled))
            step = DampedStep(matrix, weighted(outputs - targets), start, decay, np.where(scale > 0, scale, 1.0))
            # The rounding of a sum of squares, for outputs of this size.
            size = max(float(np.linalg.norm(weighted(outputs))), best**0.5)
            noise = precision * size * max(best**0.5, precision * size)

            reached, promised, growth = best, np.inf, 2.0
            for _ in range(0 if run.settled() else TRIALS):
                reached, promised = attempt(step.solve, start, mu)
                if reached < best or promised <= noise:
                    break
                mu, growth = mu * growth, 2.0 * growth
            if reached < best and promised > noise:
                mu *= max(1.0 / 3.0, 1.0 - (2.0 * (best - reached) / promised - 1.0) ** 3)
            else:
                hoped = []
                for mu in LAST_DAMPINGS:
                    reached, promised = attempt(step.solve_exactly, start, mu)
                    hoped.append(promised)
                    if best - reached > max(noise, run.tolerance * best):
                        break
                else:
                    flat = hoped[0] <= noise or step.steepness() <= run.tolerance * best
                    raise Finished("converged" if flat else "stalled")
            best, mu = reached, max(mu, LEAST_DAMPING)
            run.record(best / divisor + constant)

    few, many = sorted((targets.size, vector.values.size))
    return run.follow(solve, one_blas_thread(few * few * many, to=SMALL_STEP))


def sensitivities(jacobian: Array, decay: Array, pooled: list[tuple[slice, tuple[int, ...]]]) -> Array:
    """Return √(JᵀJ + D)ₖₖ, by which parameter k is multiplied; in the places `pooled`, the mean over the first axis.

    These places hold the parameters of each `Dense`; their first axis counts the outputs. Without the mean, units that
    are saturated at the start would move farthest.
    """
    squares: Array = np.einsum("ij,ij->j", jacobian, jacobian) + decay
    for place, shape in pooled:
        own = squares[place].reshape(shape)
        own[...] = own.mean(axis=0)
    return np.sqrt(squares)


class DampedStep:
    """Minimise ‖r + J δ‖² + Σ dₖ (wₖ + δₖ)² + μ Σ (sₖ δₖ)² over the step δ.

    In z = s δ, with A = J / s, c = d / s² and v = s w, this is ‖r + A z‖² + Σ cₖ (vₖ + zₖ)² + μ ‖z‖². Its minimum is
    z = −(AᵀA + C + μ)⁻¹ g, g = Aᵀr + C v. With fewer residuals than parameters it is
    computed as z = −W⁻¹Aᵀ (A W⁻¹ Aᵀ + 1)⁻¹ (r − A h) − h, W = C + μ and h = W⁻¹ C v.

    Args:
        jacobian: J, ``(count, parameters)``; it is overwritten by A.
        residual: r, ``(count,)``.
        values: w, ``(parameters,)``.
        decay: d, ``(parameters,)``.
        scale: s > 0, ``(parameters,)``.
    """

    def __init__(self, jacobian: Array, residual: Array, values: Array, decay: Array, scale: Array) -> None:
        jacobian /= scale
        self._scale, self._jacobian, self._residual = scale, jacobian, residual
        self._values, self._decay = values * scale, decay / scale**2
        self._gradient: Array = jacobian.T @ residual + self._decay * self._values
        self._few_rows = jacobian.shape[0] < jacobian.shape[1]
        self._decays = bool(decay.any())

    def solve(self, mu: float) -> tuple[Array, float]:
        """Return δ for one damping μ, and the decrease of ‖r + J δ‖² + Σ dₖ (wₖ + δₖ)² from δ = 0 to this δ.

        Raises:
            numpy.linalg.LinAlgError: μ is lost in the rounding of AᵀA.
        """
        weights = self._decay + mu
        if not self._few_rows:
            return self._step(-np.linalg.solve(self._product + np.diag(weights), self._gradient), mu)
        by_rows = (self._jacobian / weights) @ self._jacobian.T if self._decays else self._product / mu
        shift = self._decay * self._values / weights
        multipliers = np.linalg.solve(by_rows + np.eye(len(by_rows)), self._residual - self._jacobian @ shift)
        return self._step(-(self._jacobian.T @ multipliers) / weights - shift, mu)

    def solve_exactly(self, mu: float) -> tuple[Array, float]:
        """Return the same from the singular values of A: slower, but right if columns of A are equal up to rounding.

        Raises:
            numpy.linalg.LinAlgError: a derivative that is not finite.
        """
        left, singular, right = self._decomposition
        return self._step(-(singular / (singular**2 + mu) * left) @ right, mu)

    def _step(self, change: Array, mu: float) -> tuple[Array, float]:
        # The decrease is μ ‖z‖² − gᵀz, g = Aᵀr + c ∘ v.
        return change / self._scale, float(mu * np.dot(change, change) - np.dot(self._gradient, change))

    @cached_property
    def _product(self) -> Array:
        """The smaller of AᵀA and A Aᵀ; trials with other dampings use it again."""
        product: Array = self._jacobian @ self._jacobian.T if self._few_rows else self._jacobian.T @ self._jacobian
        return product

    @cached_property
    def _decomposition(self) -> tuple[Array, Array, Array]:
        """Uᵀr, S and Vᵀ of A = U S Vᵀ; the terms of d are more rows of A and r."""
        jacobian, residual = self._jacobian, self._residual
        if self._decays:
            jacobian = np.vstack([jacobian, np.diag(np.sqrt(self._decay))])
            residual = np.concatenate([residual, np.sqrt(self._decay) * self._values])
        left, singular, right = np.linalg.svd(jacobian, full_matrices=False)
        return residual @ left, singular, right

    def steepness(self) -> float:
        """Return the largest decrease that the model predicts for one parameter alone: max gₖ² / (AᵀA + C)ₖₖ."""
        squares = np.einsum("ij,ij->j", self._jacobian, self._jacobian) + self._decay
        return float(np.max(self._gradient**2 / np.where(squares > 0, squares, 1.0)))
