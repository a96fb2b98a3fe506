"""How good predictions are: functions of (prediction, target), both with one row for each sample.

For classes the prediction is a row of probabilities or scores, ``(rows, classes)``, and the largest wins; or one
column, ``(rows, 1)``, which means class 1 from ``threshold`` on; or integer labels. The target is labels, ``(rows,)``
or ``(rows, 1)``, or one-hot rows. With ``threshold``, or if the prediction is integers 0 and 1, the columns of a target
of 0 and 1 are several labels for each row, and precision, recall and F1 are the mean over these labels.

``sample_weight`` is one number of at least 0 for each row. Everything is computed in float64.

`metric` declares whether a small or a large value is better, and what a function takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ._core.arrays import Array, check_weights, dense, finite, floating, one_of, real
from .errors import ArgumentError, DataError, ShapeError

__all__ = [
    "Metric",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "brier_score",
    "confusion_matrix",
    "f1",
    "labels",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "metric",
    "precision",
    "r2",
    "recall",
    "roc_auc",
]

Metric: TypeAlias = Callable[[Array, npt.NDArray[Any]], float]
"""What a fit takes as a metric: a function of (prediction, target) that returns a number."""

Labels: TypeAlias = npt.NDArray[np.intp]
Numbers: TypeAlias = npt.NDArray[Any]
Weights: TypeAlias = npt.ArrayLike | None
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
        mode: ``"min"`` if the smallest value is best, ``"max"`` if the largest is.
        takes: ``"classes"`` for scores or probabilities and labels, ``"values"`` for two arrays of the same shape.

    Raises:
        ArgumentError: another word.
    """
    one_of(mode, ("min", "max"), "metric(mode)")
    one_of(takes, ("classes", "values"), "metric(takes)")

    def declare(function: _Function) -> _Function:
        vars(function).update(mode=mode, takes=takes)
        return function

    return declare


@metric("max", takes="classes")
def accuracy(
    prediction: npt.ArrayLike, target: npt.ArrayLike, *, threshold: float | None = None, sample_weight: Weights = None
) -> float:
    """Return the share of rows with the right class; if a row has several labels, all must be right."""
    found, wanted, weight, _ = _compared(prediction, target, threshold, sample_weight)
    right = found == wanted
    return _mean(right if right.ndim == 1 else right.all(axis=1), weight)


@metric("max", takes="classes")
def balanced_accuracy(
    prediction: npt.ArrayLike, target: npt.ArrayLike, *, threshold: float | None = None, sample_weight: Weights = None
) -> float:
    """Return the mean over the classes that occur of the share of their rows that is found."""
    matrix = confusion_matrix(prediction, target, threshold=threshold, sample_weight=sample_weight)
    rows = matrix.sum(axis=1)
    return float(np.mean(np.diag(matrix)[rows > 0] / rows[rows > 0]))


@metric("max", takes="classes")
def precision(
    prediction: npt.ArrayLike, target: npt.ArrayLike, *, threshold: float | None = None, sample_weight: Weights = None
) -> float:
    """Return TP / (TP + FP): of what is said to be a class, the share that is; 0 where nothing is said to be it.

    For two classes it is that of class 1. For more it is the mean over those that occur in prediction or target.

    Example:
        >>> scores = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> precision(scores, np.array([0, 1, 0]))
        0.5
    """
    right, found, _ = _counts(prediction, target, threshold, sample_weight)
    return _mean_share(right, found)


@metric("max", takes="classes")
def recall(
    prediction: npt.ArrayLike, target: npt.ArrayLike, *, threshold: float | None = None, sample_weight: Weights = None
) -> float:
    """Return TP / (TP + FN): of what is a class, the share that is found; 0 where the class does not occur.

    For two classes it is that of class 1. For more it is the mean over those that occur in prediction or target.
    """
    right, _, wanted = _counts(prediction, target, threshold, sample_weight)
    return _mean_share(right, wanted)


