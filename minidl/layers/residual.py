"""Residual (skip) connections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array
from ..errors import ShapeError
from ._container import Container, located
from ._structure import check_kept_width, check_part, refuse_repeated_layers
from .base import Layer, backward_alone, prediction, trait


class Residual(Container):
    """Add the input to the output of a layer f that keeps the width (He et al. 2016, equation 1).

    Forward:
        y = x + f(x)
    Backward:
        ∂e/∂x = ∂e/∂y + ∂e/∂y ∂f/∂x

    Args:
        layer: f, often a `Sequential`.

    Raises:
        StructureError: f gives another width than it takes.
    """

    def __init__(self, layer: Layer) -> None:
        check_part(layer, Layer, "Residual(layer)")
        self.layer = layer
        refuse_repeated_layers(self)
        self.in_features: int | None = trait(layer, "in_features")
        check_kept_width(self, layer, self.in_features)

    @override
    def forward(self, x: Array) -> Array:
        part = self.layer
        with located:
            y = part.forward(x)
        return self._sum(x, y)

    @override
    def backward(self, grad: Array) -> Array:
        part = self.layer
        with located:
            return grad + part.backward(grad)

    def add_gradients(self, grad: Array) -> None:
        """Do what `backward` does, but without ∂e/∂x."""
        part = self.layer
        with located:
            backward_alone(part, grad)

    def compute(self, x: npt.ArrayLike) -> Array:
        """Predict by f, and add x."""
        part, rows = self.layer, self._checked_input(x)
        with located:
            y = prediction[type(part)](part, rows)
        return self._sum(rows, y)

    def _sum(self, x: Array, y: Array) -> Array:
        if y.shape != x.shape:
            raise ShapeError(f"Residual: expected {self.layer!r} to keep the shape {x.shape}, got {y.shape}")
        return x + y

    @override
    def output_features(self, input_features: int) -> int:
        check_kept_width(self, self.layer, input_features)
        return input_features

    @override
    def _wiring(self) -> Mapping[str, tuple[str, ...]]:
        return {"layer": ("x",), "+": ("x", "layer")}

    @override
    def __repr__(self) -> str:
        return f"Residual({self.layer!r})"
