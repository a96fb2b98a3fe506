"""A learned vector for each code of a category."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import MANY, Array, positive_int, width_error
from .._core.initializer import Initializer
from .._core.parameter import Parameter
from ..errors import DataError, DTypeError
from ..initializers import Normal
from .base import Layer, kept, refuse_gradient

FLOAT32_CODES = 1 << 24
"""How many codes float32 can tell apart: above 2²⁴ it rounds to a neighbour."""


class Embedding(Layer):
    """Look up a learned vector for each code.

    Forward:
        y = W[x]
    Backward:
        ∂e/∂x = 0
        ∂e/∂W[k] = Σ over rows with x = k of ∂e/∂y

    A code is no quantity: ∂e/∂x is zero.

    Args:
        codes: How many codes there are; they are the whole numbers 0 … codes − 1.
        out_features: Length of a vector.
        weight_initializer: First values of W, ``(codes, out_features)``; default N(0, 1).
        dtype: float64 or float32.
    """

    has_input_gradient = False
    in_features = 1
    _shapes: ClassVar = {"weight": ("codes", "out_features")}
    _text = "{0.codes} -> {0.out_features}"
    _rows: npt.NDArray[np.intp] = kept()

    def __init__(
        self,
        codes: int,
        out_features: int,
        *,
        weight_initializer: Initializer | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.codes: int = positive_int(codes, "Embedding(codes)")
        self.out_features: int = positive_int(out_features, "Embedding(out_features)")
        self.weight_initializer: Initializer = Normal() if weight_initializer is None else weight_initializer
        self.weight: Parameter = Parameter(self.weight_initializer, (codes, out_features), dtype=dtype)

    def compute(self, x: Array) -> Array:
        """Y = W[x]."""
        return self.weight.value[self._codes_in(x)]

    @override
    def forward(self, x: Array) -> Array:
        self._rows = self._codes_in(x)
        return self.weight.value[self._rows]

    @override
    def backward(self, grad: Array) -> Array:
        self.add_gradients(grad)
        return np.zeros((len(grad), 1), grad.dtype)

    def add_gradients(self, grad: Array) -> None:
        """Add each row of ∂e/∂y to the row of its code."""
        if grad.shape != (len(self._rows), self.out_features):
            refuse_gradient(self, grad, (len(self._rows), self.out_features))
        gradient, rows = self.weight.grad, self._rows
        if len(rows) > MANY and grad.dtype == np.float32:
            # In float64, because the error of a sum grows with its rows: those of each code one after the other.
            order = np.argsort(rows, kind="stable")
            rows, begins = np.unique(rows[order], return_index=True)
            grad = np.add.reduceat(grad[order], begins, axis=0, dtype=np.float64).astype(np.float32)
        np.add.at(gradient, rows, grad)
        self.weight.grad = gradient

    def _codes_in(self, x: Array) -> npt.NDArray[np.intp]:
        """Return the codes as row numbers; refuse a number that is not a code."""
        if x.ndim != 2 or x.shape[1] != 1:
            raise width_error(self, 1, x)
        if x.dtype == np.float32 and self.codes > FLOAT32_CODES:
            raise DTypeError(
                f"{self}: expected at most {FLOAT32_CODES} codes in float32, which rounds larger ones to their "
                "neighbours; use float64"
            )
        column = x[:, 0]
        good = (column >= 0) & (column < self.codes) & (column == np.floor(column))
        if not good.all():
            row = int(np.argmin(good))
            raise DataError(f"{self}: expected whole codes in 0 … {self.codes - 1}, got {column[row]} at row {row}")
        return column.astype(np.intp)
