"""The layer or merge under examination: copies of it, inputs for it, and one pass of training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Buffer
from ..layers._parts import named, walk
from ..layers._structure import brief
from ..layers.base import Component, Layer
from ..layers.merges import Merge
from .derivatives import Point

Part: TypeAlias = "Layer | Merge"

Inputs: TypeAlias = "tuple[Array, ...]"

Sample: TypeAlias = "Callable[[int, np.random.Generator], Inputs]"
"""Makes inputs of a number of rows."""


@dataclass(frozen=True)
class Pass:
    """What one forward and backward gave: y, ∂e/∂x of each input, the gradient of each parameter by name."""

    output: Array
    inputs: Inputs
    parameters: dict[str, Array]

    def named(self, names: tuple[str, ...]) -> dict[str, Array]:
        """Map the names of inputs and parameters to their gradients."""
        return {**dict(zip(names, self.inputs, strict=True)), **self.parameters}


class Subject:
    """A layer or merge, as handed in and as prepared for the checks.

    Prepared is a copy in float64 whose parameters are moved a little, because a weight of 1 or a bias of 0
    hides a factor that is missing, and whose running statistics have seen some batches.

    Args:
        part: What is checked; it is never run, only its copies are.
        sample: Makes inputs.
        rows: Of the usual batch.
        seed: Of the inputs.
    """

    def __init__(self, part: Part, sample: Sample, rows: int, seed: int) -> None:
        self.part: Part = part
        self.sample: Sample = sample
        self.seed: int = seed
        self.parts: list[Component] = [part, *(child for _, child in walk(part) if isinstance(child, Component))]
        self.smallest_batch: int = max(getattr(p, "smallest_batch", 1) for p in self.parts)
        self.couples_rows: bool = any(getattr(p, "couples_rows", False) for p in self.parts)
        self.has_input_gradient: bool = all(getattr(p, "has_input_gradient", True) for p in self.parts)
        self.picklable: bool = all(getattr(p, "picklable", True) for p in self.parts)
        self.rows: int = max(rows, self.smallest_batch)
        self.name: str = brief(part)

    def original(self) -> Part:
        """Return a copy of the part as it was handed in."""
        return copy.deepcopy(self.part)

    def prepared(self) -> Part:
        """Return a copy of the prepared part, always in the same state."""
        return copy.deepcopy(self._prepared)

    @cached_property
    def _prepared(self) -> Part:
        part = self.original().astype(np.float64)
        rng = np.random.default_rng(self.seed)
        for parameter in part.parameters():
            value = parameter.value
            size = np.abs(value).max(initial=0.0) or 1.0
            parameter.value = np.where(
                value == 0,
                0.1 * size * rng.uniform(-1, 1, value.shape),
                value * (1 + 0.4 * rng.uniform(-1, 1, value.shape)),
            )
            parameter.zero_grad()
        practised = copy.deepcopy(part)
        for batch in range(3 if named(part, Buffer) else 0):
            practised.forward(*self.inputs(rows=self.rows + 3, number=100 + batch))
        for name, buffer in named(part, Buffer).items():
            buffer.value = named(practised, Buffer)[name].value
        return part

    def inputs(self, rows: int | None = None, number: int = 0, dtype: npt.DTypeLike = np.float64) -> Inputs:
        """Make fresh inputs; the same number gives the same ones."""
        rng = np.random.default_rng([self.seed, number])
        return tuple(np.array(x, dtype, order="C") for x in self.sample(self.rows if rows is None else rows, rng))

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the inputs are called in a message."""
        count = len(self.inputs(1))
        return ("x",) if isinstance(self.part, Layer) else tuple(f"x{place}" for place in range(count))

    def weights(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> Array:
        """Make a gradient of the output."""
        weights: Array = np.random.default_rng([self.seed, 77]).standard_normal(shape).astype(dtype)
        return weights

    def trained(self, part: Part, xs: Inputs, grad: Array | None = None, *, through: Part | None = None) -> Pass:
        """Run forward and backward from gradients of zero, on copies of the arguments.

        Args:
            part: Whose parameters' gradients are read.
            xs: Inputs.
            grad: ∂e/∂y; default the weights for its shape.
            through: What to run, where that is not the part itself but shares its parameters.
        """
        runs = part if through is None else through
        for parameter in part.parameters():
            parameter.zero_grad()
        output = runs.forward(*(x.copy() for x in xs))
        weights = self.weights(output.shape, output.dtype) if grad is None else grad
        return Pass(output, backward(runs, weights.copy()), gradients(part))


def predicted(part: Part, xs: Inputs) -> Array:
    """Run predict on copies of the inputs."""
    return part.predict(*(x.copy() for x in xs))


def backward(part: Part, grad: Array) -> Inputs:
    """Run backward; the result of a layer is a tuple of one, as that of a merge with one input."""
    result = part.backward(grad)
    return result if isinstance(result, tuple) else (result,)


def gradients(part: Part) -> dict[str, Array]:
    """Copy the gradient of each parameter."""
    return {name: parameter.grad.copy() for name, parameter in part.named_parameters().items()}


class Rewound:
    """Bring generators and buffers back to where they are now, so that a pass draws the same masks again.

    Args:
        part: Whose.
    """

    def __init__(self, part: Part) -> None:
        generators = named(part, np.random.Generator).values()
        self._generators = [(own, copy.deepcopy(own.bit_generator.state)) for own in generators]
        self._buffers = [(b, b.value.copy()) for b in named(part, Buffer).values()]

    def __call__(self) -> None:
        """Rewind."""
        for generator, state in self._generators:
            generator.bit_generator.state = state
        for buffer, value in self._buffers:
            buffer.value = value.copy()


def as_function(part: Part, count: int, method: str) -> Callable[[Point], npt.NDArray[Any]]:
    """Make y of (inputs, parameters) from a part; the arrays may be complex.

    Args:
        part: A copy, which is written to.
        count: How many inputs there are.
        method: ``"forward"`` or ``"predict"``.
    """
    rewind = Rewound(part)
    call: Callable[..., npt.NDArray[Any]] = getattr(part, method)
    parameters = part.parameters()

    def function(point: Point) -> npt.NDArray[Any]:
        for parameter, value in zip(parameters, point[count:], strict=True):
            parameter._value = value
        rewind()
        return call(*(x.copy() for x in point[:count]))

    return function
