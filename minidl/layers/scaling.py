"""Scale inputs and targets by numbers that are measured once, from the data, and not learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, check_weights, dense, finite, floating, positive_int, width_error
from .._core.parameter import Buffer, float_dtype
from ..errors import ArgumentError, DataError
from .activations import KeepsWidth
from .base import kept, refuse_gradient

PIECE = 1 << 20
"""Numbers of a piece of the data. The data is measured piece by piece, so that it may be larger than the memory."""


ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""A deviation up to this share of the mean is the rounding error of a constant."""


class Measured(Buffer):
    """Hold numbers that come from the data: `initialize` leaves them as they are."""

    __slots__ = ()

    @override
    def reset(self) -> None:
        """Keep the numbers."""


class _Scaling(KeepsWidth, ABC):
    """Base of layers with two measured numbers for each feature."""

    _text = "{0.features}"
    _shape: tuple[int, ...] = kept()

    def __init__(self, features: int, *, dtype: npt.DTypeLike = np.float64) -> None:
        name = type(self).__name__
        self.features: int = positive_int(features, f"{name}(features)")
        self.in_features: int = self.features
        kind = float_dtype(dtype, f"{name}(dtype)")
        try:
            self._keep(np.zeros(self.features, kind), np.ones(self.features, kind))
        except ValueError:
            raise ArgumentError(f"{name}(features): expected a width that an array can have, got {features}") from None

    @classmethod
    def of(cls, data: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Make the layer for some data, from the mean and the standard deviation of each column.

        The deviation is that of the data itself: √(Σ wᵢ (xᵢ − μ)² / Σ wᵢ), with wᵢ = 1 by default. A column that is
        constant, to rounding, gets the deviation 1. The data is read piece by piece, so it may be a memory-mapped file
        larger than the memory.

        Args:
            data: ``(rows, features)``, or ``(rows,)`` for one feature.
            sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``.

        Raises:
            ShapeError: data of another shape.
            DataError: no rows, NaN or infinity, numbers with infinite squares (above about 1e150), or wrong weights.
        """
        mean, deviation = mean_and_deviation(data, sample_weight, f"{cls.__name__}.of")
        layer = cls(len(mean))
        layer._keep(mean, deviation)
        return layer

    @abstractmethod
    def _keep(self, mean: Array, deviation: Array) -> None:
        """Keep the numbers as buffers."""

    @abstractmethod
    def _scaled(self, x: Array) -> Array:
        """Compute y."""

    @abstractmethod
    def _slope(self, grad: Array) -> Array:
        """Compute ∂e/∂x."""

    def compute(self, x: Array) -> Array:
        """Compute y, in the dtype of x."""
        if x.shape[1:] != (self.features,):
            raise width_error(self, self.features, x)
        return _like(x, self._scaled(x))

    @override
    def forward(self, x: Array) -> Array:
        y = self.compute(x)
        self._shape = x.shape
        return y

    @override
    def backward(self, grad: Array) -> Array:
        if grad.shape != self._shape:
            refuse_gradient(self, grad, self._shape)
        return _like(grad, self._slope(grad))

    def add_gradients(self, grad: Array) -> None:
        """Do nothing: nothing is learned here."""


class Standardize(_Scaling):
    """Shift and scale each feature to mean 0 and deviation 1 of the training data; `Standardize.of(x)` measures them.

    Forward:
        y = (x − μ) / s
    Backward:
        ∂e/∂x = ∂e/∂y / s

    It is the first layer of a model, so that the model takes the data in its own units, and one file holds all.

    Args:
        features: Width of the input.
        dtype: float64 or float32.

    Attributes:
        mean: μ, a buffer; 0 until it is measured.
        deviation: s, a buffer; 1 until it is measured.

    Example:
        >>> layer = Standardize.of([[1.0, 500.0], [3.0, 500.0]])
        >>> layer.predict(np.array([[5.0, 501.0]]))
        array([[3., 1.]])
    """

    _shapes: ClassVar = dict.fromkeys(("mean", "deviation"), ("features",))

    @property
    @override
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its numbers."""
        found: np.dtype[Any] = self.mean.value.dtype
        return found

    @override
    def _keep(self, mean: Array, deviation: Array) -> None:
        self.mean: Buffer = Measured(mean)
        self.deviation: Buffer = Measured(deviation)

    @override
    def _scaled(self, x: Array) -> Array:
        y: Array = x - self.mean.value
        y /= self.deviation.value
        return y

    @override
    def _slope(self, grad: Array) -> Array:
        dx: Array = grad / self.deviation.value
        return dx


class Rescale(_Scaling):
    """Bring outputs to the scale of the targets; `Rescale.of(y)` measures it.

    Forward:
        y = x ∘ s + μ
    Backward:
        ∂e/∂x = ∂e/∂y ∘ s

    A network learns targets of about 1 best. So train the model on ``rescale.inverse(y)``, and then use
    ``Sequential(model, rescale)``, which predicts in the units of y.

    Args:
        features: Width of the input.
        dtype: float64 or float32.

    Attributes:
        scale: s, a buffer; 1 until it is measured.
        shift: μ, a buffer; 0 until it is measured.

    Example:
        >>> rescale = Rescale.of([10.0, 30.0])
        >>> rescale.inverse([10.0, 30.0])
        array([-1.,  1.])
        >>> rescale.predict(np.array([[-1.0], [1.0]]))
        array([[10.],
               [30.]])
    """

    _shapes: ClassVar = dict.fromkeys(("scale", "shift"), ("features",))

    @property
    @override
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its numbers."""
        found: np.dtype[Any] = self.scale.value.dtype
        return found

    def inverse(self, y: npt.ArrayLike) -> Array:
        """Return (y − μ) / s: the targets on which to train.

        Args:
            y: ``(rows, features)``, or ``(rows,)`` for one feature.

        Returns:
            An array of the shape of ``y``.

        Raises:
            ShapeError: targets of another width.
        """
        targets = floating(y, "Rescale.inverse: y")
        if targets.shape[1:] != (self.features,) and not targets.ndim == self.features == 1:
            raise width_error("Rescale.inverse", self.features, targets)
        return _like(targets, (targets - self.shift.value) / self.scale.value)

    @override
    def _keep(self, mean: Array, deviation: Array) -> None:
        self.scale: Buffer = Measured(deviation)
        self.shift: Buffer = Measured(mean)

    @override
    def _scaled(self, x: Array) -> Array:
        y: Array = x * self.scale.value
        y += self.shift.value
        return y

    @override
    def _slope(self, grad: Array) -> Array:
        dx: Array = grad * self.scale.value
        return dx


def mean_and_deviation(
    data: npt.ArrayLike, sample_weight: npt.ArrayLike | None, where: str
) -> tuple[Array, Array]:
    """Return the mean of each column, and its deviation, which is 1 if the column is constant.

    For each piece the mean and the sum of squares around it are computed, and merged with those of the pieces before
    (Chan et al. 1983). So numbers that are far from 0 lose no digits.
    """
    values = dense(data, where)
    columns = values[:, None] if values.ndim == 1 else values
    if columns.ndim != 2:
        raise width_error(where, None, values)
    rows, width = columns.shape
    if rows == 0:
        raise DataError(f"{where}: expected at least one row, got none")
    weight = None
    if sample_weight is not None:
        weight = check_weights(sample_weight, rows, np.float64, f"{where}: sample_weight", zeros=False)
    size = max(1, PIECE // max(1, width))
    total, mean, squares = 0.0, np.zeros(width), np.zeros(width)
    with np.errstate(over="ignore", invalid="ignore"):
        for begin in range(0, rows, size):
            x = floating(columns[begin : begin + size], where, np.dtype(np.float64))
            w = np.ones(len(x)) if weight is None else weight[begin : begin + size]
            try:
                finite(x, where)
            except DataError as error:
                error.add_note(f"in the rows from {begin} to {begin + len(x)}, counted from {begin} as row 0")
                raise
            own = w.sum()
            if own == 0.0:
                continue
            centre = w.dot(x) / own
            centre += w.dot(x - centre) / own  # Of a constant column it is then exactly the constant.
            squares += w.dot((x - centre) ** 2) + (centre - mean) ** 2 * (total * own / (total + own))
            total += own
            mean += (centre - mean) * (own / total)
    if not np.isfinite(squares).all():
        raise DataError(f"{where}: expected numbers with finite squares, got larger ones; change the unit")
    deviation = np.sqrt(squares / total)
    return mean, np.where(deviation <= ROUNDING * np.abs(mean), 1.0, deviation)


def _like(x: Array, y: Array) -> Array:
    """Return y in the dtype of x; of whole numbers in float64."""
    return y.astype(np.result_type(x.dtype, np.float16), copy=False)
