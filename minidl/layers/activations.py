"""Activations: functions of each number alone, and Softmax, a function of each row.

Each class writes its equation once, as `compute`, and its derivative as `gradient`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, positive_int, real, width_error
from .._core.functions import normal_distribution, sigmoid, softmax, softplus
from .._core.parameter import Parameter
from ..errors import DTypeError
from ..initializers import Constant, HeUniform, Initializer
from .base import Layer, kept, refuse_gradient


class KeepsWidth(Layer):
    """Base of layers with an output as wide as the input."""

    keeps_width = True

    @override
    def output_features(self, input_features: int) -> int:
        return input_features


class Pointwise(KeepsWidth, ABC):
    """Base of layers that are one function: a subclass writes y as ``compute(x)`` and ∂e/∂x as ``gradient(grad)``.

    `gradient` finds the input of the last `forward` in ``self._x`` and its output in ``self._y``.
    """

    _x: Array = kept()
    _y: Array = kept()

    @abstractmethod
    def compute(self, x: Array) -> Array:
        """Compute y."""

    @abstractmethod
    def gradient(self, grad: Array) -> Array:
        """Compute ∂e/∂x; ``grad`` has the shape of y."""

    @override
    def forward(self, x: Array) -> Array:
        y = self.compute(x)
        self._x, self._y = x, y
        return y

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != self._y.shape:
            refuse_gradient(self, grad, self._y.shape)
        return self.gradient(grad)


class Rectifier(Pointwise, ABC):
    """Base of activations that pass positive numbers and suppress negative ones, which halves the variance.

    The weights before it start larger by √2 (He et al. 2015, section 2.2).
    """

    initializer_before: Initializer = HeUniform()


class Activation(Pointwise):
    """Apply any function, given with its derivative, to each number: the article's equation (2).

    Forward:
        y = f(x)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ f′(x)

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
    def compute(self, x: Array) -> Array:
        y: Array = self.function(x)
        return y.copy() if np.may_share_memory(x, y) else y

    @override
    def gradient(self, grad: Array) -> Array:
        dx: Array = grad * self.derivative(self._x)
        return dx

    @override
    def __repr__(self) -> str:
        return f"Activation({getattr(self.function, '__name__', repr(self.function))})"


class Identity(Pointwise):
    """Return the input as it is.

    Forward:
        y = x
    Backward:
        ∂e/∂x = ∂e/∂y

    Example:
        >>> Identity()(np.array([[-2.0, 0.0, 2.0]]))
        array([[-2.,  0.,  2.]])
    """

    @override
    def compute(self, x: Array) -> Array:
        return x.copy()

    @override
    def gradient(self, grad: Array) -> Array:
        return grad


class Sigmoid(Pointwise):
    """Apply the logistic function, whose values are between 0 and 1.

    Forward:
        y = 1 / (1 + e⁻ˣ)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ y ∘ (1 − y)
    """

    @override
    def compute(self, x: Array) -> Array:
        return sigmoid(x)

    @override
    def gradient(self, grad: Array) -> Array:
        return grad * self._y * (1.0 - self._y)


class Tanh(Pointwise):
    """Apply the hyperbolic tangent, whose values are between −1 and 1.

    Forward:
        y = tanh(x)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ (1 − y²)
    """

    @override
    def compute(self, x: Array) -> Array:
        return np.tanh(x)

    @override
    def gradient(self, grad: Array) -> Array:
        return grad * (1.0 - self._y * self._y)


class ReLU(Rectifier):
    """Set negative numbers to zero: the rectified linear unit.

    Forward:
        y = max(x, 0)
    Backward:
        ∂e/∂x = ∂e/∂y if x > 0, else 0
    """

    @override
    def compute(self, x: Array) -> Array:
        # Clipping between two numbers is four times as fast as the maximum with one, but slower to start.
        return np.maximum(x, 0.0) if x.size < 4096 else x.clip(0.0, np.inf)

    @override
    def gradient(self, grad: Array) -> Array:
        return grad * (self._y > 0.0).astype(grad.dtype)


