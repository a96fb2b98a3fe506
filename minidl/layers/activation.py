"""Activations: functions applied to each number alone, and Softmax, applied to each row.

Each class states its equation in `predict`; `forward` keeps what the derivative in `backward` needs.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array, real
from ..errors import DTypeError
from ..functions import normal_distribution, sigmoid, softmax, softplus
from ..initializers import HeUniform
from ..typing import override
from .layer import Layer


class Elementwise(Layer):
    """A layer that keeps the width: as many features come out as go in."""

    keeps_width = True

    @override
    def output_features(self, input_features: int) -> int:
        return input_features


class Rectifier(Elementwise, ABC):
    """An activation that lets positive numbers through and holds negative ones back, so that half the variance is lost.

    The weights before it start larger by √2 (He et al. 2015, section 2.2).
    """

    initializer_before = HeUniform()


class Activation(Elementwise):
    """Compute y = f(x) for any pair of elementwise functions: the article's equation (2).

    Args:
        function: f, from an array to an array of its shape.
        derivative: f′, the same, at the *input* of the layer.

    Example:
        >>> sine = Activation(np.sin, np.cos)
        >>> sine(np.array([[0.0, 0.5]]))
        array([[0.        , 0.47942554]])
    """

    def __init__(self, function: Callable[[Any], Any], derivative: Callable[[Any], Any]) -> None:
        for name, value in (("function", function), ("derivative", derivative)):
            if not callable(value):
                raise DTypeError(f"Activation({name}): expected a function of an array, got {value!r}")
        self.function = function
        self.derivative = derivative

    @override
    def predict(self, x: Array) -> Array:
        y: Array = self.function(x)
        return y.copy() if np.may_share_memory(x, y) else y

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return Activation.predict(self, x)

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        dx: Array = grad * self.derivative(self._x)
        return dx

    @override
    def __repr__(self) -> str:
        return f"Activation({getattr(self.function, '__name__', repr(self.function))})"


class Identity(Elementwise):
    """Compute y = x, y′ = 1."""

    @override
    def predict(self, x: Array) -> Array:
        return x.copy()

    @override
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._shape)
        return grad


class Sigmoid(Elementwise):
    """Compute the logistic function y = 1 / (1 + e⁻ˣ), y′ = y (1 − y)."""

    @override
    def predict(self, x: Array) -> Array:
        return sigmoid(x)

    @override
    def forward(self, x: Array) -> Array:
        self._y = sigmoid(x)
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._y.shape)
        return grad * self._y * (1.0 - self._y)


class Tanh(Elementwise):
    """Compute y = tanh x, y′ = 1 − y²."""

    @override
    def predict(self, x: Array) -> Array:
        y: Array = np.tanh(x)
        return y

    @override
    def forward(self, x: Array) -> Array:
        self._y = Tanh.predict(self, x)
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._y.shape)
        return grad * (1.0 - self._y * self._y)


class ReLU(Rectifier):
    """Compute y = max(x, 0), y′ = 1 for x > 0, else 0."""

    @override
    def predict(self, x: Array) -> Array:
        # Clipping between two numbers is four times as fast as the maximum with one, but slower to start.
        y: Array = np.maximum(x, 0.0) if x.size < 4096 else x.clip(0.0, np.inf)
        return y

    @override
    def forward(self, x: Array) -> Array:
        self._y = ReLU.predict(self, x)
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._y.shape)
        dx: Array = grad * (self._y > 0.0).astype(grad.dtype)
        return dx


class LeakyReLU(Rectifier):
    """Compute y = x for x > 0, else a x.

    Args:
        slope: a, the slope below zero.
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = real(slope, "LeakyReLU(slope)", least=0)

    @override
    def predict(self, x: Array) -> Array:
        y: Array = np.where(x > 0.0, x, self.slope * x)
        return y

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return LeakyReLU.predict(self, x)

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        dx: Array = np.where(self._x > 0.0, grad, self.slope * grad)
        return dx

    @override
    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ELU(Rectifier):
    """Compute y = x for x > 0, else a (eˣ − 1); y′ = 1, else a eˣ = y + a (Clevert et al. 2016, equation 15).

    Args:
        alpha: a, the limit far below zero.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real(alpha, "ELU(alpha)", least=0)

    @override
    def predict(self, x: Array) -> Array:
        y: Array = np.where(x > 0.0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))
        return y

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return ELU.predict(self, x)

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        dx: Array = grad * np.where(self._x > 0.0, 1.0, self.alpha * np.exp(np.minimum(self._x, 0.0)))
        return dx

    @override
    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


class GELU(Rectifier):
    """Compute y = x Φ(x), y′ = Φ(x) + x φ(x), φ = Φ′ the normal density (Hendrycks and Gimpel 2016)."""

    @override
    def predict(self, x: Array) -> Array:
        return _finite(x) * normal_distribution(x)

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        self._probability = normal_distribution(x)
        return _finite(x) * self._probability

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        x = np.clip(self._x, -50.0, 50.0)
        density = np.exp(-0.5 * x * x) * (2.0 * np.pi) ** -0.5
        dx: Array = grad * (self._probability + x * density)
        return dx


class SiLU(Rectifier):
    """Compute y = x σ(x), y′ = σ(x) (1 + x (1 − σ(x))), also called swish (Elfwing et al. 2018)."""

    @override
    def predict(self, x: Array) -> Array:
        return _finite(x) * sigmoid(x)

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        self._sigmoid = sigmoid(x)
        return _finite(x) * self._sigmoid

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        x = np.clip(self._x, -1e3, 1e3)
        dx: Array = grad * (self._sigmoid * (1.0 + x * (1.0 - self._sigmoid)))
        return dx


class Softplus(Rectifier):
    """Compute y = log(1 + eˣ), y′ = σ(x) (Dugas et al. 2001)."""

    @override
    def predict(self, x: Array) -> Array:
        return softplus(x)

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return softplus(x)

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._x.shape)
        return grad * sigmoid(self._x)


class Softmax(Elementwise):
    """Compute y_j = eˣʲ / Σₖ eˣᵏ of each row; ∂e/∂x = y ∘ (g − Σₖ gₖ yₖ) with g = ∂e/∂y."""

    @override
    def predict(self, x: Array) -> Array:
        return softmax(x)

    @override
    def forward(self, x: Array) -> Array:
        self._y = softmax(x)
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        self._check(grad, self._y.shape)
        dx: Array = self._y * (grad - np.add.reduce(grad * self._y, axis=1, keepdims=True))
        return dx


def _finite(x: Array) -> Array:
    """Replace −∞ by the least number, so that −∞ · 0 in a left tail is 0 and not NaN."""
    y: Array = np.maximum(x, np.finfo(x.dtype).min)
    return y
