"""Branches side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array
from ._container import Container, located
from ._structure import check_layers, check_part, common_width, refuse_repeated_layers
from .base import Layer, backward_alone, prediction, trait
from .merges import Concat, Merge


class Parallel(Container):
    """Give the same input to several layers and merge their outputs.

    Forward:
        y = merge(f₁(x), f₂(x), …)
    Backward:
        ∂e/∂x = Σ over layers of ∂e/∂fᵢ ∂fᵢ/∂x

    The merge turns ∂e/∂y into ∂e/∂fᵢ of each layer.

    Args:
        layers: The branches.
        merge: How their outputs become one; default `Concat`.

    Raises:
        StructureError: branches that take different widths, or give widths that do not merge.
    """

    _unnamed = "layers"

    def __init__(self, *layers: Layer, merge: Merge | None = None) -> None:
        check_layers(layers, "Parallel")
        merge = Concat() if merge is None else merge
        check_part(merge, Merge, "Parallel(merge)")
        self.layers: tuple[Layer, ...] = layers
        self.merge: Merge = merge
        refuse_repeated_layers(self)
        self.in_features: int | None = common_width(self, [trait(layer, "in_features") for layer in layers])
        if self.in_features is not None:
            self.output_features(self.in_features)

    @override
    def forward(self, x: Array) -> Array:
        x = self._checked_input(x)
        part: Layer | Merge
        outputs = []
        with located:
            for part in self.layers:
                outputs.append(part.forward(x))
            part = self.merge
            y = part.forward(*outputs)
        self._output_shape = y.shape
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        part: Layer | Merge = self.merge
        found = []
        with located:
            for part, gradient in zip(self.layers, self.merge.backward(grad), strict=True):
                found.append(part.backward(gradient))
        return reduce(np.add, found)

    def add_gradients(self, grad: Array) -> None:
        """Do what `backward` does, but without ∂e/∂x."""
        self._check_gradient(grad)
        part: Layer | Merge = self.merge
        with located:
            for part, gradient in zip(self.layers, self.merge.backward(grad), strict=True):
                backward_alone(part, gradient)

    def compute(self, x: npt.ArrayLike) -> Array:
        """Predict by each branch, and merge."""
        rows = self._checked_input(x)
        part: Layer | Merge
        outputs = []
        with located:
            for part in self.layers:
                outputs.append(prediction[type(part)](part, rows))
            part = self.merge
            return part.predict(*outputs)

    @override
    def output_features(self, input_features: int) -> int:
        part: Layer | Merge
        widths = []
        with located:
            for part in self.layers:
                widths.append(part.output_features(input_features))
            part = self.merge
            return part.output_features(*widths)

    @override
    def _wiring(self) -> Mapping[str, tuple[str, ...]]:
        names = tuple(map(str, range(len(self.layers))))
        return dict.fromkeys(names, ("x",)) | {"merge": names}
