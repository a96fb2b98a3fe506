"""Write the program that trains one kind of network: one plain Python function over one kernel for each layer."""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..layers.layer import Layer
from ..parameter import Buffer, Parameter
from . import elementary
from .language import Argument, Kernel, Kernels
from .rows import fetch_rows, fetch_targets, fetch_weights

Link: TypeAlias = tuple[str, Layer, Kernels]
"""A layer of a chain: its path in the model, itself, and its kernels."""

HEADER = """\
from __future__ import annotations

from math import erfc, isfinite, log, log1p, sqrt

import numpy as np
from numba import njit

# Nothing here but `train` is called from Python. In a kernel sums may be reordered, but numbers may not be assumed to
# be finite: NaN must be seen. In an elementary function the roundings are meant as they are written.
common = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
kernel = {**common, "fastmath": {"reassoc", "contract", "nsz", "arcp"}}
elementary = {**common, "fastmath": {"contract"}}
"""

FIXED = ("rows_x", "rows_y", "rows_weights", "order", "begin", "rates", "step", "total")
"""The arguments that every program has: the data, which of its rows come when, from which place on; learning rates,
number of the first step, sum of losses so far."""


class Program:
    """The source of a training loop, and what its arguments stand for.

    In the source ``a0`` is the input of a batch and ``a1``, ``a2``, … what the layers make of it; ``g1``, ``g2``, … are
    the gradients of the error with respect to them. What belongs to a layer carries the layer's path: ``weight_0``.
    A step without kernels is one that the layers take on the way back.

    Args:
        links: The layers.
        loss: The loss.
        loss_kernel: Its kernel.
        optimizer: The optimizer.
        step_kernels: The kernels of its step.
        learned: The parameters that the optimizer moves, by `id`.
        dtype: float64 or float32.

    Attributes:
        source: The program.
        arguments: Maps the name of each argument that is not one of `FIXED` to what it stands for.
        functions: Maps names in the source to functions of the user.
    """

    def __init__(
        self,
        links: list[Link],
        loss: object,
        loss_kernel: Kernel,
        optimizer: object,
        step_kernels: list[Kernel],
        learned: set[int],
        dtype: np.dtype[Any],
    ) -> None:
        self.arguments: dict[str, Argument] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self._kernels: list[Kernel] = []
        self._flat: dict[str, str] = {}
        outputs = len(links)
        batch = {
            "a0": (fetch_rows, "rows_x", Argument("stream", None, "", "Matrix", 0)),
            "target": (fetch_targets, "rows_y", Argument("stream", None, "", "Matrix", outputs)),
            "weights": (fetch_weights, "rows_weights", Argument("stream", None, "", "Column", 0)),
        }
        lines = ["first = begin + batch * len(a0)"]
        for name, (fetch, rows, argument) in batch.items():
            self.arguments[name] = argument
            self._kernels.append(fetch)
            lines.append(f"{fetch.__name__}({rows}, order, first, {name})")
        for number, (path, layer, kernels) in enumerate(links):
            lines.append(self._layer_call(kernels.forward, number, path, layer))
        streams = {"prediction": f"a{outputs}", "gradient": f"g{outputs}", "target": "target", "weights": "weights"}
        self.arguments[streams["gradient"]] = Argument("stream", None, "", "Matrix", outputs)
        lines.append(f"error = {self._call(loss_kernel, streams, loss, 'loss', 0)}")
        lines += ["if not isfinite(error):", "    return total, batch", "total += error * len(a0)"]
        first = min(k for k, (_, layer, _) in enumerate(links) if any(id(p) in learned for p in layer.parameters()))
        for number, (path, layer, kernels) in reversed(list(enumerate(links))[first:]):
            kernel = (kernels.backward_parameters if number == first else None) or kernels.backward
            lines.append(self._layer_call(kernel, number, path, layer))
        for kernel in step_kernels:
            streams = {"learning_rate": "rates[batch]", "step": "step + batch"}
            lines.append(self._call(kernel, streams, optimizer, "", 0))
        chain = " → ".join([*(type(layer).__name__ for _, layer, _ in links), type(loss).__name__])
        title = f'"""{chain}, {type(optimizer).__name__}, {dtype}."""'
        self.source = f"{title}\n\n{module_source(self._kernels, dtype)}\n\n\n{self._loop(lines)}\n"

    def _layer_call(self, kernel: Kernel, number: int, path: str, layer: Layer) -> str:
        streams = {"x": f"a{number}", "y": f"a{number + 1}", "grad": f"g{number + 1}", "dx": f"g{number}"}
        for name in parameters_of(kernel):
            if name in streams:
                stream = streams[name]
                self.arguments.setdefault(stream, Argument("stream", None, "", "Matrix", int(stream[1:])))
        streams["learning_rate"] = "rates[batch]"
        return self._call(kernel, streams, layer, path or "layer", number)

    def _call(self, kernel: Kernel, streams: dict[str, str], owner: object, path: str, number: int) -> str:
        """Write the call of a kernel, and note what it needs."""
        self._kernels.append(kernel)
        given = []
        for name, annotation in parameters_of(kernel).items():
            if name in streams:
                given.append(self._face(streams[name], annotation))
            else:
                given.append(self._own(name, annotation, owner, path, number))
        return f"{kernel.__name__}({', '.join(given)})"

    def _face(self, stream: str, annotation: str) -> str:
        """Show a stream as the kernel wants to see it."""
        if annotation == "Vector":
            self._flat[f"flat_{stream}"] = stream
            return f"flat_{stream}"
        return f"real({stream})" if annotation == "Real" else stream

    def _own(self, name: str, annotation: str, owner: object, path: str, number: int) -> str:
        """Name what is looked up on the owner of a kernel, or is memory from its forward to its backward."""
        label = f"{name}_{path.replace('.', '_')}" if path else name
        if annotation == "Function":
            self.functions[label] = getattr(owner, name)
            return label
        if name == "uniform":
            kind = "uniform"
        elif isinstance(getattr(owner, name.removesuffix("_grad"), None), Parameter):
            kind = "gradient" if name.endswith("_grad") else "parameter"
        elif isinstance(getattr(owner, name, None), Buffer):
            kind = "buffer"
        elif annotation in ("float", "Real"):
            kind = "number"
        elif isinstance(owner, Layer):
            kind = "memory"
        else:
            kind = "vector"
        self.arguments[label] = Argument(kind, owner, name, annotation, number)
        if kind == "uniform":
            return f"{label}[batch]"
        return f"real({label})" if annotation == "Real" else label

    def _loop(self, lines: list[str]) -> str:
        flat = [f"{name} = {stream}.reshape(-1)" for name, stream in self._flat.items()]
        return "\n".join([
            f"def train({', '.join([*FIXED, *self.arguments])}):",
            *(f"    {line}" for line in flat),
            "    for batch in range(len(rates)):",
            *(f"        {line}" for line in lines),
            "    return total, -1",
        ])


