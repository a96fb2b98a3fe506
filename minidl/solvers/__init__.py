"""Full-batch training by L-BFGS and Levenberg–Marquardt, and the Jacobians of a model."""

from .bfgs import lbfgs
from .jacobians import jacobian, parameter_jacobian
from .marquardt import levenberg_marquardt
from .result import Reason, SolverResult

__all__ = ["Reason", "SolverResult", "jacobian", "lbfgs", "levenberg_marquardt", "parameter_jacobian"]
