"""A layer with a way around it."""

from __future__ import annotations

from ..arrays import Array
from ..errors import ShapeError
from ..typing import override
from .layer import Layer
from .structure import check_kept_width, locate, refuse_repeated_layers


class Residual(Layer):
    """Compute y = x + f(x) for a layer f that keeps the width; ∂e/∂x = g + (∂f/∂x)ᵀ g (He et al. 2016, equation 1).

    Args:
        layer: f, often a `Sequential`.

    Raises:
        StructureError: f gives another width than it takes.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        refuse_repeated_layers(self)
        check_kept_width(self, layer, layer.input_features())

    @override
    def forward(self, x: Array) -> Array:
        try:
            y = self.layer.forward(x)
        except Exception as error:
            locate(error, self, self.layer)
            raise
        if y.shape != x.shape:
            raise ShapeError(f"Residual: expected {self.layer!r} to keep the shape {x.shape}, got {y.shape}")
        return x + y

    @override
    def backward(self, grad: Array) -> Array:
        try:
            return grad + self.layer.backward(grad)
        except Exception as error:
            locate(error, self, self.layer)
            raise

    @override
    def backward_parameters(self, grad: Array) -> None:
        self.layer.backward_parameters(grad)

    @override
    def input_features(self) -> int | None:
        return self.layer.input_features()

    @override
    def output_features(self, input_features: int) -> int:
        check_kept_width(self, self.layer, input_features)
        return input_features

    @override
    def __repr__(self) -> str:
        return f"Residual({self.layer!r})"
