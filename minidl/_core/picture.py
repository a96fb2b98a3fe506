"""Matplotlib figures in one style."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .arrays import path_text

STYLE = "minidl.style"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The colours of the style, for classes; the first classes differ in brightness too."""

MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


@contextmanager
def picture(where: str, width: float, height: float, path: str | PathLike[str] | None) -> Iterator[Any]:
    """Give an empty figure, in inches, to draw in the style of minidl; then write it to a file, if there is a path.

    ``where`` names the caller in an error.

    Raises:
        ImportError: Matplotlib is not installed.
        DTypeError, ArgumentError: the path is none, its folder does not exist, or Matplotlib cannot write such a file.
    """
    try:
        from matplotlib import style

        from .figure import Picture
    except ImportError as error:
        raise ImportError(f'{where} needs Matplotlib: pip install "minidl[plot]" ({error})') from None
    with style.context(STYLE):
        figure = Picture(figsize=(width, height))
        if path is not None:
            file, endings = Path(path_text(path)), figure.canvas.get_supported_filetypes()
            if not file.parent.is_dir() or file.suffix[1:] not in {"", *endings}:
                raise ArgumentError(f"{where}(path): expected a file in a folder that exists, with the ending .png, "
                                    f".pdf or .svg, got {str(file)!r}")
        yield figure
        if path is not None:
            figure.savefig(path)
