"""Write kernels as the text of a module that can be compiled."""

from __future__ import annotations

import inspect
import io
import tokenize
from functools import cache
from typing import Any

import numpy as np

from ..errors import CompileError
from .kernels import elementary, lanes
from .kernels.language import Kernel

LARGE = "lanes_row_"
"""Names of kernels that are not put into the text of a program begin so."""

HEADER = """\
from __future__ import annotations

from math import erfc, exp, isfinite, log, log1p, sqrt

import numpy as np
from numba import carray, njit

from minidl._compiled.intrinsics import dots, flat, fma, load, pointer, splat, store, sums

# Only the last function is called from Python. A kernel is put into its text: on a single row a call costs more than
# the work of the kernel. There the compiler may reorder sums, but it may not assume that numbers are finite: NaN must
# stay NaN. In a long chain kernels are called, because one long function takes long to compile. A called kernel is
# compiled twice: alone, and as part of the program. Code from the disk has the second version; the process that
# compiled it uses the first one. So in a called kernel the compiler may not change the roundings: then both compute the
# same bits.
common = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel = {**common, "forceinline": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}}
large = kernel  # The compiler inlines it; as text, once for each layer, it would take longer to compile.
called = {**common, "fastmath": False}
elementary = {**common, "forceinline": True, "fastmath": CONTRACT}
"""


def module_source(kernels: list[Kernel], dtype: np.dtype[Any], *, inline: bool = True) -> str:
    """Write a module of kernels, with what they call, for a dtype; to be put into the text of a program, or called."""
    needed: dict[str, Kernel] = {}
    for kernel in kernels:
        _add(kernel, needed)
    constants = vars(elementary) if dtype == np.float64 else elementary.SINGLE
    options = HEADER.replace("CONTRACT", '{"contract"}' if inline else "False")
    header = "\n".join([options, *(f"{name} = {_literal(constants[name])}" for name in elementary.SINGLE)])
    return "\n\n\n".join([header, *(kernel_source(kernel, dtype, inline=inline) for kernel in needed.values())])


def _add(kernel: Kernel, needed: dict[str, Kernel]) -> None:
    """Add a kernel, after the functions that it calls."""
    for name in kernel.__code__.co_names:
        called = kernel.__globals__.get(name)
        if not inspect.isfunction(called) or called.__module__ == lanes.__name__:
            continue
        if called.__module__.startswith(__package__):
            _add(called, needed)
    needed.setdefault(kernel.__name__, kernel)


def _literal(value: Any) -> str:
    """Write a constant; floats in the dtype of the module."""
    if isinstance(value, type):
        return f"np.{value.__name__}"
    if isinstance(value, tuple):
        return f"({', '.join(_literal(item) for item in value)})"
    return f"real({value!r})" if isinstance(value, float) else repr(value)


@cache
def kernel_source(kernel: Kernel, dtype: np.dtype[Any], *, inline: bool = True) -> str:
    """Return the text of a kernel for a dtype."""
    try:
        text = inspect.getsource(kernel).rstrip()
    except OSError:
        raise CompileError("compiled code needs the .py files of minidl, which are missing") from None
    if dtype != np.float64:
        text = in_single_precision(text)
    options = "kernel" if inline else "called"
    if kernel.__module__ == elementary.__name__:
        options = "elementary"
    elif kernel.__name__.startswith(LARGE):
        options = "large"
    return f"@njit(**{options})\n{text}"


@cache
def parameters_of(kernel: Kernel) -> dict[str, Any]:
    """Map the names of a kernel's parameters to their annotations, such as `Vector`."""
    return {name: p.annotation for name, p in inspect.signature(kernel, eval_str=True).parameters.items()}


def in_single_precision(source: str) -> str:
    """Write ``real(0.5)`` for 0.5, so that float32 stays float32."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.NUMBER and not token.string.isdigit():
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = f"{line[:start]}real({token.string}){line[end:]}"
    return "".join(lines)
