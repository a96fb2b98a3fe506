"""The loop over batches in compiled code, and the rule that chooses it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import nan
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array
from .._core.interrupts import Interrupts
from .._core.parameter import Buffer, Parameter
from ..errors import CompileError
from ..layers._parts import named
from ..layers.base import Layer, trait
from .numpy_engine import BatchResult, Engine, Figures, NumpyEngine
from .run import Plan
from .sources import ArraySource, Batch, Source

EngineName: TypeAlias = Literal["auto", "numpy", "compiled"]
ENGINES = ("auto", "numpy", "compiled")

UPDATES = 30_000
"""Updates of a tiny network from which compiling pays: the NumPy loop takes 0.6 seconds for them. Code from the disk
saves half of that; a new structure takes 2 to 3 seconds more, once."""

TINY, LARGEST = 1 << 17, 4
"""An update of more rows times parameters than ``TINY`` takes longer in NumPy: it counts as ``1 + work / TINY`` tiny
ones, ``1 + LARGEST`` at most, because in large ones BLAS takes the time of both."""

WORK = 1 << 25
"""Rows of a batch times parameters up to which compiled code is faster, where two threads do not share each batch;
above it, BLAS takes the time of both."""

LARGE, ROWS = 1 << 23, 128
"""Least rows times parameters, and least rows, of a batch that two threads share."""

WORK_IN_ALL = 1 << 40
"""Rows times parameters times updates from which compiling pays where two threads share each batch: half a minute."""

WORK_AT_ONCE = 1 << 30
"""Rows times parameters of one call: up to a twentieth of a second, in which no interrupt is noticed."""

IN_ORDER: npt.NDArray[np.intp] = np.empty((1, 0), np.intp)
"""Means that the rows of an epoch are in the order of the data."""


class CompiledEngine(Engine):
    """Run forward, loss, backward and step for many batches in one call of compiled code.

    Args:
        numpy: The same loop in NumPy: it finds the layer of a divergence, and raises the error of a refused batch.
        rows: Rows of a batch; 0 if that is not known.
        in_halves: Whether two threads share each batch.

    Raises:
        CompileError: something cannot be compiled; the message names it.
    """

    name, runs_epochs = "compiled", True

    def __init__(self, numpy: NumpyEngine, *, rows: int, in_halves: bool) -> None:
        from .._compiled import Predictor

        for name in ("micro_batch_size", "ranks"):
            if (value := getattr(numpy, name)) is not None:
                raise CompileError(f"expected no {name}, got {value!r}")
        self.update = numpy.update
        self.predict = Predictor(numpy.model)  # Threads of both BLAS libraries would compete.
        self._rows, self._in_halves = rows, in_halves
        self._parts = numpy.model, numpy.loss, numpy.optimizer
        self._penalties, self._clip = tuple(numpy.penalties), numpy.clip
        self._parameters = numpy.optimizer.vector.values.size
        self._model = numpy.model
        self.at_once = 1
        self._compile(self._form())

    def _form(self) -> list[tuple[object, bool]]:
        """List what a program is compiled for: the model's parts, and whether each is frozen."""
        found = [self._model, *named(self._model, (Layer, Parameter, Buffer)).values()]
        return [(part, not isinstance(part, Layer) and part.frozen) for part in found]

    def _compile(self, form: list[tuple[object, bool]]) -> None:
        """Compile for the present parts of the model, and for the present settings of the optimizer."""
        from .._compiled import CompiledLoop, HalvesLoop, LanesLoop, fits

        model, _, optimizer = self._parts
        plain = not (self._penalties or self._clip)
        small = self._rows and plain and fits(model, optimizer, self._rows)
        kind = HalvesLoop if self._in_halves else LanesLoop if small else CompiledLoop
        self._compiled_for, self._loop = form, kind(
            *self._parts, one_row=self._rows == 1, penalties=self._penalties, clip=self._clip
        )
        self._smallest_batch = max(trait(part, "smallest_batch") for part, _ in form if isinstance(part, Layer))

    @override
    def enter(self, source: Source, start: int) -> None:
        rows = source.batch_size if isinstance(source, ArraySource) else 1
        self.at_once = min(max(WORK_AT_ONCE // (rows * self._parameters), 8), 1 << 14)
        self._source, self._next, self._stream = source, start, source.batches(start)

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> BatchResult:
        # An interrupt is noticed after the batches of one call.
        self._refresh()
        source, total, rows, done, bad = self._source, np.array([so_far]), 0, 0, -1
        if isinstance(source, ArraySource):
            first, size = self._next, source.batch_size
            while bad < 0 and done < most and self._next < source.count:
                number, offset = divmod(self._next, source.piece)
                arrays, order = source.read(number)
                orders = IN_ORDER if order is None else order[np.newaxis]
                count = min(most - done, source.piece - offset, source.count - self._next)
                bad = self._call(arrays, orders, offset * size, size, count, total)
                done += count if bad < 0 else bad
                self._next = first + done
            rows = source.first_row(self._next) - source.first_row(first)
        else:
            for batch in islice(self._stream, most):
                bad = self._call(batch, IN_ORDER, 0, len(batch[0]), 1, total)
                if bad >= 0:
                    break
                rows, done = rows + len(batch[0]), done + 1
                if interrupts.received:
                    break
        ended = bad < 0 and done < most and not interrupts.received
        return BatchResult(float(total[0]), rows, done, finite=bad < 0, ended=ended)

    @override
    def run_epochs(self, source: Source, epochs: range, rng: Callable[[int], np.random.Generator]) -> list[Figures]:
        self.enter(source, 0)
        if not isinstance(source, ArraySource) or source.is_large:
            return []
        if (count := min(len(epochs), self.at_once // source.count)) < 2:
            return []
        self._refresh()
        orders = np.empty((count, len(source.arrays[0]) if source.shuffle else 0), np.intp)
        if source.shuffle:
            for order, epoch in zip(orders, epochs, strict=False):
                order[:] = rng(epoch).permutation(len(order))
        totals, each = np.zeros(count), source.count
        bad = self._call(source.arrays, orders, 0, source.batch_size, count * each, totals)
        losses = totals / len(source.arrays[0]) if bad < 0 else np.full(count, nan)
        return list(zip(losses.tolist(), self._loop.rates[each - 1 :: each].tolist(), strict=True))

    def _refresh(self) -> None:
        """Compile again if a callback has changed what the program was compiled for."""
        form = self._form()
        if form != self._compiled_for or not self._loop.is_current():
            self._compile(form)

    def _call(
        self, arrays: Batch, orders: npt.NDArray[np.intp], begin: int, size: int, count: int, totals: Array
    ) -> int:
        """Run batches, and return the number of the first whose loss is not finite, -1 for none."""
        if min(size, len(arrays[0])) < self._smallest_batch and count:
            # The NumPy path raises the error that says why a batch is refused.
            place: Any = slice(begin, begin + size) if not orders.size else orders[0, begin : begin + size]
            self.update(tuple(array[place] for array in arrays))
        return self._loop.run(arrays, orders, begin=begin, size=size, count=count, totals=totals)


def make_engine(wanted: EngineName, numpy: NumpyEngine, plan: Plan, source: Source) -> Engine:
    """Return the engine for a fit.

    ``"auto"`` compiles if Numba is installed, the network can be compiled, and the sizes make it worth it. The rule is
    fixed, so one seed always gives the same bits.

    Raises:
        CompileError: ``"compiled"`` was asked for, and something cannot be compiled.
    """
    if wanted == "numpy":
        return numpy
    in_halves, worth_it, rows = False, False, int(plan.batch_size == 1)
    if isinstance(source, ArraySource):
        rows, updates = min(source.batch_size, len(source.arrays[0])), (plan.epochs - plan.start) * source.count
        work = rows * numpy.optimizer.vector.values.size
        in_halves = rows >= ROWS and work >= LARGE and can_be_halved(numpy.model)
        worth_it = pays(work, updates, in_halves=in_halves)
    if wanted == "auto" and not worth_it:
        return numpy
    try:
        return CompiledEngine(numpy, rows=rows, in_halves=in_halves)
    except CompileError as error:
        if wanted == "compiled":
            raise CompileError(f'Trainer(engine="compiled"): {error}; use engine="numpy" or "auto"') from None
        return numpy


def pays(work: int, updates: int, *, in_halves: bool) -> bool:
    """Return whether a fit is long enough, and its batches small enough, for compiled code to pay.

    Args:
        work: Rows of a batch times parameters.
        updates: Updates of the fit.
        in_halves: Whether two threads would share each batch.
    """
    if in_halves and work * updates >= WORK_IN_ALL:
        return True
    return updates * (1 + min(work / TINY, LARGEST)) >= UPDATES and work <= WORK


def can_be_halved(model: Layer) -> bool:
    """Return whether a model is a chain whose layers treat each row of a batch alone."""
    from .._compiled import rows_are_independent

    try:
        return rows_are_independent(model)
    except CompileError:
        return False
