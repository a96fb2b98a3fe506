"""Helpers of several kernels: operations on all rows of a matrix."""

from __future__ import annotations

from .language import Matrix, Row


def add_to_rows(bias: Row, y: Matrix) -> None:
    """Add b to each row of y."""
    for r in range(len(y)):
        for j in range(len(bias)):
            y[r, j] += bias[j]


def sum_of_rows(x: Matrix, total: Row) -> None:
    """Add up the rows of x."""
    for j in range(len(total)):
        total[j] = 0.0
    for r in range(len(x)):
        for j in range(len(total)):
            total[j] += x[r, j]
