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


class LayerNorm(KeepsWidth):
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε), μ and σ² of each row over its features.

    ∂e/∂x = (h − mean(h) − x̂ mean(h ∘ x̂)) / √(σ² + ε) with h = w ∘ ∂e/∂y (Ba et al. 2016).

    Args:
        features: Width of the input.
        epsilon: ε > 0.
        dtype: float64 or float32.
    """

    _shapes: ClassVar = dict.fromkeys(("weight", "bias"), ("features",))
    _normal: Array = kept()

    def __init__(self, features: int, *, epsilon: float = 1e-5, dtype: npt.DTypeLike = np.float64) -> None:
        self.features: int = positive_int(features, "LayerNorm(features)")
        self.in_features: int = self.features
        self.epsilon: float = real(epsilon, "LayerNorm(epsilon)", above=0)
        self.weight: Parameter = Parameter(Constant(1.0), (features,), dtype=dtype)
        self.bias: Parameter = Parameter(Zeros(), (features,), dtype=dtype)

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)
        centred = x - np.add.reduce(x, axis=1, keepdims=True) / self.features
        variance = np.add.reduce(centred * centred, axis=1, keepdims=True) / self.features
        self._inverse_deviation = 1.0 / np.sqrt(variance + self.epsilon)
        self._normal = centred * self._inverse_deviation
        return self._normal * self.weight.value + self.bias.value

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != self._normal.shape:
            refuse_gradient(self, grad, self._normal.shape)
        self.weight.add_rows(grad * self._normal)
        self.bias.add_rows(grad)
        h = grad * self.weight.value
        h -= np.add.reduce(h, axis=1, keepdims=True) / self.features
        h -= self._normal * (np.add.reduce(h * self._normal, axis=1, keepdims=True) / self.features)
        h *= self._inverse_deviation
        return h

    @override
    def __repr__(self) -> str:
        return f"LayerNorm({self.features}{self._frozen_mark()})"


class RMSNorm(KeepsWidth):
    """Compute y = w ∘ x̂, x̂ = x / √(mean(x²) + ε) of each row (Zhang and Sennrich 2019, equation 4).

    ∂e/∂x = (h − x̂ mean(h ∘ x̂)) / √(mean(x²) + ε) with h = w ∘ ∂e/∂y.

    Args:
        features: Width of the input.
        epsilon: ε > 0.
        dtype: float64 or float32.
    """

    _shapes: ClassVar = dict.fromkeys(("weight",), ("features",))
    _normal: Array = kept()

    def __init__(self, features: int, *, epsilon: float = 1e-5, dtype: npt.DTypeLike = np.float64) -> None:
        self.features: int = positive_int(features, "RMSNorm(features)")
        self.in_features: int = self.features
        self.epsilon: float = real(epsilon, "RMSNorm(epsilon)", above=0)
        self.weight: Parameter = Parameter(Constant(1.0), (features,), dtype=dtype)

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)
        square = np.add.reduce(x * x, axis=1, keepdims=True) / self.features
        self._inverse_root = 1.0 / np.sqrt(square + self.epsilon)
        self._normal = x * self._inverse_root
        return self._normal * self.weight.value

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != self._normal.shape:
            refuse_gradient(self, grad, self._normal.shape)
        self.weight.add_rows(grad * self._normal)
        h = grad * self.weight.value
        h -= self._normal * (np.add.reduce(h * self._normal, axis=1, keepdims=True) / self.features)
        h *= self._inverse_root
        return h

    @override
    def __repr__(self) -> str:
        return f"RMSNorm({self.features}{self._frozen_mark()})"


class BatchNorm(KeepsWidth):
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε), μ and σ² of each feature over the batch.

    ∂e/∂x = w (g − mean(g) − x̂ mean(g ∘ x̂)) / √(σ² + ε) with g = ∂e/∂y, means over the batch
    (Ioffe and Szegedy 2015). Prediction uses running statistics, which each `forward` moves by ``momentum``
    towards those of the batch; the running variance is the unbiased one, as in PyTorch. Where it is frozen, `forward`
    uses them as well and leaves them alone: ∂e/∂x = w g / √(σ² + ε).

    Args:
        features: Width of the input.
        momentum: Share of the newest batch in the running statistics, in (0, 1].
        epsilon: ε > 0.
        dtype: float64 or float32.

    Raises:
        ShapeError: in training, a batch of a single row, whose variance is not defined.
    """

    _shapes: ClassVar = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), ("features",))
    _normal: Array = kept()

    def __init__(
        self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5, dtype: npt.DTypeLike = np.float64
    ) -> None:
        self.features: int = positive_int(features, "BatchNorm(features)")
        self.in_features: int = self.features
        self.momentum: float = real(momentum, "BatchNorm(momentum)", above=0, most=1)
        self.epsilon: float = real(epsilon, "BatchNorm(epsilon)", above=0)
        kind = float_dtype(dtype, "BatchNorm(dtype)")
        self.weight: Parameter = Parameter(Constant(1.0), (features,), dtype=dtype)
        self.bias: Parameter = Parameter(Zeros(), (features,), dtype=dtype)
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
    def forward(self, x: Array) -> Array:
        self._fixed = self.running_mean.frozen
        if self._fixed:
            self._normal, self._inverse_deviation = self._by_running_statistics(x)
            return self._normal * self.weight.value + self.bias.value
        if x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)
        rows = len(x)
        if rows == 1:
            raise ShapeError(f"{self}: expected at least 2 rows in training, got 1; use a larger batch")
        if rows == 0:
            self._normal, self._inverse_deviation = x, np.ones(self.features, x.dtype)
            return x.copy()
        mean = sum_of_rows(x) / rows
        centred = x - mean
        variance = sum_of_rows(centred * centred) / rows
        self._inverse_deviation = 1.0 / np.sqrt(variance + self.epsilon)
        self._normal = centred * self._inverse_deviation
        self._follow(self.running_mean, mean)
        self._follow(self.running_var, variance * (rows / (rows - 1)))
        self.num_batches_tracked.value = self.num_batches_tracked.value + 1
        return self._normal * self.weight.value + self.bias.value

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != self._normal.shape:
            refuse_gradient(self, grad, self._normal.shape)
        rows = max(len(grad), 1)
        self.weight.add_rows(grad * self._normal)
        self.bias.add_rows(grad)
        h = grad * self.weight.value
        if not self._fixed:
            h -= sum_of_rows(h) / rows
            h -= self._normal * (sum_of_rows(h * self._normal) / rows)
        h *= self._inverse_deviation
        return h

    def compute(self, x: Array) -> Array:
        """Compute y from the running statistics."""
        normal, _ = self._by_running_statistics(x)
        return normal * self.weight.value + self.bias.value

    @override
    def inference(self) -> Layer:
        """Return the layer with frozen running statistics, so that its `forward` uses them."""
        def fixed(_: str, part: Any) -> Any:
            return Buffer(part.value).freeze() if isinstance(part, Buffer) else part

        clone: Layer = with_parts(self, fixed)
        return clone

    def _by_running_statistics(self, x: Array) -> tuple[Array, Array]:
        """Return x̂ from the running statistics, and 1 / √(σ² + ε)."""
        if x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)
        inverse_deviation = 1.0 / np.sqrt(self.running_var.value + self.epsilon)
        return (x - self.running_mean.value) * inverse_deviation, inverse_deviation

    def _follow(self, running: Buffer, newest: Array) -> None:
        running.value = running.value + self.momentum * (newest.real - running.value)

    @override
    def __repr__(self) -> str:
        only_statistics = self.running_mean.frozen and not (self.weight.frozen or self.bias.frozen)
        mark = ", fixed statistics" if only_statistics else self._frozen_mark()
        return f"BatchNorm({self.features}{mark})"
