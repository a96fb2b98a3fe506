"""Weights of classes multiply the sample_weight of each row in training, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    Adam,
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    Loss,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Trainer,
    metrics,
    mlp,
)
from minidl._training.checkpoint import check_class_weight
from minidl._training.class_weight import class_weighted
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, DataError, DTypeError, MinidlError
from tests.support.refusal import refused

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
LABELS = np.repeat([0, 1, 2], [40, 15, 5])
BINARY = (LABELS > 0).astype(float)
WEIGHTS = RNG.uniform(0.5, 2.0, 60)
BALANCED = 60 / (3 * np.array([40, 15, 5]))


def trainer(loss: Loss | None = None, outputs: int = 3, output: Any = None, engine: Any = "numpy") -> Trainer:
    model = mlp([2, 4, outputs], output=output, rng=0)
    return Trainer(model, loss or SoftmaxCrossEntropy(), Adam(model.parameters(), 0.01), rng=0, engine=engine)


def values(run: Trainer) -> bytes:
    return run.optimizer.vector.values.tobytes()


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS])
def test_a_class_weight_is_a_weight_of_its_rows(engine: Any, sample_weight: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    one, other = trainer(engine=engine), trainer(engine=engine)
    one.fit(X, LABELS, epochs=3, sample_weight=sample_weight, class_weight={0: 0.5, 2: 4})
    rows = np.array([{0: 0.5, 1: 1.0, 2: 4.0}[label] for label in LABELS.tolist()])
    other.fit(X, LABELS, epochs=3, sample_weight=rows if sample_weight is None else rows * sample_weight)
    assert one.history.loss == other.history.loss
    assert values(one) == values(other)


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "output"),
    [
        (SoftmaxCrossEntropy(), LABELS, 3, None),
        (SoftmaxCrossEntropy(label_smoothing=0.1), np.eye(3)[LABELS], 3, None),
        (CrossEntropy(), np.eye(3)[LABELS], 3, Softmax),
        (SigmoidCrossEntropy(), BINARY, 1, None),
        (BinaryCrossEntropy(), BINARY[:, None], 1, Sigmoid),
    ],
)
def test_balanced_gives_each_class_the_same_total(loss: Loss, y: Any, outputs: int, output: Any) -> None:
    classes = LABELS if outputs == 3 else BINARY.astype(int)
    counts = np.bincount(classes)
    one, other = trainer(loss, outputs, output), trainer(loss, outputs, output)
    one.fit(X, y, epochs=2, class_weight="balanced")
    other.fit(X, y, epochs=2, sample_weight=60 / (len(counts) * counts[classes]))
    assert np.allclose(one.optimizer.vector.values, other.optimizer.vector.values, rtol=1e-12)


def test_balanced_is_that_of_scikit_learn() -> None:
    weights = pytest.importorskip("sklearn.utils.class_weight")
    found = class_weighted(SoftmaxCrossEntropy(), (X, LABELS), "balanced", np.float64)[2]
    wanted = weights.compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert found == pytest.approx(wanted[LABELS], rel=1e-15)
    assert found == pytest.approx(BALANCED[LABELS], rel=1e-15)


def test_a_row_of_weight_three_is_balanced_like_three_rows() -> None:
    times = np.arange(60) % 4
    loss, copies = SoftmaxCrossEntropy(), np.repeat(LABELS, times)
    whole = class_weighted(loss, (np.repeat(X, times, axis=0), copies), "balanced", np.float64)[2]
    weighted = class_weighted(loss, (X, LABELS, times.astype(float)), "balanced", np.float64)[2]
    for label in range(3):
        assert weighted[label == LABELS].sum() == pytest.approx(whole[copies == label].sum(), rel=1e-13)


@pytest.mark.parametrize("validation", [0.25, (X, LABELS)])
def test_validation_has_no_class_weights(validation: Any) -> None:
    one, other = trainer(), trainer()
    one.fit(X, LABELS, epochs=1, validation=validation, class_weight={0: 1, 1: 1, 2: 1}, metrics=[metrics.accuracy])
    other.fit(X, LABELS, epochs=1, validation=validation, metrics=[metrics.accuracy])
    assert one.history.validation_loss == pytest.approx(other.history.validation_loss, rel=1e-12)
    heavy = trainer()
    heavy.fit(X, LABELS, epochs=1, validation=(X, LABELS), class_weight={1: 9})
    assert heavy.history.validation_loss == [heavy.evaluate(X, LABELS)["loss"]]


def test_metrics_of_the_training_data_have_no_class_weights() -> None:
    run = trainer()
    run.fit(X, LABELS, epochs=1, class_weight={2: 100}, metrics=[metrics.accuracy])
    assert run.history.metrics["accuracy"] == [run.evaluate(X, LABELS, metrics=[metrics.accuracy])["accuracy"]]


REFUSALS: list[tuple[Any, type[MinidlError], str]] = [
    ("even", ArgumentError, 'expected "balanced" or a mapping such as {0: 1.0, 1: 5.0}'),
    ({}, ArgumentError, 'expected "balanced" or a mapping such as {0: 1.0, 1: 5.0}'),
    ([1, 2, 3], DTypeError, 'expected "balanced" or a mapping such as {0: 1.0, 1: 5.0}'),
    ({"0": 1}, DTypeError, "expected the number of a class as each key, got '0'"),
    ({0: -1}, ArgumentError, "class 0: expected a finite number and at least 0"),
    ({0: np.nan}, ArgumentError, "class 0: expected a finite number"),
    ({0: 1, 3: 2}, ArgumentError, "expected classes of the training data, [0, 1, 2], got 3"),
    ({-1: 2}, ArgumentError, "expected classes of the training data, [0, 1, 2], got -1"),
    ({0: 0, 1: 0, 2: 0}, DataError, "expected a weight above 0, got zeros for all 60 rows"),
]


@pytest.mark.parametrize(("weight", "error", "words"), REFUSALS, ids=range(len(REFUSALS)))
def test_wrong_class_weights_are_refused_before_a_change(weight: Any, error: Any, words: str) -> None:
    run = trainer()
    before = values(run)
    with refused(error, "fit(class_weight)", words):
        run.fit(X, LABELS, epochs=1, class_weight=weight)
    assert values(run) == before
    assert (len(run.history), run.optimizer.steps) == (0, 0)


@pytest.mark.parametrize(
    ("loss", "y", "outputs"),
    [(HalfSquaredError(), X, 2), (SigmoidCrossEntropy(), 1.0 * (X > 0), 2), (SigmoidCrossEntropy(), WEIGHTS / 3, 1)],
)
def test_targets_that_are_not_classes_are_refused(loss: Loss, y: Any, outputs: int) -> None:
    with refused(ArgumentError, "fit(class_weight): expected targets that are classes", repr(loss)):
        trainer(loss, outputs).fit(X, y, epochs=1, class_weight="balanced")


class StopAt(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == 2:
            trainer.save(self.path)
            trainer.stop("enough")


@pytest.mark.parametrize("weight", ["balanced", {0: 0.5, 2: 4.0}])
def test_a_resumed_run_keeps_its_class_weights(tmp_path: Path, weight: Any) -> None:
    whole, stopped, restored = trainer(), trainer(), trainer()
    whole.fit(X, LABELS, epochs=5, class_weight=weight)
    stopped.fit(X, LABELS, epochs=5, class_weight=weight, callbacks=[StopAt(tmp_path / "run.safetensors")])
    restored.restore(tmp_path / "run.safetensors")
    restored.resume(X, LABELS, callbacks=[StopAt(tmp_path)])
    stopped.resume(X, LABELS, callbacks=[])
    assert stopped.history.loss == restored.history.loss == whole.history.loss
    assert values(stopped) == values(restored) == values(whole)


def test_the_next_fit_has_no_class_weights() -> None:
    one, other = trainer(), trainer()
    for run in one, other:
        run.fit(X, LABELS, epochs=1, class_weight="balanced" if run is one else None)
        run.model.initialize(0)
        run.fit(X, LABELS, epochs=1)
    assert one.history.loss[0] != other.history.loss[0]
    assert one._run.plan == other._run.plan


@pytest.mark.parametrize("weight", ["even", {}, {"a": 1.0}, {"-1": 1.0}, {"0": -1.0}, 3])
def test_a_file_with_other_class_weights_is_refused(weight: Any) -> None:
    with pytest.raises(ValueError, match="no weights of classes"):
        check_class_weight(weight)
