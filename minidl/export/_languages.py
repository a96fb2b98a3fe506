"""The public functions: a model as a text in one language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .._data import check_parts
from .._rules.special import SCALE, erfc_coefficients
from ..layers.base import Layer
from . import _words as words
from ._c_like import DOUBLE, FLOAT, JAVASCRIPT, Loops
from ._numpy import source
from ._program import Program


def to_c(
    model: Layer,
    *,
    name: str = "predict",
    features: int | Sequence[int] | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> str:
    """Write the prediction of a model as a C99 function of one row, ``void predict(const float *x, float *y)``.

    The function needs ``math.h`` and no memory but its stack. Codes of an `Embedding` are not checked.

    Args:
        model: The model; Dropout is left out, and BatchNorm uses its running statistics.
        name: Name of the function.
        features: Width of x, or the shape of an image; only for a model that leaves it open.
        dtype: float32 for ``float``, float64 for ``double``.

    Raises:
        StructureError: a layer of your own without a method ``export``.
        ShapeError: its method works on rows that do not fit.
        ArgumentError: a name that is none or that the language uses itself, or a width that is not known.
        DataError: NaN or infinity in the weights.
    """
    check_parts("to_c", model=(model, Layer))
    program = Program(model.astype(dtype), "to_c", name, features, words.C, dtype)
    real, language = ("float", FLOAT) if program.dtype == np.float32 else ("double", DOUBLE)
    printer, out = Loops(program, language), program.output
    return "\n".join([
        f"/* {name}: from x[{program.width}] to y[{out.width}]. Made by minidl. */",
        "#include <math.h>",
        "",
        *(
            f"static const {'int' if table.dtype.kind == 'i' else real} {label}[{table.size}] = "
            f"{{{printer.table(table)}}};"
            for label, table in program.arrays.items()
        ),
        "",
        f"void {name}(const {real} *x, {real} *y)",
        "{",
        *(f"    {line}" for line in printer.lines()),
        f"    {printer.loop(out.width, f'y[i] = {printer.text(out)};')}",
        "}",
        "",
    ])  # fmt: skip


def to_javascript(model: Layer, *, name: str = "predict", features: int | Sequence[int] | None = None) -> str:
    """Write the prediction of a model as an ECMAScript module with one function of one row, an array of numbers.

    It computes in double precision, also for a model in float32. Codes of an `Embedding` are not checked.

    Args:
        model: The model; Dropout is left out, and BatchNorm uses its running statistics.
        name: Name of the function.
        features: Width of x, or the shape of an image; only for a model that leaves it open.

    Raises:
        StructureError: a layer of your own without a method ``export``.
        ShapeError: its method works on rows that do not fit.
        ArgumentError: a name that is none or that the language uses itself, or a width that is not known.
        DataError: NaN or infinity in the weights.
    """
    program = Program(model, "to_javascript", name, features, words.JAVASCRIPT)
    printer = Loops(program, JAVASCRIPT)
    return "\n".join([
        f"// {name}(x): from {program.width} to {program.output.width} numbers. Made by minidl.",
        *([_erfc()] if program.uses("erfc") else []),
        *(f"const {label} = [{printer.table(table)}];" for label, table in program.arrays.items()),
        "",
        f"export function {name}(x) {{",
        *(f"  {line}" for line in printer.lines()),
        f"  return Array.from({program.output.name});",
        "}",
        "",
    ])  # fmt: skip


def _erfc() -> str:
    """Write erfc(x), which JavaScript does not have."""
    polynomial = str(erfc_coefficients().tolist()[::-1])
    return f"""function erfc(x) {{
  const z = Math.abs(x), t = {SCALE} / ({SCALE} + z), u = 2 * t - 1;
  const p = Math.exp(-z * z) * t * {polynomial}.reduce((p, c) => p * u + c, 0);
  return x > 0 ? p : 2 - p;
}}"""


def to_numpy(model: Layer, *, name: str = "predict", features: int | Sequence[int] | None = None) -> str:
    """Write the prediction of a model as a Python module that needs NumPy alone, with one function of many rows.

    Args:
        model: The model; Dropout is left out, and BatchNorm uses its running statistics.
        name: Name of the function.
        features: Width of x, or the shape of an image; only for a model that leaves it open.

    Raises:
        StructureError: a layer of your own without a method ``export``.
        ShapeError: its method works on rows that do not fit.
        ArgumentError: a name that is none or that the language uses itself, or a width that is not known.
        DataError: NaN or infinity in the weights.

    Example:
        >>> space = {}
        >>> exec(to_numpy(mlp([2, 3, 1], rng=0)), space)
        >>> space["predict"](np.zeros((5, 2))).shape
        (5, 1)
    """
    return source(Program(model, "to_numpy", name, features, words.PYTHON))