class LeakyReLU(Rectifier):
    """Multiply negative numbers by a small slope.

    Forward:
        y = x if x > 0, else a x
    Backward:
        ∂e/∂x = ∂e/∂y if x > 0, else a ∂e/∂y

    Args:
        slope: a, the slope below zero.

    Example:
        >>> LeakyReLU(0.1)(np.array([[-2.0, 0.0, 2.0]]))
        array([[-0.2,  0. ,  2. ]])
    """

    _text = "{0.slope}"
    def __init__(self, slope: float = 0.01) -> None:
        self.slope: float = real(slope, "LeakyReLU(slope)", least=0)

    @override
    def compute(self, x: Array) -> Array:
        return np.where(x > 0.0, x, self.slope * x)

    @override
    def gradient(self, grad: Array) -> Array:
        return np.where(self._x > 0.0, grad, self.slope * grad)


class ELU(Rectifier):
    """Bend negative numbers towards a limit: the exponential linear unit (Clevert et al. 2016, equation 15).

    Forward:
        y = x if x > 0, else a (eˣ − 1)
    Backward:
        ∂e/∂x = ∂e/∂y if x > 0, else a eˣ ∘ ∂e/∂y

    Args:
        alpha: a, the limit far below zero.

    Example:
        >>> ELU()(np.array([[-50.0, 0.0, 2.0]]))
        array([[-1.,  0.,  2.]])
    """

    _text = "{0.alpha}"
    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha: float = real(alpha, "ELU(alpha)", least=0)

    @override
    def compute(self, x: Array) -> Array:
        return np.where(x > 0.0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))

    @override
    def gradient(self, grad: Array) -> Array:
        return grad * np.where(self._x > 0.0, 1.0, self.alpha * np.exp(np.minimum(self._x, 0.0)))


class Gated(Rectifier, ABC):
    """Base of y = x g(x): a subclass writes g as ``gate(x)``, and y′ as ``slope(x, gate)``."""

    _gate: Array = kept()

    @abstractmethod
    def gate(self, x: Array) -> Array:
        """Compute g(x)."""

    @abstractmethod
    def slope(self, x: Array, gate: Array) -> Array:
        """Compute y′ = g(x) + x g′(x) from x and g(x)."""

    @override
    def compute(self, x: Array) -> Array:
        return _bounded_below(x) * self.gate(x)

    @override
    def forward(self, x: Array) -> Array:
        self._x, self._gate = x, self.gate(x)
        y = self._y = _bounded_below(x) * self._gate
        return y

    @override
    def gradient(self, grad: Array) -> Array:
        return grad * self.slope(self._x, self._gate)


class GELU(Gated):
    """Multiply each number by its normal probability: the Gaussian error linear unit (Hendrycks and Gimpel 2016).

    Forward:
        y = x ∘ Φ(x)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ (Φ(x) + x ∘ φ(x))

    Φ is the normal distribution function, and φ = Φ′ its density.

    Example:
        >>> GELU()(np.array([[-2.0, 0.0, 2.0]])).round(3)
        array([[-0.046,  0.   ,  1.954]])
    """

    @override
    def gate(self, x: Array) -> Array:
        return normal_distribution(x)

    @override
    def slope(self, x: Array, gate: Array) -> Array:
        x = np.clip(x, -50.0, 50.0)
        density = np.exp(-0.5 * x * x) * (2.0 * np.pi) ** -0.5
        slope: Array = gate + x * density
        return slope


