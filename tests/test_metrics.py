"""Metrics agree with counts made by hand and with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import metrics
from minidl.errors import ArgumentError, DataError, DTypeError, MinidlError, ShapeError
from tests.campaigns.metrics import campaign
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
    half: dict[str, Any] = {"threshold": 0.5}
    assert metrics.precision(PROBABILITY, BINARY, **half) == pytest.approx(tp / (tp + fp))
    assert metrics.recall(PROBABILITY, BINARY, **half) == pytest.approx(tp / (tp + fn))
    assert metrics.f1(PROBABILITY, BINARY, **half) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert metrics.balanced_accuracy(PROBABILITY, BINARY, **half) == pytest.approx(
        (tp / (tp + fn) + tn / (tn + fp)) / 2
    )


def test_a_threshold_moves_the_border_between_the_classes() -> None:
    probability = np.array([[0.2], [0.4]])
    assert metrics.accuracy(probability, np.array([[0.0], [1.0]]), threshold=0.3) == 1.0


def test_what_is_never_predicted_has_precision_zero_without_a_warning() -> None:
    assert metrics.precision(np.zeros((3, 1)), np.ones((3, 1)), threshold=0.5) == 0.0


def test_regression_figures_by_hand() -> None:
    prediction, target = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [5.0]])
    assert metrics.mean_absolute_error(prediction, target) == pytest.approx(2 / 3)
    assert metrics.mean_squared_error(prediction, target) == pytest.approx(2 / 3)
    assert metrics.r2(prediction, target) == pytest.approx(1 - 2 / 8)


def test_figures_agree_with_scikit_learn_on_random_data() -> None:
    pytest.importorskip("sklearn", minversion="1.7")
    made, differences = campaign(90, seed=1)
    assert differences == []
    assert set(made) == {*DECLARED, "confusion_matrix"}
    assert min(made.values()) >= 5


def test_the_comparison_with_scikit_learn_finds_a_wrong_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", minversion="1.7")
    monkeypatch.setattr(metrics, "r2", lambda p, t, sample_weight: 0.5)
    assert any("r2 0.5" in text for text in campaign(12, seed=1)[1])


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    target = np.array([0, 2, 0, 2])
    for one in (metrics.f1, metrics.precision, metrics.recall, metrics.balanced_accuracy):
        assert one(np.eye(3)[target], target) == 1.0


def test_labels_of_absent_classes_count_where_the_number_of_classes_is_given() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    for target in ([0, 1, 1, 0, 1, 0], [0, 3, 1, 1, 0, 3]):
        found = rng.integers(0, 6, 6)
        found[0] = 5
        for one in (metrics.accuracy, metrics.balanced_accuracy, metrics.f1, metrics.confusion_matrix):
            with refused(DataError, "as prediction, got 5 at row 0", "classes: np.eye(classes)[prediction]"):
                one(found, target)
        rows = np.eye(6)[found]
        assert metrics.accuracy(rows, target) == sk.accuracy_score(target, found)
        assert metrics.balanced_accuracy(rows, target) == pytest.approx(np.mean([
            np.mean(found[np.array(target) == k] == k) for k in set(target)]))
        assert metrics.f1(rows, target) == pytest.approx(sk.f1_score(target, found, average="macro"))
        assert metrics.precision(rows, target) == pytest.approx(
            sk.precision_score(target, found, average="macro", zero_division=0))
        assert metrics.recall(rows, target) == pytest.approx(
            sk.recall_score(target, found, average="macro", zero_division=0))
        assert (metrics.confusion_matrix(rows, target) == sk.confusion_matrix(target, found, labels=range(6))).all()


SEVERAL = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]])


def test_labels_are_several_where_the_scores_do_not_sum_to_1() -> None:
    p, target = np.array([[0.9, 0.6], [0.2, 0.7], [0.1, 0.3]]), np.array([[1, 0], [0, 1], [1, 0]])
    right = np.where(target == 1, p, 1 - p)
    assert metrics.log_loss(p, target) == pytest.approx(-np.log(right).mean(), rel=1e-14)
    assert metrics.brier_score(p, target) == pytest.approx(((p - target) ** 2).mean(), rel=1e-14)
    assert metrics.roc_auc(p, target) == (0.5 + 1.0) / 2


def test_several_labels_are_compared_one_by_one() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.4], [0.3, 0.7, 0.2], [0.6, 0.1, 0.2]])  # label 2 of row 2 missed
    for prediction, given in [(scores, {"threshold": 0.5}), ((scores >= 0.5).astype(int), {})]:
        assert metrics.accuracy(prediction, SEVERAL, **given) == 0.75
        assert metrics.recall(prediction, SEVERAL, **given) == pytest.approx(2 / 3)
        assert metrics.f1(prediction, SEVERAL.astype(float), **given) == pytest.approx(2 / 3)
    with refused(ArgumentError, "expected threshold= where the rows of the target are several labels"):
        metrics.accuracy(scores, SEVERAL)
    with refused(ShapeError, "expected one class for each row, got 3 labels"):
        metrics.confusion_matrix(scores, SEVERAL, threshold=0.5)


def test_r2_of_float32_far_from_zero_is_computed_in_float64() -> None:
    target = (20_000 + np.random.default_rng(0).normal(size=(100_000, 1))).astype(np.float32)
    prediction = (target + 0.3 * np.random.default_rng(1).normal(size=target.shape)).astype(np.float32)
    p, t = [[float(number) - 20_000 for number in array[:, 0]] for array in (prediction, target)]
    mean = sum(t) / len(t)
    expected = 1 - sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) / sum((b - mean) ** 2 for b in t)
    assert metrics.r2(prediction, target) == pytest.approx(expected, rel=1e-9)


def test_figures_of_probabilities_by_hand() -> None:
    p, t = np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([0, 0, 1, 1])
    assert metrics.roc_auc(p, t) == 0.75
    assert metrics.roc_auc(p, t, sample_weight=[1, 3, 1, 1]) == pytest.approx((1 + 4) / 8)
    assert metrics.average_precision(p, t) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.log_loss(p, t) == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert metrics.brier_score(p, t) == pytest.approx((0.01 + 0.16 + 0.65**2 + 0.04) / 4)
    assert metrics.roc_auc(np.log(p / (1 - p)), t) == 0.75


REFUSED: list[tuple[Any, type[MinidlError], str]] = [
    (lambda: metrics.recall(np.array([[0.3], [2.0]]), [0, 1]), ArgumentError, "expected threshold= for one column"),
    (lambda: metrics.accuracy(SCORES, LABELS - 1), DataError, "expected labels 0, 1, 2, …, got -1 at row"),
    (lambda: metrics.accuracy(np.full((3, 2), np.nan), [0, 0, 0]), DataError, "got NaN at row 0"),
    (lambda: metrics.f1(np.array([0, 3, 1]), [0, 1, 1]), DataError, "labels in 0 … 1 as prediction, got 3 at row 1"),
    (lambda: metrics.f1(np.array([0, -1]), [0, 1]), DataError, "labels in 0 … 1 as prediction, got -1 at row 1"),
    (lambda: metrics.accuracy(SCORES, LABELS + 1), DataError, "labels in 0 … 3 as target, got 4"),
    (lambda: metrics.accuracy(PROBABILITY, LABELS, threshold=0.5), DataError, "one column tells two classes"),
    (lambda: metrics.accuracy(SCORES, LABELS, threshold=0.9), ArgumentError, "no threshold= for one class of 4"),
    (lambda: metrics.f1(PROBABILITY, LABELS > 0, threshold=np.nan), ArgumentError, "a finite number, got nan"),
    (lambda: metrics.f1(SEVERAL * 1.0, SEVERAL, threshold="half"), DTypeError, "expected a number, got 'half'"),  # type: ignore[arg-type]
    (lambda: metrics.accuracy(PROBABILITY, PROBABILITY, threshold=0.5), DataError, "compared by r2 or mean_squared"),
    (lambda: metrics.accuracy(SCORES, SCORES), DataError, "expected rows of 0 and 1"),
    (lambda: metrics.accuracy([[0.5], [0.25]], [0.5, 1]), DataError, "compared by r2 or mean_squared"),
    (lambda: metrics.accuracy(PROBABILITY[:, 0], LABELS), ShapeError, "use prediction[:, None]"),
    (lambda: metrics.accuracy(SCORES, np.eye(3)[[0] * 60]), ShapeError, "a target of shape (60, 4), got (60, 3)"),
    (lambda: metrics.accuracy(SEVERAL + 1, SEVERAL), DataError, "cast scores: prediction.astype(float)"),
    (lambda: metrics.accuracy([0, 1, 1, 0], SEVERAL), ShapeError, "expected one-hot rows as the target of labels"),
    (lambda: metrics.accuracy(SCORES, LABELS, sample_weight=np.zeros(60)), DataError, "a weight above 0, got zeros"),
    (lambda: metrics.r2([[1.0], [np.inf]], [[1.0], [2.0]]), DataError, "prediction: expected finite numbers"),
    (lambda: metrics.r2(np.ones((7, 1)), np.full((7, 1), 0.1)), DataError, "targets that vary"),
    (lambda: metrics.r2([[1.0], [2.0]], [[1.0], [2.0]], sample_weight=[1, 0]), DataError, "targets that vary"),
    (lambda: metrics.roc_auc(PROBABILITY, np.ones(60, int)), DataError, "column 0 has only one of them"),
    (lambda: metrics.average_precision(PROBABILITY, np.zeros(60, int)), DataError, "column 0 has only one of them"),
    (lambda: metrics.roc_auc(SCORES, LABELS), DataError, "loss.probabilities(prediction)"),
    (lambda: metrics.roc_auc(np.array([0, 1]), [0, 1]), ShapeError, "use prediction[:, None]"),
    (lambda: metrics.log_loss([[2.0], [0.5]], [1, 0]), DataError, "probabilities in 0 … 1, got [2.] at row 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_compared_is_refused(call: Any, error: type[MinidlError], words: str) -> None:
    with refused(error, words):
        call()


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match=r"use y\[:, None\]"):
        metrics.mean_squared_error(np.ones((3, 1)), np.ones(3))
    with pytest.raises(ShapeError, match="same number of rows"):
        metrics.accuracy(SCORES, LABELS[:5])
    with pytest.raises(DataError, match="targets that vary"):
        metrics.r2(np.ones((3, 1)), np.ones((3, 1)))


@pytest.mark.parametrize("kind", [int, np.int8, float])
def test_a_column_of_labels_counts_as_labels_where_there_are_several_classes(kind: Any) -> None:
    column = LABELS[:, None].astype(kind)
    assert metrics.accuracy(np.eye(4)[LABELS], column) == 1.0
    assert (metrics.confusion_matrix(SCORES, column) == metrics.confusion_matrix(SCORES, LABELS)).all()
    with pytest.raises(DataError, match=r"expected labels 0, 1, 2, …, got 0\.5 at row 0"):
        metrics.accuracy(SCORES, np.full((60, 1), 0.5))


DECLARED = {
    "accuracy": ("max", "classes"), "balanced_accuracy": ("max", "classes"), "precision": ("max", "classes"),
    "recall": ("max", "classes"), "f1": ("max", "classes"), "mean_absolute_error": ("min", "values"),
    "mean_squared_error": ("min", "values"), "r2": ("max", "values"), "roc_auc": ("max", "classes"),
    "average_precision": ("max", "classes"), "log_loss": ("min", "classes"), "brier_score": ("min", "classes"),
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
