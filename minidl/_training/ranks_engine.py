"""The loop over batches on several ranks: each computes its part of a batch, and the gradients are added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.interrupts import Interrupts
from .._core.parameter import Buffer, Parameter
from ..errors import ArgumentError, CallOrderError
from ..layers._parts import named
from ..layers.base import Layer, trait
from .divergence import NotFiniteError
from .numpy_engine import BatchResult, NumpyEngine
from .ranks import Ranks
from .run import STRIDE, Run
from .sources import ArraySource, Batch, Source


class RanksEngine(NumpyEngine):
    """Run each batch on all ranks: forward and backward of a part, one message, and the same step everywhere.

    Args:
        run: The run.
        not_held: Parameters of the model that the optimizer does not hold.
        ranks: All ranks.

    Raises:
        ArgumentError: a layer has a generator that cannot be advanced.
    """

    def __init__(self, run: Run, not_held: Iterable[Parameter], ranks: Ranks) -> None:
        super().__init__(run, not_held)
        self._ranks, self._pause = ranks, False
        found = named(run.model, object)
        self._buffers = [part for part in found.values() if isinstance(part, Buffer)]
        self._bits: list[Any] = [own.bit_generator for own in found.values() if isinstance(own, np.random.Generator)]
        for bits in self._bits:
            if not hasattr(bits, "advance"):
                raise ArgumentError("Trainer(ranks): expected layers with generators that have advance(), such "
                                    f"as PCG64, got {type(bits).__name__}; each rank draws masks of its own")
        layers = [run.model, *(part for part in found.values() if isinstance(part, Layer))]
        self._smallest_part = max(trait(layer, "smallest_batch") for layer in layers)

    def start(self, run: Run) -> None:
        """Compare the runs of all ranks before the first batch; see `Ranks.start`."""
        values = self.optimizer.vector.values
        self._ranks.start(standing(run), values.size + sum(buffer.value.size for buffer in self._buffers), values.dtype)

    @override
    def enter(self, source: Source, start: int) -> None:
        self._parts = self._own_parts(source, start)

    @override
    def run(self, most: int, so_far: float, interrupts: Interrupts) -> BatchResult:
        total, rows, done = so_far, 0, 0
        for part, size in self._parts:
            self._pause = done + 1 == most or bool(interrupts.received or self._ranks.wish)
            error = self._update_together(part, size)
            if error - error != 0.0:
                return BatchResult(total, rows, done, finite=False, ended=False)
            total += error * size
            rows += size
            done += 1
            if self._ranks.received.head[2]:
                return BatchResult(total, rows, done, finite=True, ended=False)
        return BatchResult(total, rows, done, finite=True, ended=True)

    @override
    def update(self, batch: Batch) -> float:
        part = self._part(len(batch[0]))
        return self._update_together(tuple(array[part] for array in batch), len(batch[0]))

    def _part(self, rows: int) -> slice:
        """Return this rank's part of the rows of a batch; empty if there are too few rows for all ranks."""
        ranks = self._ranks
        count = min(max(rows // self._smallest_part, 1), ranks.size)
        return slice(*(rows * min(rank, count) // count for rank in (ranks.rank, ranks.rank + 1)))

    def _own_parts(self, source: Source, start: int) -> Iterator[tuple[Batch, int]]:
        """Yield this rank's part of each batch, and the rows of the batch; of arrays no other rows are copied."""
        if not isinstance(source, ArraySource):
            for batch in source.batches(start):
                yield tuple(array[self._part(len(batch[0]))] for array in batch), len(batch[0])
            return
        for number in range(start, source.count):
            piece = number // source.piece
            begin, end = (source.first_row(n) - source.first_row(piece * source.piece) for n in (number, number + 1))
            arrays, order = source.read(piece)
            part = self._part(end - begin)
            place: Any = slice(begin + part.start, begin + part.stop)
            yield tuple(array[place if order is None else order[place]] for array in arrays), end - begin

    def _update_together(self, part: Batch, rows: int) -> float:
        """Make one update from a batch of which this rank has a part, and return its loss."""
        before = [buffer.value.copy() for buffer in self._buffers]
        error, problem = 0.0, None
        with self._own_random_numbers():
            try:
                if len(part[0]):
                    error = self._add_pieces(part, self.micro_batch_size or len(part[0]), rows)
            except NotFiniteError as found:  # Only while a divergence is explained.
                error, problem = nan, found
        self._write(len(part[0]) / rows, before)
        error, self._pause = self._ranks.exchange(error, len(part[0]), self._pause), False
        self._ranks.check_rows(rows)
        if problem is not None:
            raise problem
        error += sum(penalty.value() for penalty in self.penalties)
        if error - error != 0.0:
            return error
        self._read(before)
        return self._step(error)

    def _write(self, share: float, before: list[npt.NDArray[Any]]) -> None:
        """Write the gradients into the message, then what has changed in buffers, times the share of this rank.

        Of whole numbers, such as a count of batches, rank 0 alone sends the change.
        """
        vector, body = self.optimizer.vector, self._ranks.sent.body
        with suppress(CallOrderError):  # This rank has no rows: its gradients are zeros.
            vector.complete()
        place = vector.gradients.size
        body[:place] = vector.gradients
        for buffer, old in zip(self._buffers, before, strict=True):
            weight = share if old.dtype.kind == "f" else float(self._ranks.rank == 0)
            change = np.where(buffer.value == old, 0.0, buffer.value.astype(np.float64) - old)
            body[place : place + old.size] = weight * change.ravel()
            place += old.size

    def _read(self, before: list[npt.NDArray[Any]]) -> None:
        """Read the sums of gradients and of changes in buffers from the message."""
        vector, body = self.optimizer.vector, self._ranks.received.body
        place = vector.gradients.size
        vector.gradients[...] = body[:place]
        for parameter in vector.parameters:
            parameter._added = True  # Another rank may have added a gradient where this one has not.
        for buffer, old in zip(self._buffers, before, strict=True):
            changed = old + body[place : place + old.size].reshape(old.shape)
            buffer.value = changed.astype(old.dtype)
            place += old.size

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Let the layers draw numbers of this rank and batch alone.

        Between two batches their generators are in the same state on all ranks, which a checkpoint of rank 0 saves.
        """
        states = [bits.state for bits in self._bits]
        for bits in self._bits:
            bits.advance(self._ranks.rank * STRIDE % 2**128)
        yield
        for bits, state in zip(self._bits, states, strict=True):
            bits.state = state
            bits.advance(self._ranks.size * STRIDE % 2**128)


def standing(run: Run) -> dict[str, str]:
    """Map the name of each property of a run that must be the same on all ranks to a description."""
    from .checkpoint import must_agree, saved_run

    saved, values = saved_run(run), named(run.model, (Parameter, Buffer))
    optimizer, generators = saved.optimizer, saved.generators.values()
    return {
        **{name: str(value) for name, value in must_agree(saved).items()},
        "data": str(saved.run.fingerprint),
        "arguments of fit": str(run.plan),
        "figures of an epoch": str(run.figures),
        "a position": f"epoch {len(run.history)}, {run.position}",
        "a seed of the Trainer": _hash(run.start_state),
        "generators in layers": _hash(*[own.bit_generator.state for own in generators]),
        "weights and buffers": _hash(*[part for path, own in values.items() for part in (path, own.frozen, own.value)]),
        "a state of the optimizer": _hash(optimizer.numbers, *optimizer.slots.values()),
    }


def _hash(*values: object) -> str:
    """Hash arrays by their bytes, and other values by their text."""
    import hashlib

    digest = hashlib.sha256()
    for value in values:
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return f"hash {digest.hexdigest()[:16]}"
