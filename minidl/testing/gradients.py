"""Checks of what backward computes, against derivatives found from the forward pass alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Array
from .comparison import compare
from .derivatives import STEP, Derivative, Differentiated, Differentiator, Point
from .report import SINGLE_PRECISION, Measurement
from .subject import Inputs, Subject, as_function

SINGLE_STEP = 0.05
"""Relative step of differences in float32, where rounding is 1e-7."""


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
        return [compare("(a random direction)", np.array(slope), wanted.total, self.subject.rows)]

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
        double = single.astype(np.float64)
        xs = subject.inputs(dtype=np.float32)
        found = subject.trained(single, xs)
        grad = subject.weights(found.output.shape, np.float32)
        reference = subject.trained(double, tuple(x.astype(np.float64) for x in xs), grad.astype(np.float64))
        if not np.allclose(found.output, reference.output, rtol=0.0, atol=1e-2 * _largest([reference.output])):
            return self._single_differences()  # random layers draw other masks in float32
        exact = reference.named(subject.input_names)
        floor = max(1e-2 * _largest(list(exact.values())), 1e-6)
        derivatives = [
            Derivative(np.arange(exact[name].size), exact[name].ravel(), "float64", max(_largest([exact[name]]), floor))
            for name in self._names
        ]
        return self._compared(derivatives, found.named(subject.input_names), SINGLE_PRECISION)

    def _single_differences(self) -> list[Measurement]:
        """Check against differences in float32, whose steps must be long: relative to the greatest of all gradients."""
        wanted = self._differentiated("forward", np.float32)
        largest = _largest([derivative.values for derivative in wanted.arrays if derivative is not None])
        arrays = [None if d is None else replace(d, scale=max(d.scale, largest)) for d in wanted.arrays]
        part = self.subject.prepared().astype(np.float32)
        found = self.subject.trained(part, self._xs(wanted), wanted.weights.astype(np.float32))
        return self._compared(arrays, found.named(self.subject.input_names), SINGLE_PRECISION)

    @cached_property
    def _training(self) -> tuple[Differentiated, dict[str, Array]]:
        """Derivatives of `forward`, and what `backward` gives at the same point."""
        wanted = self._differentiated("forward")
        given = self.subject.trained(self.subject.prepared(), self._xs(wanted), wanted.weights)
        return wanted, given.named(self.subject.input_names)

    def _differentiated(self, method: str, dtype: Any = np.float64) -> Differentiated:
        subject = self.subject
        part = subject.prepared().astype(dtype)
        values: Point = [parameter.value for parameter in part.parameters()]

        def draw(number: int) -> Point:
            return [*subject.inputs(number=number, dtype=dtype), *values]

        double = dtype is np.float64
        return Differentiator(
            as_function(part, self._inputs, method),
            [subject.has_input_gradient] * self._inputs + [True] * len(values),
            weigh=subject.weights,
            step=STEP if double else SINGLE_STEP,
            complex_too=double,
        ).at_a_smooth_point(draw)

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


def _largest(arrays: list[Array]) -> float:
    return max((float(np.abs(array).max(initial=0.0)) for array in arrays), default=0.0)
