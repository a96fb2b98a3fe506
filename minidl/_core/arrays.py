"""The array type, and checks of arrays and numbers that users pass."""

from __future__ import annotations

import os
from functools import lru_cache
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError, DataError, DTypeError, ShapeError

Array: TypeAlias = npt.NDArray[np.floating[Any]]
"""The data of a network: a floating array, ``(batch, features)`` between layers."""

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))

LARGEST = float(np.finfo(FLOATS[0]).max)

TEXTS = "; write classes as np.unique(y, return_inverse=True)[1], and a column of categories as codes 0, 1, 2, …"
"""What to do about text in place of numbers."""


@lru_cache(maxsize=16)
def ones(count: int, dtype: np.dtype[Any]) -> Array:
    """Return a vector of ones: a product with it sums rows in a half to a third of the time of NumPy's own sum."""
    vector = np.ones(count, dtype)
    vector.flags.writeable = False
    return vector


PART = 1 << 12
"""Numbers in a part of a long vector."""

MANY = 128
"""Rows from which a sum of float32 rows is computed in float64, because its error grows with the rows."""


def sum_of_rows(x: Array) -> Array:
    """Add up the rows of ``x``, many of them in float64; the sum has the dtype of ``x``."""
    if len(x) > MANY and x.dtype == np.float32:
        wide: Array = ones(len(x), FLOATS[0]).dot(x)
        return wide.astype(np.float32)
    total: Array = ones(len(x), x.dtype).dot(x)
    return total


def sum_of_squares(x: Array) -> float:
    """Add up x² over all numbers, by parts: the error of a product in float32 grows with the length of its vectors."""
    flat = x.reshape(-1)
    parts = [flat[begin : begin + PART] for begin in range(0, flat.size, PART)]
    return sum([float(np.dot(part, part)) for part in parts])


def features(
    x: npt.ArrayLike, where: object, width: int | None, dtype: np.dtype[Any] | None, any_rank: bool = False
) -> Array:
    """Return ``x`` as a floating array of shape ``(batch, width)``, or raise an error that says why not.

    An array that already fits is returned as it is; integers, booleans and other floats are cast to ``dtype``.

    Args:
        x: Anything that NumPy can make an array of.
        where: The layer, for the error.
        width: Numbers of a row; None for any.
        dtype: float32 or float64; None for the array's own if it is one of these, else float64.
        any_rank: Whether a row may have several dimensions; ``width`` then counts all its numbers.

    Raises:
        ShapeError: another shape.
        DTypeError: no real numbers, or a sparse matrix.
        DataError: a masked array with masked entries.
    """
    if (
        type(x) is np.ndarray
        and x.ndim == 2
        and (x.dtype == dtype or (dtype is None and x.dtype in FLOATS))
        and (width is None or x.shape[1] == width)
    ):
        return x
    values = floating(x, "x" if where == "x" else f"{where}: x", dtype)
    fits = values.ndim == 2 or (any_rank and values.ndim > 2)
    if not fits or width not in (None, int(np.prod(values.shape[1:]))):
        raise width_error(where, width, values)
    return values


def width_error(where: object, width: int | None, x: npt.NDArray[Any]) -> ShapeError:
    """Make the error for an ``x`` that is not ``(batch, width)``."""
    wanted = "features" if width is None else width
    message = f"{where}: expected x of shape (batch, {wanted}), got {x.shape}"
    if x.ndim == 1 and width in (None, 1):
        message += "; for one feature a row use x[:, None]"
    elif x.ndim == 1 and x.shape[0] == width:
        message += "; for a single row use x[None, :]"
    elif x.ndim > 2:
        message += "; flatten each row first: x.reshape(len(x), -1)"
    return ShapeError(message)


def floating(x: npt.ArrayLike, where: str, dtype: np.dtype[Any] | None = None) -> Array:
    """Return ``x`` as an array of ``dtype`` (None: its own float32 or float64, else float64).

    Raises:
        DTypeError: for complex numbers, objects, strings, dates and sparse matrices.
        DataError: for a masked array with masked entries.
    """
    values = dense(x, where)
    if values.dtype.kind == "O":
        wrong = [entry for entry in values.flat if not isinstance(entry, (int, float, np.number))]
        found = f" holding {wrong[0]!r}" if wrong else "; cast it: x.astype(float)"
        found += TEXTS if wrong and isinstance(wrong[0], str) else ""
        raise DTypeError(f"{where}: expected real numbers, got dtype object{found}")
    if values.dtype.kind not in "fiub":
        found = TEXTS if values.dtype.kind in "US" else ""
        raise DTypeError(f"{where}: expected real numbers, got dtype {values.dtype}{found}")
    if dtype is None:
        dtype = values.dtype if values.dtype in FLOATS else FLOATS[0]
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        cast: Array = values.astype(dtype)
    return cast


