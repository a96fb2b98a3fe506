"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import MANY, Array, flag, ones, positive_int, width_error
from .._core.initializer import Initializer
from .._core.parameter import Parameter
from ..initializers import GlorotUniform, Zeros
from .base import Layer, kept, refuse_gradient


class Dense(Layer):
    """Multiply by a matrix of weights and add a bias: the fully connected layer.

    Forward:
        y = x Wᵀ + b
    Backward:
        ∂e/∂x = ∂e/∂y W
        ∂e/∂W = (∂e/∂y)ᵀ x
        ∂e/∂b = Σ over rows of ∂e/∂y

    These are the article's equations (1), (4), (5) and (6), for a batch: each row is a sample.

    Args:
        in_features: Width of ``x``.
        out_features: Width of ``y``.
        bias: Whether there is a bias b; without it y = x Wᵀ, and the attribute ``bias`` is None.
        weight_initializer: First values of W, ``(out_features, in_features)``; default Glorot uniform. They are drawn
            from fresh entropy; ``initialize(rng)`` draws again.
        bias_initializer: First values of b, ``(out_features,)``; default zero.
        dtype: float64 or float32.

    Raises:
        ArgumentError: a size below 1.
    """

    _shapes: ClassVar = {"weight": ("out_features", "in_features"), "bias": ("out_features",)}
    _text = "{0.in_features} -> {0.out_features}{0._mark}"
    _lines = "weight"
    _x: Array = kept()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        inputs = positive_int(in_features, "Dense(in_features)")
        outputs = positive_int(out_features, "Dense(out_features)")
        weight_initializer = GlorotUniform() if weight_initializer is None else weight_initializer
        bias_initializer = Zeros() if bias_initializer is None else bias_initializer
        self.weight: Parameter = Parameter(weight_initializer, (outputs, inputs), dtype=dtype)
        with_bias = flag(bias, "Dense(bias)")
        # The type leaves None out, so that code for a layer with a bias needs no test.
        own_bias = Parameter(bias_initializer, (outputs,), dtype=dtype) if with_bias else None
        self.bias: Parameter = own_bias  # type: ignore[assignment]
        self.in_features: int = inputs
        self.out_features: int = outputs
        self.weight_initializer: Initializer = weight_initializer
        self.bias_initializer: Initializer = bias_initializer

    def compute(self, x: Array) -> Array:
        """Compute y, equation (1)."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise width_error(self, self.in_features, x)
        y: Array = x.dot(self.weight.value.T)
        if self.bias is not None:
            y += self.bias.value[None]  # As (1, out), which for a single row costs a third of adding (out,).
        return y

    @override
    def forward(self, x: Array) -> Array:
        y = self.compute(x)
        self._x = x
        return y

    @override
    def backward(self, grad: Array) -> Array:
        """Add ∂e/∂W and ∂e/∂b to the gradients, and compute ∂e/∂x, equation (4)."""
        self.add_gradients(grad)
        dx: Array = grad.dot(self.weight.value)
        return dx

    def add_gradients(self, grad: Array) -> None:
        """Add ∂e/∂W and ∂e/∂b to the gradients, equations (5) and (6)."""
        x = self._x
        if grad.shape != (len(x), self.out_features):
            refuse_gradient(self, grad, (len(x), self.out_features))
        self.weight.add_product(grad.T, x)
        if self.bias is None:
            return
        if len(grad) > MANY:
            self.bias.add_rows(grad)
        else:
            self.bias.add_product(ones(len(grad), grad.dtype), grad)

    @property
    def _mark(self) -> str:
        return ", bias=False" if self.bias is None else ""

    @override
    def config(self) -> dict[str, Any]:
        return super().config() | ({"bias": False} if self.bias is None else {})

    @classmethod
    @override
    def _array_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        found = super()._array_shapes(arguments)
        return {"weight": found["weight"]} if arguments.get("bias") is False else found

    @override
    def output_features(self, input_features: int) -> int:
        return self.out_features
