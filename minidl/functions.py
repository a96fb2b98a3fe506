"""The special functions of activations and losses: exact in the tails, silent, fast at every size.

Each takes float32, float64, and complex for differentiation by complex step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .arrays import Array

SMALL = 256
"""Up to this many numbers SciPy's scalar loops are quicker than NumPy's vector units and their calls."""


@cache
def special() -> Any:
    """Import ``scipy.special`` at first use; it costs more than NumPy itself."""
    import scipy.special

    return scipy.special


def sigmoid(x: Array) -> Array:
    """Compute σ(x) = 1 / (1 + e⁻ˣ)."""
    if x.size <= SMALL and x.dtype.kind == "f":
        small: Array = special().expit(x)
        return small
    with np.errstate(over="ignore"):
        y: Array = np.exp(-x)
    y += 1.0
    np.divide(1.0, y, out=y)
    # Where e⁻ˣ overflows the quotient is 0, but σ(x) = eˣ is still a number.
    tail = -80.0 if x.real.dtype == np.float32 else -700.0
    if x.size and np.minimum.reduce(x.real, axis=None) < tail:
        low = x.real < tail
        y[low] = np.exp(x[low])
    return y


def softplus(x: Array) -> Array:
    """Compute log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)."""
    if x.dtype.kind == "f":
        y: Array = np.log1p(np.exp(-np.abs(x)))
        y += np.maximum(x, 0.0)
        return y
    positive = x.real > 0
    z: Array = np.where(positive, x, 0.0) + np.log1p(np.exp(np.where(positive, -x, x)))
    return z


def softmax(x: Array) -> Array:
    """Compute eˣⱼ / Σₖ eˣₖ of each row."""
    y: Array = np.exp(_below_maximum(x))
    y /= np.add.reduce(y, axis=1, keepdims=True)
    return y


def log_softmax(x: Array) -> Array:
    """Compute xⱼ − log Σₖ eˣₖ of each row."""
    y = _below_maximum(x)
    y -= np.log(np.add.reduce(np.exp(y), axis=1, keepdims=True))
    return y


def _below_maximum(x: Array) -> Array:
    """Return ``x`` less the maximum of its row, so that no exponential overflows.

    A row with +∞ in it, or of −∞ alone, becomes NaN: it has no softmax.
    """
    highest = np.maximum.reduce(x.real, axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        y: Array = x - highest
    return y


def normal_distribution(x: Array) -> Array:
    """Compute Φ(x), the probability that a standard normal number is below x."""
    y: Array = special().ndtr(x) if x.dtype.kind == "f" else 0.5 * special().erfc(-x * 0.5**0.5)
    return y
