"""Small networks: whole vectors of 64 bytes, in padded memory that lives as long as the program.

The rows of a small network are a few vectors long. Then the time goes into what is left over at the end of each row,
and into calls of BLAS. So the program works on copies in which nothing is left over: each row of
a transposed weight, each bias, and each row of a stream is padded with zeros to whole vectors. A call for many batches
copies the weights and the state of the optimizer in and out.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from .._core.parameter import Parameter
from ..layers.base import Layer
from ..layers.dense import Dense
from ..optimizers import Optimizer
from .chain import all_can_descend, linked
from .kernels import LANES, LAYERS, ONE_ROW_LANES, ONE_ROW_LANES_DESCENT
from .kernels.data import copy_columns
from .kernels.dense import LINEAR
from .kernels.language import Argument
from .kernels.optimizers import PLAIN_SGD, step_of
from .loop import ALIGNED, CompiledLoop, aligned
from .program import FEW_LAYERS, TrainingProgram

ROWS = 128
"""Most rows of a batch: the kernels add up float32 numbers of more rows too roughly."""

WORK = 1 << 14
"""Rows times parameters up to which padded memory is faster. Above it, products by BLAS are faster, or the weights of a
single row leave the fastest memory."""

SPREAD = 4
"""Most padded numbers for each weight, half of it from 16 rows on: products and steps compute the pads too."""


class LanesProgram(TrainingProgram):
    """Forward, loss, backward and step on padded memory; the loss sees only the columns that exist."""

    given = (*TrainingProgram.given, "widths")
    """``widths`` are those of the input and of each layer's output, without pads."""
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
    """The loop over batches of a small network: see `LanesProgram`."""

    program = LanesProgram

    @override
    def _gather(self) -> None:
        super()._gather()
        self._vectors: dict[str, tuple[Argument, Array]] = {}
        self._begins: dict[Parameter, int] = {}
        places, self._padded_size = [], 0
        for parameter in self._optimizer.vector.parameters:
            shape = [self._padded(width) for width in parameter.shape[::-1]]
            numbers = np.arange(prod(shape)).reshape(shape).T
            places.append(self._padded_size + numbers[tuple(map(slice, parameter.shape))].ravel())
            self._begins[parameter] = self._padded_size
            self._padded_size += prod(shape)
        self._places = np.concatenate(places)
        for name in ("values", "gradients"):
            self._vector(name, Argument("vector", self._optimizer.vector, name))

    def _padded(self, width: int) -> int:
        return padded(width, ALIGNED // self._optimizer.vector.values.itemsize)

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
                shape = tuple(self._padded(width) for width in argument.value.shape[::-1])
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
            return super()._call(*given, np.array(self._widths))
        finally:
            for argument, padded in self._vectors.values():
                argument.value[...] = padded[self._places]


def fits(model: Layer, optimizer: Optimizer, rows: int) -> bool:
    """Return whether a network is small, and this processor can train it on padded memory faster than without.

    Args:
        model: The model.
        optimizer: Its optimizer. On single rows only plain SGD gains.
        rows: Rows of a batch.

    Raises:
        CompileError: the model cannot be compiled.
    """
    from .intrinsics import available

    links, vector = linked(model, LAYERS), optimizer.vector
    dense = [link for link in links if link.parameters]
    learned = {id(parameter) for parameter in vector.parameters if not parameter.frozen}
    if any(type(link.layer) not in LANES or link.kernels is LINEAR for link in links):
        return False
    if type(links[0].layer) is not Dense:  # The input has no pads: an activation would write to other places.
        return False
    if rows == 1 and not (step_of(optimizer) == [PLAIN_SGD] and all_can_descend(links, learned)):
        return False
    size = sum(link.parameters["weight"].size for link in dense)
    lanes = ALIGNED // vector.values.itemsize
    spread = sum(prod(padded(width, lanes) for width in link.parameters["weight"].shape) for link in dense)
    return (
        rows <= ROWS
        and (rows == 1 or len(links) <= FEW_LAYERS)
        and rows * size <= WORK
        and spread <= (SPREAD if rows < 16 else SPREAD / 2) * size
        and learned == {id(parameter) for link in dense for parameter in link.parameters.values()}
        and available()
    )


def padded(width: int, lanes: int) -> int:
    """Return the size of the whole vectors that hold so many numbers."""
    return -(-width // lanes) * lanes
