"""The loop over batches in compiled code, and the rule by which a run takes it."""

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
from ..errors import ArgumentError, CompileError
from ..layers._parts import named
from ..layers.base import Layer, trait
from .numpy_engine import Engine, NumpyEngine, Outcome
from .run import Plan
from .sources import ArraySource, Batch, Source

EngineName: TypeAlias = Literal["auto", "numpy", "compiled"]

UPDATES = 40_000
"""How many updates of a fit are worth compiling for: about where the NumPy loop of a small network takes a second."""

WORK = 1 << 25
"""Rows of a batch times parameters, up to which compiled code wins; beyond, both engines wait for BLAS."""

WORK_AT_ONCE = 1 << 24
"""Rows times parameters that go by in one call: some milliseconds, in which no interrupt is seen."""


Span: TypeAlias = tuple[Batch, npt.NDArray[np.intp] | None, int, int, int]
"""Batches of one size that follow one another: arrays, order, where in the order the first one begins, rows, count."""


class CompiledEngine(Engine):
    """Run forward, loss, backward and step for many batches in one call of compiled code.

    Args:
        numpy: The same loop in NumPy: it explains a divergence, and a batch that a layer refuses.
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
        self.predict = Predictor(numpy.model)  # NumPy's BLAS and Numba's have threads of their own, which would fight.
        self._lower = partial(CompiledLoop, numpy.model, numpy.loss, numpy.optimizer, one_row=one_row)
        self._parameters = numpy.optimizer.vector.values.size
        self._state = list(named(numpy.model, (Parameter, Buffer)).values())
        self._layers = [numpy.model, *named(numpy.model, Layer).values()]
        self.at_once = 1
        self._compile()

    def _compile(self) -> None:
        """Compile for what is frozen now, and for the settings of the optimizer."""
        self._frozen, self._loop = [part.frozen for part in self._state], self._lower()
        self._smallest_batch = max(trait(layer, "smallest_batch") for layer in self._layers)

    @override
    def enter(self, source: Source, start: int) -> None:
        rows = source.batch_size if isinstance(source, ArraySource) else 1
        self.at_once = min(max(WORK_AT_ONCE // (rows * self._parameters), 64), 1 << 14)
        self._source, self._next, self._stream = source, start, source.batches(start)

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> Outcome:
        # An interrupt is seen after the batches of one call.
        total, rows, done = so_far, 0, 0
        if [part.frozen for part in self._state] != self._frozen or not self._loop.is_current():
            self._compile()
        for arrays, order, begin, size, count in self._spans(most):
            if size < self._smallest_batch:  # The NumPy path says why it does not take a batch.
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
    """Return the engine that is to run a fit.

    ``"auto"`` compiles where Numba is installed, the network lowers, and the sizes say that it pays: a fixed rule, so
    that a seed means the same bits.

    Raises:
        CompileError: ``"compiled"`` is wanted, and something cannot be compiled.
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
    """Whether a fit is long enough to compile for, and its batches small enough to gain from it."""
    if not isinstance(source, ArraySource):
        return False
    work = min(source.batch_size, len(source.arrays[0])) * numpy.optimizer.vector.values.size
    return (plan.epochs - plan.start) * source.count >= UPDATES and work <= WORK


def check_engine(engine: str) -> EngineName:
    """Return the name of an engine, or say which there are."""
    if engine not in ("auto", "numpy", "compiled"):
        raise ArgumentError(f'Trainer(engine): expected "auto", "numpy" or "compiled", got {engine!r}')
    return engine  # type: ignore[return-value]
