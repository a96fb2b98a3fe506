"""Layers that are not whole, or that give back the wrong thing."""

from __future__ import annotations

from typing_extensions import override

from minidl import Array, Layer


class WithoutBackward(Layer):
    @override
    def forward(self, x: Array) -> Array:
        return 2.0 * x


class ReturnsTheLength(Layer):
    @override
    def forward(self, x: Array) -> int:  # error: [override] Return type "int" of "forward" incompatible
        return len(x)

    @override
    def backward(self, grad: Array) -> Array:
        return [grad]  # error: [return-value] got "list[


class Misspelt(WithoutBackward):
    @override
    def backwards(self, grad: Array) -> Array:  # error: [misc] Method "backwards" is marked as an override, but no base
        return grad


class TakesMore(Layer):
    @override
    def forward(self, x: Array, training: bool) -> Array:  # error: [override] Signature of "forward" incompatible
        return x if training else 2.0 * x

    @override
    def backward(self, grad: Array) -> None:  # error: [override] Return type "None" of "backward" incompatible
        pass


layer = WithoutBackward()  # error: [abstract] Cannot instantiate abstract class "WithoutBackward"
Layer()  # error: [abstract] abstract attributes "backward" and "forward"
