"""L-BFGS: a quasi-Newton method on the flat vector of all parameters."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from .._core.arrays import positive_int, real
from .._core.parameter import Parameter
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers.penalties import Penalty
from ._problem import Problem, Validation, blas_threads_for, loss_by_keyword
from ._result import SolverResult
from ._solver_run import Finished, SolverRun


@loss_by_keyword
def lbfgs(
    model: Layer,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: Loss | None = None,
    sample_weight: npt.ArrayLike | None = None,
    penalties: Iterable[Penalty] = (),
    max_iterations: int = 1000,
    goal: float | None = None,
    tolerance: float = 1e-8,
    gradient_tolerance: float = 0.0,
    validation: Validation | None = None,
    patience: int = 20,
    parameters: Iterable[Parameter] | None = None,
    memory: int = 20,
    progress: bool | None = None,
) -> SolverResult:
    """Minimise a loss plus penalties by L-BFGS (Liu and Nocedal 1989).

    e(w) = (1/N) Σᵢ sᵢ eᵢ(w) + P(w). eᵢ is the loss of row i of all N rows, sᵢ its weight, and P the sum of penalties.

    Each step has the direction −H ∇e. H approximates the inverse Hessian matrix from the last ``memory`` changes of w
    and of ∇e. The implementation is that of ``scipy.optimize``. It needs no learning rate. At the end, the running
    statistics of batch norm are those of all rows with the final parameters.

    Args:
        model: The model; training starts from its present parameters.
        x: Input, ``(rows, features)``; all of it goes through the model at once.
        y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
        loss: eᵢ; default `MeanSquaredError()`.
        sample_weight: sᵢ ≥ 0 of each row, ``(rows,)``; default ones.
        penalties: Terms of P such as `L2`, on any parameters of the model; not `L1`.
        max_iterations: Largest number of steps.
        goal: Stop when e reaches this value; None for the lowest possible e.
        tolerance: Stop when e has decreased over 10 steps by at most this fraction. The run has converged if also each
            gₖ/√e, g = ∇e, is at most √tolerance times its largest value in the run. Otherwise the run continues once,
            in parameters multiplied by these largest values.
        gradient_tolerance: Stop when every |gₖ| is below this: the run has converged.
        validation: (x, y) or (x, y, sample_weight) on which the loss without penalties is computed after each step;
            at the end the model has the parameters with the lowest one.
        patience: Stop after this many steps without a better validation loss.
        parameters: Parameters to learn; default all. The others do not change.
        memory: Number of changes from which H is computed.
        progress: A bar: True, False, or None for one on a terminal.

    Returns:
        The reason for stopping, and the curve of e. After Ctrl-C, too, the model has the best parameters.

    Raises:
        StructureError: a layer that draws random numbers.
        ShapeError, DTypeError, DataError, ArgumentError: raised before anything is changed.

    Example:
        >>> from minidl import Dense
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> model = Dense(1, 1).initialize(0)
        >>> lbfgs(model, x, 3 * x + 1, goal=1e-12).reason
        'goal'
        >>> model.weight.value.round(3), model.bias.value.round(3)
        (array([[3.]]), array([1.]))
    """
    from scipy.optimize import minimize

    problem = Problem("lbfgs", model, loss, x, y, sample_weight, penalties, validation, parameters)
    memory = positive_int(memory, "lbfgs(memory)")
    gradient_tolerance = real(gradient_tolerance, "lbfgs(gradient_tolerance)", least=0)
    run = SolverRun(problem, goal=goal, tolerance=tolerance, patience=patience, max_iterations=max_iterations,
                    progress=progress)
    vector, error_of = run.vector, problem.loss
    # The largest |g| / √e of each parameter so far: the inverse of a typical size of the parameter, in any units.
    steepest = np.zeros(vector.values.size)

    def evaluate(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        vector.values[...] = values
        error = error_of.forward(model.forward(problem.x), problem.y, problem.sample_weight)
        model.backward_parameters(error_of.backward())
        for penalty in problem.penalties:
            error += penalty.value()
            penalty.backward()
        vector.complete()
        gradient = vector.gradients.astype(np.float64)  # A copy, because the vector is overwritten.
        vector.use_up()
        run.evaluations += 1
        if not run.loss:
            run.record(error)
        if not isfinite(error):
            # After a large finite value the line search tries a shorter step; NaN would end it.
            return 2.0 * abs(run.loss[-1]) + 1.0, np.zeros_like(values)
        if error <= run.loss[-1]:
            np.maximum(steepest, np.abs(gradient) / max(abs(error), 1e-300) ** 0.5, out=steepest)
        return error, gradient

    def minimised(scale: npt.NDArray[np.float64], gtol: float = 0.0) -> bool:
        """Do steps in the parameters times ``scale`` to the end; return whether the gradient is small there."""
        first = max(len(run.loss) - 1, 0)

        def scaled(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            error, gradient = evaluate(values / scale)
            return error, gradient / scale

        def step_taken(intermediate_result: Any) -> None:
            # The line search may take another point than the last one that it evaluated.
            vector.values[...] = intermediate_result.x / scale
            run.record(float(intermediate_result.fun))
            if run.settled(first):
                raise StopIteration

        end = minimize(
            scaled, vector.values * scale, jac=True, method="L-BFGS-B", callback=step_taken,
            options={"maxcor": min(memory, max_iterations), "maxiter": max_iterations + 1, "maxfun": 1 << 30,
                     "ftol": 0.0, "gtol": gtol},
        )
        vector.values[...] = end.x / scale
        if np.all(np.abs(end.jac * scale) < gradient_tolerance):
            raise Finished("converged")
        return bool(np.all(np.abs(end.jac * scale) <= (run.tolerance * abs(end.fun)) ** 0.5 * steepest))

    def solve() -> NoReturn:
        flat = minimised(np.ones_like(steepest), gradient_tolerance)
        while steepest.any():
            before = run.loss[-1]
            flat = minimised(np.where(steepest > 0, steepest, 1.0))
            if before - run.loss[-1] <= run.tolerance * abs(before):
                break
        raise Finished("converged" if flat else "stalled")

    return run.follow(solve, blas_threads_for(model, problem.x))
