"""Models of every kind of structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from typing_extensions import override

from minidl import (
    Add,
    Array,
    BatchNorm,
    Columns,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Graph,
    Identity,
    Layer,
    LayerNorm,
    Parallel,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    mlp,
)


class Gated(Layer):
    """A container of the user's own: y = s ∘ f(x) ∘ g(x)."""

    def __init__(self) -> None:
        self.f = Sequential(Dense(4, 8), Tanh())
        self.heads = [Dense(4, 8)]
        self.scale = Parameter(np.ones(8))
        self.in_features = 4

    @override
    def forward(self, x: Array) -> Array:
        self._f, self._g = self.f.forward(x), self.heads[0].forward(x)
        return self._f * self._g * self.scale.value

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._f * self._g, axis=0)
        scaled = grad * self.scale.value
        return self.f.backward(scaled * self._g) + self.heads[0].backward(scaled * self._f)


class Shouted(Sequential):
    """A chain whose forward is the user's own."""

    @override
    def forward(self, x: Array) -> Array:
        return 2 * super().forward(x)


def block(width: int) -> Layer:
    return Residual(Sequential(LayerNorm(width), Dense(width, 2 * width), ReLU(), Dense(2 * width, width)))


def gates() -> Graph:
    return Graph({
        "gate": (Sequential(Dense(4, 4), Sigmoid()), "x"), "new": (Sequential(Dense(4, 4), Tanh()), "x"),
        "sum": (Add(), "gate", "new", "x"), "out": (Dense(4, 1), "sum"),
    }, output="out")  # fmt: skip


def table() -> Graph:
    return Graph({
        "numbers": (Columns([0, 1]), "x"), "code": (Columns([2]), "x"), "vector": (Embedding(5, 3), "code"),
        "row": (Concat(), "numbers", "vector"), "h": (mlp([5, 16, 8]), "row"),
        "sum": (Concat(), "h", "row", "numbers"), "out": (Dense(15, 1), "sum"),
    }, output="out")  # fmt: skip


def nested() -> Sequential:
    inner = Residual(Sequential(Dense(8, 8), Residual(Dense(8, 8)), Tanh()))
    return Sequential(Dense(4, 8), Residual(mlp([8, 16, 8])), LayerNorm(8), inner, Dense(8, 1))


MODELS: dict[str, Callable[[], Layer]] = {
    "2-2-1": lambda: mlp([2, 2, 1], activation=Sigmoid, output=Sigmoid, rng=0),
    "1-20-20-1": lambda: mlp([1, 20, 20, 1], activation=Sigmoid, rng=0),
    "784": lambda: mlp([784, 256, 128, 10], rng=0),
    "one layer": lambda: Dense(3, 2),
    "normalized": lambda: Sequential(Dense(4, 5), BatchNorm(5), Dropout(0.5), Dense(5, 2), Softmax()),
    "nested": nested,
    "thirty": lambda: Sequential(Dense(4, 16), *[block(16) for _ in range(30)], LayerNorm(16), Dense(16, 1)),
    "branches": lambda: Sequential(Parallel(mlp([4, 16, 8]), Dense(4, 2), Identity()), Dense(14, 1)),
    "gates": gates,
    "table": table,
    "own": lambda: Sequential(Gated(), Dense(8, 1)),
    "wrapped": lambda: Sequential(*[Dense(4 + k, 5 + k) for k in range(40)]),
    "long inside": lambda: Residual(Sequential(*[Dense(4 + k % 9, 4 + (k + 1) % 9) for k in range(18)])),
}
