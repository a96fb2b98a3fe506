"""Base class of losses: the mean over the batch, the weights of the rows and the checks."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import MANY, Array, check_weights, finite, floating, ones, sum_of_rows
from ..errors import CallOrderError, DataError, ShapeError, StructureError


class Loss(ABC):
    """Measure the error of a prediction, e = (1/N) Σᵢ wᵢ eᵢ over the N rows of a batch (wᵢ = 1 by default).

    In the equations of the losses, a is the prediction, y the target, N the number of rows and m the number of outputs.
    With sample weights, eᵢ and its gradient are multiplied by wᵢ.

    A subclass writes the error of each row and its gradient::

        class LogCosh(Loss):
            def forward_rows(self, prediction: Array, target: Array) -> Array:
                self._difference = d = prediction - target
                rows: Array = np.sum(np.logaddexp(d, -d) - np.log(2.0), axis=1)
                return rows

            def backward_rows(self) -> Array:
                gradient: Array = np.tanh(self._difference)
                return gradient
    """

    from_logits: ClassVar[bool] = False
    """Whether the loss contains the sigmoid or softmax, so that the model must not end in one."""

    from_probabilities: ClassVar[bool] = False
    """Whether the loss expects numbers in 0 … 1, as after a sigmoid or softmax, so that the model has to end in one."""

    _target_is: ClassVar[str] = "like the prediction"

    @abstractmethod
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        """Compute eᵢ of each row, and keep on ``self`` what `backward_rows` needs.

        Args:
            prediction: ``(batch, features)``.
            target: The same shape and dtype.

        Returns:
            ``(batch,)``.
        """

    @abstractmethod
    def backward_rows(self) -> Array:
        """Compute ∂eᵢ/∂prediction of each row, ``(batch, features)``, without the 1/N and the weights."""

    def forward(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Compute e, and keep what `backward` needs.

        Args:
            prediction: Output of the model, ``(batch, features)``.
            target: What it should have been, the same shape.
            sample_weight: wᵢ ≥ 0 of each row, ``(batch,)``; None for ones.

        Raises:
            ShapeError: target or sample_weight does not fit the prediction.
            DataError: an empty batch, a negative weight.
        """
        target = self.check(prediction, target)
        weight = None if sample_weight is None else check_weights(sample_weight, len(target), prediction.dtype)
        rows = self.forward_rows(prediction, target)
        if getattr(rows, "shape", None) != target.shape[:1]:
            raise ShapeError(
                f"{self!r}.forward_rows: expected one number for each row, shape {target.shape[:1]}, "
                f"got {np.shape(rows)}; sum over the outputs: .sum(axis=1)"
            )
        if weight is None:
            self._scale: float | Array | None = None if len(rows) == 1 else 1.0 / len(rows)
            total = sum_of_rows(rows) if len(rows) > MANY else ones(len(rows), rows.dtype).dot(rows)
            return float(total) / len(rows)
        self._scale = weight[:, None] / len(rows)
        return float(sum_of_rows(weight * rows)) / len(rows)

    def backward(self) -> Array:
        """Compute ∂e/∂prediction of the last `forward`, ``(batch, features)``.

        Raises:
            CallOrderError: before `forward`.
        """
        try:
            scale = self._scale
        except AttributeError:
            raise CallOrderError(f"{self!r}.backward: expected forward before backward") from None
        gradient = self.backward_rows()
        return gradient if scale is None else gradient * scale

    def __call__(self, prediction: Array, target: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Compute e and keep nothing."""
        return copy.copy(self).forward(prediction, target, sample_weight)

    def probabilities(self, output: Array) -> Array:
        """Return the probabilities that the output of a model trained by this loss means, ``(batch, features)``.

        Raises:
            StructureError: the loss knows none, as `MeanSquaredError`.
        """
        if self.from_probabilities:
            return output
        raise StructureError(
            f"{self!r}.probabilities: expected a loss such as SoftmaxCrossEntropy or BinaryCrossEntropy, got one whose "
            "model gives no probabilities; a loss of your own from logits overrides this method"
        )

    def classes(self, target: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return the class of each row, so that a validation split can hold out some of every class.

        Args:
            target: All targets, as `check_data` returns them.

        Returns:
            One label for each row, ``(rows,)``; None where the targets are not classes, as in this base class.
        """
        return None

    def check(self, prediction: Array, target: npt.ArrayLike) -> Array:
        """Return the target in the dtype of the prediction; refuse one of another shape."""
        if type(target) is not np.ndarray or target.dtype != prediction.dtype:
            target = floating(target, f"{self!r}: target", prediction.real.dtype)
        if target.shape != prediction.shape or target.ndim != 2:
            raise self._target_error(prediction.shape, target)
        if not len(target):
            raise DataError(f"{self!r}: expected at least one row, got an empty batch")
        return target

    def check_data(self, target: npt.ArrayLike, width: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Check all targets once, before training: real, finite, ``width`` wide.

        Args:
            target: ``(rows, features)``.
            width: Number of outputs of the model; None where it is not known.
            dtype: What to cast to.

        Returns:
            The targets, ready for `forward`.
        """
        where = f"{self!r}: target y"
        values = floating(target, where, dtype)
        finite(values, where)
        if values.ndim != 2 or (width is not None and values.shape[1] != width):
            raise self._target_error((*values.shape[:1], width or 1), values)
        return values

    def target_features(self, outputs: int) -> int:
        """Return the width of the target for a model with ``outputs`` outputs; the same here.

        Raises:
            ShapeError: the loss does not take so many outputs.
        """
        return outputs

    def _smoothed(self, target: Array, classes: int) -> Array:
        """Return the target with label smoothing, in losses that have it."""
        return target

    def _target_error(self, wanted: tuple[int, ...], target: npt.NDArray[Any]) -> ShapeError:
        """Make the error for a target of another shape than ``wanted``."""
        if len(wanted) != 2:
            hint = "; use prediction[:, None]" if len(wanted) == 1 else ""
            return ShapeError(f"{self!r}: expected a prediction of shape (batch, features), got {wanted}{hint}")
        hint = "; use y[:, None]" if target.ndim == 1 and wanted == (len(target), 1) else self._advice(target)
        return ShapeError(f"{self!r}: expected a target of shape {wanted} {self._target_is}, got {target.shape}{hint}")

    def _advice(self, target: npt.NDArray[Any]) -> str:
        """Say what to write in the place of a target of the wrong shape."""
        one_hot = "; for integer labels use SoftmaxCrossEntropy, or one-hot rows: np.eye(classes)[y]"
        return one_hot if target.ndim == 1 else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class OtherWidth(Loss):
    """Base of losses with a target of another width than the prediction, the one that `target_features` gives."""

    @override
    def check(self, prediction: Array, target: npt.ArrayLike) -> Array:
        wide = prediction.ndim == 2
        return super().check(prediction[:, : self.target_features(prediction.shape[1])] if wide else prediction, target)

    @override
    def check_data(self, target: npt.ArrayLike, width: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        return super().check_data(target, None if width is None else self.target_features(width), dtype)
