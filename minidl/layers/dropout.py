"""Dropout, the layer that draws random numbers."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, real
from .activations import Identity, KeepsWidth
from .base import Layer, kept, refuse_gradient


class Dropout(KeepsWidth):
    """Set numbers to zero at random in training; return the input as it is in prediction.

    Forward:
        y = x ∘ m / (1 − p)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ m / (1 − p)

    The mask m is 0 with probability p, else 1, drawn again for each number in each `forward`.

    Source: Srivastava et al. 2014, scaled in training ("inverted").

    Args:
        rate: p in [0, 1).

    Attributes:
        rng: What the masks are drawn from; fresh entropy, until `initialize` seeds it.
    """

    _mask: Array = kept()
    _text = "{0.rate:g}"

    def __init__(self, rate: float = 0.5) -> None:
        self.rate: float = real(rate, "Dropout(rate)", least=0, below=1)
        self.rng: np.random.Generator = np.random.default_rng()

    @override
    def forward(self, x: Array) -> Array:
        kept = self.rng.random(x.shape, dtype=x.real.dtype.type) >= self.rate
        mask = self._mask = np.multiply(kept, 1.0 / (1.0 - self.rate), dtype=x.real.dtype)
        return x * mask

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != self._mask.shape:
            refuse_gradient(self, grad, self._mask.shape)
        return grad * self._mask

    @override
    def inference(self) -> Layer:
        return Identity()

    def compute(self, x: Array) -> Array:
        """Y = x."""
        return x.copy()
