"""A Matplotlib figure that a notebook shows. Importing this module imports Matplotlib."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that a notebook shows, whether or not ``%matplotlib inline`` was run."""

    def _repr_png_(self) -> bytes:
        with BytesIO() as file:
            self.savefig(file, format="png", dpi=100)
            return file.getvalue()
