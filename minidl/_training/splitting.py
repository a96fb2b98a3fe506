"""Choose the rows that are held out for validation."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Indices: TypeAlias = npt.NDArray[np.intp]


def split_rows(
    rows: int, count: int, labels: npt.ArrayLike | None, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Return the rows to train on and the rows to hold out, each in the order of the data.

    Args:
        rows: Number of rows.
        count: Number of rows to hold out.
        labels: The class of each row, ``(rows,)``; `class_shares` then gives the rows to hold out of each class. None
            draws from all rows.
        rng: The generator that draws the rows.
    """
    order = rng.permutation(rows)
    held_out = np.zeros(rows, bool)
    if labels is None:
        held_out[order[:count]] = True
    else:
        _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        # Sorted by class, at random within each class; the first of each class are held out.
        order = order[np.argsort(classes[order], kind="stable")]
        place_in_class = np.arange(rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        held_out[order[place_in_class < np.repeat(class_shares(sizes.tolist(), count), sizes)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def class_shares(sizes: list[int], count: int) -> list[int]:
    """Return the rows to hold out of each class: in proportion to its size, by the largest remainder.

    A class of two rows or more has at least one row on each side. A class of one row is not held out. Because of these
    two rules the shares may not add up to ``count``.

    Args:
        sizes: Rows of each class.
        count: Rows to hold out in all.
    """
    least, most = [int(size > 1) for size in sizes], [size - 1 for size in sizes]
    count = min(max(count, sum(least)), sum(most))
    total = sum(size for size in sizes if size > 1)
    shares = [max(count * size // total, 1) if size > 1 else 0 for size in sizes]
    left = count - sum(shares)
    step = 1 if left > 0 else -1
    # The excess of a class over its proportional share, in units of 1 / total: whole numbers, so ties are exact.
    queue = [(step * (shares[k] * total - count * size), k) for k, size in enumerate(sizes)]
    heapify(queue)
    while left:
        excess, k = heappop(queue)
        if least[k] <= shares[k] + step <= most[k]:
            shares[k] += step
            left -= step
            heappush(queue, (excess + total, k))
    return shares
