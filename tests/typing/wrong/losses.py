"""Losses that are not whole, and what they give taken for something else."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from minidl import Array, HalfSquaredError, Loss


class WithoutBackwardRows(Loss):
    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        rows: Array = np.add.reduce(np.abs(prediction - target), axis=1)
        return rows


class SumsUp(WithoutBackwardRows):
    @override
    def backward_rows(self) -> float:  # error: [override] Return type "float" of "backward_rows" incompatible
        return 1.0


loss = WithoutBackwardRows()  # error: [abstract] Cannot instantiate abstract class "WithoutBackwardRows"
gradient: Array = HalfSquaredError().forward(np.ones((1, 1)), np.ones((1, 1)))  # error: [assignment] has type "float"
HalfSquaredError().backward(np.ones((1, 1)))  # error: [call-arg] Too many arguments for "backward"
HalfSquaredError(delta=1.0)  # error: [call-arg] Unexpected keyword argument "delta"
