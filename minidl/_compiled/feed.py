"""What a program is fed with: rows of the data of the caller, and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array

NO_ORDER: npt.NDArray[np.intp] = np.empty(0, np.intp)
"""Instead of an order, where the rows come as they lie."""


class Data:
    """The rows of the caller, as a program takes them: each array in one run, and not to be written to.

    Args:
        arrays: (x, y) or (x, y, sample_weight), in any layout.

    Attributes:
        in_place: Whether the program can fetch rows from where they lie; else they are copied before each call.
    """

    def __init__(self, arrays: tuple[npt.NDArray[Any], ...]) -> None:
        self.in_place = all(a.flags.c_contiguous and a.flags.aligned for a in arrays)
        self._arrays = tuple(as_seen(array) for array in arrays)

    def rows(self, begin: int, count: int, order: npt.NDArray[np.intp] | None) -> tuple[Any, ...]:
        """Return x, y, sample_weight, order, and where in the order to begin, for ``count`` rows."""
        arrays = self._arrays
        if not self.in_place:
            place = slice(begin, begin + count)
            arrays = tuple(as_seen(np.ascontiguousarray(a[place if order is None else order[place]])) for a in arrays)
            order, begin = None, 0
        sample_weight = arrays[2] if len(arrays) == 3 else as_seen(np.empty(0, arrays[0].dtype))
        return arrays[0], arrays[1], sample_weight, NO_ORDER if order is None else order, begin


def as_seen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view: one type for the compiler, whatever was given; labels of another size are copied."""
    view = (array if array.dtype.kind == "f" else array.astype(np.intp, copy=False)).view(np.ndarray)
    view.flags.writeable = False
    return view


class Draws:
    """The random numbers of the Dropout layers: from each generator what the NumPy path would draw, in its order.

    Layers that share a generator take turns in each batch: a batch is one run of its numbers, cut by layers.

    Args:
        places: Name of the argument, generator, place of the layer in the chain.
    """

    def __init__(self, places: list[tuple[str, np.random.Generator, int]]) -> None:
        self._groups: dict[int, list[tuple[str, np.random.Generator, int]]] = {}
        for place in places:
            self._groups.setdefault(id(place[1]), []).append(place)

    def width(self, widths: list[int]) -> int:
        """Return how many numbers a row takes."""
        return sum(widths[number] for group in self._groups.values() for _, _, number in group)

    def draw(self, count: int, rows: int, widths: list[int], dtype: np.dtype[Any]) -> dict[str, Array]:
        """Map each argument to the numbers of ``count`` batches, ``(count, rows · width)``."""
        drawn: dict[str, Array] = {}
        for group in self._groups.values():
            sizes = [rows * widths[number] for _, _, number in group]
            numbers = group[0][1].random((count, sum(sizes)), dtype=dtype.type)
            parts = np.split(numbers, np.cumsum(sizes)[:-1], axis=1)
            drawn |= {name: np.ascontiguousarray(part) for (name, _, _), part in zip(group, parts, strict=True)}
        return drawn
