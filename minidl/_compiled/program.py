"""Write the program for one kind of network: one plain Python function over one kernel for each layer.

In the source ``a0`` is the input of a batch and ``a1``, ``a2``, … what the layers make of it; ``g1``, ``g2``, … are the
gradients of the error with respect to them. What belongs to a layer carries the layer's path: ``weight_0``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from .._core.parameter import Buffer, Parameter
from ..layers.base import Layer
from ..optimizers import Optimizer
from .language import Argument, Kernel, Kernels
from .rows import fetch_rows, fetch_sample_weight, fetch_targets, turned
from .source import module_source, parameters_of

Link: TypeAlias = tuple[str, Layer, Kernels]
"""A layer of a chain: its path in the model, itself, and its kernels."""

FEW = 8
"""Layers up to which the kernels of batches are inlined: it saves a tenth of an update of a tiny network, and doubles
the time that a long chain takes to compile."""


class Program:
    """The calls of kernels, line by line, and what their arguments stand for.

    Attributes:
        arguments: Maps the name of each argument that is not one of the fixed ones to what it stands for.
        functions: Maps names in the source to functions of the user.
    """

    streams: ClassVar[dict[str, str]] = {}
    """What every kernel of a layer may ask for, beside what goes in and out of it."""

    def __init__(self) -> None:
        self.arguments: dict[str, Argument] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self._kernels: list[Kernel] = []
        self._part = ""
        self._flat: dict[str, str] = {}

    def layer_call(self, kernel: Kernel, number: int, path: str, layer: Layer) -> str:
        """Write the call of a layer's kernel, and note the streams that it works on."""
        streams = {"x": f"a{number}", "y": f"a{number + 1}", "grad": f"g{number + 1}", "dx": f"g{number}"}
        for name in parameters_of(kernel):
            if name in streams:
                stream = streams[name]
                self.arguments.setdefault(stream, Argument("stream", None, "", "Matrix", int(stream[1:])))
        return self.call(kernel, streams | self.streams, layer, path or "layer", number)

    def call(self, kernel: Kernel, streams: Mapping[str, str], owner: object, path: str, number: int) -> str:
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
        if name.endswith("_turned"):
            kind = "turned"
            self._own(name.removesuffix("_turned"), "Matrix", owner, path, number)
        elif name == "uniform":
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
        if kind == "vector":
            return label + self._part
        return f"real({label})" if annotation == "Real" else label

    def module(self, title: str, dtype: np.dtype[Any], function: list[str], *, inline: bool) -> str:
        """Write the module: a title, the kernels, and the function that calls them."""
        kernels = module_source(self._kernels, dtype, inline=inline)
        return "\n".join([f'"""{title}, {dtype}."""', "", kernels, "", "", *function, ""])


