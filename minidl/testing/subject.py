"""The subject of the checks: copies, inputs, and one training pass."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Buffer, Parameter
from ..layers._parts import Holder, named
from ..layers._structure import one_line
from ..layers.base import Component, Layer, trait
from ..layers.merges import Merge
from .comparison import Pass
from .derivatives import Differentiated, Differentiator, Point

T = TypeVar("T")

RUNS = ("deepcopy", "parts are found", "forward", "repeatable")
"""Checks that must hold before anything else can be asked."""

TRAINS = (*RUNS, "backward")

Part: TypeAlias = "Layer | Merge"

Inputs: TypeAlias = "tuple[Array, ...]"

Sample: TypeAlias = "Callable[[int, np.random.Generator], Inputs]"
"""Makes inputs of a number of rows; prediction and target for a loss."""


@dataclass
class Subject(ABC, Generic[T]):
    """Base of what is checked: layers and merges, and losses.

    Attributes:
        part: The object to check; only copies of it are run.
        sample: Makes inputs.
        rows: Rows of the usual batch.
        seed: Seed of the inputs.
    """

    part: T
    sample: Sample
    rows: int
    seed: int

    predicting: ClassVar[str] = "predict"
    """What messages call a prediction."""

    randomness: ClassVar[str] = "; draw random numbers from a numpy.random.Generator that is an attribute"
    """What a message says to a part that is random in another way."""

    @property
    @abstractmethod
    def input_names(self) -> Sequence[str]:
        """What messages call the inputs."""

    @abstractmethod
    def backward(self, part: T, grad: Array) -> dict[str, Array]:
        """Run backward; return the gradient of each input by name."""

    @abstractmethod
    def predict(self, part: T, xs: Inputs) -> Array:
        """Run what computes the output and keeps nothing."""

    def forward(self, part: T, xs: Inputs) -> Array:
        """Run forward."""
        output: Array = np.asarray(part.forward(*xs))  # type: ignore[attr-defined]
        return output

    @property
    def parts(self) -> list[Any]:
        """List the part and the layers and merges in it, which may declare something."""
        return [self.part, *parts_of(self.part, Component).values()]

    @property
    def picklable(self) -> bool:
        """Whether pickle must take it."""
        return all(trait(part, "picklable") for part in self.parts)

    def original(self) -> T:
        """Return a copy of the part as it was handed in."""
        return copy.deepcopy(self.part)

    @property
    def changed(self) -> T:
        """The part as it is used in the checks."""
        return self.part

    def prepared(self, use: Callable[[T], object] | None = None) -> T:
        """Return a copy of the part for the checks, always in the same state.

        Args:
            use: What is done with it before; generators and buffers are then rewound.
        """
        part = copy.deepcopy(self.changed)
        if use is not None:
            rewind = rewinding(part)
            use(part)
            rewind()
        return part

    def inputs(self, rows: int | None = None, number: int = 0, dtype: npt.DTypeLike = np.float64) -> Inputs:
        """Make fresh inputs; the same number gives the same ones."""
        rng = np.random.default_rng([self.seed, number])
        return tuple(np.array(x, dtype, order="C") for x in self.sample(self.rows if rows is None else rows, rng))

    def arguments(self) -> Inputs:
        """Make all that forward may be given."""
        return self.inputs()

    def others(self) -> Inputs:
        """Make arguments of other numbers and more rows."""
        return self.inputs(self.rows + 2, number=1)

    def weights(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> Array:
        """Make a gradient of the output."""
        weights: Array = np.random.default_rng([self.seed, 77]).standard_normal(shape).astype(dtype)
        return weights

    def trained(self, part: T, xs: Inputs | None = None, grad: Array | None = None) -> Pass:
        """Run forward and backward from gradients of zero, on copies of the arguments.

        Args:
            part: What to run.
            xs: Inputs; default the usual ones.
            grad: ∂e/∂y; default the weights for its shape.
        """
        for parameter in parts_of(part, Parameter).values():
            parameter.zero_grad()
        output = self.forward(part, self.inputs() if xs is None else tuple(x.copy() for x in xs))
        weights = self.weights(output.shape, output.dtype) if grad is None else grad.copy()
        return Pass(output, self.backward(part, weights), gradients(part))

    def usual(self) -> Pass:
        """Run forward and backward of the prepared part on the usual inputs."""
        return self.trained(self.prepared())

    def predicted(self, part: T, xs: Inputs | None = None) -> Array:
        """Predict for copies of the inputs, by default the usual ones."""
        return self.predict(part, self.inputs() if xs is None else tuple(x.copy() for x in xs))


@dataclass
class ComponentSubject(Subject[Part]):
    """A layer or merge, and copies of it that are prepared for the checks.

    A prepared copy is in float64. Its parameters are changed a little, because a weight of 1 or a bias of 0 hides a
    missing factor. Its running statistics have seen some batches.

    Attributes:
        largest: Size of the largest numbers that an activation is given; None for what is no activation.
    """

    largest: float | None = None

    def __post_init__(self) -> None:
        self.smallest_batch: int = max(trait(part, "smallest_batch") for part in self.parts)
        self.couples_rows: bool = any(trait(part, "couples_rows") for part in self.parts)
        self.has_input_gradient: bool = all(trait(part, "has_input_gradient") for part in self.parts)
        self.rows: int = max(self.rows, self.smallest_batch)
        self.name: str = one_line(self.part)

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

    @cached_property
    def changed(self) -> Part:
        """The part in float64, with other parameters and running statistics."""
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

    def backward(self, part: Part, grad: Array) -> dict[str, Array]:
        result = part.backward(grad)
        return dict(zip(self.input_names, result if isinstance(result, tuple) else (result,), strict=True))

    def predict(self, part: Part, xs: Inputs) -> Array:
        return part.predict(*xs)

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


def parts_of(part: object, kind: type[Any] | tuple[type[Any], ...]) -> dict[str, Any]:
    """Map paths to the parts of one kind; a loss has none."""
    return named(part, kind) if isinstance(part, Holder) else {}


def gradients(part: object) -> dict[str, Array]:
    """Copy the gradient of each parameter."""
    return {name: parameter.grad.copy() for name, parameter in parts_of(part, Parameter).items()}


def rewinding(part: object) -> Callable[[], None]:
    """Return a function that brings generators and buffers back to where they are now: masks are drawn again."""
    generators = parts_of(part, np.random.Generator).values()
    states = [(generator.bit_generator, copy.deepcopy(generator.bit_generator.state)) for generator in generators]
    buffers = [(buffer, buffer.value.copy()) for buffer in parts_of(part, Buffer).values()]

    def rewind() -> None:
        for bits, state in states:
            bits.state = state
        for buffer, value in buffers:
            buffer.value = value.copy()

    return rewind
