"""Branches side by side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..errors import ArgumentError
from ..typing import override
from .component import Child
from .container import Container
from .layer import Layer
from .merge import Concat, Merge
from .structure import check_part, common_width, locate, summary_lines


class Parallel(Container):
    """Give the same input to several layers and merge what comes out: y = merge(f₁(x), f₂(x), …).

    Args:
        layers: The branches.
        merge: How their outputs become one; default `Concat`.

    Raises:
        StructureError: branches that take different widths, or give widths that do not merge.
    """

    def __init__(self, *layers: Layer, merge: Merge | None = None) -> None:
        if not layers:
            raise ArgumentError("Parallel: expected at least one layer, got none")
        for place, layer in enumerate(layers):
            check_part(layer, Layer, f'Parallel: "{place}"')
        self.layers = layers
        self.merge = Concat() if merge is None else merge
        check_part(self.merge, Merge, "Parallel(merge)")
        self._settle()
        self._in_features = common_width(self, [layer.input_features() for layer in layers])
        if self._in_features is not None:
            self.output_features(self._in_features)

    @override
    def children(self) -> Iterator[tuple[str, Child]]:
        for place, layer in enumerate(self.layers):
            yield str(place), layer
        yield "merge", self.merge

    @override
    def forward(self, x: Array) -> Array:
        x = self._enter(x)
        part: Layer | Merge = self
        outputs = []
        try:
            for part in self.layers:
                outputs.append(part.forward(x))
            part = self.merge
            return self._leave(part.forward(*outputs))
        except Exception as error:
            locate(error, self, part)
            raise

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        gradients = self.merge.backward(grad)
        return reduce(np.add, [layer.backward(g) for layer, g in zip(self.layers, gradients, strict=True)])

    @override
    def backward_parameters(self, grad: Array) -> None:
        self._check_gradient(grad)
        for layer, gradient in zip(self.layers, self.merge.backward(grad), strict=True):
            layer.backward_parameters(gradient)

    @override
    def predict(self, x: npt.ArrayLike) -> Array:
        rows = self._enter(x)
        part: Layer | Merge = self
        outputs = []
        try:
            for part in self.layers:
                outputs.append(part.predict(rows))
            part = self.merge
            return part.predict(*outputs)
        except Exception as error:
            locate(error, self, part)
            raise

    @override
    def output_features(self, input_features: int) -> int:
        part: Layer | Merge = self
        widths = []
        try:
            for part in self.layers:
                widths.append(part.output_features(input_features))
            part = self.merge
            return part.output_features(*widths)
        except Exception as error:
            locate(error, self, part)
            raise

    @override
    def __repr__(self) -> str:
        return "\n".join(summary_lines(self))
