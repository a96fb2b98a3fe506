"""Losses of a difference: squares, absolute values, and functions of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, listed, real
from ..errors import ArgumentError, DTypeError, ShapeError
from .loss import Loss, OtherWidth


class HalfSquaredError(Loss):
    """Sum half the squared differences: the article's error, whose gradient starts equation (3).

    Forward:
        e = (1/N) Σ over rows of ½ ‖a − y‖²
    Backward:
        ∂e/∂a = (1/N) (a − y)
    """

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = difference = prediction - target
        rows: Array = 0.5 * np.vecdot(difference.conj(), difference)
        return rows

    @override
    def backward_rows(self) -> Array:
        return self._difference


class MeanSquaredError(Loss):
    """Take the mean of the squared differences.

    Forward:
        e = mean((a − y)²)
    Backward:
        ∂e/∂a = 2 (a − y) / (N m)
    """

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = difference = prediction - target
        rows: Array = np.add.reduce(difference * difference, axis=1) / difference.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = self._difference * (2.0 / self._difference.shape[1])
        return gradient


class MeanAbsoluteError(Loss):
    """Take the mean of the absolute differences.

    Forward:
        e = mean(|a − y|)
    Backward:
        ∂e/∂a = sign(a − y) / (N m)

    The gradient is 0 where a = y.

    Example:
        >>> MeanAbsoluteError()(np.array([[1.0], [4.0]]), np.array([[2.0], [2.0]]))
        1.5
    """

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = difference = prediction - target
        rows: Array = np.add.reduce(difference * np.sign(difference.real), axis=1) / difference.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = np.sign(self._difference.real) / self._difference.shape[1]
        return gradient


class Huber(Loss):
    """Square small differences, and count large ones by their size (Huber 1964).

    Forward:
        d = a − y
        h = ½ d² if |d| ≤ δ, else δ (|d| − ½ δ)
        e = mean(h)
    Backward:
        ∂e/∂a = max(−δ, min(d, δ)) / (N m)

    Args:
        delta: δ > 0, where the square turns into a line.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta: float = real(delta, "Huber(delta)", above=0)

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = d = prediction - target
        inner = np.clip(d, -self.delta, self.delta)
        rows: Array = np.add.reduce(inner * (d - 0.5 * inner), axis=1) / d.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = np.clip(self._difference, -self.delta, self.delta) / self._difference.shape[1]
        return gradient

    @override
    def __repr__(self) -> str:
        return f"Huber({self.delta})"


class Pinball(OtherWidth):
    """Learn quantiles: one output for each of them (Koenker and Bassett 1978).

    Forward:
        d = a − y
        h = (1 − q) d if d > 0, else −q d
        e = mean(h)
    Backward:
        ∂e/∂a = (1 − q) / (N m) if d > 0, else −q / (N m)

    Output j learns the quantile qⱼ of a target of one column. The gradient is 0 where a = y.

    Args:
        quantiles: q, numbers between 0 and 1, such as ``[0.1, 0.5, 0.9]``.

    Raises:
        ArgumentError: no quantile, or one outside of (0, 1).

    Example:
        >>> Pinball([0.1, 0.9])(np.array([[1.0, 4.0]]), [[3.0]])
        0.15
    """

    _target_is = "with one column"

    def __init__(self, quantiles: Iterable[float]) -> None:
        where = "Pinball(quantiles)"
        given = listed(quantiles, where, "numbers such as [0.1, 0.5, 0.9]")
        self.quantiles: list[float] = [real(q, where, above=0, below=1) for q in given]
        if not given:
            raise ArgumentError(f"{where}: expected at least one quantile, got none")

    @override
    def target_features(self, outputs: int) -> int:
        if outputs != len(self.quantiles):
            raise ShapeError(f"{self!r}: expected {len(self.quantiles)} outputs, one for each quantile, got {outputs}")
        return 1

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        d = prediction - target
        q = np.asarray(self.quantiles, d.real.dtype)
        self._slope: Array = np.where(d.real > 0, 1 - q, -q) * (d.real != 0)
        rows: Array = np.add.reduce(self._slope * d, axis=1) / d.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = self._slope / self._slope.shape[1]
        return gradient

    @override
    def __repr__(self) -> str:
        return f"Pinball({self.quantiles})"


class ElementwiseLoss(Loss):
    """Take the mean of any function of prediction and target, given with its derivative.

    Forward:
        e = mean(f(a, y))
    Backward:
        ∂e/∂a = f′(a, y) / (N m)

    Args:
        function: f, from two arrays of one shape to an array of that shape.
        derivative: f′, the same: the derivative of f with respect to the prediction.

    Example:
        >>> log_cosh = ElementwiseLoss(lambda a, y: np.log(np.cosh(a - y)), lambda a, y: np.tanh(a - y))
        >>> round(log_cosh(np.array([[1.0, 2.0]]), [[1.0, 1.0]]), 4)
        0.2169
    """

    def __init__(self, function: Callable[[Any, Any], Any], derivative: Callable[[Any, Any], Any]) -> None:
        for name, value in (("function", function), ("derivative", derivative)):
            if not callable(value):
                raise DTypeError(f"ElementwiseLoss({name}): expected a function of two arrays, got {value!r}")
        self.function = function
        self.derivative = derivative

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._arrays = prediction, target
        rows: Array = np.add.reduce(self._applied("function"), axis=1) / prediction.shape[1]
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = self._applied("derivative") / self._arrays[0].shape[1]
        return gradient

    def _applied(self, name: str) -> Array:
        """Call one of the functions."""
        prediction, target = self._arrays
        found: Array = getattr(self, name)(prediction, target)
        if np.shape(found) != prediction.shape:
            raise ShapeError(f"{self!r}: expected an array of shape {prediction.shape} from its {name}, one number for "
                             f"each output, got {np.shape(found)}")
        return found

    @override
    def __repr__(self) -> str:
        return f"ElementwiseLoss({getattr(self.function, '__name__', repr(self.function))})"
