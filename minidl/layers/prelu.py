"""A learnable activation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import Array, real
from ..initializers import Constant
from ..parameter import Parameter
from ..typing import override
from .activation import Rectifier


class PReLU(Rectifier):
    """Compute y = x for x > 0, else a x, with one learnable slope a (He et al. 2015, equation 1).

    ∂e/∂a = Σ over x ≤ 0 of x ∂e/∂y.

    Args:
        slope: First value of a.
        dtype: float64 or float32.
    """

    def __init__(self, slope: float = 0.25, *, dtype: npt.DTypeLike = np.float64) -> None:
        self.slope = real(slope, "PReLU(slope)")
        self.weight = Parameter(Constant(self.slope), (1,), dtype=dtype)

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        y: Array = np.where(x > 0.0, x, self.weight.value * x)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        below = np.where(self._x > 0.0, 0.0, self._x)
        self.weight.grad += np.sum(grad * below)
        dx: Array = np.where(self._x > 0.0, grad, self.weight.value * grad)
        return dx

    @override
    def __repr__(self) -> str:
        return f"PReLU({self.slope:g}{self._frozen_mark()})"
