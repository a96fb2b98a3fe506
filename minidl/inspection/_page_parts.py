"""What the page of a trace shows of a step: equations, matrices, and how a number comes from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ._lines import Line

Form: TypeAlias = Literal["column", "row", "matrix", "transposed"]

TOLERANCE = 1e-4
"""Largest difference of a worked-out number, relative to the largest result; rounding in float32 makes less."""


FEW = 24
"""Rows and columns of a matrix that are compared."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """An array in an equation.

    Attributes:
        symbol: Its name, such as ``"W₁"``.
        array: Its numbers.
        form: ``"column"`` and ``"row"``: the row of the chosen sample; ``"matrix"`` and ``"transposed"``: all of it.
        source: The part that made it, if that is not said elsewhere.
    """

    symbol: str
    array: npt.NDArray[Any]
    form: Form = "matrix"
    source: str = ""

    def shown(self) -> npt.NDArray[Any]:
        """Return the numbers in two dimensions, as the page shows them for the first sample."""
        array = self.array[0] if self.form in ("column", "row") else self.array
        column = np.atleast_1d(array).reshape(len(array) if np.ndim(array) > 1 else -1, -1 if np.ndim(array) > 1 else 1)
        return column.T if self.form in ("row", "transposed") else column


@dataclass(frozen=True)
class Work:
    """How a number of the first matrix comes from the others, which are counted from 0: (Σ aₖ bₖ + Σ c t) f.

    Attributes:
        product: The matrices a and b of a matrix product; of one alone the rows are added up.
        terms: Pairs (c, t) of a number and the matrix whose element is added.
        factor: The matrix f.
    """

    product: tuple[int, ...] = ()
    terms: tuple[tuple[float, int], ...] = ()
    factor: int | None = None

    def gives(self, matrices: Sequence[Matrix]) -> bool:
        """Whether it gives the first matrix, to rounding; of a large matrix a corner is compared."""
        whole = [matrix.shown() for matrix in matrices]
        corners = [np.asarray(array[:FEW, :FEW], float) for array in whole]
        elementwise = [place for _, place in self.terms] + ([] if self.factor is None else [self.factor])
        if any(whole[place].shape != whole[0].shape for place in elementwise):
            return False
        value = sum((number * corners[place] for number, place in self.terms), np.zeros_like(corners[0]))
        if self.product:
            a, *b = (whole[place] for place in self.product)
            fits = (a.shape[:1] + b[0].shape[1:] == whole[0].shape and a.shape[1] == len(b[0])) if b else True
            if not fits or len(a) != len(whole[0]):
                return False
            value = value + (a[:FEW] @ b[0][:, :FEW] if b else a[:FEW].sum(axis=1, keepdims=True))
        value = value if self.factor is None else value * corners[self.factor]
        largest = np.abs(corners[0]).max(initial=0.0)
        return value.shape == corners[0].shape and bool((np.abs(value - corners[0]) <= TOLERANCE * largest).all())


@dataclass(frozen=True, eq=False)
class Row:
    """One equation with its numbers: matrices and the signs between them; the first matrix is the result."""

    tokens: Sequence[Matrix | str]
    work: Work | None = None

    @property
    def matrices(self) -> list[Matrix]:
        """The matrices alone."""
        return [token for token in self.tokens if isinstance(token, Matrix)]

    def checked_work(self) -> Work | None:
        """Return how a number of the result is worked out; None where that gives another number."""
        return self.work if self.work is not None and self.work.gives(self.matrices) else None


@dataclass(eq=False)
class Shown:
    """One step of the page.

    Attributes:
        phase: ``"forward"``, ``"loss"``, ``"backward"`` or ``"update"``.
        title: What happens.
        path: The part in the picture.
        equations: Pairs of an equation and its number in the article, which may be empty.
        rows: The numbers.
        lines: The code.
        note: A sentence.
        column: The layer of the article, counted from 1; 0 for none.
        wires: The layer whose weights to the next are used; 0 for none.
        values: What stands in the neurons of the column from now on: a letter and an array.
    """

    phase: str
    title: str
    path: str
    equations: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    lines: Sequence[Line] = ()
    note: str = ""
    column: int = 0
    wires: int = 0
    values: tuple[str, npt.NDArray[Any]] | None = None
