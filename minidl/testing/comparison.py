"""The comparison of a gradient with a derivative, and what a wrong one looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .derivatives import Derivative
from .report import TOLERANCES, CheckError, Measurement


def compare(name: str, found: npt.NDArray[Any], wanted: Derivative, rows: int, method: str = "") -> Measurement:
    """Return the relative error of a gradient.

    Args:
        name: Of the array.
        found: Its gradient, as `backward` gave it.
        wanted: What the forward pass says.
        rows: Of the batch; for the hint where the error is a factor of it.
        method: Whose tolerance holds, where it is not that of the derivative.

    Raises:
        CheckError: the error is above the tolerance; naming the worst element.
    """
    method = method or wanted.method
    values = found.ravel()[wanted.places].astype(np.float64)
    if not np.isfinite(values).all():
        place = index_in(found, int(wanted.places[np.argmin(np.isfinite(values))]))
        raise CheckError(f"{name}{place}: expected a finite number, got {found[place]}")
    errors = np.abs(values - wanted.values) / wanted.scale
    worst = int(np.argmax(errors)) if errors.size else 0
    error = float(errors[worst]) if errors.size else 0.0
    if error > TOLERANCES[method]:
        place = index_in(found, int(wanted.places[worst]))
        at = f"{name}{list(place)}" if place else name
        raise CheckError(
            f"gradient of {at}: expected {wanted.values[worst]:.6g}, got {values[worst]:.6g} "
            f"(relative error {error:.2g} by {wanted.method}, at most {TOLERANCES[method]:.0e})"
            + _resemblance(values, wanted, found, rows)
        )
    return Measurement(method, error)


def index_in(array: npt.NDArray[Any], flat: int) -> tuple[int, ...]:
    """Return a flat index as an index of the array."""
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def _resemblance(values: Array, wanted: Derivative, found: npt.NDArray[Any], rows: int) -> str:
    """Say what a wrong gradient looks like: zero, the negative, a multiple, the transpose."""

    def alike(candidate: npt.NDArray[Any]) -> bool:
        return bool(np.all(np.abs(values - candidate) <= 1e-4 * max(float(np.abs(values).max()), 1e-12)))

    expected = wanted.values
    if not values.any():
        return "\nit is zero everywhere: does backward add anything to it?"
    if np.max(np.abs(expected)) < 1e-9 * np.max(np.abs(values)):
        return "\nthe output does not depend on it at all: does forward read the value anew in each call?"
    if alike(-expected):
        return "\nit is right but for its sign"
    if rows > 1 and alike(expected / rows):
        return f"\nit is right but for a factor 1/{rows}, the number of rows: the mean over the batch is the loss's"
    if rows > 1 and alike(expected * rows):
        return f"\nit is right but for a factor {rows}, the number of rows"
    square = found.ndim == 2 and found.shape[0] == found.shape[1] and expected.size == found.size
    if square and alike(expected.reshape(found.shape).T.ravel()):
        return "\nit is the transpose of what is expected"
    if alike(expected):
        return "\nit is right to a few digits: does forward use a constant that backward does not?"
    ratio = float(np.dot(values, expected) / np.dot(expected, expected))
    if expected.size > 1 and alike(ratio * expected):
        return f"\nit is {ratio:.4g} times what is expected, everywhere"
    return ""