@metric("max", takes="classes")
def f1(
    prediction: npt.ArrayLike, target: npt.ArrayLike, *, threshold: float | None = None, sample_weight: Weights = None
) -> float:
    """Return 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall; 0 where both are.

    For two classes it is that of class 1. For more it is the mean over those that occur in prediction or target.
    """
    right, found, wanted = _counts(prediction, target, threshold, sample_weight)
    return _mean_share(2 * right, found + wanted)


def confusion_matrix(
    prediction: npt.ArrayLike, target: npt.ArrayLike, *, threshold: float | None = None, sample_weight: Weights = None
) -> Numbers:
    """Count the rows by true class (row of the matrix) and predicted class (column); or add up their weights.

    Example:
        >>> scores = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 2.0]])
        >>> confusion_matrix(scores, np.array([0, 1, 0]))
        array([[1, 1],
               [0, 1]])
    """
    found, wanted, weight, classes = _compared(prediction, target, threshold, sample_weight)
    if found.ndim == 2:
        raise ShapeError(
            f"metrics: expected one class for each row, got {found.shape[1]} labels; compute the matrix of each "
            "column k: confusion_matrix(prediction[:, [k]], target[:, k], threshold=0.5)"
        )
    cells = wanted * classes + found
    matrix = np.bincount(cells, None if sample_weight is None else weight, classes**2)
    return matrix.reshape(classes, classes)


