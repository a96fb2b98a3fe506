"""Find the layers of a chain and their kernels, or say why it cannot be compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .._core.arrays import Array
from .._core.parameter import Parameter
from ..errors import CompileError
from ..layers.activations import Activation
from ..layers.base import Layer
from ..layers.dense import Dense
from ..layers.normalization import BatchNorm
from ..layers.residual import Residual
from ..layers.sequential import Sequential
from ..losses import Loss
from .cache import jitted
from .kernels import LAYERS, ONE_ROW_DESCENT
from .kernels.activations import ARRAY_ACTIVATION, RESIDUAL_BEGIN, RESIDUAL_END
from .kernels.dense import LINEAR
from .kernels.language import Kernels, OneKernel
from .kernels.normalization import FIXED_NORM


class Link(NamedTuple):
    """A layer of a chain. A Residual is two links, one before its layers and one after them.

    Attributes:
        path: Its path in the model.
        layer: The layer.
        kernels: Its kernels.
        parameters: Its parameters by name.
        other: The number of the other link of a Residual.
    """

    path: str
    layer: Layer
    kernels: Kernels
    parameters: dict[str, Parameter]
    other: int = 0


def linked(model: Layer, table: dict[type[Layer], Kernels]) -> list[Link]:
    """Look up the kernels of each layer of a chain.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """
    _check_numba()
    links = [
        Link(path, layer, _kernels(path, layer, table | {Residual: RESIDUAL_BEGIN}), layer.named_parameters())
        for path, layer in chain(model)
    ]
    begins: dict[Layer, int] = {}
    for end, link in enumerate(links):
        if type(link.layer) is Residual and (begin := begins.setdefault(link.layer, end)) < end:
            links[begin] = link._replace(parameters={}, other=end)
            links[end] = link._replace(kernels=RESIDUAL_END, parameters={}, other=begin)
    return links


def chain(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) for each layer of a chain and of the chains in it, in the order of the pass.

    A Residual comes twice: before its layers and after them.
    """
    if type(layer) is Sequential:
        for place, part in enumerate(layer.layers):
            yield from chain(part, f"{path}.{place}" if path else str(place))
    elif type(layer) is Residual:
        yield from [(path, layer), *chain(layer.layer, f"{path}.layer" if path else "layer"), (path, layer)]
    else:
        yield path, layer


def widths_of(links: list[Link], width: int) -> list[int]:
    """List the width of the input, then the width of each layer's output."""
    widths = [width]
    for link in links:
        widths.append(link.layer.output_features(widths[-1]))
    return widths


def names(table: dict[type[Any], Any]) -> str:
    """Return the names of the classes in a table, as text."""
    return ", ".join(sorted(kind.__name__ for kind in table))


def check_parameters(links: list[Link], learned: set[int]) -> None:
    """Refuse shared parameters and two dtypes. A kernel overwrites a gradient and does not add to it.

    Args:
        links: The layers.
        learned: The parameters that the optimizer changes, by `id`.
    """
    parameters = {
        f"{link.path}.{name}": parameter for link in links for name, parameter in link.parameters.items()
    }
    first: dict[int, str] = {}
    for path, parameter in parameters.items():
        if (other := first.setdefault(id(parameter), path)) != path:
            raise CompileError(f'"{path}" is the same parameter as "{other}"; shared parameters cannot be compiled')
    if len({parameter.dtype for parameter in parameters.values()}) > 1:
        raise CompileError("the parameters are of two dtypes; cast the model with astype")
    if not learned & set(first):
        raise CompileError(
            "the optimizer holds no parameter of this model; make it after the model: SGD(model.parameters(), …)"
        )


def all_can_descend(links: list[Link], learned: set[int]) -> bool:
    """Return whether all parameters learn, and every layer with parameters has a kernel that updates them."""
    if any(link.kernels is LINEAR for link in links):
        return False
    held = {id(parameter) for link in links for parameter in link.parameters.values()}
    return learned == held and all(type(link.layer) in ONE_ROW_DESCENT for link in links if link.parameters)


def _check_numba() -> None:
    if find_spec("numba") is None:
        raise CompileError('compiled code needs Numba, which is not installed: pip install "minidl[jit]"')
    try:
        import numba
    except Exception as error:  # With a NumPy that it does not support, Numba raises errors of several kinds.
        raise CompileError(f"compiled code needs Numba, which cannot be imported ({error})") from None
    if numba.config.DISABLE_JIT:
        raise CompileError("compiled code needs Numba, which NUMBA_DISABLE_JIT switches off; unset that variable")


def _kernels(path: str, layer: Layer, table: dict[type[Layer], Kernels]) -> Kernels:
    where = type(layer).__name__ + (f' at "{path}"' if path else "")
    if type(layer) not in table:
        raise CompileError(f"{where} cannot be compiled; expected a chain (Sequential) of {names(table)}")
    if {"forward", "backward", "backward_parameters", "predict"} & set(vars(layer)):
        raise CompileError(f"{where} has its own passes as attributes, which compiled code would not call")
    if isinstance(layer, BatchNorm) and layer.running_mean.frozen:
        return FIXED_NORM
    if isinstance(layer, Dense) and layer.bias is None:
        return LINEAR
    return _of_functions(where, layer) if isinstance(layer, Activation) else table[type(layer)]


def _of_functions(where: str, layer: Activation) -> Kernels:
    """Choose the kernels with which the functions of a user can be compiled."""
    pair = {"function": layer.function, "derivative": layer.derivative}
    if not any(_problem(function, PROBE) for function in pair.values()):
        return LAYERS[Activation]
    for name, function in pair.items():
        if problem := _problem(function, PROBE, by_number=False):
            raise CompileError(f"{where} cannot be compiled: its {name} {problem}")
    return ARRAY_ACTIVATION


def check_loss(loss: Loss, row: OneKernel) -> None:
    """Refuse a loss with functions of a user that cannot be compiled for single numbers."""
    for name in row.functions:
        if problem := _problem(getattr(loss, name), PROBE, PROBE[::-1, ::2].repeat(2, axis=1)):
            raise CompileError(f"{loss!r} cannot be compiled: its {name} {problem}")


PROBE = np.linspace(-3.0, 3.0, 30).reshape(5, 6)
"""The numbers with which a function is tried."""


def _problem(function: Callable[..., Any], *probes: Array, by_number: bool = True) -> str:
    """Compile a function of a user, call it, and describe the problem; "" if there is none."""
    from numba.core.errors import NumbaError

    with np.errstate(all="ignore"):
        wanted = function(*[probe.copy() for probe in probes])
    try:
        ready = jitted(function)
        found = (
            np.reshape([ready(*xs) for xs in zip(*[probe.flat for probe in probes], strict=True)], PROBE.shape)
            if by_number
            else ready(*[probe.copy() for probe in probes])
        )
    except (NumbaError, TypeError, ValueError, NotImplementedError) as error:
        return f"uses more than Numba can compile, such as NumPy and math on numbers ({_gist(error)})"
    same = np.shape(found) == PROBE.shape and np.allclose(found, wanted, rtol=1e-12, equal_nan=True)
    return "" if same else "gives other results when Numba compiles it"


def _gist(error: Exception) -> str:
    """Return the line of Numba's error that names the problem; the other lines give the place."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line.strip("^~- ") and not line.startswith(("Failed in", "During", "File "))]
    return telling[0] if telling else type(error).__name__
