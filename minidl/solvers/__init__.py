"""Full-batch training by L-BFGS and Levenberg–Marquardt, and the Jacobians of a model."""

from ._jacobians import jacobian, parameter_jacobian, value_and_grad
from ._lbfgs import lbfgs
from ._marquardt import levenberg_marquardt
from ._result import Reason, SolverResult

__all__ = [
    "Reason",
    "SolverResult",
    "jacobian",
    "lbfgs",
    "levenberg_marquardt",
    "parameter_jacobian",
    "value_and_grad",
]
