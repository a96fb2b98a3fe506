"""Kernels that copy the data of a batch into the memory of the program, and one that transposes a matrix.

Row k of a batch is row ``order[begin + k]`` of the data. If ``order`` is empty, it is row ``begin + k``.
"""

from __future__ import annotations

import numpy as np

from .elementary import real
from .language import Column, Indices, Matrix


def fetch_rows(rows: Matrix, order: Indices, begin: int, x: Matrix) -> None:
    """Copy the rows of a batch into x."""
    for r in range(len(x)):
        row = order[begin + r] if len(order) else begin + r
        for i in range(x.shape[1]):
            x[r, i] = rows[row, i]


def fetch_targets(rows: Matrix, order: Indices, begin: int, target: Matrix) -> None:
    """Copy the targets of a batch; a label k becomes a row of zeros with a one at k."""
    if rows.ndim == 2:
        fetch_rows(rows, order, begin, target)
    else:
        for r in range(len(target)):
            for j in range(target.shape[1]):
                target[r, j] = 0.0
            row = order[begin + r] if len(order) else begin + r
            target[r, rows[row]] = 1.0


def fetch_sample_weight(rows: Column, order: Indices, begin: int, sample_weight: Column) -> None:
    """Copy wᵢ of each row; without weights each is 1."""
    for r in range(len(sample_weight)):
        row = order[begin + r] if len(order) else begin + r
        sample_weight[r] = rows[row] if len(rows) else 1.0


def transposed(weight: Matrix) -> Matrix:
    """Return the transpose of a matrix as a contiguous array."""
    transpose = np.empty((weight.shape[1], weight.shape[0]), real)
    for i in range(len(transpose)):
        for j in range(len(weight)):
            transpose[i, j] = weight[j, i]
    return transpose


def copy_columns(x: Matrix, y: Matrix) -> None:
    """Copy the columns that both have."""
    for r in range(len(x)):
        for j in range(min(x.shape[1], y.shape[1])):
            y[r, j] = x[r, j]
