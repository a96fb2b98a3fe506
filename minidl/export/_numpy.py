"""The operations of a program as expressions of NumPy."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .._rules import Value
from ._program import Program, Step

OPERATIONS = {
    **{sign: f"({{0}} {sign} {{1}})" for sign in "+-*/"},
    "where": "np.where({0} > 0, {1}, {2})",
    "sigmoid": "sigmoid({0})",
    "erfc": "erfc({0})",
    "total": "np.sum({0}, axis=1, keepdims=True)",
    "largest": "np.max({0}, axis=1, keepdims=True)",
    "columns": "{0}[:, {1}]",
    "lookup": "{1}[{0}.astype(int)].reshape(len(x), -1)",
}
"""Operations that are not a function of NumPy with the same name."""

NAMES = {"atan": "arctan", "asinh": "arcsinh"}

HELPERS = {
    "sigmoid": """

def sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x > 0, 1, small) / (1 + small)""",
    "erfc": """

def erfc(x):
    return np.vectorize(math.erfc, otypes=[x.dtype])(x)""",
}
"""Functions that NumPy does not have, for programs that use them."""


def text(program: Program, value: Value) -> str:
    """Write a value."""
    return expression(program, program.steps[value.name]) if value.name in program.inline else value.name


def expression(program: Program, step: Step) -> str:
    """Write the result of an operation."""
    inputs = [text(program, value) for value in step.inputs]
    if step.operation == "dense":
        return f"{inputs[0]} @ {inputs[1]}.T" + "".join(f" + {bias}" for bias in inputs[2:])
    if step.operation == "concat":
        return f"np.concatenate([{', '.join(inputs)}], axis=1)"
    plain = f"np.{NAMES.get(step.operation, step.operation)}({', '.join(inputs)})"
    return OPERATIONS.get(step.operation, plain).format(*inputs)


def table(value: npt.NDArray[Any]) -> str:
    """Write an array."""
    return f"np.array([{', '.join(map(str, value.ravel()))}], np.{value.dtype.name}).reshape({value.shape})"


def source(program: Program) -> str:
    """Write a module of one function."""
    steps = {name: step for name, step in program.steps.items() if name not in program.inline}
    helpers = [HELPERS[operation] for operation in HELPERS if program.uses(operation)]
    return "\n".join([
        f"# {program.name}(x): from (rows, {program.width}) to (rows, {program.output.width}). Made by minidl.",
        *(["import math", ""] if program.uses("erfc") else []),
        "import numpy as np",
        *helpers,
        *[""] * (1 + bool(helpers)),
        *(f"{label} = {table(value)}" for label, value in program.arrays.items()),
        "",
        "",
        f"def {program.name}(x):",
        f"    x = np.asarray(x, np.{program.dtype.name})",
        *(f"    {name} = {expression(program, step)}" for name, step in steps.items()),
        f"    return {program.output.name}{'.copy()' * (program.output.name == 'x')}",
        "",
    ])  # fmt: skip