class SiLU(Gated):
    """Multiply each number by its logistic function; also called swish (Elfwing et al. 2018).

    Forward:
        y = x ∘ σ(x)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ σ(x) ∘ (1 + x ∘ (1 − σ(x)))

    σ is the function of `Sigmoid`.

    Example:
        >>> SiLU()(np.array([[-2.0, 0.0, 2.0]])).round(3)
        array([[-0.238,  0.   ,  1.762]])
    """

    @override
    def gate(self, x: Array) -> Array:
        return sigmoid(x)

    @override
    def slope(self, x: Array, gate: Array) -> Array:
        x = np.clip(x, -1e3, 1e3)
        return gate * (1.0 + x * (1.0 - gate))


class Softplus(Rectifier):
    """Smooth the corner of `ReLU` (Dugas et al. 2001).

    Forward:
        y = log(1 + eˣ)
    Backward:
        ∂e/∂x = ∂e/∂y ∘ σ(x)

    σ is the function of `Sigmoid`.

    Example:
        >>> Softplus()(np.array([[-2.0, 0.0, 2.0]])).round(3)
        array([[0.127, 0.693, 2.127]])
    """

    @override
    def compute(self, x: Array) -> Array:
        return softplus(x)

    @override
    def gradient(self, grad: Array) -> Array:
        return grad * sigmoid(self._x)


class Softmax(Pointwise):
    """Turn each row into probabilities, which are positive and sum to 1.

    Forward:
        y = eˣ / Σ over columns of eˣ
    Backward:
        ∂e/∂x = y ∘ (∂e/∂y − Σ over columns of y ∘ ∂e/∂y)
    """

    @override
    def compute(self, x: Array) -> Array:
        if x.ndim != 2:
            raise width_error(self, None, x)
        return softmax(x)

    @override
    def gradient(self, grad: Array) -> Array:
        return self._y * (grad - np.add.reduce(grad * self._y, axis=1, keepdims=True))


class PReLU(Rectifier):
    """Multiply negative numbers by a learned slope: one for all, or one for each feature (He et al. 2015, equation 1).

    Forward:
        y = x if x > 0, else a x
    Backward:
        ∂e/∂x = ∂e/∂y if x > 0, else a ∂e/∂y
        ∂e/∂a = Σ over x ≤ 0 of x ∘ ∂e/∂y

    With a slope for each feature, the sum is over the rows of that feature.

    Args:
        slope: First value of a.
        features: Width of the input, for a slope of each feature; None for one slope and any width.
        dtype: float64 or float32.

    Example:
        >>> PReLU()(np.array([[-2.0, 0.0, 2.0]]))
        array([[-0.5,  0. ,  2. ]])
    """

    _shapes: ClassVar = {"weight": ("features",)}
    _text = "{0.slope:g}{0._mark}"

    def __init__(
        self, slope: float = 0.25, *, features: int | None = None, dtype: npt.DTypeLike = np.float64
    ) -> None:
        self.slope: float = real(slope, "PReLU(slope)")
        self.features: int | None = None if features is None else positive_int(features, "PReLU(features)")
        self.in_features: int | None = self.features
        self.weight: Parameter = Parameter(Constant(self.slope), (self.features or 1,), dtype=dtype)

    @property
    def _mark(self) -> str:
        return "" if self.features is None else f", features={self.features}"

    @classmethod
    @override
    def _array_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        features = arguments.get("features")
        return {"weight": (1 if features is None else features,)}

    @override
    def compute(self, x: Array) -> Array:
        if self.features is not None and x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)
        return np.where(x > 0.0, x, self.weight.value * x)

    @override
    def gradient(self, grad: Array) -> Array:
        below = np.where(self._x > 0.0, 0.0, self._x)
        if self.features is None:
            self.weight.grad += np.sum(grad * below)
        else:
            self.weight.add_rows(grad * below)
        return np.where(self._x > 0.0, grad, self.weight.value * grad)


def _bounded_below(x: Array) -> Array:
    """Replace −∞ by the smallest finite number, so that −∞ · 0 in a left tail is 0 and not NaN."""
    return np.maximum(x, np.finfo(x.dtype).min)
