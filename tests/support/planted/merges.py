"""Merges with one fault each."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from typing_extensions import override

from minidl import Array, Concat, Parameter
from minidl.errors import ShapeError
from minidl.layers import Merge


class Sum(Merge):
    """y = Σᵢ xᵢ: a right merge, from which the wrong ones differ in one place."""

    @override
    def forward(self, *xs: Array) -> Array:
        if len({x.shape for x in xs}) > 1:
            raise ShapeError("expected inputs of one shape")
        self._count = len(xs)
        return reduce(np.add, xs[1:], xs[0].copy())

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return (grad,) * self._count


class Weighted(Merge):
    """y = Σᵢ wᵢ xᵢ, with learned wᵢ: right as well."""

    def __init__(self, inputs: int = 3) -> None:
        self.inputs = inputs
        self.weight = Parameter(np.linspace(0.5, 1.5, inputs))

    @override
    def forward(self, *xs: Array) -> Array:
        if len({x.shape for x in xs}) > 1:
            raise ShapeError("expected inputs of one shape")
        self._xs = xs
        return reduce(np.add, [w * x for w, x in zip(self.weight.value, xs, strict=True)])

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        self.weight.grad += np.array([np.sum(grad * x) for x in self._xs])
        return tuple(w * grad for w in self.weight.value)


class OneGradientForAll(Sum):
    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return (grad,)


class ReturnsNoTuple(Sum):
    @override
    def backward(self, grad: Array) -> Any:
        return [grad] * self._count


class SecondInputForgotten(Sum):
    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        gradients = list(super().backward(grad))
        gradients[1] = np.zeros_like(grad)
        return tuple(gradients)


class GradientsInTheWrongOrder(Weighted):
    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return super().backward(grad)[::-1]


class OverwritesItsGradient(Weighted):
    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        self.weight.grad[...] = np.array([np.sum(grad * x) for x in self._xs])
        return tuple(w * grad for w in self.weight.value)


class AddsInPlace(Sum):
    """Sums up in the first input."""

    @override
    def forward(self, *xs: Array) -> Array:
        y = super().forward(*xs)
        xs[0][...] = y
        return y


class ReturnsTheFirst(Merge):
    """y = x₁, the array itself."""

    @override
    def forward(self, *xs: Array) -> Array:
        if len({x.shape for x in xs}) > 1:
            raise ShapeError("expected inputs of one shape")
        self._count = len(xs)
        return xs[0]

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return (grad, *(np.zeros_like(grad) for _ in range(self._count - 1)))


class BroadcastsRows(Sum):
    @override
    def forward(self, *xs: Array) -> Array:
        self._count = len(xs)
        return reduce(np.add, xs)

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return (grad,) * self._count


class BroadcastsWidths(BroadcastsRows):
    @override
    def forward(self, *xs: Array) -> Array:
        if len({len(x) for x in xs}) > 1:
            raise ShapeError("expected inputs of equally many rows")
        return super().forward(*xs)


class ScalesByTheFirstBatch(Concat):
    """Remembers the rows of the first batch that it sees."""

    @override
    def forward(self, *xs: Array) -> Array:
        y = super().forward(*xs)
        if not hasattr(self, "_rows"):
            self._rows = len(xs[0])
        return y

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return super().backward(grad * (self._rows / max(len(grad), 1)))


class LosesAParameter(Weighted):
    """A copy of the weights, taken in the first pass."""

    @override
    def forward(self, *xs: Array) -> Array:
        super().forward(*xs)
        if not hasattr(self, "_w"):
            self._w = self.weight.value.copy()
        return reduce(np.add, [w * x for w, x in zip(self._w, xs, strict=True)])
