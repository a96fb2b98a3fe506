"""Losses with one fault each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from minidl import Array, Loss


class Squares(Loss):
    """eᵢ = ½ ‖p − t‖²: a right loss, from which the wrong ones differ in one place."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = prediction - target
        rows: Array = 0.5 * np.sum(self._difference * self._difference, axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        return self._difference


class ForgetsTheHalf(Squares):
    @override
    def backward_rows(self) -> Array:
        return 2.0 * self._difference


class DividesTwice(Squares):
    """Takes the mean over the batch that the base takes already."""

    @override
    def backward_rows(self) -> Array:
        return self._difference / len(self._difference)


class TargetMinusPrediction(Squares):
    @override
    def backward_rows(self) -> Array:
        return -self._difference


class SumsOverTheBatch(Squares):
    @override
    def forward(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        return super().forward(prediction, target, sample_weight) * len(prediction)

    @override
    def backward(self) -> Array:
        return super().backward() * len(self._difference)


class MeanInsteadOfRows(Squares):
    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        return np.atleast_1d(super().forward_rows(prediction, target).mean())


class IgnoresWeights(Squares):
    @override
    def forward(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        return super().forward(prediction, target)


class WeightsOnlyTheLoss(Squares):
    """The gradient does not know of the weights."""

    @override
    def backward(self) -> Array:
        weighted = super().backward()
        gradient: Array = self.backward_rows() / len(weighted)
        return gradient


class CouplesItsRows(Squares):
    """eᵢ relative to the greatest target of the batch."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._greatest = np.abs(target).max()
        rows: Array = super().forward_rows(prediction, target) / self._greatest
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = self._difference / self._greatest
        return gradient


class WritesIntoThePrediction(Squares):
    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        rows = super().forward_rows(prediction, target)
        prediction -= target
        return rows


class GradientInThePrediction(Squares):
    """Hands out an array of the caller's as its gradient."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._prediction = prediction
        return super().forward_rows(prediction, target)

    @override
    def backward(self) -> Array:
        gradient = super().backward()
        if self._prediction.dtype.kind == "f" and self._prediction.flags.writeable:
            self._prediction[...] = gradient
            return self._prediction
        return gradient


class ReusesItsGradient(Squares):
    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    @override
    def backward(self) -> Array:
        gradient = super().backward()
        key = f"{gradient.shape} {gradient.dtype}"
        self._kept.setdefault(key, gradient)[...] = gradient
        return self._kept[key]


class UsesItselfUp(Squares):
    @override
    def backward_rows(self) -> Array:
        gradient = self._difference
        self._difference = np.zeros_like(gradient)
        return gradient


class KeepsTheFirstWeights(Squares):
    @override
    def forward(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        value = super().forward(prediction, target, sample_weight)
        self._scales = [*vars(self).get("_scales", []), self._scale]
        return value

    @override
    def backward(self) -> Array:
        super().backward()
        gradient: Array = self._difference * self._scales[0]
        return gradient


class KeepsNothingAfterAnother(Squares):
    """The gradient of the first forward of a size."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        rows = super().forward_rows(prediction, target)
        self._first = {"": self._difference, **vars(self).get("_first", {})}
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = self._first[""]
        return gradient


class CallKeeps(Squares):
    @override
    def __call__(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        return self.forward(prediction, target, sample_weight)


class CallCounts(Squares):
    """A call counts how often it came."""

    calls = 0

    @override
    def __call__(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        self.calls += 1
        return super().__call__(prediction, target, sample_weight)


class BackwardAnytime(Squares):
    @override
    def backward(self) -> Array:
        if "_difference" not in vars(self):
            return np.zeros((1, 1))
        return super().backward()


class AlwaysDouble(Squares):
    @override
    def backward_rows(self) -> Array:
        return self._difference.astype(np.float64)


class AlwaysSingle(Squares):
    @override
    def backward(self) -> Array:
        return super().backward().astype(np.float32)


class Broadcasts(Squares):
    """Takes any two shapes that NumPy can stretch."""

    @override
    def check(self, prediction: Array, target: npt.ArrayLike) -> Array:
        checked: Array = np.asarray(target)
        if prediction.ndim == 2 and checked.shape == prediction.shape:
            return super().check(prediction, target)
        return np.broadcast_arrays(prediction, checked)[1]


class BroadcastsAColumn(Squares):
    """Takes a target of one column for all outputs."""

    @override
    def check(self, prediction: Array, target: npt.ArrayLike) -> Array:
        column = np.asarray(target)
        if column.ndim == 2 and prediction.ndim == 2 and column.shape == (len(prediction), 1):
            return np.broadcast_to(column, prediction.shape)
        return super().check(prediction, target)


class TakesTheEmptyBatch(Squares):
    @override
    def forward(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        if not len(prediction):
            return 0.0
        return super().forward(prediction, target, sample_weight)


class HoldsALambda(Squares):
    def __init__(self) -> None:
        self.half = lambda x: 0.5 * x


class RandomLoss(Squares):
    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        rows: Array = super().forward_rows(prediction, target) * np.random.default_rng().uniform(0.9, 1.1)
        return rows


class TrustsTheLayout(Squares):
    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        if prediction.flags.f_contiguous and not prediction.flags.c_contiguous:
            prediction = prediction.ravel(order="K").reshape(prediction.shape)
        return super().forward_rows(prediction, target)


class SharedMemory(Squares):
    """Copies of it are the same object."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedMemory:
        return self


class ReturnsAnArray(Squares):
    @override
    def forward(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        return np.array([super().forward(prediction, target, sample_weight)])  # type: ignore[return-value]
