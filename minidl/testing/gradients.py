"""Checks of what backward computes, against derivatives found from the forward pass alone."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.parameter import Buffer
from ..layers._parts import named
from .agreement import same
from .comparison import compare
from .derivatives import Derivative, Differentiated, Differentiator, Point
from .report import SINGLE_PRECISION, Measurement
from .subject import Inputs, Part, Subject, as_function


class Gradients:
    """The derivatives of one subject, found once and compared by several checks.

    Args:
        subject: Whose.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._inputs = len(subject.input_names)
        self._names = (*subject.input_names, *subject.part.named_parameters())

    def of(self, name: str) -> list[Measurement]:
        """Backward gives the derivative of forward."""
        wanted, found = self._training
        derivative = wanted.arrays[self._names.index(name)]
        assert derivative is not None
        return [compare(name, found[name], derivative, self.subject.rows)]

    def total(self) -> list[Measurement]:
        """Backward gives the derivative along a random direction, over all inputs and parameters at once."""
        wanted, found = self._training
        slope = sum(float(np.sum(found[name] * v)) for name, v in zip(self._names, wanted.direction, strict=True))
        return [compare("all arrays, in a random direction", np.array(slope), wanted.total, self.subject.rows)]

    def of_inference(self) -> list[Measurement]:
        """The backward of inference() gives the derivative of predict."""
        wanted = self._differentiated("predict")
        part = self.subject.prepared()
        given = self.subject.trained(part, self._xs(wanted), wanted.weights, through=part.inference())
        return self._compared(wanted.arrays, given.named(self.subject.input_names))

    def single_precision(self) -> list[Measurement]:
        """Gradients in float32 are those in float64, to what float32 can hold."""
        subject = self.subject
        single = subject.prepared().astype(np.float32)
        xs = subject.inputs(dtype=np.float32)
        found = subject.trained(copy.deepcopy(single), xs)
        grad = subject.weights(found.output.shape, np.float32).astype(np.float64)
        wide = tuple(x.astype(np.float64) for x in xs)
        exact = subject.trained(single.astype(np.float64), wide, grad)
        if not _close(found.output, exact.output):  # perhaps random layers draw other masks in float32
            exact = subject.trained(_with_masks_of_float32(single), wide, grad)
        same(exact.output, found.output.astype(np.float64), "output of forward in float32", 1e-2)
        wanted = exact.named(subject.input_names)
        floor = max(1e-2 * _largest(list(wanted.values())), 1e-6)
        derivatives = [
            Derivative(np.arange(g.size), g.ravel(), "float64", max(_largest([g]), floor)) for g in wanted.values()
        ]
        return self._compared(derivatives, found.named(subject.input_names), SINGLE_PRECISION)

    @cached_property
    def _training(self) -> tuple[Differentiated, dict[str, Array]]:
        """Derivatives of `forward`, and what `backward` gives at the same point."""
        wanted = self._differentiated("forward")
        given = self.subject.trained(self.subject.prepared(), self._xs(wanted), wanted.weights)
        return wanted, given.named(self.subject.input_names)

    def _differentiated(self, method: str) -> Differentiated:
        subject = self.subject
        part = subject.prepared()
        values: Point = [parameter.value for parameter in part.parameters()]
        return Differentiator(
            as_function(part, self._inputs, method),
            [subject.has_input_gradient] * self._inputs + [True] * len(values),
            weigh=subject.weights,
        ).at_a_smooth_point(lambda number: [*subject.inputs(number=number), *values])

    def _xs(self, wanted: Differentiated) -> Inputs:
        return tuple(wanted.point[: self._inputs])

    def _compared(
        self, wanted: list[Derivative | None] | list[Derivative], found: dict[str, Array], method: str = ""
    ) -> list[Measurement]:
        return [
            compare(name, found[name], derivative, self.subject.rows, method)
            for name, derivative in zip(self._names, wanted, strict=True)
            if derivative is not None
        ]


class _SinglePrecisionGenerator(np.random.Generator):
    """Draws in float32 whatever it is asked for, and returns float64."""

    def random(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return np.multiply(super().random(size, np.float32), 1.0, dtype=np.float64)

    def standard_normal(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return np.multiply(super().standard_normal(size, np.float32), 1.0, dtype=np.float64)


def _with_masks_of_float32(part: Part) -> Part:
    """Copy a part in float64, with generators that draw what they would draw in float32."""
    generators = named(part, np.random.Generator).values()
    memo = {id(g): _SinglePrecisionGenerator(copy.deepcopy(g.bit_generator)) for g in generators}
    clone: Part = copy.deepcopy(part, memo)  # what is in the memo is taken for the copy
    for parameter in clone.parameters():
        parameter.cast(np.float64)
    for buffer in named(clone, Buffer).values():
        buffer.cast(np.float64)
    return clone


def _close(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= 1e-2 * _largest([b])))


def _largest(arrays: list[Array]) -> float:
    return max((float(np.abs(array).max(initial=0.0)) for array in arrays), default=0.0)
