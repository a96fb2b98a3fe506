"""Prediction in compiled code: the forward pass of a chain in one call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy import empty

from .._core.arrays import Array, features
from .._core.blas import SMALL, libraries, one_blas_thread
from .._core.threads import pool
from .._data import check_parts
from ..errors import CompileError
from ..layers._parts import walk
from ..layers.base import Layer, trait
from ..layers.dense import Dense
from .cache import compiled
from .chain import linked, widths_of
from .kernels import LAYERS, NARROW, ONE_ROW
from .kernels.language import Kernels
from .program import PredictionProgram

SINGLE = 1 << 18
"""Most multiplications of a matrix product that OpenBLAS computes in the calling thread."""

SHORT = 1_000_000
"""Most multiplications of a matrix product for which OpenBLAS does not copy its factors into another order first."""

BLOCK = 256
"""Most rows of a block of a thread."""

WIDE_BLOCK = 1024
"""Rows of a block if BLAS uses its own threads."""

WAKING = 1 << 21
"""Approximate number of multiplications that the calling thread does before another thread has started."""


class Predictor:
    """Predict as ``model.predict`` does, to rounding, in one call of compiled code.

    Each call uses the present state of the model, so the model may be trained further. A call changes nothing, so any
    number of threads may call at once. Many rows are computed in blocks by ``numba.get_num_threads()`` threads, and the
    bits do not depend on their number. For wide networks this needs threadpoolctl, which gives each of them one thread
    of BLAS; without it BLAS uses its own threads. The first call of each kind (a single row, some rows, many rows)
    compiles. This takes a second or two if the cache on disk does not have the code.

    Args:
        model: A `Sequential`, nested ones included, or a single layer.

    Raises:
        CompileError: something cannot be compiled; the message names it.

    Example:
        >>> from minidl import ReLU, mlp
        >>> predict = Predictor(mlp([3, 8, 2], activation=ReLU, rng=0))
        >>> predict(np.zeros((4, 3))).shape
        (4, 2)
    """

    def __init__(self, model: Layer) -> None:
        check_parts("Predictor", model=(model, Layer))
        self.model = model
        self._passes = Passes(model)

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return the predictions for ``x``, ``(batch, in_features)``: ``(batch, out_features)``."""
        # A single row takes little more than a microsecond, so it takes the shortest way.
        passes = self._passes
        if not passes.are_current():
            passes = self._passes = Passes(self.model)
        shape, dtype, shape_of_y, program, places = passes.one_row
        if type(x) is np.ndarray and x.shape == shape and x.dtype == dtype and x.flags.carray:
            y: Array = empty(shape_of_y, dtype)
            program(places, 1, x, y)
            return y
        x = features(x, "Predictor", passes.in_features, passes.dtype)
        if x.shape[1] != passes.widths[0]:
            passes = self._passes = Passes(self.model, x.shape[1])
        return passes.predict(x if x.flags.carray else np.array(x, order="C"))

    @property
    def source(self) -> str:
        """The program that predicts many rows: the pass at its end, over one kernel for each layer."""
        passes = self._passes
        return (passes.narrow if passes.block else passes.wide).source

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self.model,)


class OneRow(NamedTuple):
    """How to predict a single row: its shape and dtype, the shape of its prediction, and what computes it.

    Without a program the shape is one that no array has.
    """

    shape: tuple[int, ...] = (-1,)
    dtype: Any = None
    shape_of_y: tuple[int, ...] = ()
    program: Any = None
    places: Any = None


