"""Activations with one fault each, functions that one might well write down so."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from minidl import Activation, Array, Layer, Tanh


def logistic(x: Any) -> Any:
    """1 / (1 + e⁻ˣ) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def logistic_prime(x: Any) -> Any:
    """Right."""
    return logistic(x) * (1.0 - logistic(x))


def overflowing_prime(x: Any) -> Any:
    """Right, but e^x / (1 + e^x)² overflows for large x."""
    return np.exp(x) / (1.0 + np.exp(x)) ** 2


def at_the_output(x: Any) -> Any:
    """y (1 − y) of x instead of y."""
    return x * (1.0 - x)


def bent_identity(x: Any) -> Any:
    """x + (√(x² + 1) − 1) / 2."""
    return x + (np.sqrt(x * x + 1.0) - 1.0) / 2.0


def bent_identity_prime(x: Any) -> Any:
    """Wrong: the ½ is missing."""
    return x / np.sqrt(x * x + 1.0) + 1.0


def naive_softplus(x: Any) -> Any:
    """Right in the middle, but e^x overflows."""
    return np.log1p(np.exp(x))


def over_zero(x: Any) -> Any:
    """Sin x / x, which is 0 / 0 at 0."""
    return np.sin(x) / x


def over_zero_prime(x: Any) -> Any:
    """Right away from 0."""
    return np.cos(x) / x - np.sin(x) / (x * x)


def one(x: Any) -> Any:
    """Right for the identity, but always float64."""
    return np.float64(1.0)


def wrong_tail(x: Any) -> Any:
    """The derivative of tanh, taken as 0 above 4."""
    return np.where(x.real > 4.0, 0.0, 1.0 - np.tanh(x) ** 2)


class RowNorm(Layer):
    """y = x − mean of the row, with a right derivative: a layer, but no activation."""

    @override
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        y: Array = x - np.add.reduce(x, axis=1, keepdims=True) / x.shape[1]
        return y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = grad - np.add.reduce(grad, axis=1, keepdims=True) / self._shape[1]
        return dx


class DropsAColumn(Tanh):
    """Narrows the row, and says so."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return super().predict(x)[:, 1:].copy()

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        self._y = self.predict(x)
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = np.zeros_like(self._x)
        dx[:, 1:] = super().backward(grad)
        return dx

    @override
    def output_features(self, input_features: int) -> int:
        return max(input_features - 1, 0)


def lambdas() -> Activation:
    """A right pair that pickle does not take."""
    return Activation(lambda x: x * x, lambda x: 2 * x)
