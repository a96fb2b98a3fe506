"""Decide whether a network can be lowered to compiled code, and do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..errors import CompileError
from ..layers.activations import Activation
from ..layers.base import Layer
from ..layers.normalization import BatchNorm
from ..layers.sequential import Sequential
from ..losses import Loss
from ..optimizers import Optimizer
from .activations import ARRAY_ACTIVATION
from .language import Kernels
from .layers import FIXED_NORM, LAYERS, ONE_ROW, ONE_ROW_DESCENT
from .loop import CompiledLoop
from .losses import LOSSES
from .optimizers import OPTIMIZERS, sgd
from .program import Link, TrainingProgram


def lower(model: Layer, loss: Loss, optimizer: Optimizer, *, one_row: bool = False) -> CompiledLoop:
    """Lower a chain of built-in layers, with its loss and its optimizer, to a compiled loop.

    The loop is compiled when it first runs: some seconds for a new structure (kinds of layers, loss, optimizer, dtype;
    not sizes), a fraction of a second when it is in the cache on disk.

    Args:
        model: A `Sequential`, nested ones included, or a single layer.
        loss: A built-in loss.
        optimizer: SGD, Adam or AdamW.
        one_row: Whether each batch will be a single row.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """
    links = linked(model, ONE_ROW if one_row else LAYERS)
    if type(loss) not in LOSSES:
        raise CompileError(f"expected a loss among {_names(LOSSES)}, got {loss!r}")
    if type(optimizer) not in OPTIMIZERS:
        raise CompileError(f"expected an optimizer among {_names(OPTIMIZERS)}, got {type(optimizer).__name__}")
    dtype = optimizer.vector.values.dtype
    learned = {id(parameter) for parameter in optimizer.vector.parameters if not parameter.frozen}
    _check_parameters(links, learned)
    step = OPTIMIZERS[type(optimizer)](optimizer)
    if one_row and step == [sgd] and _all_can_descend(links, learned):
        links = [(path, layer, ONE_ROW_DESCENT.get(type(layer), kernels)) for path, layer, kernels in links]
        step = []
    program = TrainingProgram(links, loss, LOSSES[type(loss)], optimizer, step, learned, dtype, one_row)
    return CompiledLoop(program, [layer for _, layer, _ in links], optimizer, jitted(program.functions))


def linked(model: Layer, table: dict[type[Layer], Kernels]) -> list[Link]:
    """Look up the kernels of each layer of a chain.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """
    if find_spec("numba") is None:
        raise CompileError('compiled code needs Numba, which is not installed: pip install "minidl[jit]"')
    return [_link(path, layer, table) for path, layer in chain(model)]


def jitted(functions: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Compile functions of the user."""
    return {label: _jitted(function) for label, function in functions.items()}


def chain(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) of a chain, those of nested chains in their place."""
    if type(layer) is Sequential:
        for place, part in enumerate(layer.layers):
            yield from chain(part, f"{path}.{place}" if path else str(place))
    else:
        yield path, layer


def _link(path: str, layer: Layer, table: dict[type[Layer], Kernels]) -> Link:
    where = type(layer).__name__ + (f' at "{path}"' if path else "")
    if type(layer) not in table:
        raise CompileError(f"{where} cannot be compiled; expected a chain (Sequential) of {_names(table)}")
    if {"forward", "backward", "backward_parameters", "predict"} & set(vars(layer)):
        raise CompileError(f"{where} has passes of its own, as attributes, which compiled code would pass by")
    if isinstance(layer, BatchNorm) and layer.running_mean.frozen:
        return path, layer, FIXED_NORM
    return path, layer, _user_kernels(where, layer) if isinstance(layer, Activation) else table[type(layer)]


def _check_parameters(links: list[Link], learned: set[int]) -> None:
    """Refuse parameters in two dtypes, and shared ones: a kernel writes a gradient, it does not add to one."""
    found: dict[int, str] = {}
    dtypes = set()
    for path, layer, _ in links:
        for name, parameter in layer.named_parameters().items():
            own = f"{path}.{name}"
            if id(parameter) in found:
                same = f'"{own}" is the same parameter as "{found[id(parameter)]}"'
                raise CompileError(f"{same}; what is shared cannot be compiled")
            found[id(parameter)] = own
            dtypes.add(parameter.dtype)
    if len(dtypes) > 1:
        raise CompileError("the parameters are of two dtypes; cast the model with astype")
    if not learned & set(found):
        raise CompileError(
            "the optimizer holds no parameter of this model; make it after the model: SGD(model.parameters(), …)"
        )


def _all_can_descend(links: list[Link], learned: set[int]) -> bool:
    """Whether all parameters are learned, and lie in layers that can take the step themselves."""
    parts = [(type(layer), {id(parameter) for parameter in layer.parameters()}) for _, layer, _ in links]
    held = set().union(*(own for _, own in parts))
    return learned == held and all(kind in ONE_ROW_DESCENT for kind, own in parts if own)


def _user_kernels(where: str, layer: Activation) -> Kernels:
    """Choose the kernels that the functions of a user can be compiled for."""
    pair = {"function": layer.function, "derivative": layer.derivative}
    by_number = {name: _problem(function, by_number=True) for name, function in pair.items()}
    if not any(by_number.values()):
        return LAYERS[Activation]
    for name, function in pair.items():
        if problem := _problem(function, by_number=False):
            raise CompileError(f"{where} cannot be compiled: its {name} {problem}")
    return ARRAY_ACTIVATION


def _problem(function: Callable[..., Any], *, by_number: bool) -> str:
    """Compile a function of a user, try it, and say what is wrong with the result; "" for nothing."""
    from numba.core.errors import NumbaError

    probe = np.linspace(-3.0, 3.0, 30).reshape(5, 6)
    wanted = function(probe.copy())
    try:
        ready = _jitted(function)
        found = np.reshape([ready(x) for x in probe.flat], probe.shape) if by_number else ready(probe.copy())
    except (NumbaError, TypeError, ValueError, NotImplementedError) as error:
        return f"is nothing that Numba compiles, such as NumPy and math on numbers ({_gist(error)})"
    same = np.shape(found) == probe.shape and np.allclose(found, wanted, rtol=1e-12, equal_nan=True)
    return "" if same else "computes something else when Numba compiles it"


def _gist(error: Exception) -> str:
    """Return the line of an error that says what is wrong, from among those in which Numba says where it was."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line.strip("^~- ") and not line.startswith(("Failed in", "During", "File "))]
    return telling[0] if telling else type(error).__name__


@lru_cache(maxsize=64)
def _jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function once; what it refers to outside of itself is frozen at that moment."""
    from numba import njit

    ready: Callable[..., Any] = njit(lambda x: function(x)) if isinstance(function, np.ufunc) else njit(function)
    return ready


def _names(table: dict[type[Any], Any]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in table))
