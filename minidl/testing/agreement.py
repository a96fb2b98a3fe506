"""Comparisons that name what is not the same, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .report import CheckError
from .subject import Inputs, Pass, Subject


def same(wanted: npt.NDArray[Any], found: npt.NDArray[Any], what: str, tolerance: float = 1e-10) -> None:
    """Raise a `CheckError` that names the worst element where two arrays are not the same to rounding."""
    if wanted.shape != found.shape:
        raise CheckError(f"{what}: expected shape {wanted.shape}, got {found.shape}")
    off = np.asarray(np.abs(wanted - found))
    off[np.isnan(off)] = np.inf
    if (off > tolerance * max(float(np.abs(wanted).max(initial=0.0)), 1e-6)).any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
        at = f" at {list(place)}" if place else ""
        raise CheckError(f"{what}: expected {wanted[place]:.6g}{at}, got {found[place]:.6g}")


def same_gradients(wanted: dict[str, Array], found: dict[str, Array], what: str) -> None:
    """Compare the gradients of all parameters."""
    for name, gradient in wanted.items():
        same(gradient, found[name], f"gradient of {name} {what}")


def same_passes(subject: Subject, wanted: Pass, found: Pass, what: str) -> None:
    """Compare the output and all gradients of two passes."""
    same(wanted.output, found.output, f"output of forward {what}")
    gradients = found.named(subject.input_names)
    for name, gradient in wanted.named(subject.input_names).items():
        same(gradient, gradients[name], f"gradient of {name} {what}")


def finite(given: Pass, what: str) -> None:
    """Refuse NaN and infinity in anything that a pass gave."""
    arrays = {"the output": given.output, **{f"the gradient of {name}": g for name, g in given.parameters.items()}}
    arrays |= {f"the gradient of x{place}": dx for place, dx in enumerate(given.inputs)}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckError(f"{name} {what}: expected finite numbers, got NaN or infinity")


def unmodified(subject: Subject, kept: Inputs, xs: Inputs, method: str) -> None:
    """Refuse inputs that are not what they were."""
    for name, then, now in zip(subject.input_names, kept, xs, strict=True):
        if not np.array_equal(then, now):
            raise CheckError(f"{method} wrote into {name}, which is the caller's array; work on a copy")


def shape_of(value: object) -> str:
    """Describe the shape of an array, or the type of what is none."""
    if isinstance(value, np.ndarray):
        return str(value.shape)
    if isinstance(value, tuple):
        return f"({', '.join(shape_of(item) for item in value)})"
    return type(value).__name__
