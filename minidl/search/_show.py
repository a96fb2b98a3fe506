"""Tables and pictures of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines in which the columns of some rows stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shown(value: object) -> str:
    """Return a setting in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else getattr(value, "__name__", None) or repr(value)


def new_figure(where: str) -> tuple[Any, Any]:
    """Return an empty Matplotlib figure and its axes.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'{where} needs Matplotlib: pip install "minidl[plot]" ({error})') from None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    return figure, figure.subplots()
