"""How good predictions are: functions of (prediction, target), both with one row for each sample.

For classes the prediction is a row of probabilities or scores, ``(rows, classes)``, of which the largest wins, or one
probability, ``(rows, 1)``, which means class 1 from ``threshold`` on. The target is integer labels ``(rows,)``,
one-hot rows, or one column ``(rows, 1)``: 0 and 1 for two classes, labels where the prediction has more columns.

`metric` declares whether a small or a large value is better, and what a function takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ._core.arrays import Array
from .errors import ArgumentError, DataError, ShapeError

__all__ = [
    "Metric",
    "accuracy",
    "balanced_accuracy",
    "confusion_matrix",
    "f1",
    "labels",
    "mean_absolute_error",
    "mean_squared_error",
    "metric",
    "precision",
    "r2",
    "recall",
]

Metric: TypeAlias = Callable[[Array, npt.NDArray[Any]], float]
Labels: TypeAlias = npt.NDArray[np.intp]
Mode: TypeAlias = Literal["min", "max"]
Takes: TypeAlias = Literal["classes", "values"]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def metric(mode: Mode, takes: Takes) -> Callable[[_Function], _Function]:
    """Declare whether a small or a large value of a metric is better, and what the metric takes.

    The decorator sets the attributes ``mode`` and ``takes`` of the function, and returns the function. Callbacks such
    as `EarlyStopping` read the first. A fit and `Trainer.evaluate` read the second, and refuse labels for a metric
    that compares values::

        @metric("min", takes="values")
        def largest_error(prediction: Array, target: Array) -> float:
            return float(np.max(np.abs(prediction - target)))

    Args:
        mode: ``"min"`` where the smallest value is best, ``"max"`` where the largest is.
        takes: ``"classes"`` for scores or probabilities and labels, ``"values"`` for two arrays of the same shape.

    Raises:
        ArgumentError: another word.
    """
    if mode not in ("min", "max"):
        raise ArgumentError(f'metric(mode): expected "min" or "max", got {mode!r}')
    if takes not in ("classes", "values"):
        raise ArgumentError(f'metric(takes): expected "classes" or "values", got {takes!r}')

    def declare(function: _Function) -> _Function:
        vars(function).update(mode=mode, takes=takes)
        return function

    return declare


@metric("max", takes="classes")
def accuracy(prediction: Array, target: npt.NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return the share of rows whose class is right."""
    found, wanted = _both_labels(prediction, target, threshold)
    return float(np.mean(found == wanted))


@metric("max", takes="classes")
def balanced_accuracy(prediction: Array, target: npt.NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return the mean over the classes that occur of the share of their rows that is found."""
    matrix = confusion_matrix(prediction, target, threshold=threshold)
    rows = matrix.sum(axis=1)
    return float(np.mean(np.diag(matrix)[rows > 0] / rows[rows > 0]))


@metric("max", takes="classes")
def precision(prediction: Array, target: npt.NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return TP / (TP + FP): of what is said to be a class, the share that is; the mean over classes if there are more.

    For two classes it is that of class 1. Where nothing is said to be a class, its precision counts as 0.
    """
    matrix = confusion_matrix(prediction, target, threshold=threshold)
    return _of_classes(np.diag(matrix), matrix.sum(axis=0))


@metric("max", takes="classes")
def recall(prediction: Array, target: npt.NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return TP / (TP + FN): of what is a class, the share that is found; the mean over classes if there are more.

    For two classes it is that of class 1. Where a class does not occur, its recall counts as 0.
    """
    matrix = confusion_matrix(prediction, target, threshold=threshold)
    return _of_classes(np.diag(matrix), matrix.sum(axis=1))


@metric("max", takes="classes")
def f1(prediction: Array, target: npt.NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    For two classes it is that of class 1, for more the mean over the classes.
    """
    matrix = confusion_matrix(prediction, target, threshold=threshold)
    return _of_classes(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def confusion_matrix(prediction: Array, target: npt.NDArray[Any], *, threshold: float = 0.5) -> Labels:
    """Count the rows by true class (row of the matrix) and predicted class (column)."""
    found, wanted = _both_labels(prediction, target, threshold)
    classes = max(prediction.shape[1] if prediction.ndim == 2 else 1, 2, int(wanted.max()) + 1)
    matrix = np.zeros((classes, classes), np.intp)
    np.add.at(matrix, (wanted, found), 1)
    return matrix


@metric("min", takes="values")
def mean_absolute_error(prediction: Array, target: npt.NDArray[Any]) -> float:
    """Return the mean of |p − t| over all elements."""
    return float(np.mean(np.abs(_difference(prediction, target))))


@metric("min", takes="values")
def mean_squared_error(prediction: Array, target: npt.NDArray[Any]) -> float:
    """Return the mean of (p − t)² over all elements."""
    return float(np.mean(_difference(prediction, target) ** 2))


@metric("max", takes="values")
def r2(prediction: Array, target: npt.NDArray[Any]) -> float:
    """Return R² = 1 − Σ (p − t)² / Σ (t − t̄)², the mean over the outputs.

    1 is perfect, 0 no better than the mean of the targets.

    Raises:
        DataError: an output whose targets are all the same.
    """
    residual = np.sum(_difference(prediction, target) ** 2, axis=0)
    spread = np.sum((target - target.mean(axis=0)) ** 2, axis=0)
    if not np.all(spread > 0):
        raise DataError("r2: expected targets that vary, got an output whose targets are all the same")
    return float(np.mean(1.0 - residual / spread))


def labels(values: npt.NDArray[Any], *, threshold: float = 0.5) -> Labels:
    """Return the class of each row: of labels, of rows of scores, or of one probability."""
    if values.ndim == 1 and values.dtype.kind in "iub":
        return values.astype(np.intp)
    if values.ndim == 2 and values.shape[1] == 1:
        return (values[:, 0] >= threshold).astype(np.intp)
    if values.ndim == 2:
        largest: Labels = np.argmax(values, axis=1)
        return largest
    raise ShapeError(
        f"metrics: expected integer labels (rows,) or scores (rows, classes), got {values.dtype} {values.shape}"
    )


def _both_labels(prediction: Array, target: npt.NDArray[Any], threshold: float) -> tuple[Labels, Labels]:
    if target.ndim == 2 and target.shape[1] == 1 != prediction.shape[-1]:
        target = _whole(target[:, 0])
    found, wanted = labels(prediction, threshold=threshold), labels(target)
    if len(found) != len(wanted) or not len(found):
        raise ShapeError(f"metrics: expected the same number of rows, at least one, got {len(found)} and {len(wanted)}")
    return found, wanted


def _whole(column: npt.NDArray[Any]) -> Labels:
    """Return a column of labels as integers; refuse what is not whole."""
    whole: Labels = column.astype(np.intp)
    if (whole != column).any():
        row = int(np.argmax(whole != column))
        raise DataError(f"metrics: expected whole labels for several classes, got {column[row]} at row {row}")
    return whole


def _of_classes(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> float:
    """Return part / whole of class 1 where there are two classes, else the mean over all; 0 / 0 counts as 0."""
    shares = part / np.maximum(whole, 1)
    return float(shares[1]) if len(shares) == 2 else float(np.mean(shares))


def _difference(prediction: Array, target: npt.NDArray[Any]) -> Array:
    if prediction.shape != target.shape:
        hint = "; use y[:, None]" if target.ndim == 1 and prediction.shape == (len(target), 1) else ""
        raise ShapeError(f"metrics: expected a target of shape {prediction.shape}, got {target.shape}{hint}")
    difference: Array = prediction - target
    return difference
