"""The special functions of activations and losses: exact in the tails, silent, fast at every size.

Each takes float32, float64, and complex for differentiation by complex step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .arrays import Array, ones
from .threads import BLOCK, in_blocks

SMALL = 256
"""Up to this many numbers SciPy's scalar loops are faster than several calls of NumPy."""


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
    return np.where(positive, x, 0.0) + np.log1p(np.exp(np.where(positive, -x, x)))


def softmax(x: Array) -> Array:
    """Compute eˣʲ / Σₖ eˣᵏ of each row; NaN where a logit is +∞ or all are −∞, which leaves no limit."""
    _, y, others = softmax_parts(x)
    y /= 1.0 + others[:, None]
    return y.astype(x.dtype, copy=False)


def softmax_parts(x: Array) -> tuple[Array, Array, Array]:
    """Return x − m, eˣ⁻ᵐ, and Σ eˣᵏ⁻ᵐ over all but the largest, with m the largest of each row, in float64.

    The softmax is eˣ⁻ᵐ / (1 + Σ), its logarithm (x − m) − log(1 + Σ): exact even where one class is almost certain.
    The subtraction rounds, and for a small exponential that error is hundreds of units in the last place. Float32
    numbers are therefore subtracted in float64. For float64 numbers the rounding error is computed, and the exponential
    is multiplied by its effect.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        wide = x.astype(np.float64) if x.dtype == np.float32 else x
        top = np.arange(len(x)), x.real.argmax(axis=1)
        largest = wide[top][:, None]
        difference: Array = wide - largest
        exponential: Array = np.exp(difference)
        if wide is x:
            back = difference + largest
            rest = (x - back) + ((back - difference) - largest)
            np.add(exponential, exponential * rest, out=exponential, where=exponential.real > 0.0)
        sure = exponential[top]
        exponential[top] = 0.0
        others: Array = exponential.dot(ones(x.shape[1], exponential.dtype))
        others += sure - 1.0  # 0, or NaN where there is no limit
        exponential[top] = sure
    return difference, exponential, others


def normal_distribution(x: Array) -> Array:
    """Compute Φ(x), the probability that a standard normal number is below x."""
    if x.dtype.kind != "f" or x.size <= BLOCK:
        y: Array = special().ndtr(x) if x.dtype.kind == "f" else 0.5 * special().erfc(-x * 0.5**0.5)
        return y
    y = np.empty(x.shape, x.dtype)
    in_blocks(special().ndtr, (x.reshape(-1), y.reshape(-1)))  # 10 ns a number
    return y
