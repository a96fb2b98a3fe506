"""Helpers of several kernels: operations on all rows of a matrix."""

from __future__ import annotations

import numpy as np

from .language import Matrix, Real, Row, Vector


def add_to_rows(bias: Row, y: Matrix) -> None:
    """Add b to each row of y."""
    for r in range(len(y)):
        for j in range(len(bias)):
            y[r, j] += bias[j]


def sum_of_rows(x: Matrix, total: Row) -> None:
    """Add up the rows of x. More than 128 are added in float64: a sum in float32 has an error that grows with them."""
    if len(x) <= 128:
        for j in range(len(total)):
            total[j] = 0.0
        for r in range(len(x)):
            for j in range(len(total)):
                total[j] += x[r, j]
    else:
        sums = np.zeros(len(total))
        for r in range(len(x)):
            for j in range(len(total)):
                sums[j] += x[r, j]
        for j in range(len(total)):
            total[j] = sums[j]


def sum_of_products(a: Matrix, b: Matrix, total: Row) -> None:
    """Add up the rows of a ∘ b as `sum_of_rows` does."""
    if len(a) <= 128:
        for j in range(len(total)):
            total[j] = 0.0
        for r in range(len(a)):
            for j in range(len(total)):
                total[j] += a[r, j] * b[r, j]
    else:
        sums = np.zeros(len(total))
        for r in range(len(a)):
            for j in range(len(total)):
                sums[j] += a[r, j] * b[r, j]
        for j in range(len(total)):
            total[j] = sums[j]


def add_shares(first: Vector, second: Vector, share: Real, total: Vector) -> None:
    """Compute s a + (1 − s) b, the mean over a batch from the means over its halves."""
    for i in range(len(total)):
        total[i] = share * first[i] + (1.0 - share) * second[i]
