"""A learned vector for each code of a category; several columns at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import MANY, Array, listed, positive_int, width_error
from .._core.initializer import Initializer
from .._core.parameter import Parameter
from ..errors import ArgumentError, DataError, DTypeError
from ..initializers import Normal
from .base import Layer, kept, refuse_gradient

FLOAT32_CODES = 1 << 24
"""How many codes float32 can tell apart: above 2²⁴ it rounds to a neighbour."""


class Embedding(Layer):
    """Look up a learned vector for each code, in one column or in each of several.

    Forward:
        y = W[x]
    Backward:
        ∂e/∂x = 0
        ∂e/∂W[k] = Σ over rows with x = k of ∂e/∂y

    A code is no quantity: ∂e/∂x is zero. Of several columns, each has rows of its own in W, one column after the other,
    and the vectors of a row of x stand side by side in y.

    Args:
        codes: How many codes there are; they are the whole numbers 0 … codes − 1. For several columns a list with a
            number for each: ``Embedding([12, 7], 4)`` takes x ``(batch, 2)`` and gives y ``(batch, 8)``.
        out_features: Length of a vector; of several columns, of each vector.
        weight_initializer: First values of W, ``(codes of all columns, out_features)``; default N(0, 1).
        dtype: float64 or float32.

    Example:
        >>> month_and_weekday = Embedding([12, 7], 4)
        >>> month_and_weekday.predict(np.array([[0.0, 6.0], [11.0, 0.0]])).shape
        (2, 8)
    """

    has_input_gradient = False
    _shapes: ClassVar = {"weight": ("codes", "out_features")}
    _text = "{0.codes} -> {0._width}"
    _rows: npt.NDArray[np.intp] = kept()

    def __init__(
        self,
        codes: int | Sequence[int],
        out_features: int,
        *,
        weight_initializer: Initializer | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        several = listed(codes, "Embedding(codes)", "whole numbers") if hasattr(codes, "__iter__") else [codes]
        counts = [positive_int(count, "Embedding(codes)") for count in several]
        if not counts:
            raise ArgumentError("Embedding(codes): expected a number of codes for at least one column, got none")
        self.codes: int | list[int] = counts if hasattr(codes, "__iter__") else counts[0]
        self.in_features: int = len(counts)
        self.out_features: int = positive_int(out_features, "Embedding(out_features)")
        self.weight_initializer: Initializer = Normal() if weight_initializer is None else weight_initializer
        self.weight: Parameter = Parameter(self.weight_initializer, (sum(counts), self.out_features), dtype=dtype)
        self._counts = np.array(counts)
        self._first_rows = np.cumsum([0, *counts[:-1]])

    @classmethod
    @override
    def _array_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        codes = arguments["codes"]
        return {"weight": (sum(codes) if isinstance(codes, list) else codes, arguments["out_features"])}

    @property
    def _width(self) -> int:
        return self.in_features * self.out_features

    def compute(self, x: Array) -> Array:
        """Y = W[x]."""
        return self.weight.value[self.rows_of(x)].reshape(-1, self._width)

    @override
    def forward(self, x: Array) -> Array:
        self._rows = self.rows_of(x)
        return self.weight.value[self._rows].reshape(-1, self._width)

    @override
    def backward(self, grad: Array) -> Array:
        self.add_gradients(grad)
        return np.zeros((len(grad), self.in_features), grad.dtype)

    def add_gradients(self, grad: Array) -> None:
        """Add each row of ∂e/∂y to the row of its code."""
        if grad.shape != (len(self._rows), self._width):
            refuse_gradient(self, grad, (len(self._rows), self._width))
        gradient, rows = self.weight.grad, self._rows.reshape(-1)
        grad = grad.reshape(-1, self.out_features)
        if len(rows) > MANY and grad.dtype == np.float32:
            # In float64, because the error of a sum grows with its rows: those of each code one after the other.
            order = np.argsort(rows, kind="stable")
            rows, begins = np.unique(rows[order], return_index=True)
            grad = np.add.reduceat(grad[order], begins, axis=0, dtype=np.float64).astype(np.float32)
        np.add.at(gradient, rows, grad)
        self.weight.grad = gradient

    def rows_of(self, x: Array) -> npt.NDArray[np.intp]:
        """Return the row of W for each code, ``(batch, columns)``; refuse a number that is not a code."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise width_error(self, self.in_features, x)
        if x.dtype == np.float32 and self._counts.max() > FLOAT32_CODES:
            raise DTypeError(
                f"{self}: expected at most {FLOAT32_CODES} codes in float32, which rounds larger ones to their "
                "neighbours; use float64"
            )
        good = (x >= 0) & (x < self._counts) & (x == np.floor(x))
        if not good.all():
            row, column = (int(place) for place in np.argwhere(~good)[0])
            where = f" of column {column}" if self.in_features > 1 else ""
            raise DataError(
                f"{self}: expected whole codes in 0 … {self._counts[column] - 1}{where}, got {x[row, column]} "
                f"at row {row}"
            )
        rows: npt.NDArray[np.intp] = x.astype(np.intp) + self._first_rows
        return rows
