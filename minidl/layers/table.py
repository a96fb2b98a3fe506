"""Layers at the entrance of a network: columns of a table, codes of a category, images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..arrays import Array, positive_int, width_error
from ..errors import ArgumentError, DataError, DTypeError, ShapeError
from ..initializers import Initializer, Normal
from ..parameter import Parameter
from ..typing import override
from .layer import Layer


class Columns(Layer):
    """Select columns, y = x[:, indices], so that one table can feed several branches.

    ∂e/∂x is ∂e/∂y in the selected columns and zero in the others; a column selected twice adds up.

    Args:
        indices: Columns to select, from 0, in the order wanted.

    Raises:
        ArgumentError: no column, or a negative one.
        DTypeError: no list, or one that holds something else than whole numbers.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        if not isinstance(indices, (Sequence, np.ndarray)) or not all(_is_whole(index) for index in indices):
            raise DTypeError(f"Columns(indices): expected a list of whole numbers such as [0, 2], got {indices!r}")
        self.indices = [int(index) for index in indices]
        if not self.indices or min(self.indices) < 0:
            raise ArgumentError(f"Columns(indices): expected at least one column, from 0, got {list(indices)}")

    @override
    def predict(self, x: Array) -> Array:
        if x.ndim != 2 or x.shape[1] <= max(self.indices):
            raise ShapeError(f"{self}: expected x with at least {max(self.indices) + 1} columns, got {x.shape}")
        return x[:, self.indices]

    @override
    def forward(self, x: Array) -> Array:
        y = Columns.predict(self, x)
        self._shape = x.shape
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, (self._shape[0], len(self.indices)))
        dx: Array = np.zeros(self._shape, grad.dtype)
        np.add.at(dx.T, np.array(self.indices), grad.T)
        return dx

    @override
    def backward_parameters(self, grad: Array) -> None:
        """Do nothing: nothing is learned here."""

    @override
    def __repr__(self) -> str:
        return f"Columns({self.indices})"


class Embedding(Layer):
    """Turn a column of codes into learned vectors, y = W[x].

    ∂e/∂W adds each row of ∂e/∂y to the row of its code. A code is no quantity: ∂e/∂x is zero.

    Args:
        codes: How many codes there are; they are the whole numbers 0 … codes − 1.
        out_features: Length of a vector.
        weight_initializer: First values of W, ``(codes, out_features)``; default N(0, 1).
        dtype: float64 or float32.
    """

    has_input_gradient = False
    in_features = 1

    def __init__(
        self,
        codes: int,
        out_features: int,
        *,
        weight_initializer: Initializer | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.codes = positive_int(codes, "Embedding(codes)")
        self.out_features = positive_int(out_features, "Embedding(out_features)")
        self.weight_initializer = Normal() if weight_initializer is None else weight_initializer
        self.weight = Parameter(self.weight_initializer, (codes, out_features), dtype=dtype)

    @override
    def predict(self, x: Array) -> Array:
        return self.weight.value[self._codes_in(x)]

    @override
    def forward(self, x: Array) -> Array:
        self._rows = self._codes_in(x)
        return self.weight.value[self._rows]

    @override
    def backward(self, grad: Array) -> Array:
        Embedding.backward_parameters(self, grad)
        return np.zeros((len(grad), 1), grad.dtype)

    @override
    def backward_parameters(self, grad: Array) -> None:
        self._check(grad, (len(self._rows), self.out_features))
        gradient = self.weight.grad
        np.add.at(gradient, self._rows, grad)
        self.weight.grad = gradient

    def _codes_in(self, x: Array) -> npt.NDArray[np.intp]:
        """Return the codes as row numbers; refuse what is not one of them."""
        if x.ndim != 2 or x.shape[1] != 1:
            raise width_error(self, 1, x)
        column = x[:, 0]
        good = (column >= 0) & (column < self.codes) & (column == np.floor(column))
        if not good.all():
            row = int(np.argmin(good))
            raise DataError(f"{self}: expected whole codes in 0 … {self.codes - 1}, got {column[row]} at row {row}")
        return column.astype(np.intp)

    @override
    def __repr__(self) -> str:
        return f"Embedding({self.codes} -> {self.out_features}{self._frozen_mark()})"


class Flatten(Layer):
    """Put all dimensions after the first into one: images ``(batch, height, width)`` become rows of features."""

    takes_any_rank = True
    keeps_width = True

    @override
    def predict(self, x: Array) -> Array:
        return x.reshape(len(x), int(np.prod(x.shape[1:]))).copy()

    @override
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        return Flatten.predict(self, x)

    @override
    def backward(self, grad: Array) -> Array:
        return grad.reshape(self._shape)


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
