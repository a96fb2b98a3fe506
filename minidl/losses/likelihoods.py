"""Losses that are the negative log-likelihood of a count or a number; terms without a parameter are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array
from ..errors import DataError, ShapeError
from .loss import Loss, OtherWidth


class PoissonLoss(Loss):
    """Learn the logarithm of a rate from counts, which follow a Poisson distribution.

    Forward:
        e = mean(exp(a) − y ∘ a)
    Backward:
        ∂e/∂a = (exp(a) − y) / (N m)

    The rate is ``np.exp(model.predict(x))``; metrics see the rate. y is a count, or any number of at least 0. For
    counts over different times, y is the count divided by the time, and the time is the sample_weight.

    Example:
        >>> log_rate, counts = np.log([[2.0], [5.0]]), np.array([[3.0], [5.0]])
        >>> round(PoissonLoss()(log_rate, counts), 4)
        -1.5633
    """

    @override
    def check_data(self, target: npt.ArrayLike, width: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        values = super().check_data(target, width, dtype)
        if values.size and values.min() < 0:
            row = int(np.argmax((values < 0).any(axis=1)))
            raise DataError(f"{self!r}: expected targets of at least 0, got {values[row]} at row {row}")
        return values

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._rate, self._target = np.exp(prediction), target
        # A log rate of −∞ with a count of 0 adds 0, not 0 · ∞.
        logarithm = np.multiply(target, prediction, out=np.zeros_like(prediction), where=target != 0.0)
        rows: Array = np.add.reduce(self._rate - logarithm, axis=1) / prediction.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = (self._rate - self._target) / self._rate.shape[1]
        return gradient


class GaussianNLL(OtherWidth):
    """Learn mean and spread of a normal distribution: for m columns of y, the model has 2 m outputs.

    Forward:
        z = (μ − y) / exp(s)
        e = mean(s + ½ z²)
    Backward:
        ∂e/∂μ = z / (exp(s) N m)
        ∂e/∂s = (1 − z²) / (N m)

    The first half of the outputs is the mean μ, and the second half is s, the logarithm of the standard deviation:
    ``mean, log_spread = np.split(model.predict(x), 2, axis=1)``.

    Source: Nix and Weigend 1994.
    """

    _target_is = "half as wide as the prediction"

    @override
    def target_features(self, outputs: int) -> int:
        if outputs % 2:
            raise ShapeError(f"{self!r}: expected two outputs for each column of the target, a mean and the logarithm "
                             f"of a spread, got {outputs}")
        return outputs // 2

    @override
    def _advice(self, target: npt.NDArray[Any]) -> str:
        return f"; for this target the model needs {2 * target.shape[1]} outputs" if target.ndim == 2 else ""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        mean, log_spread = np.split(prediction, 2, axis=1)
        self._spread = np.exp(log_spread)
        self._z = z = (mean - target) / self._spread
        rows: Array = np.add.reduce(log_spread + 0.5 * z * z, axis=1) / z.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        z = self._z
        gradient: Array = np.concatenate([z / self._spread, 1.0 - z * z], axis=1) / z.shape[1]
        return gradient
