"""Functions of one number that a compiler vectorizes: no call, no branch, no table.

The constants are for float64; in the code for float32, those of `SINGLE` replace them.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from .language import Real

real: Any = np.float64
whole: Any = np.int64
LANES = 8
"""Numbers of a vector of 64 bytes."""
MANTISSA_BITS = 52
BIAS = 1023
LOWEST = -746.0
"""For smaller x, eˣ rounds to zero."""
FAR = -700.0
"""For smaller x, eˣ may be below the smallest number of full precision (the smallest normal number)."""
ROUNDER = 1.5 * 2.0**52
"""The sum x + ROUNDER rounds x to a whole number and stores it in its last bits."""
FAR_SCALE = 2.0**-64
LEAST = 1.0 / float(np.finfo(np.float64).max)
"""The smallest number with a finite reciprocal."""
MOST = 1.0 - 2.0**-53
"""The largest number below 1."""
LN2_HIGH = 0.693145751953125
LN2_LOW = 1.42860682030941723212e-6
"""ln 2 in two parts; a small whole number times the first is exact."""
EVEN_SERIES = tuple(1.0 / factorial(k) for k in range(12, -1, -2))
ODD_SERIES = tuple(1.0 / factorial(k) for k in range(13, -1, -2))
"""The coefficients of the even and the odd powers in eʳ, highest first."""

SINGLE: dict[str, Any] = {
    "real": np.float32,
    "whole": np.int32,
    "LANES": 16,
    "MANTISSA_BITS": 23,
    "BIAS": 127,
    "LOWEST": -104.0,
    "FAR": -80.0,
    "ROUNDER": 1.5 * 2.0**23,
    "FAR_SCALE": 2.0**-64,
    "LEAST": 1.0 / float(np.finfo(np.float32).max),
    "MOST": 1.0 - 2.0**-24,
    "LN2_HIGH": 0.693359375,
    "LN2_LOW": -2.12194440054690583e-4,
    "EVEN_SERIES": tuple(1.0 / factorial(k) for k in range(6, -1, -2)),
    "ODD_SERIES": tuple(1.0 / factorial(k) for k in range(7, -1, -2)),
}
"""The constants above for float32."""


def decay(x: Real) -> Real:
    """Compute eˣ for x ≤ 0 as 2ⁿ eʳ with n = round(x / ln 2), |r| ≤ ½ ln 2, and eʳ from its series."""
    x = LOWEST if x < LOWEST else x
    rounded = real(x * 1.4426950408889634 + ROUNDER)
    n = rounded - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    s, even, odd = r * r, 0.0, 0.0  # Two short sums: each step of a sum waits for the step before it.
    for coefficient in EVEN_SERIES:
        even = even * s + coefficient
    for coefficient in ODD_SERIES:
        odd = odd * s + coefficient
    power = even + odd * r
    # 2ⁿ is made from its bits: the shift moves n from the last bits of `rounded` to the exponent.
    far = x < FAR
    bits = whole((rounded.view(whole) + (BIAS + 64 if far else BIAS)) << MANTISSA_BITS)
    return power * bits.view(real) * (FAR_SCALE if far else 1.0)


def less(x: Real, y: Real) -> Real:
    """Compute x − y and round it; in a kernel the compiler may turn (x − y) − z into x − (y + z)."""
    return x - y


def shrunk(x: Real) -> Real:
    """Compute x / 10²⁰⁰ and round it; in a kernel the compiler may square the 10²⁰⁰, which is too large."""
    return 1e-200 * x


def sigmoid(x: Real) -> Real:
    """Compute 1 / (1 + e⁻ˣ), for x < 0 as eˣ / (1 + eˣ)."""
    e = decay(-abs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


def tanh(x: Real) -> Real:
    """Compute (1 − e^−2|x|) / (1 + e^−2|x|) with the sign of x; near 0 Lambert's fraction x / (1 + x² / (3 + x² / …)).

    The fraction ends after 15; its error is at most 6e-18 for the x that use it.
    """
    e = decay(-2.0 * abs(x))
    far = (1.0 - e) / (1.0 + e)
    s = x * x
    above = ((36.0 * s + 6930.0) * s + 270270.0) * s + 2027025.0
    below = (((s + 630.0) * s + 51975.0) * s + 945945.0) * s + 2027025.0
    return x * (above / below) if abs(x) < 0.625 else (-far if x < 0.0 else far)


def decay_less_one(x: Real) -> Real:
    """Compute eˣ − 1 for x ≤ 0 as tanh(x / 2) (eˣ + 1), which keeps full precision near 0."""
    return tanh(0.5 * x) * (decay(x) + 1.0)
