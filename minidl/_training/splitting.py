"""Which rows are held out for validation."""

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
        rows: How many rows there are.
        count: How many to hold out.
        labels: The class of each row, ``(rows,)``; `class_shares` then says how many of each class are held out. None
            draws from all rows alike.
        rng: What draws the rows.
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
    """Return how many rows of each class are held out: in proportion to its size, by the largest remainder.

    A class of two rows or more has at least one row on each side, and a class of one row is not held out, even where
    the shares then do not add up to ``count``.

    Args:
        sizes: Rows of each class.
        count: How many rows to hold out in all.
    """
    least, most = [int(size > 1) for size in sizes], [size - 1 for size in sizes]
    count = min(max(count, sum(least)), sum(most))
    total = sum(size for size in sizes if size > 1)
    shares = [max(count * size // total, 1) if size > 1 else 0 for size in sizes]
    left = count - sum(shares)
    step = 1 if left > 0 else -1
    # By how much a class is beyond its proportional share, in units of 1 / total, so that equal ones are equal.
    queue = [(step * (shares[k] * total - count * size), k) for k, size in enumerate(sizes)]
    heapify(queue)
    while left:
        excess, k = heappop(queue)
        if least[k] <= shares[k] + step <= most[k]:
            shares[k] += step
            left -= step
            heappush(queue, (excess + total, k))
    return shares
