"""What the page of a trace shows of a step: equations, matrices, and how a number comes from the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ._lines import Line

Form: TypeAlias = Literal["column", "row", "matrix", "transposed"]

ROUNDING = 100.0
"""Largest error of a worked-out number, in units of the rounding of what is added up."""

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
        formula: In place of the others: a text into which numbers are put, ``{1}`` that of matrix 1.
    """

    product: tuple[int, ...] = ()
    terms: tuple[tuple[float, int], ...] = ()
    factor: int | None = None
    formula: str = ""

    def gives(self, matrices: Sequence[Matrix]) -> bool:
        """Whether it gives the first matrix, to rounding; of a large matrix a corner is compared."""
        whole = [matrix.shown() for matrix in matrices]
        result = whole[0]
        if not (self.product or self.terms):
            places = re.findall(r"\{(\d)\}", self.formula)
            return self.formula != "" and all(whole[int(place)].shape == result.shape for place in places)
        elementwise = [place for _, place in self.terms] + ([] if self.factor is None else [self.factor])
        if result.dtype.kind != "f" or any(whole[place].shape != result.shape for place in elementwise):
            return False
        if self.product:
            a, *b = (whole[place] for place in self.product)
            if (b and a.shape[1] != len(b[0])) or result.shape != (len(a), b[0].shape[1] if b else 1):
                return False
        error = np.abs(self._corner(whole) - result[:FEW, :FEW])
        positive = replace(self, terms=tuple((abs(number), place) for number, place in self.terms))
        largest = ROUNDING * np.finfo(result.dtype).eps * positive._corner([np.abs(array) for array in whole])
        return bool((error <= largest).all())

    def _corner(self, arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Compute the first rows and columns of the result."""
        value = np.zeros(arrays[0][:FEW, :FEW].shape)
        if self.product:
            a, *b = (arrays[place].astype(float) for place in self.product)
            value += a[:FEW] @ b[0][:, :FEW] if b else a[:FEW].sum(axis=1, keepdims=True)
        for number, place in self.terms:
            value += number * arrays[place][:FEW, :FEW]
        return value if self.factor is None else value * arrays[self.factor][:FEW, :FEW]


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
        number: The place of the step in ``trace.steps``.
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
    number: int
    equations: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    lines: Sequence[Line] = ()
    note: str = ""
    column: int = 0
    wires: int = 0
    values: tuple[str, npt.NDArray[Any]] | None = None
