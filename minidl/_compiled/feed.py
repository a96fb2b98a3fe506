"""The arguments of a program at each call: rows of the data, and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .kernels.language import Argument

NO_ORDER: npt.NDArray[np.intp] = np.empty(0, np.intp)
"""Means: in the order of the data."""


class Data:
    """The rows of the caller, contiguous and read-only.

    Args:
        arrays: (x, y) or (x, y, sample_weight), in any layout.

    Attributes:
        in_place: Whether the program reads rows from these arrays; otherwise they are copied before each call.
    """

    def __init__(self, arrays: tuple[npt.NDArray[Any], ...]) -> None:
        self.in_place = all(a.flags.c_contiguous and a.flags.aligned for a in arrays)
        self._arrays = tuple(read_only(array) for array in arrays)

    def rows(self, begin: int, count: int, order: npt.NDArray[np.intp] | None) -> tuple[Any, ...]:
        """Return x, y, sample_weight, the order, and the first position in the order, for ``count`` rows."""
        arrays = self._arrays
        if not self.in_place:
            place = slice(begin, begin + count)
            chosen = place if order is None else order[place]
            arrays = tuple(read_only(np.ascontiguousarray(a[chosen])) for a in arrays)
            order, begin = None, 0
        sample_weight = arrays[2] if len(arrays) == 3 else read_only(np.empty(0, arrays[0].dtype))
        return arrays[0], arrays[1], sample_weight, NO_ORDER if order is None else order, begin


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view, so that the compiler sees one type; labels of another integer type are copied."""
    view = (array if array.dtype.kind == "f" else array.astype(np.intp, copy=False)).view(np.ndarray)
    view.flags.writeable = False
    return view


def draw(
    uniform: dict[str, Argument], count: int, rows: int, widths: list[int], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Draw the random numbers of ``count`` batches: for each argument ``(count, rows · width)``.

    The NumPy path draws the same numbers in the same order: in each batch, layers that share a generator draw one after
    the other.
    """
    drawn: dict[str, Array] = {}
    for generator in {id(argument.value): argument.value for argument in uniform.values()}.values():
        sizes = {name: rows * widths[a.place] for name, a in uniform.items() if a.value is generator}
        numbers = generator.random((count, sum(sizes.values())), dtype=dtype.type)
        parts = np.split(numbers, np.cumsum([*sizes.values()])[:-1], axis=1)
        drawn |= {name: np.ascontiguousarray(part) for name, part in zip(sizes, parts, strict=True)}
    return drawn
