"""Tiny networks: whole vectors of 64 bytes, in padded memory that lives as long as the program.

A network with some hundred parameters is in the fastest memory, and its rows are a few vectors long. Then the time goes
into what is left over at the end of each row. So the program works on copies in which nothing is left over: each row of
a transposed weight, each bias, and each row of a stream is padded with zeros to whole vectors. A call for many batches
copies the weights and the state of the optimizer in and out.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array
from .._core.parameter import Parameter
from ..errors import CompileError
from ..layers.base import Layer
from ..optimizers import Optimizer
from .chain import linked
from .kernels import LANES, ONE_ROW_LANES, ONE_ROW_LANES_DESCENT
from .kernels.data import copy_columns
from .kernels.language import Argument
from .loop import ALIGNED, CompiledLoop, aligned
from .program import TrainingProgram

TINY = 1 << 15
"""Rows of a batch times parameters up to which padded memory is faster than products by BLAS."""


class LanesProgram(TrainingProgram):
    """Forward, loss, backward and step on padded memory; the loss sees only the columns that exist."""

    tables = LANES, ONE_ROW_LANES, ONE_ROW_LANES_DESCENT

    @override
    def ends(self, last: int) -> tuple[str, str]:
        for name in ("prediction", "gradient"):
            self.arguments[name] = Argument("memory", shape=("rows", "features"), place=last)
        return "prediction", "gradient"

    @override
    def _body(self, one_row: bool) -> list[str]:
        exact = "a0", "prediction", "gradient", "sample_weight"
        last = len(self.links)
        self._kernels.append(copy_columns)
        self._forward.insert(-1, f"copy_columns(a{last}, prediction)")
        self._backward.insert(0, f"copy_columns(gradient, g{last})")
        for name, argument in self.arguments.items():
            if argument.kind == "memory" and name not in exact:
                self.arguments[name] = argument._replace(kind="padded")
        return super()._body(one_row)


class LanesLoop(CompiledLoop):
    """The loop over batches of a tiny network: see `LanesProgram`."""

    program = LanesProgram

    @override
    def _gather(self) -> None:
        super()._gather()
        self._vectors: dict[str, tuple[Argument, Array]] = {}
        self._begins: dict[Parameter, int] = {}
        places, self._padded_size = [], 0
        for parameter in self._optimizer.vector.parameters:
            *inputs, width = parameter.shape[::-1]
            rows, begin = prod(inputs), self._padded_size
            places.append(begin + np.add.outer(np.arange(width), self._padded(width) * np.arange(rows)).ravel())
            self._begins[parameter] = begin
            self._padded_size += (self._padded(rows) if inputs else 1) * self._padded(width)
        self._places = np.concatenate(places)
        for name in ("values", "gradients"):
            self._vector(name, Argument("vector", self._optimizer.vector, name))

    def _padded(self, width: int) -> int:
        lanes = ALIGNED // self._optimizer.vector.values.itemsize
        return -(-width // lanes) * lanes

    def _vector(self, name: str, argument: Argument) -> Array:
        """Return the padded copy of a vector of the optimizer."""
        if name not in self._vectors:
            self._vectors[name] = argument, aligned((self._padded_size,), self._optimizer.vector.values.dtype)
            self._vectors[name][1].fill(0.0)
        return self._vectors[name][1]

    @override
    def _resolved(self, name: str, argument: Argument) -> Any:
        match argument.kind:
            case "parameter" | "gradient":
                *inputs, width = argument.value.shape[::-1]
                shape = *inputs, self._padded(width)
                vector = self._vectors["values" if argument.kind == "parameter" else "gradients"][1]
                begin = self._begins[argument.value]
                return vector[begin : begin + prod(shape)].reshape(shape)
            case "vector":
                super()._resolved(name, argument)
                return self._vector(name, argument)
            case "padded":
                memory = self._working(name, self._rows, self._padded(self._widths[argument.place]))
                memory.fill(0.0)
                return memory
        return super()._resolved(name, argument)

    @override
    def _call(self, *given: Any) -> int:
        for argument, padded in self._vectors.values():
            padded[self._places] = argument.value
        try:
            return super()._call(*given)
        finally:
            for argument, padded in self._vectors.values():
                argument.value[...] = padded[self._places]


def fits(model: Layer, optimizer: Optimizer, rows: int) -> bool:
    """Return whether a network is tiny, and can be trained on padded memory on this processor."""
    vector = optimizer.vector
    if rows * vector.values.size > TINY or any(parameter.frozen for parameter in vector.parameters):
        return False
    try:
        links = linked(model, LANES)
    except CompileError:
        return False
    from .intrinsics import available

    held = set(vector.parameters)
    return available() and all(link.parameters.keys() == {"weight", "bias"} for link in links if link.parameters) and all(
        parameter in held for link in links for parameter in link.parameters.values()
    )
