"""Images and other arrays as rows of features."""

from __future__ import annotations

from math import prod

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from .base import Layer, kept, refuse_gradient


class Flatten(Layer):
    """Put all dimensions after the first into one: images ``(batch, height, width)`` become rows of features.

    Forward:
        y = reshape(x)
    Backward:
        ∂e/∂x = reshape(∂e/∂y)

    Example:
        >>> images = np.ones((10, 8, 8))
        >>> Flatten()(images).shape
        (10, 64)
    """

    takes_any_rank = True
    keeps_width = True
    _shape: tuple[int, ...] = kept()

    def compute(self, x: Array) -> Array:
        """Put the dimensions of a row into one."""
        return x.reshape(len(x), int(np.prod(x.shape[1:]))).copy()

    @override
    def forward(self, x: Array) -> Array:
        y = self.compute(x)
        self._shape = x.shape
        return y

    @override
    def backward(self, grad: Array) -> Array:
        if grad.size != prod(self._shape):
            refuse_gradient(self, grad, (self._shape[0], prod(self._shape[1:])))
        return grad.reshape(self._shape)
