"""A model as a list of operations on named rows, from which each language is printed."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._data import check_parts
from .._rules import RULES, Builder, Value
from .._rules.builder import input_shape
from ..errors import ArgumentError, ShapeError
from ..layers.base import Layer

ROW = ("total", "largest", "dense", "columns", "lookup", "concat")
"""Operations that are not a function of each number alone."""


class Step(NamedTuple):
    """One operation: its kind, the widths that come in and out, and the names of its inputs."""

    operation: str
    width: int
    inputs: tuple[Value, ...]


class Program(Builder):
    """Collect the operations of a model.

    Args:
        model: The model.
        where: The public function, for errors.
        name: Name of the function that is written.
        features: Width of x, or the shape of an image; None for that of the model.
        words: Names that the language or the program uses itself, as one text.
        dtype: The dtype of its numbers; None for that of the model.

    Attributes:
        width: Width of x.
        steps: Maps the name of each result to its operation, in order.
        numbers: Maps the name of each number to it.
        arrays: Maps the name of each array to it.
        inline: Names of the results that are written where they are used; the others have a variable.
        output: The output of the model.
    """

    def __init__(self, model: Layer, where: str, name: str, features: Any, words: str, dtype: Any = None) -> None:
        check_parts(where, model=(model, Layer))
        if not isinstance(name, str) or re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None:
            raise ArgumentError(f"{where}(name): expected the name of a function, such as 'predict', got {name!r}")
        if name in words.split():
            raise ArgumentError(f"{where}(name): expected a name that the language or the program does not use itself, "
                                f"such as 'predict', got {name!r}")
        super().__init__(model, where, RULES, dtype)
        self.width = int(np.prod(input_shape(model, features, where)))
        self.name = name
        self.steps: dict[str, Step] = {}
        self.numbers: dict[str, float] = {}
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self._labels: dict[str, str] = {}
        self.output = self.write(model, Value(self, "x", self.width))
        used = Counter(value.name for step in self.steps.values() for value in step.inputs)
        self.inline = {name for name, step in self.steps.items() if step.operation not in ROW and used[name] == 1}
        for step in self.steps.values():  # An index needs a row, and a loop should not compute one number again.
            alone = step.operation in ("dense", "columns", "lookup", "concat")
            self.inline -= {value.name for value in step.inputs if alone or value.width < step.width}

    @override
    def add(self, operation: str, width: int, *inputs: Value) -> Value:
        self._check_widths(operation, width, inputs)
        name = f"v{len(self.steps) + 1}"
        self.steps[name] = Step(operation, width, inputs)
        return Value(self, name, width)

    def _check_widths(self, operation: str, width: int, inputs: tuple[Value, ...]) -> None:
        """Refuse rows that do not fit: C would read numbers that are not there."""
        where, place, widths = f"{self.where}: to.{operation}", f'at "{self.path}"', [value.width for value in inputs]
        if operation == "columns":
            indices = self.arrays[inputs[1].name]
            wrong = indices[(indices < 0) | (indices >= widths[0])]
            if wrong.size:
                raise ShapeError(f"{where} {place}: expected columns 0 … {widths[0] - 1}, got {wrong[0]}")
        elif operation == "dense" and widths[0] != widths[1]:
            raise ShapeError(f"{where} {place}: expected {widths[1]} numbers, as many as the weight has columns, got "
                             f"{widths[0]}")
        elif operation == "dense" and widths[2:] not in ([], [width]):
            raise ShapeError(f"{where} {place}: expected a bias of {width} numbers, got {widths[2]}")
        elif operation not in ROW and not {*widths} <= {1, width}:
            found = " and ".join(map(str, widths))
            raise ShapeError(f'{self.where}: to.apply("{operation}", …) {place}: expected rows of one width, got '
                             f"{found} numbers")

    @override
    def number(self, value: float) -> Value:
        self.numbers[repr(value)] = value
        return Value(self, repr(value), 1)

    @override
    def constant(self, value: npt.NDArray[Any], name: str) -> Value:
        if name not in self._labels:
            label = f"{self.name}_" + re.sub(r"\W", "_", name, flags=re.ASCII)
            while label in self.arrays:
                label += "_"
            self._labels[name] = label
            self.arrays[label] = value
        return Value(self, self._labels[name], value.shape[-1] if value.ndim else 1)

    def uses(self, operation: str) -> bool:
        """Return whether there is such an operation."""
        return any(step.operation == operation for step in self.steps.values())