def dense(x: npt.ArrayLike, where: str) -> npt.NDArray[Any]:
    """Return ``x`` as an array of any dtype.

    Raises:
        DTypeError: for sparse matrices.
        DataError: for a masked array with masked entries.
        ShapeError: for rows of different lengths.
    """
    if type(x) is np.ndarray:
        return x
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise DTypeError(f"{where}: expected a dense array, got a sparse {type(x).__name__}; use .toarray()")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise DataError(f"{where}: expected complete data, got a masked array; fill or drop the masked entries")
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"{where}: expected rows of equal length ({error})") from None


def finite(values: npt.NDArray[Any], where: str) -> None:
    """Refuse NaN and infinity, naming the first row that holds one."""
    if values.dtype.kind == "f" and not all_finite(values):
        bad = np.argwhere(~np.isfinite(values))
        at = tuple(int(i) for i in bad[0])
        raise DataError(
            f"{where}: expected finite numbers, got {values[at]} at index {at} "
            f"({len(bad)} in all); drop or fill those rows"
        )


def all_finite(values: npt.NDArray[Any]) -> bool:
    """Whether every number is finite; a finite sum shows it at once, an infinite one may only be too large.

    BLAS adds up squares in a third of the time of NumPy's sum, and in several threads.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.vdot(values, values) if values.flags.c_contiguous else np.add.reduce(values, axis=None)
        return isfinite(total) or bool(np.isfinite(values).all())


def check_weights(
    sample_weight: npt.ArrayLike, rows: int, dtype: npt.DTypeLike, where: str = "sample_weight", *, zeros: bool = True
) -> Array:
    """Return per-sample weights as a ``(rows,)`` array; refuse another shape, and negative or infinite ones.

    All of them may be 0 with ``zeros``, in one batch of several; else no row would count.
    """
    values = floating(sample_weight, where, np.dtype(dtype))
    if values.shape != (rows,):
        raise ShapeError(f"{where}: expected shape ({rows},), one for each row, got {values.shape}")
    if not (values.min() >= 0 and np.isfinite(values).all()):
        raise DataError(f"{where}: expected finite numbers of at least 0, got {values.min()} to {values.max()}")
    if not (zeros or values.any()):
        raise DataError(f"{where}: expected a weight above 0, got zeros for all {rows} rows; leave it out, and all "
                        "rows count the same")
    return values


def listed(values: Any, where: str, wanted: str) -> list[Any]:
    """Return what can be iterated as a list; refuse anything else."""
    if not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        raise DTypeError(f"{where}: expected a list of {wanted}, got {values!r}")
    return list(values)


def path_text(path: object) -> str:
    """Return a path as text; refuse anything else."""
    if not isinstance(path, (str, os.PathLike)):
        raise DTypeError(f"path: expected the path of a file such as 'model.safetensors', got {path!r}")
    return str(os.fspath(path))


def path_ending(path: object, endings: tuple[str, ...], where: str) -> str:
    """Return the ending of a path; refuse another than these."""
    ending = os.path.splitext(path_text(path))[1]
    if ending not in endings:
        raise ArgumentError(f"{where}: expected a name that ends in {' or '.join(endings)}, got {path!r}")
    return ending


def flag(value: object, where: str) -> bool:
    """Return True or False; refuse anything else, such as the word "no", which Python counts as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise DTypeError(f"{where}: expected True or False, got {value!r}")
    return bool(value)


def one_of(value: object, options: tuple[str | None, ...], where: str) -> None:
    """Refuse what is none of some words, or None where that is among them."""
    if not isinstance(value, (str, type(None))) or value not in options:
        *first, last = [f'"{option}"' if option else "None" for option in options]
        raise ArgumentError(f"{where}: expected {', '.join(first)} or {last}, got {value!r}")


def positive_int(value: object, where: str) -> int:
    """Return ``value`` as an int of at least 1; refuse anything else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise DTypeError(f"{where}: expected a whole number of at least 1, got {value!r}")
    if value < 1:
        raise ArgumentError(f"{where}: expected at least 1, got {value}")
    return int(value)


def real(
    value: object,
    where: str,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return ``value`` as a finite float within the bounds; ``above`` and ``below`` exclude the bound itself."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise DTypeError(f"{where}: expected a number, got {value!r}")
    bounds = {
        f"above {above}": above is None or value > above,
        f"at least {least}": least is None or value >= least,
        f"below {below}": below is None or value < below,
        f"at most {most}": most is None or value <= most,
    }
    usable = abs(value) <= LARGEST if isinstance(value, int) else isfinite(value)  # Python's integers have no limit.
    if not (usable and all(bounds.values())):
        wanted = " and ".join(["a finite number", *(text for text in bounds if "None" not in text)])
        raise ArgumentError(f"{where}: expected {wanted}, got {value}")
    return float(value)
