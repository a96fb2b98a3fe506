"""Sources of the batches of a run: arrays, or an iterable that starts again for each epoch."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._data import PIECE, Rows, batch_count, checked, described, is_large, read_ahead, rows_of_piece
from ..errors import ArgumentError, DataError, DTypeError
from ..layers.base import Layer
from ..losses import Loss
from ..schedules import LearningRate, Schedule
from .batches import slices

Batch: TypeAlias = tuple[Rows, ...]
"""(x, y) or (x, y, sample_weight)."""

HASHED = 1 << 26
"""Bytes up to which a fingerprint covers all of the data; of larger data it covers evenly spaced rows."""

BLOCK = 1 << 18
"""Approximate bytes of a block of rows of large data. Blocks are read one after the other, from random places: a disk
reads them nearly as fast as the whole file in order. A piece has rows of 64 blocks."""

REPLAYED = 1 << 25
"""Approximate bytes of a stream that are kept for a replay."""


@dataclass
class Fingerprint:
    """Identifies data: the shapes of the arrays and a hash; for a stream the hash of its first batch.

    The validation data has a hash of its own, empty if there is none.
    """

    sha256: str
    shapes: list[list[int]] = field(default_factory=list)
    stream: bool = False
    validation: str = ""

    def __str__(self) -> str:
        shapes = ", ".join(str(tuple(shape)) for shape in self.shapes)
        validation = f"validation data with hash {self.validation[:8]}…" if self.validation else "no validation data"
        return f"{shapes or 'a stream'} with hash {self.sha256[:8]}… and {validation}"


class Source(ABC):
    """Batches by epoch and number: a run can enter any epoch again, at any batch.

    Attributes:
        held_out: The validation data, for the fingerprint.
        batch_rows: Rows of a batch; of a stream, those of its first batch.
    """

    held_out: Batch = ()
    batch_rows: int

    @abstractmethod
    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Begin an epoch: draw its random order from its generator."""

    @abstractmethod
    def batches(self, start: int) -> Iterator[Batch]:
        """Yield the batches of the current epoch, from number ``start`` on."""

    @abstractmethod
    def replay(self, start: int) -> Iterator[Batch]:
        """Yield the batches again that `batches` has yielded since the last `mark`, which was at batch ``start``."""

    @abstractmethod
    def mark(self) -> int:
        """Let a replay begin here; return the number of batches that it can keep in memory."""

    @abstractmethod
    def steps_per_epoch(self) -> int | None:
        """Return the number of batches of the next epoch; None if a stream does not know it."""

    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the data."""


class ArraySource(Source):
    """Batches of arrays in memory or memory-mapped, shuffled or in order.

    Data that `is_large` is read by pieces of many batches. A shuffle first puts blocks of consecutive rows into a
    random order; the pieces are cut from this order, and the rows of each piece are shuffled in memory.

    Args:
        arrays: (x, y) or (x, y, sample_weight), from `checked_data`.
        batch_size: Rows in a batch.
        shuffle: Whether each epoch has its own random order.
        checked: Checks a piece of large data and casts it; None if that is not necessary.

    Attributes:
        piece: Number of batches of a piece; of all batches where the data is not large.
    """

    def __init__(
        self, arrays: Batch, batch_size: int, shuffle: bool, checked: Callable[..., Batch] | None = None
    ) -> None:
        self.arrays, self.batch_size, self.shuffle, self._checked = arrays, batch_size, shuffle, checked
        self.order: npt.NDArray[np.intp] | None = None
        self.count = self.piece = batch_count(len(arrays[0]), batch_size)
        self.batch_rows = min(batch_size, len(arrays[0]))
        self.is_large = is_large(arrays)
        if self.is_large:
            self.piece = max(1, rows_of_piece(arrays, PIECE) // batch_size)
            self._block = rows_of_piece(arrays, BLOCK)
        self._recent: tuple[int, Batch, npt.NDArray[np.intp] | None] = -1, (), None

    def first_row(self, batch: int) -> int:
        """Return the position of the first row of a batch in the order; of the end, for the number of batches."""
        return len(self.arrays[0]) if batch == self.count else batch * self.batch_size

    @override
    def steps_per_epoch(self) -> int:
        return self.count

    @override
    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Draw the order of the rows; of large data the order of its blocks, and a seed for the rows of each piece."""
        rows = len(self.arrays[0])
        if self.shuffle:
            self.order = rng.permutation(-(-rows // self._block) if self.is_large else rows)
        if self.is_large:
            self._seed, self._recent = int(rng.integers(1 << 63)), (-1, (), None)

    @override
    def batches(self, start: int) -> Iterator[Batch]:
        if not self.is_large:
            return slices(self.arrays, self.order, self.batch_size, start)
        numbers = range(start // self.piece, -(-self.count // self.piece))
        return chain.from_iterable(
            slices(*self.read(number), self.batch_size, max(start - number * self.piece, 0)) for number in numbers
        )

    def read(self, number: int) -> tuple[Batch, npt.NDArray[np.intp] | None]:
        """Return piece ``number`` of the epoch: its arrays, and the order of their rows; None for their own."""
        if not self.is_large:
            return self.arrays, self.order
        if self._recent[0] != number:
            self._recent = -1, (), None  # So that it is not in memory together with the next.
            begin, end = self.first_row(number * self.piece), self.first_row(min((number + 1) * self.piece, self.count))
            parts = self._parts(begin, end)
            for array in self.arrays:
                read_ahead(array, parts)
            arrays = tuple([np.concatenate([array[part] for part in parts]) for array in self.arrays])
            if self._checked is not None:
                arrays = self._checked(*arrays)
            order = np.random.default_rng((self._seed, number)).permutation(end - begin) if self.shuffle else None
            self._recent = number, arrays, order
        return self._recent[1:]

    def _parts(self, begin: int, end: int) -> list[slice]:
        """Return where in the data the rows from ``begin`` to ``end`` of the shuffled blocks are."""
        if self.order is None:
            return [slice(begin, end)]
        first = self.order * self._block
        last = np.minimum(first + self._block, len(self.arrays[0]))
        ends = np.cumsum(last - first)
        here = slice(np.searchsorted(ends, begin, "right"), np.searchsorted(ends, end) + 1)
        low = np.maximum(first, last - (ends - begin))[here]
        high = np.minimum(last, last - (ends - end))[here]
        return [slice(*part) for part in zip(low.tolist(), high.tolist(), strict=True)]

    @override
    def mark(self) -> int:
        return sys.maxsize

    @override
    def replay(self, start: int) -> Iterator[Batch]:
        return self.batches(start)

    @override
    def fingerprint(self) -> Fingerprint:
        shapes = [list(array.shape) for array in self.arrays]
        order = [f"blocks of {self._block}, pieces of {self.piece} batches"] if self.is_large and self.shuffle else []
        return Fingerprint(_hash(self.arrays, *order), shapes, validation=_hash(self.held_out))


class StreamSource(Source):
    """Batches from a function or a container that gives them again for each epoch; each batch is checked.

    Args:
        stream: A function without arguments that returns an iterable of (x, y) or (x, y, sample_weight), or such an
            iterable that can be iterated again.
        model: The model; the batches must fit it.
        loss: The loss; the targets must fit it.
        learning_rate: Learning rate of the optimizer; a schedule in epochs needs a stream with a length.

    Raises:
        DTypeError: the stream can be read only once, or its first batch is not a tuple.
        ArgumentError: a schedule in epochs, but the stream has no length.
        DataError: no batch, a first batch that does not fit, or no weight above 0 in the batches of an epoch.
    """

    def __init__(
        self,
        stream: Callable[[], Iterable[Batch]] | Iterable[Batch],
        model: Layer,
        loss: Loss,
        learning_rate: LearningRate,
    ) -> None:
        if isinstance(stream, Iterator):
            raise DTypeError(
                f"fit_batches: expected a function that returns batches, or a container of them, got {stream!r}, which "
                "can be read only once; pass the generator function itself, without calling it"
            )
        self._stream, self._open = stream, stream if callable(stream) else lambda: stream
        self._model, self._loss = model, loss
        self._recent: list[Batch] = []
        self._bytes = REPLAYED // 8
        in_epochs = isinstance(learning_rate, Schedule) and learning_rate.in_steps(1) != learning_rate
        if in_epochs and self.steps_per_epoch() is None:
            raise ArgumentError(
                f"fit_batches(stream): expected a stream with a length, because the schedule {learning_rate!r} counts "
                "epochs; give a list of batches or an object with __len__, or count steps: give the optimizer "
                "schedule.in_steps(steps_per_epoch)"
            )
        self._first = self._first_batch()
        self.batch_rows = len(self._first[0])

    @override
    def steps_per_epoch(self) -> int | None:
        try:
            return len(self._stream) or None  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            return None

    @override
    def begin_epoch(self, rng: np.random.Generator) -> None:
        self._recent = []

    @override
    def batches(self, start: int) -> Iterator[Batch]:
        number, counts, batches = -1, start > 0, self._open()
        if not isinstance(batches, Iterable) or getattr(batches, "ndim", 1) == 0:
            raise DTypeError(
                f"fit_batches: expected a function that returns batches, or a container of them, got {batches!r}"
            )
        for number, batch in enumerate(batches):
            if number >= start:
                ready = self._checked(number, batch)
                counts = counts or _counts(ready)
                self._recent.append(ready)
                self._bytes = sum(array.nbytes for array in ready)
                yield ready
        if number < max(start - 1, 0):
            least = f"{start} batches" if start > 1 else "one batch"
            raise DataError(f"fit_batches: expected at least {least} in an epoch, got {number + 1 or 'none'}")
        if not counts:
            raise DataError("fit_batches: expected a sample_weight above 0 in an epoch, got zeros in all its batches")

    def _checked(self, number: int, batch: Batch) -> Batch:
        """Check a batch and return a copy of it, because a stream may fill the same arrays for each batch."""
        try:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                found = described(batch)
                raise DTypeError(f"fit_batches: expected batches (x, y) or (x, y, sample_weight), got {found}")
            return tuple(np.array(array) for array in checked(self._model, self._loss, *batch, zeros=True))
        except Exception as error:
            error.add_note(f"in batch {number}")
            raise

    @override
    def mark(self) -> int:
        self._recent = []
        return max(REPLAYED // max(self._bytes, 1), 1)

    @override
    def replay(self, start: int) -> Iterator[Batch]:
        return iter(list(self._recent))

    @override
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(_hash(self._first), stream=True, validation=_hash(self.held_out))

    def _first_batch(self) -> Batch:
        """Return the first batch; read on until one has a weight above 0, so that an epoch without is refused here."""
        for batch in self.batches(0):
            if _counts(batch):
                break
        return self._recent[0]


def _counts(batch: Batch) -> bool:
    """Return whether a row of a batch has a weight above 0."""
    return len(batch) == 2 or bool(batch[2].any())


def _hash(arrays: Batch, order: str = "") -> str:
    """Hash arrays: all bytes of up to `HASHED` bytes, evenly spaced rows of larger ones; and how they are shuffled."""
    import hashlib

    digest = hashlib.sha256(order.encode())
    for array in arrays:
        row_bytes = max(array.nbytes // max(len(array), 1), 1)
        chosen = array[:: max(1, len(array) * row_bytes // HASHED)]
        size = max(1, BLOCK // row_bytes)
        for begin in range(0, len(chosen), size):
            digest.update(np.ascontiguousarray(chosen[begin : begin + size]).data)
    return digest.hexdigest() if arrays else ""
