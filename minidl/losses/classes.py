"""Cross-entropies: the negative log-likelihood of classes, from probabilities or from logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, dense, real
from .._core.functions import sigmoid, softmax, softmax_parts
from ..errors import DataError, ShapeError
from .loss import Loss


class _Probabilities(Loss):
    """Base of losses with probabilities as targets.

    Args:
        label_smoothing: ε in [0, 1).
    """

    label_smoothing: float = 0.0

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = real(label_smoothing, f"{type(self).__name__}(label_smoothing)", least=0, below=1)

    @override
    def _smoothed(self, target: Array, classes: int) -> Array:
        """Return (1 − ε) y + ε / 2: each number is the probability of one of two classes."""
        return (1.0 - self.label_smoothing) * target + self.label_smoothing / 2

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

    @override
    def __repr__(self) -> str:
        smoothing = f"label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return f"{type(self).__name__}({smoothing})"


class _Distributions(_Probabilities):
    """Base of losses with probabilities as targets that sum to 1 in each row."""

    @override
    def _smoothed(self, target: Array, classes: int) -> Array:
        """Return (1 − ε) y + ε / classes."""
        return (1.0 - self.label_smoothing) * target + self.label_smoothing / classes

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

    @override
    def _advice(self, target: npt.NDArray[Any]) -> str:
        labels = "; for integer labels use SoftmaxCrossEntropy with np.ravel(y), or one-hot rows: np.eye(classes)[y]"
        return labels if target.shape[1:] == (1,) else super()._advice(target)


class BinaryCrossEntropy(_Probabilities):
    """Measure probabilities of yes and no by their negative log-likelihood.

    Forward:
        e = −(1/N) Σ (y ∘ log(a) + (1 − y) ∘ log(1 − a))
    Backward:
        ∂e/∂a = (1/N) (a − y) / (a ∘ (1 − a))

    a is kept between 2 / (the largest number), so that 1 / a is a number, and the greatest number below 1. From logits
    `SigmoidCrossEntropy` is exact where this one has to stop.

    With label smoothing ε, the target is (1 − ε) y + ε/2, as in Keras.

    Args:
        label_smoothing: ε in [0, 1).

    Example:
        >>> loss = BinaryCrossEntropy()
        >>> round(loss(np.array([[0.9], [0.2]]), np.array([[1.0], [0.0]])), 4)
        0.1643
    """

    from_probabilities = True

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        kind = np.finfo(prediction.dtype)
        self._p = p = np.clip(prediction, 2.0 / kind.max, 1.0 - kind.epsneg)
        self._target = target = self._smoothed(target, p.shape[1]) if self.label_smoothing else target
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

    With label smoothing ε, the target is (1 − ε) y + ε/m (Szegedy et al. 2016, section 7).

    Args:
        label_smoothing: ε in [0, 1).

    Example:
        >>> loss = CrossEntropy()
        >>> round(loss(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]), np.eye(3)[[0, 2]]), 4)
        0.2899
    """

    from_probabilities = True

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._p = p = np.maximum(prediction, 2.0 / np.finfo(prediction.dtype).max)
        self._target = target = self._smoothed(target, prediction.shape[1]) if self.label_smoothing else target
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

    With label smoothing ε, the target is (1 − ε) y + ε/2, as in Keras.

    Args:
        label_smoothing: ε in [0, 1).
    """

    from_logits = True

    @override
    def probabilities(self, output: Array) -> Array:
        return sigmoid(output)

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        z, target = prediction, self._smoothed(target, prediction.shape[1]) if self.label_smoothing else target
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

    With label smoothing ε, the target is (1 − ε) y + ε/m (Szegedy et al. 2016, section 7).

    Args:
        label_smoothing: ε in [0, 1).
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
    def _advice(self, target: npt.NDArray[Any]) -> str:
        if target.shape[1:] == (1,):
            return "; integer labels have the shape (rows,): use np.ravel(y)"
        return "; labels must be integers: y.astype(int)" if target.ndim == 1 else ""

    @override
    def probabilities(self, output: Array) -> Array:
        if output.shape[1] == 1:
            raise ShapeError(f"{self!r}.probabilities: expected an output for each class, got one, whose softmax is "
                             "always 1; use SigmoidCrossEntropy for two classes")
        return softmax(output)

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        if self.label_smoothing:
            if target.ndim == 1:
                target = (target[:, None] == np.arange(prediction.shape[1])).astype(prediction.real.dtype)
            target = self._smoothed(target, prediction.shape[1])
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
        raise DataError(f"{loss!r}: expected labels in 0 … {last}, got {labels[row]} at row {row}; "
                        "np.unique(y, return_inverse=True)[1] counts the classes from 0; give each an output")
