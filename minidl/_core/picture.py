"""Matplotlib figures."""

from __future__ import annotations

from os import PathLike
from typing import Any


def new_figure(where: str, width: float, height: float) -> Any:
    """Return an empty Matplotlib figure, in inches; ``where`` names the caller in an error.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'{where} needs Matplotlib: pip install "minidl[plot]" ({error})') from None
    return Figure(figsize=(width, height), layout="constrained")


def saved(figure: Any, path: str | PathLike[str] | None) -> Any:
    """Write a figure to a file, if there is a path, and return it."""
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
