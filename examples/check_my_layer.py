"""A layer of one's own with two slips, the report that finds them, and the mended layer.

The layer is the gated linear unit of one branch, y = x ∘ σ(w ∘ x), with one learned steepness w for each feature.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from minidl import Array, Layer, Parameter
from minidl.errors import ShapeError
from minidl.testing import ConformanceError, check_layer


def sigmoid(x: Array) -> Array:
    y: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return y


class Gate(Layer):
    """y = x ∘ s with s = σ(w ∘ x)."""

    def __init__(self, features: int) -> None:
        self.features = self.in_features = features
        self.weight = Parameter(np.ones(features))

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (self.features,):
            raise ShapeError(f"{self}: expected x of shape (batch, {self.features}), got {x.shape}")
        self._x = x
        self._gate = sigmoid(self.weight.value * x)
        return x * self._gate

    @override
    def backward(self, grad: Array) -> Array:
        """∂e/∂w = Σ g ∘ x² ∘ s (1 − s) over the batch, ∂e/∂x = g ∘ (s + w ∘ x ∘ s (1 − s))."""
        slope = self._gate * (1.0 - self._gate)
        self.weight.grad += np.sum(grad * self._x**2 * slope, axis=0)
        return grad * (self._gate + self.weight.value * self._x * slope)


class GateWithTwoSlips(Gate):
    """As one might write it first: w is left out of ∂e/∂x, and the gradient is written, not added."""

    @override
    def backward(self, grad: Array) -> Array:
        slope = self._gate * (1.0 - self._gate)
        self.weight.grad[...] = np.sum(grad * self._x**2 * slope, axis=0)
        return grad * (self._gate + self._x * slope)


def main() -> None:
    found: tuple[str, ...] = ()
    try:
        check_layer(GateWithTwoSlips(4))
    except ConformanceError as error:
        print(error)
        found = error.report.failed
    assert found == ("gradients add up", "gradient of x"), found

    report = check_layer(Gate(4))
    print()
    print(report)
    worst = report.worst("complex step")
    assert not report.failed
    assert worst is not None
    assert worst < 1e-10


if __name__ == "__main__":
    main()
