"""The complementary error function, for formats that do not have it."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from .._core.functions import special

SCALE, DEGREE = 3.5, 20
"""The scale s of t = s / (s + z), and the degree of the polynomial: of those tried, the pair with the least error."""


@cache
def erfc_coefficients() -> npt.NDArray[np.float64]:
    """Fit erfc(z) = e^(−z²) t p(2t − 1) for z ≥ 0, with t = s / (s + z); return the coefficients of p, that of 1 first.

    They are computed by interpolation at Chebyshev points. The error is at most 4·10⁻¹⁵ of erfc(z), besides that of
    the exponential.
    """

    def smooth(u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        t = np.maximum(0.5 * (u + 1.0), 1e-300)
        return np.asarray(special().erfcx(SCALE / t - SCALE) / t)

    fitted = np.polynomial.Chebyshev.interpolate(smooth, DEGREE)
    return np.asarray(fitted.convert(kind=np.polynomial.Polynomial).coef, np.float64)
