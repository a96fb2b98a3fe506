"""Tables of results."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines in which the columns of some rows stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shown(value: object) -> str:
    """Return a setting in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else getattr(value, "__name__", None) or repr(value)
