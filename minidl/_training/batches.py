"""Batches of a table, in order or shuffled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .._core.arrays import dense, flag, positive_int
from .._core.generators import Seed, generator
from .._data import Rows, batch_count, check_lengths

GATHERED = 1 << 16
"""Approximate bytes of shuffled rows that are gathered at a time. A slice of gathered rows takes a fifth of the time of
an indexing by rows. A shuffled copy of all data would double the memory of a fit."""


def batches(
    x: npt.ArrayLike, y: npt.ArrayLike, *, batch_size: int, rng: Seed = None, shuffle: bool = True
) -> Iterator[tuple[Rows, Rows]]:
    """Yield (rows of x, rows of y) of one pass over the data.

    Args:
        x: Input, ``(rows, features)``.
        y: Target, one row (or label) for each row of ``x``.
        batch_size: Rows in a batch. The last batch may be smaller, but a single left-over row joins the batch before
            it.
        rng: Generator or seed of the shuffle.
        shuffle: False keeps the order of the data.

    Raises:
        ShapeError: different numbers of rows.
        DataError: no rows.
        ArgumentError: a batch size below 1.

    Example:
        >>> x = np.arange(5.0)[:, None]
        >>> [len(rows) for rows, _ in batches(x, 2 * x, batch_size=2, rng=0)]
        [2, 3]
    """
    arrays = (dense(x, "batches(x)"), dense(y, "batches(y)"))
    rows = check_lengths(x=arrays[0], y=arrays[1])
    size = positive_int(batch_size, "batches(batch_size)")
    order = generator(rng, "batches").permutation(rows) if flag(shuffle, "batches(shuffle)") else None
    return ((batch[0], batch[1]) for batch in slices(arrays, order, size))


def slices(
    arrays: tuple[Rows, ...], order: npt.NDArray[np.intp] | None, size: int, start: int = 0
) -> Iterator[tuple[Rows, ...]]:
    """Yield the batches from number ``start`` on, each a tuple of rows of all arrays.

    Args:
        arrays: Arrays with the same number of rows.
        order: The row numbers in the order of training; None for the order of the data.
        size: Rows in a batch.
        start: Number of the first batch to yield.
    """
    rows = len(arrays[0])
    last = batch_count(rows, size)
    row_bytes = sum([array.nbytes for array in arrays]) // rows + 1
    at_once = max(1, GATHERED // (row_bytes * size)) if order is not None else last
    for first in range(start, last, at_once):
        until = min(first + at_once, last)
        begin, end = first * size, rows if until == last else until * size
        part = arrays if order is None else tuple([array[order[begin:end]] for array in arrays])
        offset = begin if order is not None else 0
        for number in range(first, until):
            place = slice(number * size - offset, (rows if number == last - 1 else (number + 1) * size) - offset)
            yield tuple([array[place] for array in part])
