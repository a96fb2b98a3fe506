"""Prediction in compiled code: the forward pass of a chain in one call."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

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
from ..layers.sequential import Sequential
from .cache import compiled
from .chain import linked, widths_of
from .kernels import LAYERS, NARROW, ONE_ROW
from .kernels.language import Kernels
from .program import PredictionProgram

Widths: TypeAlias = npt.NDArray[np.intp]

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
        passes = self._passes
        if not passes.are_current():
            passes = self._passes = Passes(self.model)
        row, row_of_y, widths = passes.sizes
        if type(x) is np.ndarray and x.shape == row and x.dtype == passes.dtype and x.flags.carray:
            y: Array = empty(row_of_y, passes.dtype)  # A single row takes a microsecond: each check counts.
            passes.one_row(x, y, 1, widths)
            return y
        x = features(x, "Predictor", passes.width, passes.dtype)
        return passes.predict(x if x.flags.carray else np.array(x, order="C"))

    @property
    def source(self) -> str:
        """The program that predicts many rows: the pass at its end, over one kernel for each layer."""
        passes = self._passes
        return (passes.narrow if passes.block else passes.wide).source

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self.model,)


class Sizes(NamedTuple):
    """The shapes of one row of the input and of the output, and the widths of ``a0``, ``a1``, …: all of one network."""

    row: tuple[int, int]
    row_of_y: tuple[int, int]
    widths: Widths


class Passes:
    """The compiled forward passes of a chain in its present state.

    Args:
        model: The model.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """

    def __init__(self, model: Layer) -> None:
        self._model = model
        try:
            self._links = linked(model, LAYERS)
        except CompileError as error:
            raise CompileError(f"Predictor: {error}; use model.predict") from None
        parameters = [parameter for link in self._links for parameter in link.parameters.values()]
        dtypes = {parameter.dtype for parameter in parameters}
        if len(dtypes) != 1:
            found = " and ".join(sorted(map(str, dtypes))) or "none"
            raise CompileError(f"Predictor: expected parameters, all of one dtype, got {found}; use model.predict")
        (self.dtype,) = dtypes
        self.width = trait(model, "in_features")
        parts = [model, *(part for _, part in walk(model))]
        self._chains = [(part, part.layers) for part in parts if isinstance(part, Sequential)]
        self._parameters = [
            (vars(link.layer), name, parameter, parameter._value)
            for link in self._links
            for name, parameter in link.parameters.items()
        ]
        self._products = [link.layer.weight.size for link in self._links if isinstance(link.layer, Dense)]
        self._largest = max(self._products, default=1)
        self.sizes = Sizes((1, -1), (1, -1), np.empty(0, np.intp))

    def are_current(self) -> bool:
        """Whether the model still has the layers, the parameters, and the arrays in these that the passes know."""
        for chain, layers in self._chains:
            if chain.layers is not layers:
                return False
        for layer, name, parameter, value in self._parameters:
            if layer[name] is not parameter or parameter._value is not value:
                return False
        return True

    def predict(self, x: Array) -> Array:
        """Check ``x`` and return the predictions for it."""
        rows, width = x.shape
        sizes = self.sizes
        if sizes.row[1] != width:
            found = widths_of(self._links, width)
            sizes = self.sizes = Sizes((1, width), (1, found[-1]), np.array(found, np.intp))
        widths = sizes.widths
        y: Array = np.empty((rows, widths[-1]), self.dtype)
        if rows == 1:
            self.one_row(x, y, 1, widths)
        elif rows >= 2 * (self._rows_within(SINGLE) or BLOCK) and self.block:
            narrow = self.narrow  # Making it loads Numba, and so the BLAS that is to be limited.
            with one_blas_thread(self.block * self._largest, above=SINGLE, to=sys.maxsize):
                self._in_blocks(narrow, x, y, widths)
        elif rows:
            wide = self.wide
            with one_blas_thread(min(rows, WIDE_BLOCK) * self._largest, above=SINGLE, to=SMALL):
                wide(x, y, WIDE_BLOCK, widths)
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

    def _in_blocks(self, narrow: Forward, x: Array, y: Array, widths: Widths) -> None:
        """Divide blocks among threads; the cuts do not depend on the number of threads."""
        block, threads = self.block, thread_count()
        blocks = -(-len(x) // block)
        work = block * (sum(self._products) + widths.sum())
        helped = -(-max(blocks - WAKING // max(work, 1), 0) // threads)
        own = max(blocks - helped * (threads - 1), helped) * block
        others = []
        for begin in range(own, len(x), helped * block or 1):
            part = slice(begin, begin + helped * block)
            try:
                others.append(pool(threads).submit(narrow, x[part], y[part], block, widths))
            except RuntimeError:  # Python is shutting down, and starts no more threads.
                narrow(x[part], y[part], block, widths)
        narrow(x[:own], y[:own], block, widths)
        for other in others:
            other.result()

    @cached_property
    def one_row(self) -> Forward:
        return Forward(self._model, ONE_ROW, self.dtype)

    @cached_property
    def narrow(self) -> Forward:
        return Forward(self._model, NARROW, self.dtype)

    @cached_property
    def wide(self) -> Forward:
        return Forward(self._model, LAYERS, self.dtype)


class Forward:
    """A compiled forward pass; each call uses the present numbers of its model, in the arrays that the model has now.

    Args:
        model: The model.
        table: The kernels of its layers.
        dtype: The dtype of its parameters.
    """

    def __init__(self, model: Layer, table: dict[type[Layer], Kernels], dtype: np.dtype[Any]) -> None:
        program = PredictionProgram(model, table, dtype)
        self.source = program.source
        self._predict = compiled(program.source, "predict", program.functions)
        self._held = [argument.value.value for argument in program.parameters.values()]
        places = [number for array in self._held for number in (array.ctypes.data, *array.shape)]
        self._places = np.array(places, np.intp)
        self._buffers = [(vars(argument.owner), argument.name) for argument in program.buffers.values()]
        self._numbers = [(vars(argument.owner), argument.name) for argument in program.numbers.values()]
        self._has_more = bool(self._buffers or self._numbers)

    def __call__(self, x: Array, y: Array, block: int, widths: Widths) -> None:
        """Write the predictions for x into y, ``block`` rows at a time."""
        if self._has_more:
            more = [layer[name].value for layer, name in self._buffers]
            more += [layer[name] for layer, name in self._numbers]
            self._predict.call(x, y, block, widths, self._places, *more)
        else:
            self._predict.call(x, y, block, widths, self._places)


def thread_count() -> int:
    """Return how many threads Numba may use."""
    import numba

    return int(numba.get_num_threads())
