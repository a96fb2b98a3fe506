"""Losses: the error of each row and its gradient; the mean over the batch and the checks are the base's."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from ._core.arrays import MANY, Array, check_weights, dense, finite, floating, ones, real, sum_of_rows
from ._core.functions import sigmoid, softmax, softmax_parts
from .errors import CallOrderError, DataError, ShapeError, StructureError

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "HalfSquaredError",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]


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
            raise target_error(self, prediction.shape, target)
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
            raise target_error(self, (*values.shape[:1], width or 1), values)
        return values

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def target_error(loss: Loss, wanted: tuple[int, ...], target: npt.NDArray[Any]) -> ShapeError:
    """Make the error for a target that is not of the shape of the prediction."""
    if len(wanted) != 2:
        hint = "; use prediction[:, None]" if len(wanted) == 1 else ""
        return ShapeError(f"{loss!r}: expected a prediction of shape (batch, features), got {wanted}{hint}")
    message = f"{loss!r}: expected a target of shape {wanted} like the prediction, got {target.shape}"
    if target.ndim == 1 and wanted == (len(target), 1):
        message += "; use y[:, None]"
    elif target.ndim == 1 and isinstance(loss, SoftmaxCrossEntropy):
        message += "; labels must be integers: y.astype(int)"
    elif target.ndim == 1:
        message += "; for integer labels use SoftmaxCrossEntropy, or one-hot rows: np.eye(classes)[y]"
    elif target.shape[1:] == (1,) and isinstance(loss, SoftmaxCrossEntropy):
        message += "; integer labels have the shape (rows,): use np.ravel(y)"
    elif target.shape[1:] == (1,) and isinstance(loss, _Distributions):
        message += "; for integer labels use SoftmaxCrossEntropy with np.ravel(y), or one-hot rows: np.eye(classes)[y]"
    return ShapeError(message)


class _Probabilities(Loss):
    """Base of losses with probabilities as targets."""

    @override
    def check_data(self, target: npt.ArrayLike, width: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        values = super().check_data(target, width, dtype)
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            row = int(np.argmax(((values < 0) | (values > 1)).any(axis=1)))
            raise DataError(f"{self!r}: expected targets in 0 … 1, got {values[row]} at row {row}")
        return values

    @override
    def classes(self, target: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return the only column of a target that holds 0 and 1; None for several columns and for soft targets."""
        binary = target.shape[1] == 1 and ((target == 0) | (target == 1)).all()
        return target[:, 0] if binary else None