@metric("max", takes="classes")
def roc_auc(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return the area under the ROC curve: the probability that a row of the class has a larger score than another.

    For two classes it is that of class 1. For more it is the mean over the classes, each against the rest. For several
    labels it is the mean over the labels. Equal scores count half.

    Raises:
        DataError: a class without rows, or a class with all rows.
    """
    areas = []
    for inside, outside in _by_score(prediction, target, sample_weight):
        below = np.cumsum(outside) - outside
        areas.append(inside @ (below + outside / 2) / (inside.sum() * outside.sum()))
    return float(np.mean(areas))


@metric("max", takes="classes")
def average_precision(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return Σ (Rₙ − Rₙ₋₁) Pₙ, with precision Pₙ and recall Rₙ at each score taken as the threshold.

    For two classes it is that of class 1, else the mean over the classes or labels.

    Raises:
        DataError: a class without rows, or a class with all rows.

    Example:
        >>> scores, target = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])
        >>> round(average_precision(scores[:, None], target), 3)
        0.833
    """
    areas = []
    for inside, outside in _by_score(prediction, target, sample_weight):
        above, all_above = np.cumsum(inside[::-1]), np.cumsum((inside + outside)[::-1])
        areas.append(inside[::-1] @ (above / all_above) / above[-1])
    return float(np.mean(areas))


@metric("min", takes="classes")
def log_loss(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return the mean of −log p, with p the predicted probability of the true class, at least 2.2e-16.

    For several labels, each yes or no, it is the mean over the labels too.
    """
    p, wanted, weight, exclusive = _probabilities(prediction, target, sample_weight)
    true = np.where(wanted, p, p if exclusive else 1.0 - p)
    tiny = np.finfo(np.float64).eps
    rows = -np.log(np.clip(true, tiny, 1.0 - tiny))
    return _mean(rows[wanted] if exclusive else rows.mean(axis=1), weight)


@metric("min", takes="classes")
def brier_score(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return the mean of (a − y)²: of class 1 for two classes, summed over the classes for more.

    For several labels it is the mean over the labels.
    """
    p, wanted, weight, exclusive = _probabilities(prediction, target, sample_weight)
    squares = (p - wanted) ** 2
    if exclusive:
        return _mean(squares[:, 1] if p.shape[1] == 2 else squares.sum(axis=1), weight)
    return _mean(squares, weight)


@metric("min", takes="values")
def mean_absolute_error(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return the mean of |a − y| over all elements."""
    p, t, weight = _values(prediction, target, sample_weight)
    return _mean(np.abs(p - t), weight)


@metric("min", takes="values")
def mean_squared_error(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return the mean of (a − y)² over all elements.

    Example:
        >>> mean_squared_error(np.array([[1.0], [4.0]]), np.array([[2.0], [2.0]]))
        2.5
    """
    p, t, weight = _values(prediction, target, sample_weight)
    return _mean((p - t) ** 2, weight)


@metric("max", takes="values")
def r2(prediction: npt.ArrayLike, target: npt.ArrayLike, *, sample_weight: Weights = None) -> float:
    """Return R² = 1 − Σ (a − y)² / Σ (y − ȳ)², the mean over the outputs.

    1 is perfect, 0 no better than the mean of the targets.

    Raises:
        DataError: an output with equal targets.
    """
    p, t, weight = _values(prediction, target, sample_weight)
    spread = weight @ (t - np.average(t, axis=0, weights=weight)) ** 2
    # The mean of equal numbers may be off by a rounding, so that their spread is not 0.
    if not np.all((np.ptp(t[weight > 0], axis=0) > 0) & (spread > 0)):
        raise DataError("r2: expected targets that vary, got an output whose targets are all the same")
    return float(np.mean(1.0 - weight @ (p - t) ** 2 / spread))


def labels(values: npt.ArrayLike, *, threshold: float | None = None) -> Labels:
    """Return the class of each row: of labels, of rows of scores, or of one column with a threshold.

    Example:
        >>> labels(np.array([[2.0, 1.0], [0.0, 3.0]]))
        array([0, 1])
    """
    scores = _scores(values)
    threshold = None if threshold is None else real(threshold, "metrics(threshold)")
    if scores.ndim == 2 and scores.shape[1] > 1:
        if threshold is not None:
            raise ArgumentError(
                f"metrics: expected no threshold= for one class of {scores.shape[1]}, where the largest score wins, "
                f"got {threshold}; for several labels in each row the target is rows of 0 and 1"
            )
        largest: Labels = np.argmax(scores, axis=1)
        return largest
    if scores.dtype.kind != "f":
        return scores.reshape(-1).astype(np.intp)
    if threshold is None:
        raise ArgumentError(
            "metrics: expected threshold= for one column of numbers: 0.5 for probabilities, 0.0 for logits; "
            "trainer.evaluate(x, y, metrics=[...]) computes probabilities and takes 0.5"
        )
    return (scores[:, 0] >= threshold).astype(np.intp)


def _scores(prediction: npt.ArrayLike) -> Numbers:
    """Return a prediction of classes: integers as they are, else floats ``(rows, columns)`` without NaN."""
    scores = dense(prediction, "metrics: prediction")
    if scores.dtype.kind not in "iub":
        scores = floating(scores, "metrics: prediction")
    if scores.ndim != 2 and (scores.ndim != 1 or scores.dtype.kind == "f"):
        hint = "; use prediction[:, None]" if scores.ndim == 1 else ""
        raise ShapeError("metrics: expected scores (rows, classes) or integer labels (rows,), got "
                         f"{scores.dtype} {scores.shape}{hint}")
    if scores.dtype.kind == "f" and np.isnan(scores).any():
        row = int(np.argmax(np.isnan(scores).any(axis=1)))
        raise DataError(f"metrics: expected predictions that are numbers, got NaN at row {row}")
    return scores


def _classes(target: npt.ArrayLike) -> Labels:
    """Return a target as labels ``(rows,)``, or as rows of 0 and 1."""
    values = dense(target, "metrics: target")
    if values.dtype.kind not in "iub":
        values = floating(values, "metrics: target")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2):
        raise ShapeError(f"metrics: expected labels (rows,) or rows of 0 and 1, got a target of shape {values.shape}")
    with np.errstate(invalid="ignore"):
        whole: Labels = values.astype(np.intp)
    wrong = (whole != values) | (whole < 0) | ((whole > 1) & (values.ndim == 2))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        wanted = "labels 0, 1, 2, …" if values.ndim == 1 else "rows of 0 and 1"
        raise DataError(
            f"metrics: expected {wanted}, got {values[at]} at row {at[0]}; values are compared by r2 or "
            "mean_squared_error, and rows of probabilities become labels by target.argmax(axis=1)"
        )
    return whole


def _weights(prediction: Numbers, target: Numbers, sample_weight: Weights) -> Array:
    """Return the weight of each row, as float64."""
    if len(prediction) != len(target) or not len(target):
        raise ShapeError("metrics: expected the same number of rows, at least one, got "
                         f"{len(prediction)} and {len(target)}")
    if sample_weight is None:
        return np.ones(len(target))
    return check_weights(sample_weight, len(target), np.float64, zeros=False)


def _compared(
    prediction: npt.ArrayLike, target: npt.ArrayLike, threshold: float | None, sample_weight: Weights
) -> tuple[Labels, Labels, Array, int]:
    """Return predicted and true classes, the weights, and the number of classes.

    Classes are ``(rows,)``, or 0 and 1 ``(rows, labels)`` where a row has several labels.
    """
    scores, wanted = _scores(prediction), _classes(target)
    weight = _weights(scores, wanted, sample_weight)
    columns = scores.shape[1] if scores.ndim == 2 else 1
    whole = scores.dtype.kind != "f"
    classes = columns if columns > 1 else 2
    if wanted.ndim == 2 and not (whole and columns == 1):
        _same_columns(scores, wanted)
        if whole or threshold is not None:
            threshold = None if threshold is None else real(threshold, "metrics(threshold)")
            if whole and not ((scores == 0) | (scores == 1)).all():
                raise DataError("metrics: expected integers 0 and 1 where the target is rows of 0 and 1; cast scores: "
                                "prediction.astype(float)")
            found = scores if whole else scores >= threshold
            return found.astype(np.intp), wanted, weight, 2
        if not _one_hot(wanted):
            raise ArgumentError(
                "metrics: expected threshold= where the rows of the target are several labels, not one-hot: 0.5 for "
                "probabilities, 0.0 for logits"
            )
    if wanted.ndim == 2:
        classes = wanted.shape[1]
        if not _one_hot(wanted):
            raise ShapeError(f"metrics: expected one-hot rows as the target of labels, or a prediction of shape "
                             f"{wanted.shape} for several labels")
        wanted = wanted.argmax(axis=1)
    elif whole and columns == 1:
        classes = max(2, int(wanted.max()) + 1)
    found = labels(scores, threshold=threshold)
    _below(wanted, classes, "target")
    _below(found, classes, "prediction")
    return found, wanted, weight, classes


def _one_hot(target: Labels) -> bool:
    return bool((target.sum(axis=1) == 1).all())


def _same_columns(scores: Numbers, target: Numbers) -> None:
    if scores.shape != target.shape:
        hint = "; use y[:, None]" if target.ndim == 1 and scores.shape == (len(target), 1) else ""
        raise ShapeError(f"metrics: expected a target of shape {scores.shape}, got {target.shape}{hint}")


def _below(found: Labels, classes: int, where: str) -> None:
    """Refuse labels outside of the classes."""
    wrong = (found < 0) | (found >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"metrics: expected labels in 0 … {classes - 1} as {where}, got {found[row]} at row {row}; rows of scores "
            "have one column for each class, one column tells two classes; values are compared by r2; labels of "
            "classes that the target lacks need the number of classes: np.eye(classes)[prediction]"
        )


def _counts(
    prediction: npt.ArrayLike, target: npt.ArrayLike, threshold: float | None, sample_weight: Weights
) -> tuple[Numbers, Numbers, Numbers]:
    """Return for each class or label the weight of the rows that are it rightly, as predicted, and in truth.

    Of two classes it is class 1 alone, of more those that occur in prediction or target.
    """
    found, wanted, weight, classes = _compared(prediction, target, threshold, sample_weight)
    if found.ndim == 2:
        return weight @ (found & wanted), weight @ found, weight @ wanted
    right = found == wanted
    counts = [np.bincount(of, by, classes) for of, by in [(wanted[right], weight[right]), (found, weight),
                                                          (wanted, weight)]]
    kept = [1] if classes == 2 else np.union1d(found, wanted)
    return counts[0][kept], counts[1][kept], counts[2][kept]


def _mean_share(part: Numbers, whole: Numbers) -> float:
    """Return the mean of part / whole, where 0 / 0 counts as 0."""
    return float(np.mean(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)))


def _ranked(
    prediction: npt.ArrayLike, target: npt.ArrayLike, sample_weight: Weights
) -> tuple[Array, npt.NDArray[np.bool_], Array, bool]:
    """Return scores and whether each row is of the class, both ``(rows, classes)``, weights, and one more thing.

    It is whether each row has one class of several, so that its scores are probabilities that sum to 1.
    """
    scores, wanted = floating(_scores(prediction), "metrics: prediction", np.dtype(np.float64)), _classes(target)
    weight = _weights(scores, wanted, sample_weight)
    if scores.ndim == 1:
        raise ShapeError(f"metrics: expected scores (rows, classes), got {scores.shape}; use prediction[:, None]")
    columns = scores.shape[1]
    distributions = columns > 1 and bool((scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) <= 1e-3).all())
    if wanted.ndim == 2:
        _same_columns(scores, wanted)
        return scores, wanted == 1, weight, distributions and _one_hot(wanted)
    _below(wanted, max(columns, 2), "target")
    if columns == 1:
        return scores, wanted[:, None] == 1, weight, False
    if not distributions:
        raise DataError(
            "metrics: expected probabilities, rows that sum to 1, for labels of several classes; compute them from "
            "logits: loss.probabilities(prediction)"
        )
    return scores, wanted[:, None] == np.arange(columns), weight, True


