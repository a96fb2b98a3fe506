"""Normalisation: of each feature over the batch, or of each row over its features."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, positive_int, real, sum_of_rows, width_error
from .._core.parameter import Buffer, Parameter, float_dtype
from ..errors import ShapeError
from ..initializers import Constant, Zeros
from ._parts import with_parts
from .activations import KeepsWidth
from .base import Layer, kept, refuse_gradient


class _Normalization(KeepsWidth):
    """Base of y = w ∘ x̂ + b with x̂ = (x − μ) / √(σ² + ε), μ and σ² of each row over its features."""

    _shapes: ClassVar = dict.fromkeys(("weight", "bias"), ("features",))
    _text = "{0.features}"
    _normal: Array = kept()
    _inverse_deviation: Array = kept()
    _centred: ClassVar[bool] = True
    """Whether there are μ and b; else both are 0."""
    _fixed = False
    """Whether μ and σ² do not depend on x."""

    def __init__(self, features: int, *, epsilon: float = 1e-5, dtype: npt.DTypeLike = np.float64) -> None:
        name = type(self).__name__
        self.features: int = positive_int(features, f"{name}(features)")
        self.in_features: int = self.features
        self.epsilon: float = real(epsilon, f"{name}(epsilon)", above=0)
        self.weight: Parameter = Parameter(Constant(1.0), (features,), dtype=dtype)
        if self._centred:
            self.bias: Parameter = Parameter(Zeros(), (features,), dtype=dtype)

    def _mean(self, x: Array) -> Any:
        return np.add.reduce(x, axis=1, keepdims=True) / self.features

    def _check_width(self, x: Array) -> None:
        if x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)

    def _output(self, centred: Array, variance: Array) -> Array:
        """Return y, and keep x̂ and 1 / √(σ² + ε)."""
        self._inverse_deviation = 1.0 / np.sqrt(variance + self.epsilon)
        self._normal = centred * self._inverse_deviation
        y = self._normal * self.weight.value
        return y + self.bias.value if self._centred else y

    @override
    def forward(self, x: Array) -> Array:
        self._check_width(x)
        centred = x - self._mean(x) if self._centred else x
        return self._output(centred, self._mean(centred * centred))

    @override
    def backward(self, grad: Array) -> Array:
        normal = self._normal
        if grad.shape != normal.shape:
            refuse_gradient(self, grad, normal.shape)
        self.weight.add_rows(grad * normal)
        if self._centred:
            self.bias.add_rows(grad)
        h = grad * self.weight.value
        if not self._fixed:
            if self._centred:
                h -= self._mean(h)
            h -= normal * self._mean(h * normal)
        h *= self._inverse_deviation
        return h


class LayerNorm(_Normalization):
    """Shift and scale each row to mean 0 and variance 1, then by learned numbers (Ba et al. 2016).

    Forward:
        μ = mean(x)
        s = √(mean((x − μ)²) + ε)
        x̂ = (x − μ) / s
        y = w ∘ x̂ + b
    Backward:
        h = w ∘ ∂e/∂y
        ∂e/∂x = (h − mean(h) − x̂ ∘ mean(h ∘ x̂)) / s
        ∂e/∂w = Σ over rows of x̂ ∘ ∂e/∂y
        ∂e/∂b = Σ over rows of ∂e/∂y

    Each mean is that of a row.

    Args:
        features: Width of the input.
        epsilon: ε > 0.
        dtype: float64 or float32.
    """


class RMSNorm(_Normalization):
    """Divide each row by the root of its mean square, then scale by learned numbers.

    Forward:
        s = √(mean(x²) + ε)
        x̂ = x / s
        y = w ∘ x̂
    Backward:
        h = w ∘ ∂e/∂y
        ∂e/∂x = (h − x̂ ∘ mean(h ∘ x̂)) / s
        ∂e/∂w = Σ over rows of x̂ ∘ ∂e/∂y

    Each mean is that of a row (Zhang and Sennrich 2019, equation 4).

    Args:
        features: Width of the input.
        epsilon: ε > 0.
        dtype: float64 or float32.

    Example:
        >>> RMSNorm(2)(np.array([[3.0, 4.0]])).round(3)
        array([[0.849, 1.131]])
    """

    _shapes: ClassVar = dict.fromkeys(("weight",), ("features",))
    _centred = False


class BatchNorm(_Normalization):
    """Shift and scale each feature to mean 0 and variance 1, then by learned numbers (Ioffe and Szegedy 2015).

    Forward:
        μ = mean(x)
        s = √(mean((x − μ)²) + ε)
        x̂ = (x − μ) / s
        y = w ∘ x̂ + b
    Backward:
        h = w ∘ ∂e/∂y
        ∂e/∂x = (h − mean(h) − x̂ ∘ mean(h ∘ x̂)) / s
        ∂e/∂w = Σ over rows of x̂ ∘ ∂e/∂y
        ∂e/∂b = Σ over rows of ∂e/∂y

    Each mean is that of a feature over the batch. Prediction uses running statistics, which each `forward` moves by
    ``momentum`` towards those of the batch; the running variance is the unbiased one, as in PyTorch. If the layer is
    frozen, `forward` uses them as well and leaves them alone. Then μ and s do not depend on x: ∂e/∂x = h / s.

    Args:
        features: Width of the input.
        momentum: Share of the newest batch in the running statistics, in (0, 1].
        epsilon: ε > 0.
        dtype: float64 or float32.

    Raises:
        ShapeError: in training, a batch of a single row, whose variance is not defined.
    """

    _shapes: ClassVar = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), ("features",))

    def __init__(
        self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5, dtype: npt.DTypeLike = np.float64
    ) -> None:
        kind = float_dtype(dtype, "BatchNorm(dtype)")
        super().__init__(features, epsilon=epsilon, dtype=kind)
        self.momentum: float = real(momentum, "BatchNorm(momentum)", above=0, most=1)
        self.running_mean: Buffer = Buffer(np.zeros(features, kind))
        self.running_var: Buffer = Buffer(np.ones(features, kind))
        self.num_batches_tracked: Buffer = Buffer(0)

    @property
    def smallest_batch(self) -> int:
        """Rows that a training pass needs at least: two for a variance, one where the statistics are frozen."""
        return 1 if self.running_mean.frozen else 2

    @property
    def couples_rows(self) -> bool:
        """Whether the output of a row depends on the other rows in training: not where the statistics are frozen."""
        return not self.running_mean.frozen

    @override
    def _mean(self, x: Array) -> Any:
        return sum_of_rows(x) / max(len(x), 1)

    @override
    def forward(self, x: Array) -> Array:
        self._check_width(x)
        self._fixed = self.running_mean.frozen
        if self._fixed:
            return self._output(x - self.running_mean.value, self.running_var.value)
        rows = len(x)
        if rows == 1:
            raise ShapeError(f"{self}: expected at least 2 rows in training, got 1; use a larger batch")
        mean = self._mean(x)
        centred = x - mean
        variance = self._mean(centred * centred)
        if rows:
            self._follow(self.running_mean, mean)
            self._follow(self.running_var, variance * (rows / (rows - 1)))
            self.num_batches_tracked.value = self.num_batches_tracked.value + 1
        return self._output(centred, variance)

    def compute(self, x: Array) -> Array:
        """Compute y from the running statistics."""
        self._check_width(x)
        inverse_deviation = 1.0 / np.sqrt(self.running_var.value + self.epsilon)
        normal: Array = (x - self.running_mean.value) * inverse_deviation
        return normal * self.weight.value + self.bias.value

    @override
    def inference(self) -> Layer:
        """Return the layer with frozen running statistics, so that its `forward` uses them."""
        return with_parts(self, lambda _, part: Buffer(part.value).freeze() if isinstance(part, Buffer) else part)

    def _follow(self, running: Buffer, newest: Array) -> None:
        running.value = running.value + self.momentum * (newest.real - running.value)

    @override
    def _frozen_mark(self) -> str:
        only_statistics = self.running_mean.frozen and not (self.weight.frozen or self.bias.frozen)
        return ", fixed statistics" if only_statistics else super()._frozen_mark()
