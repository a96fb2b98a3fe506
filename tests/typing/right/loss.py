"""A loss of a user's own."""

from __future__ import annotations

from typing import assert_type

import numpy as np
from typing_extensions import override

from minidl import Array, Loss


class LogCosh(Loss):
    """eᵢ = Σⱼ log cosh(pᵢⱼ − tᵢⱼ)."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = prediction - target
        rows: Array = np.log(np.cosh(self._difference)).sum(axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        slope: Array = np.tanh(self._difference)
        return slope


loss = LogCosh()
assert_type(loss.forward(np.ones((2, 1)), np.zeros((2, 1))), float)
assert_type(loss.backward(), Array)
assert_type(loss(np.ones((2, 1)), [[0], [1]], sample_weight=[1, 2]), float)
