"""Helpers of several kernels: operations on all rows of a matrix."""

from __future__ import annotations

import numpy as np

from .language import Matrix, Row


def add_to_rows(bias: Row, y: Matrix) -> None:
    """Add b to each row of y."""
    for r in range(len(y)):
        for j in range(len(bias)):
            y[r, j] += bias[j]


def sum_of_rows(x: Matrix, total: Row) -> None:
    """Add up the rows of x, in float64: in float32 the error grows with the rows."""
    sums = np.zeros(len(total))
    for r in range(len(x)):
        for j in range(len(total)):
            sums[j] += x[r, j]
    for j in range(len(total)):
        total[j] = sums[j]


def sum_of_products(a: Matrix, b: Matrix, total: Row) -> None:
    """Add up the rows of a ∘ b, in float64."""
    sums = np.zeros(len(total))
    for r in range(len(a)):
        for j in range(len(total)):
            sums[j] += a[r, j] * b[r, j]
    for j in range(len(total)):
        total[j] = sums[j]
