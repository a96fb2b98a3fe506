"""Prediction in compiled code: the forward pass of a chain in one call."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, features
from ..errors import LoweringError
from ..layers.dense import Dense
from ..layers.layer import Layer
from ..parameter import Buffer, Parameter
from .cache import compiled
from .language import Kernels
from .layers import LAYERS, NARROW, ONE_ROW
from .lowering import jitted, linked
from .program import PredictionProgram

SINGLE = 1 << 18
"""Multiplications of a matrix product up to which OpenBLAS computes it in the thread that calls."""

WIDE_BLOCK = 1024
"""Rows of a block where BLAS has threads of its own."""

WAKING = 1 << 21
"""About how many multiplications the thread that calls does until another one is awake."""


class Predictor:
    """Predict as ``model.predict`` does, to rounding, in one call of compiled code.

    It sees the parameters as they are when it is called, so a model may be trained further, and changes nothing: any
    number of threads may call it at once. Narrow networks are computed in blocks of rows by as many threads as
    ``numba.get_num_threads()`` says; the bits do not depend on how many. The first call of a kind (a single row, some
    rows, many rows) compiles, for a second or two where the code is not in the cache on disk.

    Args:
        model: A `Sequential`, nested ones included, or a single layer.

    Raises:
        LoweringError: something cannot be lowered; the message names it.

    Example:
        >>> from minidl import ReLU, mlp
        >>> predict = Predictor(mlp([3, 8, 2], activation=ReLU, rng=0))
        >>> predict(np.zeros((4, 3))).shape
        (4, 2)
    """

    def __init__(self, model: Layer) -> None:
        self.model = model
        layers = [layer for _, layer, _ in linked(model, LAYERS)]
        dtypes = {parameter.dtype for parameter in model.parameters()}
        if len(dtypes) != 1:
            found = " and ".join(sorted(map(str, dtypes))) or "none"
            raise LoweringError(f"expected parameters, all of one dtype, got {found}")
        (self._dtype,) = dtypes
        self._width = model.input_features()
        self._layers = layers
        self._products = [layer.weight.size for layer in layers if isinstance(layer, Dense)]
        block = SINGLE // max(self._products, default=1)
        self._narrow_block = min(block - block % 16, 256)
        self._widths: tuple[int, ...] = ()

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return the predictions for ``x``, ``(batch, in_features)``: ``(batch, out_features)``."""
        x = features(x, "Predictor", self._width, self._dtype)
        if not x.flags.carray:
            x = np.array(x, order="C")
        rows, width = x.shape
        widths = self._widths
        if not widths or widths[0] != width:
            widths = self._widths = self._widths_from(width)
        y: Array = np.empty((rows, widths[-1]), self._dtype)
        if rows == 1:
            self._one_row(x, y, 1, widths)
        elif self._narrow_block and rows >= 2 * self._narrow_block:
            self._in_blocks(x, y, widths)
        elif rows:
            self._wide(x, y, WIDE_BLOCK, widths)
        return y

    def _widths_from(self, width: int) -> tuple[int, ...]:
        """Return the widths of the streams."""
        widths = [width]
        for layer in self._layers:
            widths.append(layer.output_features(widths[-1]))
        return tuple(widths)

    def _in_blocks(self, x: Array, y: Array, widths: tuple[int, ...]) -> None:
        """Share blocks out among threads; where they are cut does not depend on how many there are."""
        block, threads = self._narrow_block, thread_count()
        blocks = -(-len(x) // block)
        work = block * (sum(self._products) + sum(widths))
        helped = max(blocks - WAKING // work, 0) // threads
        own = (blocks - helped * (threads - 1)) * block
        parts = [slice(begin, begin + helped * block) for begin in range(own, len(x), helped * block or 1)]
        others = [pool(threads).submit(self._narrow, x[part], y[part], block, widths) for part in parts]
        self._narrow(x[:own], y[:own], block, widths)
        for other in others:
            other.result()

    @property
    def source(self) -> str:
        """The program that predicts many rows: the pass at its end, over one kernel for each layer."""
        return (self._narrow if self._narrow_block else self._wide).source

    @cached_property
    def _one_row(self) -> Forward:
        return Forward(self.model, ONE_ROW)

    @cached_property
    def _narrow(self) -> Forward:
        return Forward(self.model, NARROW)

    @cached_property
    def _wide(self) -> Forward:
        return Forward(self.model, LAYERS)

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self.model,)


class Forward:
    """A compiled forward pass, with the parameters of its model as they are at each call.

    Args:
        model: The model.
        table: The kernels of its layers.
    """

    def __init__(self, model: Layer, table: dict[type[Layer], Kernels]) -> None:
        program = PredictionProgram(linked(model, table), model.parameters()[0].dtype)
        self.source = program.source
        self._predict = compiled(program.source, "predict", jitted(program.functions))
        places = [(argument.owner, argument.name) for argument in program.arguments.values()]
        self._arrays: list[Parameter | Buffer] = [getattr(*place) for place in places[: program.arrays]]
        self._numbers = places[program.arrays :]

    def __call__(self, x: Array, y: Array, block: int, widths: tuple[int, ...]) -> None:
        """Write the predictions for x into y, so many rows at a time."""
        own = [part.value for part in self._arrays]
        if self._numbers:
            own += [getattr(*place) for place in self._numbers]
        self._predict(x, y, block, widths, *own)


def thread_count() -> int:
    """Return how many threads Numba is allowed."""
    import numba

    return int(numba.get_num_threads())


@cache
def pool(threads: int) -> ThreadPoolExecutor:
    """Return the threads that help the one that calls."""
    return ThreadPoolExecutor(threads - 1, "minidl")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # A forked process has the pool without its threads.
