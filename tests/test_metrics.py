"""Metrics agree with counts made by hand and with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import metrics
from minidl.errors import ArgumentError, DataError, ShapeError
from tests.support.refusal import refused

RNG = np.random.default_rng(5)
SCORES = RNG.random((60, 4))
LABELS = RNG.integers(0, 4, 60)
PROBABILITY = RNG.random((60, 1))
BINARY = RNG.integers(0, 2, (60, 1)).astype(float)


def counted(found: Any, wanted: Any, classes: int) -> list[list[int]]:
    matrix = [[0] * classes for _ in range(classes)]
    for one, other in zip(wanted, found, strict=True):
        matrix[int(one)][int(other)] += 1
    return matrix


def test_the_confusion_matrix_counts_true_class_by_predicted_class() -> None:
    expected = counted(SCORES.argmax(axis=1), LABELS, 4)
    assert metrics.confusion_matrix(SCORES, LABELS).tolist() == expected


@pytest.mark.parametrize("target", [LABELS, np.eye(4)[LABELS]], ids=["labels", "one-hot"])
def test_accuracy_is_the_share_of_right_rows(target: Any) -> None:
    right = sum(int(row.argmax() == label) for row, label in zip(SCORES, LABELS, strict=True))
    assert metrics.accuracy(SCORES, target) == pytest.approx(right / 60)


def test_the_binary_figures_follow_from_the_four_counts() -> None:
    (tn, fp), (fn, tp) = counted(PROBABILITY[:, 0] >= 0.5, BINARY[:, 0], 2)
    assert metrics.precision(PROBABILITY, BINARY) == pytest.approx(tp / (tp + fp))
    assert metrics.recall(PROBABILITY, BINARY) == pytest.approx(tp / (tp + fn))
    assert metrics.f1(PROBABILITY, BINARY) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert metrics.balanced_accuracy(PROBABILITY, BINARY) == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2)


def test_a_threshold_moves_the_border_between_the_classes() -> None:
    probability = np.array([[0.2], [0.4]])
    assert metrics.accuracy(probability, np.array([[0.0], [1.0]]), threshold=0.3) == 1.0


def test_what_is_never_predicted_has_precision_zero_without_a_warning() -> None:
    assert metrics.precision(np.zeros((3, 1)), np.ones((3, 1))) == 0.0


def test_regression_figures_by_hand() -> None:
    prediction, target = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [5.0]])
    assert metrics.mean_absolute_error(prediction, target) == pytest.approx(2 / 3)
    assert metrics.mean_squared_error(prediction, target) == pytest.approx(2 / 3)
    assert metrics.r2(prediction, target) == pytest.approx(1 - 2 / 8)


def test_figures_agree_with_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    found = SCORES.argmax(axis=1)
    assert metrics.balanced_accuracy(SCORES, LABELS) == pytest.approx(sk.balanced_accuracy_score(LABELS, found))
    assert metrics.precision(SCORES, LABELS) == pytest.approx(sk.precision_score(LABELS, found, average="macro"))
    assert metrics.recall(SCORES, LABELS) == pytest.approx(sk.recall_score(LABELS, found, average="macro"))
    assert metrics.f1(SCORES, LABELS) == pytest.approx(sk.f1_score(LABELS, found, average="macro"))
    assert metrics.r2(SCORES, SCORES[::-1]) == pytest.approx(sk.r2_score(SCORES[::-1], SCORES))


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match=r"use y\[:, None\]"):
        metrics.mean_squared_error(np.ones((3, 1)), np.ones(3))
    with pytest.raises(ShapeError, match="same number of rows"):
        metrics.accuracy(SCORES, LABELS[:5])
    with pytest.raises(DataError, match="targets that vary"):
        metrics.r2(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(ShapeError, match="expected integer labels"):
        metrics.accuracy(SCORES, LABELS.astype(float))


@pytest.mark.parametrize("kind", [int, np.int8, float])
def test_a_column_of_labels_counts_as_labels_where_there_are_several_classes(kind: Any) -> None:
    column = LABELS[:, None].astype(kind)
    assert metrics.accuracy(np.eye(4)[LABELS], column) == 1.0
    assert (metrics.confusion_matrix(SCORES, column) == metrics.confusion_matrix(SCORES, LABELS)).all()
    with pytest.raises(DataError, match=r"several classes, got 0\.5 at row 0"):
        metrics.accuracy(SCORES, np.full((60, 1), 0.5))


DECLARED = {
    "accuracy": ("max", "classes"), "balanced_accuracy": ("max", "classes"), "precision": ("max", "classes"),
    "recall": ("max", "classes"), "f1": ("max", "classes"), "mean_absolute_error": ("min", "values"),
    "mean_squared_error": ("min", "values"), "r2": ("max", "values"),
}  # fmt: skip


def test_every_metric_of_one_number_declares_its_direction_and_what_it_takes() -> None:
    defined: dict[str, Any] = {
        name: function for name, function in vars(metrics).items()
        if getattr(function, "__module__", "") == metrics.__name__ and not name.startswith("_")
    }
    assert {name: (f.mode, f.takes) for name, f in defined.items() if hasattr(f, "mode")} == DECLARED
    assert set(defined) - set(DECLARED) == {"confusion_matrix", "labels", "metric"}


def test_a_function_of_the_user_is_declared_and_returned() -> None:
    def own(prediction: Any, target: Any) -> float:
        return 0.5

    made: Any = metrics.metric("min", takes="values")(own)
    assert (made.mode, made.takes) == ("min", "values")
    assert made is own


def test_other_words_than_those_of_a_declaration_are_refused() -> None:
    with refused(ArgumentError, 'metric(mode): expected "min" or "max", got \'maximum\''):
        metrics.metric("maximum", takes="values")  # type: ignore[arg-type]
    with refused(ArgumentError, 'metric(takes): expected "classes" or "values", got \'labels\''):
        metrics.metric("max", takes="labels")  # type: ignore[arg-type]
