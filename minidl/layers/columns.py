"""Columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from ..errors import ArgumentError, DTypeError, ShapeError
from .base import Layer, kept, refuse_gradient


class Columns(Layer):
    """Select columns, so that one table can feed several branches.

    Forward:
        y[:, k] = x[:, indices[k]]
    Backward:
        ∂e/∂x[:, j] = Σ over k with indices[k] = j of ∂e/∂y[:, k]

    Args:
        indices: Columns to select, from 0, in the order wanted.

    Raises:
        ArgumentError: no column, or a negative one.
        DTypeError: no list, or one that holds something else than whole numbers.
    """

    _shape: tuple[int, ...] = kept()
    _text = "{0.indices}"

    def __init__(self, indices: Sequence[int]) -> None:
        if not isinstance(indices, (Sequence, np.ndarray)) or not (
            getattr(indices, "ndim", 1) and all(map(_is_whole, indices))
        ):
            raise DTypeError(f"Columns(indices): expected a list of whole numbers such as [0, 2], got {indices!r}")
        self.indices: list[int] = [int(index) for index in indices]
        if not self.indices or min(self.indices) < 0:
            raise ArgumentError(f"Columns(indices): expected at least one column, from 0, got {list(indices)}")

    def compute(self, x: Array) -> Array:
        """Select the columns."""
        if x.ndim != 2 or x.shape[1] <= max(self.indices):
            raise ShapeError(f"{self}: expected x with at least {max(self.indices) + 1} columns, got {x.shape}")
        return x[:, self.indices]

    @override
    def forward(self, x: Array) -> Array:
        y = self.compute(x)
        self._shape = x.shape
        return y

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != (self._shape[0], len(self.indices)):
            refuse_gradient(self, grad, (self._shape[0], len(self.indices)))
        dx: Array = np.zeros(self._shape, grad.dtype)
        np.add.at(dx.T, np.array(self.indices), grad.T)
        return dx

    def add_gradients(self, grad: Array) -> None:
        """Do nothing: nothing is learned here."""


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
