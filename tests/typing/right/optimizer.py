"""An optimizer and an initializer of a user's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_type

import numpy as np
from typing_extensions import override

from minidl import SGD, Array, Dense, Parameter
from minidl.initializers import Initializer
from minidl.optimizers import Optimizer


class SignDescent(Optimizer):
    """W ← W − η sign(g), at most ``limit`` times."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float, limit: int = 1000) -> None:
        super().__init__(parameters, learning_rate)
        self.limit = limit

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        if self.steps < self.limit:
            values -= learning_rate * np.sign(gradients)


class Triangular(Initializer):
    """Draw from the triangular distribution on [−width, width]."""

    def __init__(self, width: float) -> None:
        self.width = width

    @override
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.triangular(-self.width, 0.0, self.width, shape)


layer = Dense(2, 3, weight_initializer=Triangular(0.5), bias_initializer=Triangular(0.1)).initialize(rng=0)
optimizer: Optimizer = SignDescent(layer.parameters(), 0.1)
optimizer = SGD(layer.parameters(), lambda step: 0.1 / (1 + step), momentum=0.9, decayed=[layer.weight])
assert_type(optimizer.step(), None)
assert_type(optimizer.slots(), dict[str, Array])
assert_type(Parameter(Triangular(0.5), (2, 3)).grad, Array)
