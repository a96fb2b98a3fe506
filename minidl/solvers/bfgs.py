"""L-BFGS: a quasi-Newton method on the flat vector of all parameters."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..arrays import positive_int
from ..layers.layer import Layer
from ..losses import Loss
from ..parameter import Parameter, ParameterVector
from .problem import checked_data, decay_vector, held_out_data, learned_parameters, refuse_random
from .result import SolverResult
from .run import Finished, Run, settle_statistics


def lbfgs(
    model: Layer,
    loss: Loss,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    max_iterations: int = 1000,
    goal: float | None = None,
    tolerance: float = 1e-8,
    l2: float = 0.0,
    decayed: Iterable[Parameter] | None = None,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    patience: int = 20,
    parameters: Iterable[Parameter] | None = None,
    memory: int = 20,
    progress: bool | None = None,
) -> SolverResult:
    """Minimise e(w) + ½ λ ‖w‖², e being the loss over all rows, by L-BFGS (Liu and Nocedal 1989).

    Each step follows −H ∇e, where H approximates the inverse of the matrix of second derivatives by the last
    ``memory`` changes of w and of ∇e; it is the method of ``scipy.optimize``. It needs no learning rate. Running
    statistics of batch norm end as those of all rows under the parameters found.

    Args:
        model: What to train, from the parameters that it has.
        loss: e.
        x: Input, ``(rows, features)``; all of it goes through the model at once.
        y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
        max_iterations: Steps allowed.
        goal: Loss at which to stop; None for as low as it gets.
        tolerance: Stop when over 10 steps the loss has fallen by no more than this fraction.
        l2: λ ≥ 0.
        decayed: Which parameters λ applies to; default those of two or more dimensions.
        validation: (x, y) on which the loss is computed after each step; the best parameters on it stand at the end.
        patience: Stop after this many steps without a better validation loss.
        parameters: What to learn; default all. The others stay as they are.
        memory: How many changes H is made from.
        progress: A bar: True, False, or None for one on a terminal.

    Returns:
        The reason for stopping, and the curve of the loss. Ctrl-C is a reason as well; the best parameters stand.

    Raises:
        StructureError: a layer that draws random numbers.
        ShapeError, DTypeError, DataError, ArgumentError: found before anything is changed.

    Example:
        >>> from minidl import Dense, MeanSquaredError
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> model = Dense(1, 1).initialize(0)
        >>> lbfgs(model, MeanSquaredError(), x, 3 * x + 1, goal=1e-12).reason
        'goal'
        >>> model.weight.value.round(3), model.bias.value.round(3)
        (array([[3.]]), array([1.]))
    """
    rows, targets = checked_data("lbfgs", model, loss, x, y)
    held_out = held_out_data("lbfgs", model, loss, validation)
    refuse_random("lbfgs", model)
    memory = positive_int(memory, "lbfgs(memory)")
    vector = ParameterVector(learned_parameters("lbfgs", model, parameters))
    decay = decay_vector("lbfgs", vector, l2, decayed)

    def evaluate(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        vector.values[...] = values
        error = loss.forward(model.forward(rows), targets)
        model.backward_parameters(loss.backward())
        vector.complete()
        run.evaluations += 1
        objective = error + 0.5 * float(np.dot(decay * values, values))
        if not run.loss:
            run.record(objective)
        vector.use_up()
        if not isfinite(objective):
            # The line search steps back from a wall that it can compute with; NaN would end it.
            return 2.0 * abs(run.loss[-1]) + 1.0, np.zeros_like(values)
        return objective, vector.gradients + decay * values

    def settle() -> None:
        settle_statistics(model, lambda: model.forward(rows))

    def validate() -> float:
        assert held_out is not None
        settle()
        return loss(model.predict(held_out[0]), held_out[1])

    def step_taken(intermediate_result: Any) -> None:
        # The point evaluated last need not be the one that the line search took.
        vector.values[...] = intermediate_result.x
        run.record(float(intermediate_result.fun))

    def solve() -> NoReturn:
        from scipy.optimize import minimize

        end = minimize(
            evaluate, vector.values.astype(np.float64), jac=True, method="L-BFGS-B", callback=step_taken,
            options={"maxcor": memory, "maxiter": max_iterations + 1, "maxfun": 1 << 30, "ftol": 0.0, "gtol": 0.0},
        )
        raise Finished("converged" if end.status == 0 else "stalled")

    run = Run("lbfgs", model, vector, None if held_out is None else validate, goal=goal, tolerance=tolerance,
              patience=patience, max_iterations=max_iterations, progress=progress)
    result = run.follow(solve)
    settle()
    return result
