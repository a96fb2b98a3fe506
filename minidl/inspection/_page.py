"""The page of a trace: one HTML file that steps through the computation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from .._drawing.picture import draw
from ..layers._picture import structure
from ._lines import Line, Value
from ._numbers import Numbers
from ._page_article import article_steps, is_article
from ._page_parts import Matrix, Row, Shown
from ._page_steps import shown_step

MOST = 24
"""Rows and columns of the largest matrix whose numbers the page has; of others it has the range and the mean."""

FEW = 24
"""Numbers of the largest array that is written out beside a line of code."""

PHASES = ("forward", "loss", "backward", "update")


def page(trace: Numbers, title: str) -> str:
    """Return the page as text."""
    article = is_article(trace)
    steps = article_steps(trace) if article else (shown_step(trace, one) for one in trace.steps if one.phase != "data")
    arrays = _Arrays()
    with np.errstate(all="ignore"):
        data = {
            "rows": len(trace.prediction), "all": trace.rows, "article": article, "warning": _warning(trace),
            "steps": [_step(one, arrays) for one in steps], "arrays": arrays.found,
        }  # fmt: skip
    plain = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    template = files(__package__).joinpath("page.html").read_text("utf-8")
    values = {"title": escape(title), "picture": draw(structure(trace.model)), "data": plain}
    texts = re.split(r"\{\{(\w+)\}\}", template)  # Text and names in turns.
    return "".join(values[text] if place % 2 else text for place, text in enumerate(texts))


def _warning(trace: Numbers) -> str:
    bad = trace.first_not_finite()
    return "" if bad is None else f"The first number that is not finite is made here: {bad.phase}, {bad.name}."


class _Arrays:
    """The arrays of a page, each of them once, as [shape], [shape, numbers] or [shape, null, least, mean, largest]."""

    def __init__(self) -> None:
        self.found: list[list[Any]] = []
        self.places: dict[Any, int] = {}

    def add(self, array: npt.NDArray[Any], shape: tuple[int, ...] | None = None) -> int:
        """Return the place of an array; ``shape`` is that of the array of which only a corner is there."""
        large = array.size > MOST**2  # Comparing its bytes would take longer than writing it twice.
        key = (array.shape, array.dtype, id(array) if large else array.tobytes(), shape)
        if key not in self.places:
            self.places[key] = len(self.found)
            self.found.append(_plain(array, shape or array.shape))
        return self.places[key]


def _plain(array: npt.NDArray[Any], shape: tuple[int, ...]) -> list[Any]:
    if shape == array.shape and array.ndim <= 2 and max(shape, default=1) <= MOST:
        return [shape, [_number(value) for value in array.ravel().tolist()]]
    if shape == array.shape and array.size:
        return [shape, None, *map(_number, (array.min(), array.mean(), array.max()))]
    return [shape]


def _number(value: float) -> float | str:
    """Round a number to the four digits that are shown; NaN and infinities become texts, because JSON has none."""
    short = value if value % 1 == 0 and abs(value) < 1e6 else float(f"{value:.4g}")
    return short if isfinite(short) else float(value) if isfinite(value) else str(float(value))


def _step(step: Shown, arrays: _Arrays) -> dict[str, Any]:
    """Return a step in plain values; empty ones are left out."""
    values = step.values and (step.values[0], arrays.add(step.values[1]))
    found = {
        "phase": step.phase, "number": step.number, "title": step.title, "path": step.path, "note": step.note,
        "equations": step.equations, "column": step.column, "wires": step.wires, "values": values,
        "rows": [_row(row, arrays) for row in step.rows],
        "code": [_line(line, arrays) for line in step.lines],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _row(row: Row, arrays: _Arrays) -> dict[str, Any]:
    tokens = [token if isinstance(token, str) else _matrix(token, arrays) for token in row.tokens]
    work = row.checked_work()
    if work is None or any(max(matrix.shown().shape) > MOST for matrix in row.matrices):
        return {"tokens": tokens}
    terms = [(_number(share), place) for share, place in work.terms]
    return {"tokens": tokens, "work": work.formula or [work.product, terms, work.factor]}


def _matrix(matrix: Matrix, arrays: _Arrays) -> list[Any]:
    found = [matrix.symbol, arrays.add(matrix.array), matrix.form]
    return [*found, matrix.source] if matrix.source else found


def _line(line: Line, arrays: _Arrays) -> list[Any]:
    return [line.function, line.text, _values(line.read, arrays), _values(line.made, arrays)]


def _values(values: Mapping[str, Value], arrays: _Arrays) -> list[list[Any]]:
    found = []
    for name, value in values.items():
        whole = value.numbers.size <= FEW and value.numbers.shape == value.shape
        found.append([name, arrays.add(value.numbers if whole else np.zeros(0), value.shape)])
    return found
