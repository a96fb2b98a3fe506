"""Merges: several arrays with the same rows become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from itertools import accumulate, pairwise

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from ..errors import ShapeError
from ._parts import with_parts
from .base import Component, computation, inference_of, kept, refuse_gradient


class Merge(Component, ABC):
    """Turn several inputs into one output, and the gradient of the output into one for each input.

    A subclass writes `forward` and `backward`; parameters and children work as in a `Layer`.
    """

    @abstractmethod
    def forward(self, *xs: Array) -> Array:
        """Compute the output in training, and keep on ``self`` what `backward` needs.

        Args:
            xs: Inputs, ``(batch, features)`` each; they are not written to.

        Returns:
            A fresh array, ``(batch, out_features)``.
        """

    @abstractmethod
    def backward(self, grad: Array) -> tuple[Array, ...]:
        """Turn ∂e/∂y of the last `forward` into ∂e/∂x of each input, in order, and add to the parameters' gradients."""

    @override
    def inference(self) -> Merge:
        """Return a copy as prediction sees it, with the same parameters."""
        return with_parts(self, inference_of)

    def predict(self, *xs: Array) -> Array:
        """Compute the output for use, changing nothing on the merge."""
        return computation[type(self)](self, *xs)

    def output_features(self, *input_features: int) -> int:
        """Return the width that comes out when these widths go in; found by predicting no rows."""
        y = self.predict(*(np.zeros((0, width), self.dtype) for width in input_features))
        return int(y.shape[1])


class Combination(Merge, ABC):
    """Base of merges that are one function: a subclass writes y as ``compute(*xs)``.

    `backward` finds the widths of the inputs of the last `forward` in ``self._widths``.
    """

    _widths: list[int] = kept()

    @abstractmethod
    def compute(self, *xs: Array) -> Array:
        """Compute y."""

    @override
    def forward(self, *xs: Array) -> Array:
        y = self.compute(*xs)
        self._widths = [x.shape[-1] for x in xs]
        return y


class Add(Combination):
    """Add the inputs.

    Forward:
        y = x₁ + x₂ + …
    Backward:
        ∂e/∂xᵢ = ∂e/∂y
    """

    @override
    def compute(self, *xs: Array) -> Array:
        check_equal_widths(self, xs)
        return reduce(np.add, xs[1:], xs[0].copy())

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return (grad,) * len(self._widths)


class Mean(Combination):
    """Take the mean of the n inputs.

    Forward:
        y = (x₁ + x₂ + …) / n
    Backward:
        ∂e/∂xᵢ = ∂e/∂y / n

    Example:
        >>> Mean().forward(np.array([[1.0, 2.0]]), np.array([[3.0, 6.0]]))
        array([[2., 4.]])
    """

    @override
    def compute(self, *xs: Array) -> Array:
        check_equal_widths(self, xs)
        return reduce(np.add, xs) / len(xs)

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        count = len(self._widths)
        return (grad / count,) * count


class Multiply(Combination):
    """Multiply the inputs, element by element.

    Forward:
        y = x₁ ∘ x₂ ∘ …
    Backward:
        ∂e/∂xᵢ = ∂e/∂y ∘ Π over j ≠ i of xⱼ
    """

    _xs: tuple[Array, ...] = kept()

    @override
    def compute(self, *xs: Array) -> Array:
        check_equal_widths(self, xs)
        return reduce(np.multiply, xs[1:], xs[0].copy())

    @override
    def forward(self, *xs: Array) -> Array:
        y = self.compute(*xs)
        self._xs = xs
        return y

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        if grad.shape != self._xs[0].shape:
            refuse_gradient(self, grad, self._xs[0].shape)
        # An input may be zero, so do not divide by it: multiply the inputs before it and those after it.
        before = [grad]
        for x in self._xs[:-1]:
            before.append(before[-1] * x)
        after = self._xs[-1]
        gradients = [before[-1]]
        for x, product in zip(self._xs[-2::-1], before[-2::-1], strict=True):
            gradients.append(product * after)
            after = after * x
        return tuple(reversed(gradients))


class Concat(Combination):
    """Put the columns of the inputs side by side.

    Forward:
        y = [x₁ x₂ …]
    Backward:
        [∂e/∂x₁ ∂e/∂x₂ …] = ∂e/∂y
    """

    @override
    def compute(self, *xs: Array) -> Array:
        rows = len(xs[0])
        for x in xs:
            if x.ndim != 2 or len(x) != rows:
                raise ShapeError(f"{self}: expected inputs of as many rows, (rows, features), got "
                                 f"{', '.join(str(x.shape) for x in xs)}")
        return np.concatenate(xs, axis=1)

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        places = pairwise([0, *accumulate(self._widths)])  # np.split takes ten times as long.
        return tuple([grad[:, begin:end] for begin, end in places])


def check_equal_widths(merge: Merge, xs: tuple[Array, ...]) -> None:
    """Refuse inputs of different shapes, which NumPy might broadcast."""
    if any(x.shape != xs[0].shape for x in xs):
        raise ShapeError(f"{merge}: expected inputs of one shape, got {', '.join(str(x.shape) for x in xs)}")
