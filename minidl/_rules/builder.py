"""The elementary operations that rules are written in, and the rows of numbers that they work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import finite, one_of, positive_int, real
from .._core.parameter import Buffer, Parameter
from ..errors import ArgumentError, DTypeError, StructureError
from ..layers._parts import goes_past, named
from ..layers._structure import one_line
from ..layers.base import Component, Layer, trait

Operand: TypeAlias = "Value | float"

FUNCTIONS = (
    *"+-*/", "abs", "asinh", "atan", "cos", "cosh", "erfc", "exp", "expm1", "log", "log1p", "maximum", "minimum",
    "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh", "where",
)  # fmt: skip
"""The functions of each number that every format has."""

TWO = (*"+-*/", "maximum", "minimum")
"""Those of two numbers; ``"where"`` is of three, the others are of one."""


class Value:
    """The numbers of one row at one place of a network, or constants; arithmetic with them adds operations.

    Attributes:
        to: The builder that it belongs to.
        name: Its name, unique in the builder.
        width: How many numbers it has; one number fits to every width.
    """

    __array_ufunc__ = None  # NumPy leaves the arithmetic of its numbers with a Value to the Value.

    def __init__(self, to: Builder, name: str, width: int) -> None:
        self.to = to
        self.name = name
        self.width = width

    def __add__(self, other: Operand) -> Value:
        return self.to.apply("+", self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.to.apply("-", self, other)

    def __mul__(self, other: Operand) -> Value:
        return self.to.apply("*", self, other)

    def __truediv__(self, other: Operand) -> Value:
        return self.to.apply("/", self, other)

    def __radd__(self, other: float) -> Value:
        return self.to.apply("+", other, self)

    def __rsub__(self, other: float) -> Value:
        return self.to.apply("-", other, self)

    def __rmul__(self, other: float) -> Value:
        return self.to.apply("*", other, self)

    def __rtruediv__(self, other: float) -> Value:
        return self.to.apply("/", other, self)

    def __neg__(self) -> Value:
        return self * -1.0

    @override
    def __repr__(self) -> str:
        return f"{self.name}[{self.width}]"


Rule: TypeAlias = Callable[..., Value]


class Builder(ABC):
    """Write a model as operations. A subclass writes them in the words of its format.

    Args:
        model: The model.
        where: The public function, for errors.
        rules: Maps the exact class of a layer or merge to what writes it.
        dtype: The dtype of its numbers; None for that of the model.
    """

    hooks: ClassVar[tuple[str, ...]] = ("export",)
    """Methods of a layer that stand for a rule, the first wins."""

    advice: ClassVar[str] = ""
    """What else to do about a function that is not known."""

    def __init__(
        self, model: Layer, where: str, rules: dict[type[Any], Rule], dtype: npt.DTypeLike | None = None
    ) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype or model.dtype or np.float64)
        self.where = where
        self.rules = rules
        self.path = ""
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._paths = {id(part): path for path, part in named(model, (Parameter, Buffer)).items()}

    @abstractmethod
    def add(self, operation: str, width: int, *inputs: Value) -> Value:
        """Add an operation, and return its result."""

    @abstractmethod
    def number(self, value: float) -> Value:
        """Return a number as a constant."""

    @abstractmethod
    def constant(self, value: npt.NDArray[Any], name: str) -> Value:
        """Return an array as a constant with this name. An equal name means an equal array."""

    def array(self, value: Parameter | Buffer | npt.ArrayLike, name: str = "constant") -> Value:
        """Return an array as a constant. A parameter or buffer has its path as name, and another array ``name``."""
        path = self._paths.get(id(value), f"{self.path}.{name}".lstrip("."))
        array = np.asarray(value.value if isinstance(value, (Parameter, Buffer)) else value)
        finite(array, f'{self.where}: "{path}"')
        array = array.astype(self.dtype) if array.dtype.kind == "f" else array
        while not np.array_equal(self._arrays.setdefault(path, array), array):
            path += "_"
        return self.constant(array, path)

    def apply(self, function: str, *values: Operand) -> Value:
        """Apply a function to each number: ``"tanh"``, ``"maximum"``, or ``"where"``, which is y if x > 0, else z.

        Raises:
            ArgumentError: a function that is none of `FUNCTIONS`, or another number of values than it takes.
        """
        one_of(function, FUNCTIONS, f'{self.where}: to.apply(function) at "{self.path}"')
        where = f'{self.where}: to.apply("{function}", …) at "{self.path}"'
        count = 3 if function == "where" else 1 + (function in TWO)
        if len(values) != count:
            raise ArgumentError(f"{where}: expected {count} value{'s' * (count > 1)}, got {len(values)}")
        inputs = [value if isinstance(value, Value) else self.number(real(value, where)) for value in values]
        return self.add(function, max(value.width for value in inputs), *inputs)

    def total(self, x: Value) -> Value:
        """Sum over the numbers of a row."""
        return self.add("total", 1, x)

    def mean(self, x: Value) -> Value:
        """Take the mean of the numbers of a row."""
        return self.total(x) / x.width

    def largest(self, x: Value) -> Value:
        """Find the largest number of a row."""
        return self.add("largest", 1, x)

    def dense(self, x: Value, weight: Parameter, bias: Parameter | None) -> Value:
        """Compute x Wᵀ + b."""
        arrays = [self.array(part) for part in (weight, bias) if part is not None]
        return self.add("dense", len(weight.value), x, *arrays)

    def columns(self, x: Value, indices: Sequence[int]) -> Value:
        """Select numbers of a row."""
        return self.add("columns", len(indices), x, self.array(np.array(indices, np.int64), "indices"))

    def lookup(self, x: Value, table: Parameter) -> Value:
        """Put the rows of a table side by side that the numbers of x name."""
        return self.add("lookup", x.width * table.shape[1], x, self.array(table))

    def concat(self, *xs: Value) -> Value:
        """Put rows side by side."""
        return self.add("concat", sum(x.width for x in xs), *xs)

    def part(self, part: Component, name: str, *xs: Value) -> Value:
        """Write a layer or merge inside of another, under its name there."""
        outer, self.path = self.path, f"{self.path}.{name}".lstrip(".")
        y = self.write(part, *xs)
        self.path = outer
        return y

    def write(self, part: Component, *xs: Value) -> Value:
        """Write a layer or merge by its own method, or by the rule of exactly its class.

        Raises:
            StructureError: there is neither; a rule of a base class does not count, as it may compute something else.
        """
        kind = type(part)
        for hook in self.hooks:
            if hasattr(kind, hook) and not any(goes_past(kind, hook, own) for own in ("forward", "compute")):
                found = getattr(part, hook)(self, *xs)
                if isinstance(found, Value):
                    return found
                raise StructureError(f'{self.where}: expected {kind.__name__}.{hook} at "{self.path}" to return '
                                     f"its output, the result of an operation, got {found!r}")
        if kind not in self.rules:
            raise StructureError(
                f'{self.where}: expected built-in layers, got {one_line(part)} at "{self.path}"; give the class '
                f"{kind.__name__} a method {' or '.join(self.hooks)}(self, to, x) that returns its output, such as "
                'to.apply("tanh", x) * 2.0'
            )
        return self.rules[kind](part, self, *xs)


def input_shape(model: Layer, features: int | Sequence[int] | None, where: str) -> tuple[int, ...]:
    """Return the shape of one row of the input.

    Raises:
        ArgumentError: neither the model nor ``features`` says it, or they differ.
    """
    known = trait(model, "in_features")
    if features is None:
        if known is None:
            raise ArgumentError(f"{where}(features): expected the width of x, which this model leaves open, got None")
        return (int(known),)
    several = isinstance(features, (tuple, list)) and trait(model, "takes_any_rank")
    if not several and not isinstance(features, (int, np.integer)):
        raise DTypeError(f"{where}(features): expected a whole number, or the shape of an image, got {features!r}")
    sizes: Any = features if several else [features]
    shape = tuple(positive_int(size, f"{where}(features)") for size in sizes)
    if known not in (None, int(np.prod(shape))):
        raise ArgumentError(f"{where}(features): expected {known}, the width that the model takes, got {features}")
    model.output_features(int(np.prod(shape)))
    return shape
