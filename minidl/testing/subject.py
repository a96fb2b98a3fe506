"""What is checked: copies of it, inputs for it, and one pass of training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Buffer
from ..layers._parts import named, walk
from ..layers._structure import brief
from ..layers.base import Component, Layer, trait
from ..layers.merges import Merge
from .comparison import Pass
from .derivatives import Differentiated, Differentiator, Point

T = TypeVar("T")

Part: TypeAlias = "Layer | Merge"

Inputs: TypeAlias = "tuple[Array, ...]"

Sample: TypeAlias = "Callable[[int, np.random.Generator], Inputs]"
"""Makes inputs of a number of rows; prediction and target for a loss."""


@dataclass
class Subject(Generic[T]):
    """What is checked.

    Attributes:
        part: As handed in; it is never run, only its copies are.
        sample: Makes inputs.
        rows: Of the usual batch.
        seed: Of the inputs.
    """

    part: T
    sample: Sample
    rows: int
    seed: int

    def original(self) -> T:
        """Return a copy of the part as it was handed in."""
        return copy.deepcopy(self.part)

    def inputs(self, rows: int | None = None, number: int = 0, dtype: npt.DTypeLike = np.float64) -> Inputs:
        """Make fresh inputs; the same number gives the same ones."""
        rng = np.random.default_rng([self.seed, number])
        return tuple(np.array(x, dtype, order="C") for x in self.sample(self.rows if rows is None else rows, rng))

    def others(self) -> Inputs:
        """Make inputs of other numbers and more rows."""
        return self.inputs(self.rows + 2, number=1)


@dataclass
class ComponentSubject(Subject[Part]):
    """A layer or merge, as handed in and as prepared for the checks.

    Prepared is a copy in float64 whose parameters are moved a little, because a weight of 1 or a bias of 0
    hides a factor that is missing, and whose running statistics have seen some batches.

    Attributes:
        largest: Size of the largest numbers that an activation is given; None for what is no activation.
    """

    largest: float | None = None

    def __post_init__(self) -> None:
        parts = [self.part, *(child for _, child in walk(self.part) if isinstance(child, Component))]
        self.smallest_batch: int = max(trait(part, "smallest_batch") for part in parts)
        self.couples_rows = any(trait(part, "couples_rows") for part in parts)
        self.has_input_gradient = all(trait(part, "has_input_gradient") for part in parts)
        self.picklable = all(trait(part, "picklable") for part in parts)
        self.rows = max(self.rows, self.smallest_batch)
        self.name = brief(self.part)

    @property
    def declared(self) -> list[str]:
        """List what the part declares and what changes with it."""
        few = f"smallest_batch = {self.smallest_batch}: training passes of fewer rows may be refused"
        lines = {
            few: self.smallest_batch > 1,
            "couples_rows = True: in training a row may depend on the others": self.couples_rows,
            "has_input_gradient = False: the gradient of the input is not compared": not self.has_input_gradient,
            "takes_any_rank = True: a row may have several dimensions": trait(self.part, "takes_any_rank"),
            "picklable = False: it is not taken through pickle": not self.picklable,
        }
        return [line for line, holds in lines.items() if holds]

    @cached_property
    def input_names(self) -> list[str]:
        """What the inputs are called in a message."""
        names = ["x"] if isinstance(self.part, Layer) else [f"x{place}" for place in range(len(self.inputs(1)))]
        return [f"input {name}" if name in self.part.named_parameters() else name for name in names]

    @property
    def names(self) -> list[str]:
        """The names of inputs and parameters, in the order of a `Point`."""
        return [*self.input_names, *self.part.named_parameters()]

    def prepared(self, use: Callable[[Part], object] | None = None) -> Part:
        """Return a copy of the prepared part, always in the same state.

        Args:
            use: What is done with it before; generators and buffers are then rewound.
        """
        part = copy.deepcopy(self._prepared)
        if use is not None:
            rewind = rewinding(part)
            use(part)
            rewind()
        return part

    @cached_property
    def _prepared(self) -> Part:
        part = self.original().astype(np.float64)
        rng = np.random.default_rng(self.seed)
        for parameter in part.parameters():
            value = parameter.value
            size = np.abs(value).max(initial=0.0) or 1.0
            near_zero = 0.1 * size * rng.uniform(-1, 1, value.shape)
            parameter.value = np.where(value == 0, near_zero, value * (1 + 0.4 * rng.uniform(-1, 1, value.shape)))
            parameter.zero_grad()
        practised = copy.deepcopy(part)
        for batch in range(3 if named(part, Buffer) else 0):
            practised.forward(*self.inputs(rows=self.rows + 3, number=100 + batch))
        for name, buffer in named(part, Buffer).items():
            buffer.value = named(practised, Buffer)[name].value
        return part

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
        return Pass(output, self.backward(runs, weights.copy()), gradients(part))

    def usual(self) -> Pass:
        """Run forward and backward of the prepared part on the usual inputs."""
        return self.trained(self.prepared(), self.inputs())

    def backward(self, part: Part, grad: Array) -> dict[str, Array]:
        """Run backward; return the gradient of each input by name."""
        result = part.backward(grad)
        return dict(zip(self.input_names, result if isinstance(result, tuple) else (result,), strict=True))

    @cached_property
    def derivatives(self) -> Differentiated:
        """The derivatives of forward."""
        return self.differentiated("forward")

    def differentiated(self, method: str) -> Differentiated:
        """Differentiate ``"forward"`` or ``"predict"`` with respect to inputs and parameters."""
        part = self.prepared()
        rewind = rewinding(part)
        count = len(self.input_names)
        parameters = part.parameters()
        values = [parameter.value for parameter in parameters]

        def function(point: Point) -> npt.NDArray[Any]:
            for parameter, value in zip(parameters, point[count:], strict=True):
                parameter._value = value  # complex numbers as well
            rewind()
            y: npt.NDArray[Any] = getattr(part, method)(*(x.copy() for x in point[:count]))
            return y

        varied = [self.has_input_gradient] * count + [True] * len(values)
        draw = Differentiator(function, varied, self.weights).at_a_smooth_point
        return draw(lambda number: [*self.inputs(number=number), *values])


def predicted(part: Part, xs: Inputs) -> Array:
    """Run predict on copies of the inputs."""
    return part.predict(*(x.copy() for x in xs))


def gradients(part: Part) -> dict[str, Array]:
    """Copy the gradient of each parameter."""
    return {name: parameter.grad.copy() for name, parameter in part.named_parameters().items()}


def rewinding(part: Part) -> Callable[[], None]:
    """Return a function that brings generators and buffers back to where they are now: masks are drawn again."""
    generators = named(part, np.random.Generator).values()
    states = [(generator.bit_generator, copy.deepcopy(generator.bit_generator.state)) for generator in generators]
    buffers = [(buffer, buffer.value.copy()) for buffer in named(part, Buffer).values()]

    def rewind() -> None:
        for bits, state in states:
            bits.state = state
        for buffer, value in buffers:
            buffer.value = value.copy()

    return rewind