class Passes:
    """The compiled forward passes of a chain with the layers, the parameters and the arrays that it has now.

    Args:
        model: The model.
        width: Width of the input of a model that takes any.

    Attributes:
        widths: Width of the input, then that of each layer's output.
        one_row: How to predict a single row; empty before the first one.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """

    def __init__(self, model: Layer, width: int = 0) -> None:
        self._model = model
        try:
            self._links = linked(model, LAYERS)
        except CompileError as error:
            raise CompileError(f"Predictor: {error}; use model.predict") from None
        kernels = [(link.layer, LAYERS.get(type(link.layer), link.kernels)) for link in self._links]
        held = [(layer, name) for layer, row in kernels for name in row.parameters]
        self._parameters = [
            (vars(layer), name, parameter, parameter._value)
            for layer, name in held
            if (parameter := getattr(layer, name)) is not None
        ]
        dtypes = {value.dtype for *_, value in self._parameters}
        if len(dtypes) != 1:
            found = " and ".join(sorted(map(str, dtypes))) or "none"
            raise CompileError(f"Predictor: expected parameters, all of one dtype, got {found}; use model.predict")
        (self.dtype,) = dtypes
        self.in_features = trait(model, "in_features")
        self.widths = widths_of(self._links, self.in_features or width)
        self.one_row = OneRow()
        parts = [model, *(part for _, part in walk(model))]
        self._others: list[tuple[dict[str, Any], str, Any]] = [
            (vars(layer), name, None) for layer, name in held if getattr(layer, name) is None
        ]
        own = [vars(part) for part in parts if isinstance(part, Layer)]
        self._others += [(had, name, had[name]) for had in own for name in ("layers", "layer") if name in had]
        self._products = [link.layer.weight.size for link in self._links if isinstance(link.layer, Dense)]
        self._largest = max(self._products, default=1)

    def are_current(self) -> bool:
        """Whether the model still has the layers, the parameters, and the arrays for which the passes were made."""
        for part, name, other in self._others:
            if part[name] is not other:
                return False
        for layer, name, parameter, value in self._parameters:
            if layer[name] is not parameter or parameter._value is not value:
                return False
        return True

    def predict(self, x: Array) -> Array:
        """Return the predictions for ``x``."""
        rows = len(x)
        y: Array = np.empty((rows, self.widths[-1]), self.dtype)
        if rows == 1:
            if not self.one_row.program:
                forward = self._forward(ONE_ROW)
                forward(x, y, 1)  # The first call compiles.
                self.one_row = OneRow(x.shape, self.dtype, y.shape, forward.shortest(), forward.places)
            self.one_row.program(self.one_row.places, 1, x, y)
        elif rows >= 2 * (self._rows_within(SINGLE) or BLOCK) and self.block:
            narrow = self.narrow  # Making it loads Numba, and so the BLAS that is to be limited.
            with one_blas_thread(self.block * self._largest, above=SINGLE, to=sys.maxsize):
                self._in_blocks(narrow, x, y)
        elif rows:
            wide = self.wide
            with one_blas_thread(min(rows, WIDE_BLOCK) * self._largest, above=SINGLE, to=SMALL):
                wide(x, y, WIDE_BLOCK)
        return y

    @cached_property
    def block(self) -> int:
        """Rows of a block of a thread; 0 if BLAS must use its own threads."""
        single, short = self._rows_within(SINGLE), self._rows_within(SHORT)
        return single if single == BLOCK or not libraries() else short if single else BLOCK

    def _rows_within(self, most: int) -> int:
        """Return for how many rows, in whole registers, no product has more multiplications than ``most``."""
        rows = most // self._largest
        return min(rows - rows % 16, BLOCK)

    def _in_blocks(self, narrow: Forward, x: Array, y: Array) -> None:
        """Divide blocks among threads; the cuts do not depend on the number of threads."""
        block, threads = self.block, thread_count()
        blocks = -(-len(x) // block)
        work = block * (sum(self._products) + sum(self.widths))
        helped = -(-max(blocks - WAKING // max(work, 1), 0) // threads)
        own = max(blocks - helped * (threads - 1), helped) * block
        others = []
        for begin in range(own, len(x), helped * block or 1):
            part = slice(begin, begin + helped * block)
            try:
                others.append(pool(threads).submit(narrow, x[part], y[part], block))
            except RuntimeError:  # Python is shutting down, and starts no more threads.
                narrow(x[part], y[part], block)
        narrow(x[:own], y[:own], block)
        for other in others:
            other.result()

    @cached_property
    def narrow(self) -> Forward:
        return self._forward(NARROW)

    @cached_property
    def wide(self) -> Forward:
        return self._forward(LAYERS)

    def _forward(self, table: dict[type[Layer], Kernels]) -> Forward:
        program = PredictionProgram(self._model, table, self.dtype)
        values = {id(parameter): value for _, _, parameter, value in self._parameters}
        arrays = [values[id(argument.value)] for argument in program.parameters.values()]
        return Forward(program, self.widths, arrays)


class Forward:
    """A compiled forward pass.

    Args:
        program: The program.
        widths: Width of the input, then that of each layer's output.
        arrays: The values of its parameters. They are kept here, because the program gets only their addresses.

    Attributes:
        places: The first argument of the program.
    """

    def __init__(self, program: PredictionProgram, widths: list[int], arrays: list[Array]) -> None:
        self.source = program.source
        self._compiled = compiled(program.source, "predict", program.functions)
        self._arrays = arrays
        places = [number for array in arrays for number in (array.ctypes.data, *array.shape)]
        self.places = np.array([*widths, *places], np.intp)
        self._buffers = [(vars(argument.owner), argument.name) for argument in program.buffers.values()]
        self._numbers = [(vars(argument.owner), argument.name) for argument in program.numbers.values()]

    def __call__(self, x: Array, y: Array, block: int) -> None:
        """Write the predictions for x into y, ``block`` rows at a time."""
        own = [layer[name].value for layer, name in self._buffers] + [layer[name] for layer, name in self._numbers]
        self._compiled(self.places, block, x, y, *own)

    def shortest(self) -> Callable[..., Any]:
        """Return the shortest way to call the program again, with `places`, block, x and y."""
        if self._buffers or self._numbers:
            return lambda places, block, x, y: self(x, y, block)
        return self._compiled.entry


def thread_count() -> int:
    """Return how many threads Numba may use."""
    import numba

    return int(numba.get_num_threads())
