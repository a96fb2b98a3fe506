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
from ..errors import ArgumentError
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

    Attributes:
        width: Width of x.
        steps: Maps the name of each result to its operation, in order.
        numbers: Maps the name of each number to it.
        arrays: Maps the name of each array to it.
        inline: Names of the results that are written where they are used; the others have a variable.
        output: The output of the model.
    """

    def __init__(self, model: Layer, where: str, name: str, features: Any, dtype: Any = None) -> None:
        check_parts(where, model=(model, Layer))
        if not isinstance(name, str) or re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None:
            raise ArgumentError(f"{where}(name): expected the name of a function, such as 'predict', got {name!r}")
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
        name = f"v{len(self.steps) + 1}"
        self.steps[name] = Step(operation, width, inputs)
        return Value(self, name, width)

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
