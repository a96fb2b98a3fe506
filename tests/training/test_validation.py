"""What is held out of the data, and the figures of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Array, HalfSquaredError, SoftmaxCrossEntropy, Trainer, metrics, mlp
from minidl._training.validation import Validation
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, DTypeError
from tests.campaigns.resume_points import kept
from tests.support.refusal import refused

X = np.random.default_rng(0).normal(size=(20, 3))
Y = np.random.default_rng(1).normal(size=(20, 2))
LABELS = np.arange(20) % 2


def trainer(**arguments: Any) -> Trainer:
    model = mlp([3, 4, 2], rng=0)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), rng=0, **arguments)


def test_a_metric_that_gives_a_matrix_is_named() -> None:
    matrix: Any = metrics.confusion_matrix
    with refused(DTypeError, "expected one number from 'confusion_matrix', got an array of shape (2, 2)"):
        trainer().fit(X, LABELS, epochs=1, metrics=[matrix])
    nothing: Any = lambda prediction, target: None  # noqa: E731
    with refused(DTypeError, "expected one number from 'nothing', got None"):
        trainer().evaluate(X, LABELS, metrics={"nothing": nothing})


def test_metrics_of_a_stream_need_validation_data() -> None:
    run = trainer()
    with refused(ArgumentError, "metrics: expected validation=(x, y) to compute ['accuracy'] on, got None"):
        run.fit_batches([(X, LABELS)], epochs=1, metrics=[metrics.accuracy])
    assert len(run.history) == 0
    history = run.fit_batches([(X, LABELS)], epochs=1, metrics=[metrics.accuracy], validation=(X, LABELS))
    assert len(history) == 1


def test_the_last_rows_are_held_out_without_a_copy() -> None:
    held_out = Validation(mlp([3, 4, 2]), HalfSquaredError(), {})
    x, y = held_out.split(X, Y, None, 0.25, None)
    assert np.shares_memory(x, X)
    assert np.shares_memory(y, Y)
    assert (x == X[:15]).all()
    assert held_out._arrays is not None
    assert np.shares_memory(held_out._arrays[0], X)
    assert (held_out._arrays[0] == X[15:]).all()


@pytest.mark.parametrize("fraction", [np.float32(0.25), np.float64(0.25)])
def test_a_fraction_may_be_a_number_of_numpy(fraction: Any) -> None:
    x, _ = Validation(mlp([3, 4, 2]), HalfSquaredError(), {}).split(X, Y, None, fraction, np.random.default_rng(0))
    assert len(x) == 15


VALUES: list[Any] = [
    [metrics.r2],
    {"mse": metrics.mean_squared_error},
    [partial(metrics.mean_absolute_error)],
    [metrics.accuracy, metrics.metric("max", takes="values")(lambda p, t: 0.0)],
]


@pytest.mark.parametrize("given", VALUES, ids=range(4))
def test_a_metric_of_values_is_refused_for_labels_before_anything_changes(given: Any) -> None:
    run = trainer()
    before = repr((kept(run), run.optimizer.vector.values))
    doors: list[Callable[[], object]] = [
        lambda: run.fit(X, LABELS, epochs=1, metrics=given),
        lambda: run.fit(X, LABELS, epochs=1, metrics=given, validation=0.5),
        lambda: run.fit(X, np.eye(2)[LABELS], epochs=1, metrics=given, validation=(X, LABELS)),
        lambda: run.fit_batches([(X, LABELS)], epochs=1, metrics=given, validation=(X, LABELS)),
        lambda: run.evaluate(X, LABELS, metrics=given),
    ]
    for door in doors:
        with refused(ArgumentError, "for labels y of shape (20,)", "which compare values", "np.eye(classes)[y]"):
            door()
    assert repr((kept(run), run.optimizer.vector.values)) == before


def test_a_metric_of_values_takes_one_hot_rows_and_one_of_classes_takes_labels() -> None:
    run, rows = trainer(), np.eye(2)[LABELS]
    run.fit(X, LABELS, epochs=1, metrics=[metrics.r2], validation=(X, rows))
    run.fit(X, rows, epochs=1, metrics=[metrics.r2])
    run.fit(X, LABELS, epochs=1, metrics=[partial(metrics.accuracy, threshold=0.3), metrics.f1])
    assert set(run.history.metrics) == {"r2", "accuracy", "f1"}
    assert set(run.evaluate(X, LABELS, metrics={"own": lambda p, t: float(len(p))})) == {"loss", "own"}


def test_evaluate_gives_weighted_loss_and_metrics_and_changes_nothing() -> None:
    run, weight = trainer(), np.arange(20.0)
    run.fit(X, LABELS, epochs=1, metrics=[metrics.accuracy], validation=0.5)
    before = repr((kept(run), run.optimizer.vector.values, run.history, run.figures, run.last_engine))
    found = run.evaluate(X, LABELS, sample_weight=weight, metrics={"right": metrics.accuracy, "f1": metrics.f1})
    prediction = run.model.predict(X)
    assert list(found) == ["loss", "right", "f1"]
    assert found["loss"] == run.loss(prediction, LABELS, weight) != run.evaluate(X, LABELS)["loss"]
    assert found["right"] == float(np.mean(prediction.argmax(axis=1) == LABELS))
    assert repr((kept(run), run.optimizer.vector.values, run.history, run.figures, run.last_engine)) == before
    with refused(ArgumentError, "metrics: expected different names, none of ['loss']"):
        run.evaluate(X, LABELS, metrics={"loss": metrics.accuracy})


@pytest.mark.parametrize(("given", "words"), [
    (metrics.r2, "metrics: expected a list of functions, got one; write metrics=[r2]"),
    ("r2", "metrics: expected functions such as metrics.r2, got 'r2'"),
    (["accuracy"], "metrics: expected functions such as metrics.r2, got 'accuracy'"),
    ({"score": "r2"}, "metrics: expected functions such as metrics.r2, got 'r2'"),
])
def test_what_is_no_list_of_metrics_is_refused(given: Any, words: str) -> None:
    run = trainer()
    with refused(DTypeError, words):
        run.fit(X, LABELS, epochs=1, metrics=given)
    with refused(DTypeError, words):
        run.evaluate(X, LABELS, metrics=given)
    assert len(run.history) == 0


@pytest.mark.parametrize("fraction", [20, 1.0, 0, -0.5, float("nan"), True])
def test_a_fraction_outside_of_zero_to_one_is_refused(fraction: Any) -> None:
    with refused(ArgumentError, f"expected a fraction between 0 and 1 such as 0.2, got {fraction}"):
        trainer().fit(X, LABELS, epochs=1, validation=fraction)


def test_metrics_do_not_depend_on_sample_weights() -> None:
    run, weights = trainer(), np.arange(20.0)
    run.fit(X, LABELS, epochs=1, sample_weight=weights, metrics=[metrics.accuracy])
    assert run.history.metrics["accuracy"] == [metrics.accuracy(run.model.predict(X), LABELS)]
    run.fit(X, LABELS, epochs=1, validation=(X[:5], LABELS[:5], weights[:5]), metrics=[metrics.accuracy])
    assert run.history.metrics["accuracy"][1] == metrics.accuracy(run.model.predict(X[:5]), LABELS[:5])


def test_a_partial_has_the_name_of_its_function() -> None:
    run = trainer()
    half: Any = partial(metrics.accuracy, threshold=0.5)
    assert list(run.evaluate(X, LABELS, metrics=[half])) == ["loss", "accuracy"]
    with refused(ArgumentError, "different names", "give a mapping"):
        run.evaluate(X, LABELS, metrics=[half, metrics.accuracy])


def test_an_attribute_that_happens_to_be_called_mode_is_no_direction() -> None:
    class Score:
        mode = "eval"

        def __call__(self, prediction: Array, target: Any) -> float:
            return 0.0

    run = trainer()
    run.fit(X, LABELS, epochs=1, metrics={"score": Score()})
    assert run.figures == {"loss": "min", "score": None}


LARGE = np.random.default_rng(2).normal(size=(300, 3))
WRONG: list[tuple[Any, str]] = [
    ("0.2", "got '0.2'"), ((LARGE,), "got a tuple of length 1"), ([LARGE] * 4, "got a list of length 4"),
    (LARGE[:2], "got ndarray of shape (2, 3)"), ({"x": LARGE, "y": LARGE}, "got {'x': array([["),
]  # fmt: skip


@pytest.mark.parametrize(("validation", "found"), WRONG, ids=[found for _, found in WRONG])
def test_a_wrong_validation_is_refused_in_two_lines(validation: Any, found: str) -> None:
    run = trainer()
    doors: list[Callable[[], object]] = [
        lambda: run.fit(X, LABELS, epochs=1, validation=validation),
        lambda: run.fit_batches([(X, LABELS)], epochs=1, validation=validation),
    ]
    for door in doors:
        with refused(DTypeError, "validation: expected (x, y) or (x, y, sample_weight), or", "such as 0.2", found):
            door()
        with pytest.raises(DTypeError) as caught:
            door()
        assert str(caught.value).count("\n") < 2
        assert len(str(caught.value)) < 250
    assert len(run.history) == 0


class StopIn(Callback):
    """Stop once, after a batch of the second epoch."""

    every_batches = 1

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (1, 2):
            trainer.stop("enough")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("stopped", [False, True])
def test_validation_data_may_have_weights(streamed: bool, stopped: bool) -> None:
    weight = np.random.default_rng(3).uniform(0, 2, 20)
    held_out = X, LABELS, weight
    stream = [(X[k : k + 5], LABELS[k : k + 5]) for k in range(0, 20, 5)]
    run = trainer()
    callbacks = [StopIn()] if stopped else []
    if streamed:
        run.fit_batches(stream, epochs=2, validation=held_out, callbacks=callbacks)
    else:
        run.fit(X, LABELS, epochs=2, batch_size=5, validation=held_out, callbacks=callbacks)
    assert len(run.history) == (1 if stopped else 2)
    if stopped and streamed:
        run.resume_batches(stream, validation=held_out, callbacks=[])
    elif stopped:
        run.resume(X, LABELS, validation=held_out, callbacks=[])
    logits = run.model.predict(X)
    rows = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(20), LABELS]
    assert len(run.history) == 2
    assert run.history.validation_loss[-1] == pytest.approx(float(weight @ rows) / 20, rel=1e-12)
    assert run.history.validation_loss[-1] != pytest.approx(float(rows.mean()), rel=1e-3)
