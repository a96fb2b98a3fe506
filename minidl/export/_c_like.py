"""Loops over rows of numbers, as C and JavaScript write them; both write expressions alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._rules import Value
from ._program import Program, Step

EXPRESSIONS = {
    "maximum": "({0} < {1} ? {1} : {0})",
    "minimum": "({0} > {1} ? {1} : {0})",
    "where": "({0} > 0 ? {1} : {2})",
    **{sign: f"({{0}} {sign} {{1}})" for sign in "+-*/"},
}
"""Operations that are no calls of a function; comparisons are such that NaN gives NaN."""


class CLike(ABC):
    """Print a program as loops.

    Attributes:
        integer: What declares the variable of a loop.
        lowest: −∞.
    """

    integer: ClassVar[str]
    lowest: ClassVar[str]

    def __init__(self, program: Program) -> None:
        self.program = program
        self.functions: set[str] = set()

    @abstractmethod
    def literal(self, value: Any) -> str:
        """Write a number."""

    @abstractmethod
    def call(self, function: str, argument: str) -> str:
        """Write the call of a function of one number."""

    @abstractmethod
    def variable(self, name: str, width: int) -> str:
        """Declare a row of numbers."""

    @abstractmethod
    def scalar(self, name: str, value: str) -> str:
        """Declare a number that changes."""

    @abstractmethod
    def code(self, value: str) -> str:
        """Write a number as the index of a row of a table."""

    def table(self, values: npt.NDArray[Any]) -> str:
        """Write the numbers of an array."""
        return ", ".join(self.literal(value) for value in values.ravel())

    def text(self, value: Value, index: str = "i") -> str:
        """Write one number of a value: an expression, or an element of an array."""
        program = self.program
        if value.name in program.numbers:
            return self.literal(program.dtype.type(program.numbers[value.name]))
        if value.name in program.steps and value.name not in program.alone:
            return self.expression(program.steps[value.name], index)
        return f"{value.name}[{index if value.width > 1 else 0}]"

    def expression(self, step: Step, index: str = "i") -> str:
        """Write one number of a result."""
        inputs = [self.text(value, index) for value in step.inputs]
        if step.operation == "sigmoid":
            return f"({self.literal(self.program.dtype.type(1))} / (1 + {self.call('exp', f'-{inputs[0]}')}))"
        pattern = EXPRESSIONS.get(step.operation)
        return pattern.format(*inputs) if pattern else self.call(step.operation, *inputs)

    def loop(self, width: int, body: str, index: str = "i") -> str:
        """Write a loop over a row."""
        return f"for ({self.integer} {index} = 0; {index} < {width}; {index}++) {body}"

    def lines(self) -> list[str]:
        """Write the body of the function, up to its output."""
        found = []
        for name, step in self.program.steps.items():
            if name in self.program.alone:
                found += [self.variable(name, step.width), *getattr(self, step.operation, self.each)(name, step)]
        return found

    def each(self, name: str, step: Step) -> list[str]:
        """Write a function of each number."""
        return [self.loop(step.width, f"{name}[i] = {self.expression(step)};")]

    def total(self, name: str, step: Step) -> list[str]:
        """Write a sum."""
        (x,) = step.inputs
        return [f"{name}[0] = 0;", self.loop(x.width, f"{name}[0] += {self.text(x)};")]

    def largest(self, name: str, step: Step) -> list[str]:
        """Write a maximum."""
        (x,) = step.inputs
        return [
            f"{name}[0] = {self.lowest};",
            self.loop(x.width, f"if ({self.text(x)} > {name}[0]) {name}[0] = {self.text(x)};"),
        ]

    def dense(self, name: str, step: Step) -> list[str]:
        """Write x Wᵀ + b."""
        x, weight, *bias = step.inputs
        first = f"{bias[0].name}[i]" if bias else "0"
        inner = self.loop(x.width, f"s += {weight.name}[i * {x.width} + j] * {self.text(x, 'j')};", "j")
        return [self.loop(step.width, f"{{ {self.scalar('s', first)} {inner} {name}[i] = s; }}")]

    def columns(self, name: str, step: Step) -> list[str]:
        """Write a selection of columns."""
        x, indices = step.inputs
        return [self.loop(step.width, f"{name}[i] = {x.name}[{self.text(indices)}];")]

    def lookup(self, name: str, step: Step) -> list[str]:
        """Write rows of a table side by side."""
        x, table = step.inputs
        row = f"{table.name}[{self.code(self.text(x))} * {table.width} + j]"
        inner = self.loop(table.width, f"{name}[i * {table.width} + j] = {row};", "j")
        return [self.loop(x.width, inner)]

    def concat(self, name: str, step: Step) -> list[str]:
        """Write rows side by side."""
        found, place = [], 0
        for x in step.inputs:
            found.append(self.loop(x.width, f"{name}[{place} + i] = {self.text(x)};"))
            place += x.width
        return found


class C(CLike):
    """Print C99."""

    integer, lowest = "int", "-INFINITY"
    _names: ClassVar = {"abs": "fabs"}

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.real, self.suffix = ("float", "f") if program.dtype == np.float32 else ("double", "")

    @override
    def literal(self, value: Any) -> str:
        return str(value) if isinstance(value, np.integer) else str(value) + self.suffix

    @override
    def call(self, function: str, argument: str) -> str:
        return f"{self._names.get(function, function)}{self.suffix}({argument})"

    @override
    def variable(self, name: str, width: int) -> str:
        return f"{self.real} {name}[{width}];"

    @override
    def scalar(self, name: str, value: str) -> str:
        return f"{self.real} {name} = {value};"

    @override
    def code(self, value: str) -> str:
        return f"(int){value}"


class JavaScript(CLike):
    """Print an ECMAScript module. Its numbers are doubles."""

    integer, lowest = "let", "-Infinity"

    @override
    def literal(self, value: Any) -> str:
        return str(value)

    @override
    def call(self, function: str, argument: str) -> str:
        self.functions.add(function)
        return f"{'' if function == 'erfc' else 'Math.'}{function}({argument})"

    @override
    def variable(self, name: str, width: int) -> str:
        return f"const {name} = [];"

    @override
    def scalar(self, name: str, value: str) -> str:
        return f"let {name} = {value};"

    @override
    def code(self, value: str) -> str:
        return value