class _Distributions(_Probabilities):
    """Base of losses with probabilities as targets that sum to 1 in each row."""

    @override
    def check(self, prediction: Array, target: npt.ArrayLike) -> Array:
        values = super().check(prediction, target)
        check_classes(self, prediction.shape[1])
        return values

    @override
    def check_data(self, target: npt.ArrayLike, width: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        check_classes(self, width)
        values = super().check_data(target, width, dtype)
        off = np.abs(values.sum(axis=1) - 1.0) > 1e-3
        if off.any():
            row = int(np.argmax(off))
            raise DataError(
                f"{self!r}: expected one-hot or probability rows that sum to 1, got {values[row]} at row {row}"
            )
        return values

    @override
    def classes(self, target: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return the place of the one in each one-hot row; None where a row is not one-hot."""
        one_hot = (np.count_nonzero(target, axis=1) == 1).all() and (target.max(axis=1) == 1).all()
        return target.argmax(axis=1) if one_hot else None


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


class BinaryCrossEntropy(_Probabilities):
    """Measure probabilities of yes and no by their negative log-likelihood.

    Forward:
        e = −(1/N) Σ (y ∘ log(a) + (1 − y) ∘ log(1 − a))
    Backward:
        ∂e/∂a = (1/N) (a − y) / (a ∘ (1 − a))

    a is kept between 2 / (the largest number), so that 1 / a is a number, and the greatest number below 1. From logits
    `SigmoidCrossEntropy` is exact where this one has to stop.
    """

    from_probabilities = True

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        kind = np.finfo(prediction.dtype)
        self._p = p = np.clip(prediction, 2.0 / kind.max, 1.0 - kind.epsneg)
        self._target = target
        rows: Array = -np.add.reduce(target * np.log(p) + (1.0 - target) * np.log1p(-p), axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        p = self._p
        gradient: Array = (p - self._target) / (p * (1.0 - p))
        return gradient


class CrossEntropy(_Distributions):
    """Measure probabilities of classes, as after Softmax, by their negative log-likelihood.

    Forward:
        e = −(1/N) Σ y ∘ log(a)
    Backward:
        ∂e/∂a = −(1/N) y / a

    The rows of y are one-hot or probabilities. a is kept at or above 2 / (the largest number), so that 1 / a is a
    number. From logits `SoftmaxCrossEntropy` is exact.
    """

    from_probabilities = True

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._p = p = np.maximum(prediction, 2.0 / np.finfo(prediction.dtype).max)
        self._target = target
        rows: Array = -np.add.reduce(target * np.log(p), axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        return -self._target / self._p


class SigmoidCrossEntropy(_Probabilities):
    """Measure logits of yes and no by the negative log-likelihood of σ(a).

    Forward:
        p = σ(a)
        e = −(1/N) Σ (y ∘ log(p) + (1 − y) ∘ log(1 − p))
    Backward:
        ∂e/∂a = (1/N) (p − y)

    It is `BinaryCrossEntropy` after `Sigmoid`, without its rounding. The model ends in a Dense layer.
    """

    from_logits = True

    @override
    def probabilities(self, output: Array) -> Array:
        return sigmoid(output)

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        z = prediction
        self._z, self._target = z, target
        positive = z.real > 0
        # A logit of ±∞ on the side of its target adds 0, not 0 · ∞.
        slope = np.where(positive, 1.0 - target, -target)
        linear = np.multiply(slope, z, out=np.zeros_like(z), where=slope != 0.0)
        rows: Array = np.add.reduce(linear + np.log1p(np.exp(np.where(positive, -z, z))), axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        # σ(z) − t, in a form that loses nothing where a row is sure and right: 1 − σ(z) = σ(−z).
        z, t = self._z, self._target
        return (1.0 - t) * sigmoid(z) - t * sigmoid(-z)


class SoftmaxCrossEntropy(_Distributions):
    """Measure logits of classes by the negative log-likelihood of softmax(a).

    Forward:
        p = softmax(a)
        e = −(1/N) Σ y ∘ log(p)
    Backward:
        ∂e/∂a = (1/N) (p − y)

    It is `CrossEntropy` after `Softmax`, without its rounding. The model ends in a Dense layer. The target is one row
    of probabilities for each row, ``(batch, classes)``, or an integer label for each row, ``(batch,)``, which stands
    for a one-hot row. If a row of y does not sum to 1, the gradient multiplies p by the sum.
    """

    from_logits = True

    @override
    def check(self, prediction: Array, target: npt.ArrayLike) -> Array:
        check_classes(self, prediction.shape[-1])
        labels = dense(target, f"{self!r}: target")
        if labels.ndim == 1 and labels.dtype.kind in "iu" and prediction.ndim == 2:
            if len(labels) != len(prediction):
                raise ShapeError(f"{self!r}: expected {len(prediction)} labels, one for each row, got {len(labels)}")
            check_labels(self, labels, prediction.shape[1])
            return labels
        return super().check(prediction, labels)

    @override
    def check_data(self, target: npt.ArrayLike, width: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        labels = dense(target, f"{self!r}: target y")
        if labels.ndim == 1 and labels.dtype.kind in "iu":
            check_classes(self, width)
            check_labels(self, labels, width)
            return labels
        return super().check_data(labels, width, dtype)

    @override
    def classes(self, target: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        return target if target.ndim == 1 else super().classes(target)

    @override
    def probabilities(self, output: Array) -> Array:
        if output.shape[1] == 1:
            raise ShapeError(f"{self!r}.probabilities: expected an output for each class, got one, whose softmax is "
                             "always 1; use SigmoidCrossEntropy for two classes")
        return softmax(output)

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        difference, exponential, others = softmax_parts(prediction)
        log_total = np.log1p(others)
        self._p: Array = exponential / (1.0 + others)[:, None]
        self._target, self._dtype = target, prediction.dtype
        if target.ndim == 1:
            chosen = np.arange(len(target)), target
            rows: Array = log_total - difference[chosen]
            self._p[chosen] = np.expm1(-rows)
            return rows
        # A class with a logit of −∞ that is not the target adds 0, not 0 · ∞.
        log_p = difference - log_total[:, None]
        terms = np.multiply(target, log_p, out=np.zeros_like(log_p), where=target != 0.0)
        rows = -np.add.reduce(terms, axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient = self._p
        if self._target.ndim == 2:
            gradient = gradient * np.add.reduce(self._target, axis=1, keepdims=True) - self._target
        return gradient.astype(self._dtype)


def check_classes(loss: Loss, width: int | None) -> None:
    """Refuse a single output: the probability of the only class is always 1, and nothing is learned."""
    if width == 1:
        raise ShapeError(
            f"{loss!r}: expected an output for each class, at least 2, got 1; for two classes in one output use "
            "SigmoidCrossEntropy, with targets 0 and 1"
        )


def check_labels(loss: Loss, labels: npt.NDArray[Any], classes: int | None) -> None:
    """Refuse integer labels outside of 0 … classes − 1, naming the first."""
    if not len(labels):
        raise DataError(f"{loss!r}: expected at least one row, got an empty batch")
    # As unsigned numbers the negative ones are the largest, so that one look finds both kinds of bad label.
    if np.maximum.reduce(labels.astype(np.uintp, copy=False)) >= (1 << 62 if classes is None else classes):
        row = int(np.argmax((labels < 0) | (labels >= (np.inf if classes is None else classes))))
        last = "…" if classes is None else classes - 1
        raise DataError(f"{loss!r}: expected labels in 0 … {last}, got {labels[row]} at row {row}")
