"""Loops over rows of numbers, as C and JavaScript write them: both write expressions and loops alike."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._rules import Value
from ._program import Program, Step


class Language(NamedTuple):
    """What the languages write in different ways, as `str.format` texts.

    Attributes:
        loop: A loop over a row: variable, width, body.
        row: Declares a row: name, width.
        sum: Declares a sum: name, first value.
        code: A number as an index.
        suffix: What ends a number.
        call: A function of one number: name, argument.
        lowest: −∞.
        names: Functions with another name.
    """

    loop: str
    row: str
    sum: str
    code: str
    suffix: str
    call: str
    lowest: str
    names: dict[str, str]


_FOR = "for ({type} {{0}} = 0; {{0}} < {{1}}; {{0}}++) {{2}}"
FLOAT, DOUBLE = (
    Language(_FOR.format(type="int"), f"{real} {{0}}[{{1}}];", f"{real} {{0}} = {{1}};", "(int){0}", suffix,
             f"{{0}}{suffix}({{1}})", "-INFINITY", {"abs": "fabs"})
    for real, suffix in (("float", "f"), ("double", ""))
)  # fmt: skip
_MATH = ("abs", "asinh", "atan", "cos", "cosh", "exp", "expm1", "log", "log1p", "sin", "sinh", "sqrt", "tan", "tanh")
JAVASCRIPT = Language(
    _FOR.format(type="let"), "const {0} = [];", "let {0} = {1};", "{0}", "", "{0}({1})", "-Infinity",
    {name: f"Math.{name}" for name in _MATH},
)  # fmt: skip

EXPRESSIONS = {
    "maximum": "({0} < {1} ? {1} : {0})",
    "minimum": "({0} > {1} ? {1} : {0})",
    "where": "({0} > 0 ? {1} : {2})",
    **{sign: f"({{0}} {sign} {{1}})" for sign in "+-*/"},
}
"""Operations that are no calls of a function; comparisons are such that NaN gives NaN."""


class Loops:
    """Print a program as loops."""

    def __init__(self, program: Program, language: Language) -> None:
        self.program = program
        self.language = language

    def literal(self, value: Any) -> str:
        """Write a number in as few digits as tell it from its neighbours."""
        return str(value) + self.language.suffix * (not isinstance(value, np.integer))

    def table(self, values: npt.NDArray[Any]) -> str:
        """Write the numbers of an array."""
        return ", ".join(map(self.literal, values.ravel()))

    def text(self, value: Value, index: str = "i") -> str:
        """Write one number of a value: an expression, or an element of an array."""
        program = self.program
        if value.name in program.numbers:
            return self.literal(program.dtype.type(program.numbers[value.name]))
        if value.name in program.inline:
            return self.expression(program.steps[value.name], index)
        return f"{value.name}[{index if value.width > 1 else 0}]"

    def expression(self, step: Step, index: str = "i") -> str:
        """Write one number of a result."""
        inputs = [self.text(value, index) for value in step.inputs]
        if step.operation == "sigmoid":
            return f"(1 / (1 + {self.call('exp', f'0 - {inputs[0]}')}))"  # Two minus signs would be another operator.
        pattern = EXPRESSIONS.get(step.operation)
        return pattern.format(*inputs) if pattern else self.call(step.operation, *inputs)

    def call(self, function: str, argument: str) -> str:
        """Write the call of a function."""
        return self.language.call.format(self.language.names.get(function, function), argument)

    def loop(self, width: int, body: str, index: str = "i") -> str:
        """Write a loop over a row."""
        return self.language.loop.format(index, width, body)

    def lines(self) -> list[str]:
        """Write the body of the function, up to its output."""
        found = []
        for name, step in self.program.steps.items():
            if name not in self.program.inline:
                write = getattr(self, step.operation, self.each)
                found += [self.language.row.format(name, step.width), *write(name, step)]
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
        body = f"if ({self.text(x)} > {name}[0]) {name}[0] = {self.text(x)};"
        return [f"{name}[0] = {self.language.lowest};", self.loop(x.width, body)]

    def dense(self, name: str, step: Step) -> list[str]:
        """Write x Wᵀ + b."""
        x, weight, *bias = step.inputs
        first = self.language.sum.format("s", self.text(bias[0]) if bias else 0)
        inner = self.loop(x.width, f"s += {weight.name}[i * {x.width} + j] * {self.text(x, 'j')};", "j")
        return [self.loop(step.width, f"{{ {first} {inner} {name}[i] = s; }}")]

    def columns(self, name: str, step: Step) -> list[str]:
        """Write a selection of columns."""
        x, indices = step.inputs
        return [self.loop(step.width, f"{name}[i] = {x.name}[{self.text(indices)}];")]

    def lookup(self, name: str, step: Step) -> list[str]:
        """Write rows of a table side by side."""
        x, table = step.inputs
        row = f"{table.name}[{self.language.code.format(self.text(x))} * {table.width} + j]"
        return [self.loop(x.width, self.loop(table.width, f"{name}[i * {table.width} + j] = {row};", "j"))]

    def concat(self, name: str, step: Step) -> list[str]:
        """Write rows side by side."""
        places = accumulate([0, *(x.width for x in step.inputs)])
        return [
            self.loop(x.width, f"{name}[{place} + i] = {self.text(x)};")
            for place, x in zip(places, step.inputs, strict=False)
        ]