def _probabilities(
    prediction: npt.ArrayLike, target: npt.ArrayLike, sample_weight: Weights
) -> tuple[Array, npt.NDArray[np.bool_], Array, bool]:
    """Return what `_ranked` returns, of probabilities."""
    ranked = _ranked(prediction, target, sample_weight)
    wrong = ((ranked[0] < 0) | (ranked[0] > 1)).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"metrics: expected probabilities in 0 … 1, got {ranked[0][row]} at row {row}; compute them from logits: "
            "loss.probabilities(prediction)"
        )
    return ranked


def _by_score(
    prediction: npt.ArrayLike, target: npt.ArrayLike, sample_weight: Weights
) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield for each class the weights of its rows and of the others, added up by score from the smallest."""
    scores, wanted, weight, exclusive = _ranked(prediction, target, sample_weight)
    counted = weight > 0
    for k in [1] if exclusive and scores.shape[1] == 2 else range(scores.shape[1]):
        _, place = np.unique(scores[counted, k], return_inverse=True)
        sides = [np.bincount(place, weight[counted] * (wanted[counted, k] == side)) for side in (True, False)]
        if not (sides[0].any() and sides[1].any()):
            raise DataError(
                f"metrics: expected rows inside and outside of each class, got a target whose column {k} has only one "
                "of them"
            )
        yield sides[0], sides[1]


def _mean(rows: Numbers, weight: Array) -> float:
    """Return the weighted mean over the rows, and the mean over their columns."""
    return float(np.mean(np.average(rows, axis=0, weights=weight)))


def _values(prediction: npt.ArrayLike, target: npt.ArrayLike, sample_weight: Weights) -> tuple[Array, Array, Array]:
    """Return two arrays of values of the same shape, and the weights."""
    p = floating(prediction, "metrics: prediction", np.dtype(np.float64))
    t = floating(target, "metrics: target", np.dtype(np.float64))
    _same_columns(p, t)
    finite(p, "metrics: prediction")
    finite(t, "metrics: target")
    return p, t, _weights(p, t, sample_weight)