def module_source(kernels: list[Kernel], dtype: np.dtype[Any]) -> str:
    """Write a module of kernels, with what they call, for a dtype."""
    needed: dict[str, Kernel] = {}
    for kernel in kernels:
        _add(kernel, needed)
    constants = vars(elementary) if dtype == np.float64 else elementary.SINGLE
    header = [HEADER, *(f"{name} = {_literal(constants[name])}" for name in elementary.SINGLE)]
    return "\n\n\n".join(["\n".join(header), *(kernel_source(kernel, dtype) for kernel in needed.values())])


def _add(kernel: Kernel, needed: dict[str, Kernel]) -> None:
    """Note a kernel, after the functions that it calls itself."""
    for name in kernel.__code__.co_names:
        called = kernel.__globals__.get(name)
        if inspect.isfunction(called) and called.__module__.startswith(__package__):
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
def kernel_source(kernel: Kernel, dtype: np.dtype[Any]) -> str:
    """Return the text of a kernel, as it is to be compiled for a dtype."""
    text = inspect.getsource(kernel).rstrip()
    if dtype != np.float64:
        text = in_single_precision(text)
    options = "elementary" if kernel.__module__ == elementary.__name__ else "kernel"
    return f"@njit(**{options})\n{text}"


@cache
def parameters_of(kernel: Kernel) -> dict[str, str]:
    """Map the names of a kernel's parameters to their annotations."""
    return {name: str(p.annotation) for name, p in inspect.signature(kernel).parameters.items()}


def in_single_precision(source: str) -> str:
    """Write ``real(0.5)`` for 0.5, so that float32 stays float32."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.NUMBER and not token.string.isdigit():
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = f"{line[:start]}real({token.string}){line[end:]}"
    return "".join(lines)
