"""The loop over batches in compiled code, and the rule by which a run takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.interrupts import Interrupts
from .._core.parameter import Buffer, Parameter
from ..errors import ArgumentError, CompileError
from ..layers._parts import named, walk
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


@dataclass
class Span:
    """Batches of one size that follow one another: ``count`` times ``rows`` rows, from ``begin`` in the order on."""

    arrays: Batch
    order: npt.NDArray[np.intp] | None
    begin: int
    rows: int
    count: int


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
        self._lower = partial(CompiledLoop, numpy.model, numpy.loss, numpy.optimizer, one_row=one_row)
        self._loop = self._lower()
        self._state = list(named(numpy.model, (Parameter, Buffer)).values())
        self._frozen = [part.frozen for part in self._state]
        self.predict = Predictor(numpy.model)  # NumPy's BLAS and Numba's have threads of their own, which would fight.
        self._layers = [numpy.model, *(part for _, part in walk(numpy.model) if isinstance(part, Layer))]
        self._smallest_batch = max(trait(layer, "smallest_batch") for layer in self._layers)
        self._parameters = numpy.optimizer.vector.values.size
        self.at_once = 1
        self._spans: Iterator[Span] = iter(())
        self._span: Span | None = None

    @override
    def enter(self, source: Source, start: int) -> None:
        rows = source.batch_size if isinstance(source, ArraySource) else 1
        self.at_once = min(max(WORK_AT_ONCE // (rows * self._parameters), 64), 1 << 14)
        self._spans, self._span = spans(source, start), None

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> Outcome:
        # An interrupt is seen after the batches of one call.
        total, rows, done = so_far, 0, 0
        frozen = [part.frozen for part in self._state]
        if frozen != self._frozen or not self._loop.is_current():
            self._loop, self._frozen = self._lower(), frozen
            self._smallest_batch = max(trait(layer, "smallest_batch") for layer in self._layers)
        while (span := self._current()) is not None:
            if span.rows < self._smallest_batch:
                self._refuse(span)
            count = min(span.count, most - done)
            total, bad = self._loop.run(
                span.arrays, span.order, begin=span.begin, rows=span.rows, count=count, total=total
            )
            finished = count if bad < 0 else bad
            span.begin += finished * span.rows
            span.count -= finished
            rows += finished * span.rows
            done += finished
            if bad >= 0:
                return Outcome(total, rows, done, finite=False, ended=False)
            if done == most or interrupts.received:
                return Outcome(total, rows, done, finite=True, ended=False)
        return Outcome(total, rows, done, finite=True, ended=True)

    def _current(self) -> Span | None:
        if self._span is None or not self._span.count:
            self._span = next(self._spans, None)
        return self._span

    def _refuse(self, span: Span) -> None:
        """Let the NumPy path say why it does not take a batch."""
        place = slice(span.begin, span.begin + span.rows)
        self.update(tuple(a[place if span.order is None else span.order[place]] for a in span.arrays))


def spans(source: Source, start: int) -> Iterator[Span]:
    """Yield the batches of an epoch, from number ``start`` on, as runs of one size."""
    if not isinstance(source, ArraySource):
        for batch in source.batches(start):
            yield Span(batch, None, 0, len(batch[0]), 1)
        return
    size, rows = source.batch_size, len(source.arrays[0])
    equal = source.count if rows == source.count * size else source.count - 1
    if start < equal:
        yield Span(source.arrays, source.order, start * size, size, equal - start)
    if start < source.count and equal < source.count:
        yield Span(source.arrays, source.order, equal * size, rows - equal * size, 1)


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
    return plan.epochs * source.count >= UPDATES and work <= WORK


def check_engine(engine: str) -> EngineName:
    """Return the name of an engine, or say which there are."""
    if engine not in ("auto", "numpy", "compiled"):
        raise ArgumentError(f'Trainer(engine): expected "auto", "numpy" or "compiled", got {engine!r}')
    return engine  # type: ignore[return-value]