class TrainingProgram(Program):
    """Forward, loss, backward and step of batch after batch.

    Args:
        links: The layers.
        loss: The loss.
        loss_kernel: Its kernel.
        optimizer: The optimizer.
        step_kernels: The kernels of its step; none where the layers take it on the way back.
        learned: The parameters that the optimizer moves, by `id`.
        dtype: float64 or float32.
        one_row: Whether each batch is a single row.

    Attributes:
        source: The program: a module with a function ``train``.
    """

    streams: ClassVar[dict[str, str]] = {"learning_rate": "rates[batch]"}

    fixed = ("rows_x", "rows_y", "rows_sample_weight", "order", "begin", "rates", "step", "total")
    """The arguments that every program has: the data, which of its rows come when, from which place on; learning
    rates, number of the first step, sum of losses so far."""

    def __init__(
        self,
        links: list[Link],
        loss: object,
        loss_kernel: Kernel,
        optimizer: Optimizer,
        step_kernels: list[Kernel],
        learned: set[int],
        dtype: np.dtype[Any],
        one_row: bool,
    ) -> None:
        super().__init__()
        outputs = len(links)
        lines = ["first = begin + batch * len(a0)"]
        for fetch, rows, name, annotation, number in (
            (fetch_rows, "rows_x", "a0", "Matrix", 0),
            (fetch_targets, "rows_y", "target", "Matrix", outputs),
            (fetch_sample_weight, "rows_sample_weight", "sample_weight", "Column", 0),
        ):
            self.arguments[name] = Argument("stream", None, "", annotation, number)
            self._kernels.append(fetch)
            lines.append(f"{fetch.__name__}({rows}, order, first, {name})")
        for number, (path, layer, kernels) in enumerate(links):
            lines.append(self.layer_call(kernels.forward, number, path, layer))
        streams = {name: name for name in ("target", "sample_weight")}
        streams |= {"prediction": f"a{outputs}", "gradient": f"g{outputs}"}
        self.arguments[streams["gradient"]] = Argument("stream", None, "", "Matrix", outputs)
        lines.append(f"error = {self.call(loss_kernel, streams, loss, 'loss', 0)}")
        lines += ["if not isfinite(error):", "    return total, batch", "total += error * len(a0)"]
        begin = min(k for k, (_, layer, _) in enumerate(links) if any(id(p) in learned for p in layer.parameters()))
        for number, (path, layer, kernels) in reversed(list(enumerate(links))[begin:]):
            kernel = (kernels.backward_parameters if number == begin else None) or kernels.backward
            lines.append(self.layer_call(kernel, number, path, layer))
        indent = ""
        if any(parameter.frozen for parameter in optimizer.vector.parameters):
            # What is frozen lies among what is not: the step goes over the parts of the vectors that learn.
            self.arguments["learning"] = Argument("learning", None, "", "Indices", 0)
            lines += ["for part in range(len(learning)):", "    low, high = learning[part, 0], learning[part, 1]"]
            self._part, indent = "[low:high]", "    "
        for kernel in step_kernels:
            streams = {"learning_rate": "rates[batch]", "step": "step + batch"}
            lines.append(indent + self.call(kernel, streams, optimizer, "", 0))
        self.source = self.module(f"{_chain(links, loss)}, {type(optimizer).__name__}", dtype, [
            f"def train({', '.join([*self.fixed, *self.arguments])}):",
            *(f"    {name} = {stream}.reshape(-1)" for name, stream in self._flat.items()),
            "    for batch in range(len(rates)):",
            *(f"        {line}" for line in lines),
            "    return total, -1",
        ], inline=one_row or len(links) <= FEW)


class PredictionProgram(Program):
    """The forward pass of block after block of rows.

    Args:
        links: The layers.
        dtype: float64 or float32.
        one_row: Whether a single row is predicted.

    Attributes:
        source: The program: a module with a function ``predict``.
        arrays: How many of the arguments are arrays of parameters and buffers, which come first; the rest are numbers.
    """

    fixed = ("x", "y", "block", "widths")
    """The arguments that every program has: input, room for the output, rows at a time, widths of the streams."""

    def __init__(self, links: list[Link], dtype: np.dtype[Any], *, one_row: bool) -> None:
        super().__init__()
        last = len(links)
        calls = [
            self.layer_call(kernels.predict or kernels.forward, number, path, layer)
            for number, (path, layer, kernels) in enumerate(links)
        ]
        ends = "a0", f"a{last}"
        room = {n: a for n, a in self.arguments.items() if a.kind in ("stream", "memory") and n not in ends}
        turns = [name for name, argument in self.arguments.items() if argument.kind == "turned"]
        if turns:
            self._kernels.append(turned)
        arrays = {n: a for n, a in self.arguments.items() if a.kind in ("parameter", "buffer")}
        self.arrays = len(arrays)
        self.arguments = arrays | {n: a for n, a in self.arguments.items() if a.kind == "number"}
        self.source = self.module(_chain(links), dtype, [
            f"def predict({', '.join([*self.fixed, *self.arguments])}):",
            *(f"    {name} = turned({name.replace('_turned', '', 1)})" for name in turns),
            *(f"    all_{name} = np.empty({_shape(argument)}, real)" for name, argument in room.items()),
            "    for begin in range(0, len(x), block):",
            "        rows = min(block, len(x) - begin)",
            f"        a0, a{last} = x[begin:begin + rows], y[begin:begin + rows]",
            *(f"        {name} = all_{name}{_part(argument)}" for name, argument in room.items()),
            *(f"        {name} = {stream}.reshape(-1)" for name, stream in self._flat.items()),
            *(f"        {line}" for line in calls),
        ], inline=one_row)


def _chain(links: list[Link], *after: object) -> str:
    return " -> ".join([*(type(layer).__name__ for _, layer, _ in links), *(type(part).__name__ for part in after)])


def _shape(room: Argument) -> str:
    """Write the shape of the memory for a block."""
    width = f"widths[{room.number}]"
    return {"Column": "block", "Row": width, "Vector": f"block * {width}"}.get(room.annotation, f"(block, {width})")


def _part(room: Argument) -> str:
    """Write which part of it is used by the rows at hand."""
    return {"Row": "", "Vector": f"[:rows * widths[{room.number}]]"}.get(room.annotation, "[:rows]")
