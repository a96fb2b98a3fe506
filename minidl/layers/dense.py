"""The fully connected layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import Array, ones, positive_int, width_error
from ..errors import ShapeError
from ..initializers import GlorotUniform, Initializer, Zeros
from ..parameter import Parameter
from ..typing import override
from .layer import Layer


class Dense(Layer):
    """Compute y = x Wᵀ + b (the article's equation (1), a batch being a stack of rows).

    Args:
        in_features: Width of ``x``.
        out_features: Width of ``y``.
        weight_initializer: First values of W, ``(out_features, in_features)``; default Glorot uniform. They are drawn
            from fresh entropy; ``initialize(rng)`` draws again.
        bias_initializer: First values of b, ``(out_features,)``; default zero.
        dtype: float64 or float32.

    Raises:
        ArgumentError: a size below 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.in_features = positive_int(in_features, "Dense(in_features)")
        self.out_features = positive_int(out_features, "Dense(out_features)")
        self.weight_initializer = GlorotUniform() if weight_initializer is None else weight_initializer
        self.bias_initializer = Zeros() if bias_initializer is None else bias_initializer
        self.weight = Parameter(self.weight_initializer, (out_features, in_features), dtype=dtype)
        self.bias = Parameter(self.bias_initializer, (out_features,), dtype=dtype)

    @override
    def forward(self, x: Array) -> Array:
        y = Dense.predict(self, x)
        self._x = x
        return y

    @override
    def backward(self, grad: Array) -> Array:
        """∂e/∂x = (∂e/∂y) W, equation (4); gradients as in `backward_parameters`."""
        Dense.backward_parameters(self, grad)
        dx: Array = grad.dot(self.weight.value)
        return dx

    @override
    def backward_parameters(self, grad: Array) -> None:
        """∂e/∂W = (∂e/∂y)ᵀ x and ∂e/∂b = Σ over the batch of ∂e/∂y, equations (5) and (6)."""
        if grad.shape != (self._x.shape[0], self.out_features):
            raise ShapeError(
                f"{self}: expected a gradient of shape {(self._x.shape[0], self.out_features)}, got {grad.shape}"
            )
        self.weight.add_product(grad.T, self._x)
        self.bias.add_product(ones(len(grad), grad.dtype), grad)

    @override
    def predict(self, x: Array) -> Array:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise width_error(self, self.in_features, x)
        y: Array = x.dot(self.weight.value.T)
        y += self.bias.value[None]  # As (1, out), which for a single row costs a third of adding (out,).
        return y

    @override
    def output_features(self, input_features: int) -> int:
        return self.out_features

    @override
    def __repr__(self) -> str:
        return f"Dense({self.in_features} -> {self.out_features}{self._frozen_mark()})"
