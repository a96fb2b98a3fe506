"""Rows to train on: checked by scikit-learn, with weights, dense or sparse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_non_negative

from .._core.arrays import FLOATS
from .._data import batch_count

DENSE = 1 << 23
"""Most numbers of sparse rows that are made dense at a time, in prediction."""

ROWS_AT_ONCE = 1 << 12
"""Most rows that are predicted at a time."""


@dataclass
class Rows:
    """Rows to train on.

    Attributes:
        x: Input, ``(rows, features)``: an array or a CSR matrix.
        y: Target, as the loss takes it.
        weight: Weight of each row, ``(rows,)``; None if all weights are 1.
    """

    x: Any
    y: npt.NDArray[Any]
    weight: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def mean_weight(self) -> float:
        """The mean of the weights."""
        return 1.0 if self.weight is None else float(self.weight.mean())

    def take(self, places: npt.NDArray[np.intp]) -> Rows:
        """Return some of the rows."""
        return Rows(self.x[places], self.y[places], None if self.weight is None else self.weight[places])

    def arrays(self) -> tuple[Any, ...]:
        """Return dense x, y, and weights with a mean of 1 (or None), as a Trainer takes them."""
        weight = None if self.weight is None else self.weight / self.mean_weight
        return dense_rows(self.x), self.y, weight


class SparseBatches:
    """The batches of an epoch of sparse rows; each batch is made dense when its turn comes.

    Args:
        rows: The rows; x is sparse.
        size: Rows in a batch; a single left-over row joins the batch before it.
        rng: Draws the order of each epoch; None for the order of the data.
    """

    def __init__(self, rows: Rows, size: int, rng: np.random.Generator | None) -> None:
        self._rows, self._size, self._rng, self._mean = rows, size, rng, rows.mean_weight

    def __len__(self) -> int:
        return batch_count(len(self._rows), self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        count = len(self._rows)
        order = np.arange(count) if self._rng is None else self._rng.permutation(count)
        ends = [*range(self._size, count, self._size)][: len(self) - 1]
        for places in np.split(order, ends):
            part = self._rows.take(places)
            weight = () if part.weight is None else (part.weight / self._mean,)
            yield (dense_rows(part.x), part.y, *weight)


def dense_rows(x: Any) -> npt.NDArray[Any]:
    """Return rows as an array."""
    return x.toarray() if sparse.issparse(x) else x  # type: ignore[no-any-return, attr-defined]


def pieces(x: Any) -> Iterator[npt.NDArray[Any]]:
    """Yield rows as arrays that are small enough for one pass through a network."""
    size = max(1, min(ROWS_AT_ONCE, DENSE // x.shape[1]))
    for begin in range(0, x.shape[0], size):
        yield dense_rows(x[begin : begin + size])


def checked_weights(sample_weight: Any, x: Any) -> npt.NDArray[Any]:
    """Return the weight of each row, in the words of scikit-learn where they are wrong.

    Raises:
        ValueError: not one number of at least 0 for each row, or only zeros.
    """
    weight: npt.NDArray[Any] = check_array(sample_weight, ensure_2d=False, dtype=FLOATS, input_name="sample_weight")
    if weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weight.ndim}D array.")
    check_consistent_length(x, weight)
    check_non_negative(weight, "`sample_weight`")
    if not weight.any():
        raise ValueError("sample_weight: expected at least one weight above zero, got only zeros")
    return weight
