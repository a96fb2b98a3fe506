"""Compute derivatives of any function of an array, one number after the other, as references for gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]


def complex_step(function: Callable[[Numbers], Any], x: Numbers, step: float = 1e-30) -> Numbers:
    """Return ∂f/∂x of a real-valued f, exact to rounding: Im f(x + ih) / h has no difference in it."""
    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        moved = x.astype(np.complex128)
        moved[place] += 1j * step
        gradient[place] = np.imag(function(moved)) / step
    return gradient


def central(function: Callable[[Numbers], Any], x: Numbers, step: float = 1e-6) -> Numbers:
    """Return ∂f/∂x by central differences, good to about 1e-9 of the size of f away from kinks."""
    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.astype(np.float64), x.astype(np.float64)
        up[place] += step
        down[place] -= step
        gradient[place] = (function(up) - function(down)) / (2 * step)
    return gradient


def relative_error(found: Numbers, expected: Numbers) -> float:
    """Return the largest difference, as a part of the largest expected number."""
    return float(np.max(np.abs(found - expected)) / max(float(np.max(np.abs(expected))), 1e-300))
