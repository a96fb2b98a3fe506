"""The loop over batches in compiled code, and the rule that chooses it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.interrupts import Interrupts
from .._core.parameter import Buffer, Parameter
from ..errors import CompileError
from ..layers._parts import named
from ..layers.base import Layer, trait
from .numpy_engine import Engine, NumpyEngine, Outcome
from .run import Plan
from .sources import ArraySource, Batch, Source

EngineName: TypeAlias = Literal["auto", "numpy", "compiled"]
ENGINES = ("auto", "numpy", "compiled")

UPDATES = 40_000
"""Updates of a fit from which compiling pays: the NumPy loop of a small network takes about a second for them."""

WORK = 1 << 25
"""Rows of a batch times parameters up to which compiled code is faster; above it, BLAS takes the time of both."""

WORK_AT_ONCE = 1 << 24
"""Rows times parameters of one call: some milliseconds, in which no interrupt is noticed."""


Span: TypeAlias = tuple[Batch, npt.NDArray[np.intp] | None, int, int, int]
"""Consecutive batches of one size: arrays, order, position in the order of the first batch, rows of a batch, count."""


class CompiledEngine(Engine):
    """Run forward, loss, backward and step for many batches in one call of compiled code.

    Args:
        numpy: The same loop in NumPy: it finds the layer of a divergence, and raises the error of a refused batch.
        one_row: Whether each batch is a single row.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """

    name = "compiled"

    def __init__(self, numpy: NumpyEngine, *, one_row: bool) -> None:
        from .._compiled import CompiledLoop, Predictor

        extras = {"penalties": numpy.penalties, "clip": numpy.clip, "micro_batch_size": numpy.micro_batch_size}
        for name, value in extras.items():
            if value:
                raise CompileError(f"expected no {name}, got {value!r}")
        self.update = numpy.update
        self.predict = Predictor(numpy.model)  # Threads of both BLAS libraries would compete.
        self._lower = partial(CompiledLoop, numpy.model, numpy.loss, numpy.optimizer, one_row=one_row)
        self._parameters = numpy.optimizer.vector.values.size
        self._state = list(named(numpy.model, (Parameter, Buffer)).values())
        self._layers = [numpy.model, *named(numpy.model, Layer).values()]
        self.at_once = 1
        self._compile()

    def _compile(self) -> None:
        """Compile for the layers that are frozen now, and for the present settings of the optimizer."""
        self._frozen, self._loop = [part.frozen for part in self._state], self._lower()
        self._smallest_batch = max(trait(layer, "smallest_batch") for layer in self._layers)

    @override
    def enter(self, source: Source, start: int) -> None:
        rows = source.batch_size if isinstance(source, ArraySource) else 1
        self.at_once = min(max(WORK_AT_ONCE // (rows * self._parameters), 64), 1 << 14)
        self._source, self._next, self._stream = source, start, source.batches(start)

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> Outcome:
        # An interrupt is noticed after the batches of one call.
        total, rows, done = so_far, 0, 0
        if [part.frozen for part in self._state] != self._frozen or not self._loop.is_current():
            self._compile()
        for arrays, order, begin, size, count in self._spans(most):
            if size < self._smallest_batch:  # The NumPy path raises the error that says why a batch is refused.
                place: Any = slice(begin, begin + size) if order is None else order[begin : begin + size]
                self.update(tuple(array[place] for array in arrays))
            total, bad = self._loop.run(arrays, order, begin=begin, rows=size, count=count, total=total)
            finished = count if bad < 0 else bad
            rows += finished * size
            done += finished
            if bad >= 0:
                return Outcome(total, rows, done, finite=False, ended=False)
            if interrupts.received:
                break
        self._next += done
        return Outcome(total, rows, done, finite=True, ended=done < most and not interrupts.received)

    def _spans(self, most: int) -> Iterator[Span]:
        """Yield the next batches, up to ``most``, as runs of one size."""
        source = self._source
        if not isinstance(source, ArraySource):
            for batch in islice(self._stream, most):
                yield batch, None, 0, len(batch[0]), 1
            return
        size, rows, last = source.batch_size, len(source.arrays[0]), source.count - 1
        until = min(self._next + most, source.count)
        equal = min(until, last + (rows == source.count * size))  # the last batch may be of another size
        if self._next < equal:
            yield source.arrays, source.order, self._next * size, size, equal - self._next
        if max(self._next, equal) < until:
            yield source.arrays, source.order, last * size, rows - last * size, 1


def make_engine(wanted: EngineName, numpy: NumpyEngine, plan: Plan, source: Source) -> Engine:
    """Return the engine for a fit.

    ``"auto"`` compiles if Numba is installed, the network can be compiled, and the sizes make it worth it. The rule is
    fixed, so one seed always gives the same bits.

    Raises:
        CompileError: ``"compiled"`` was asked for, and something cannot be compiled.
    """
    if wanted == "numpy" or (wanted == "auto" and not pays(numpy, plan, source)):
        return numpy
    try:
        return CompiledEngine(numpy, one_row=plan.batch_size == 1)
    except CompileError as error:
        if wanted == "compiled":
            raise CompileError(f'Trainer(engine="compiled"): {error}; use engine="numpy" or "auto"') from None
        return numpy


def pays(numpy: NumpyEngine, plan: Plan, source: Source) -> bool:
    """Return whether a fit is long enough and its batches small enough for compiled code to pay."""
    if not isinstance(source, ArraySource):
        return False
    work = min(source.batch_size, len(source.arrays[0])) * numpy.optimizer.vector.values.size
    return (plan.epochs - plan.start) * source.count >= UPDATES and work <= WORK
