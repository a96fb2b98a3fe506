"""The arguments of a program at each call: rows of the data, and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .kernels.language import Argument


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

    def rows(self, begin: int, end: int, orders: npt.NDArray[np.intp]) -> tuple[Any, ...]:
        """Return x, y, sample_weight, the orders, and the position of the first row in the first order.

        Args:
            begin: Position of the first row that the program will use.
            end: Position after the last one, if it is in the same epoch.
            orders: The row numbers in the order of training, ``(epochs, n)``, or ``(epochs, 0)``.
        """
        arrays = self._arrays
        if not self.in_place:
            chosen = orders[0][begin:end] if orders.size else slice(begin, end)
            arrays = tuple(read_only(np.ascontiguousarray(a[chosen])) for a in arrays)
            orders, begin = orders[:1, :0], 0
        sample_weight = arrays[2] if len(arrays) == 3 else read_only(np.empty(0, arrays[0].dtype))
        return arrays[0], arrays[1], sample_weight, orders, begin


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view, so that the compiler sees one type; labels of another integer type are copied."""
    view = (array if array.dtype.kind == "f" else array.astype(np.intp, copy=False)).view(np.ndarray)
    view.flags.writeable = False
    return view


def draw(
    uniform: dict[str, Argument], count: int, size: int, last: int, widths: list[int], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Draw the random numbers of ``count`` batches of ``size`` rows, the last of ``last`` rows.

    The NumPy path draws the same numbers in the same order: in each batch, layers that share a generator draw one after
    the other.

    Returns:
        For each argument the numbers of each batch, ``(count, max(size, last) · width)``.
    """
    drawn: dict[str, Array] = {}
    for generator in {id(argument.value): argument.value for argument in uniform.values()}.values():
        own = {name: widths[a.place] for name, a in uniform.items() if a.value is generator}
        drawn |= {name: np.empty((count, max(size, last) * width), dtype) for name, width in own.items()}
        for batches, rows in ((slice(count - 1), size), (slice(count - 1, count), last)):
            numbers = generator.random((len(range(count)[batches]), rows * sum(own.values())), dtype=dtype.type)
            begin = 0
            for name, width in own.items():
                drawn[name][batches, : rows * width] = numbers[:, begin : begin + rows * width]
                begin += rows * width
    return drawn
