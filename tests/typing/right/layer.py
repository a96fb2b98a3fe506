"""A layer, a container of layers and an activation of a user's own."""

from __future__ import annotations

from typing import assert_type

import numpy as np
from typing_extensions import override

from minidl import Activation, Array, Dense, Layer, Parameter, Sequential


class ScaledTanh(Layer):
    """y = s tanh(x), with one learnable scale s."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = Parameter(scale)

    @override
    def forward(self, x: Array) -> Array:
        self._tanh: Array = np.tanh(x)
        return self.scale.value * self._tanh

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._tanh)
        return grad * self.scale.value * (1.0 - self._tanh**2)


class Skip(Layer):
    """y = x + f(x)."""

    def __init__(self, inner: Layer) -> None:
        self.inner = inner

    @override
    def forward(self, x: Array) -> Array:
        return x + self.inner.forward(x)

    @override
    def backward(self, grad: Array) -> Array:
        return grad + self.inner.backward(grad)

    @override
    def output_features(self, input_features: int) -> int:
        return input_features


model = Sequential(Dense(2, 4), ScaledTanh(), Skip(Dense(4, 4)), Activation(np.sin, np.cos), Dense(4, 1))
assert_type(model.initialize(rng=0), Sequential)
assert_type(ScaledTanh().initialize(rng=0), ScaledTanh)
assert_type(model.astype(np.float32), Sequential)
assert_type(model[0], Layer)
assert_type(model[:-1], Sequential)
assert_type(model.predict([[1, 2]]), Array)
assert_type(model(np.ones((1, 2))), Array)
assert_type(ScaledTanh().scale.value, Array)
assert_type(model.named_parameters(), dict[str, Parameter])
