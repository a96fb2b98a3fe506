"""What is held out of the data, and the figures of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    HalfSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
    metrics,
    mlp,
)
from minidl._training.validation import Validation
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError, StructureError
from minidl.losses import PoissonLoss
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
    assert np.shares_memory(held_out.arrays[0], X)
    assert (held_out.arrays[0] == X[15:]).all()


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
        with refused(ArgumentError, "for integer labels y", "which compare values", "np.eye(classes)[y]"):
            door()
    assert repr((kept(run), run.optimizer.vector.values)) == before


def test_a_metric_of_values_takes_one_hot_rows_and_one_of_classes_takes_labels() -> None:
    run, rows = trainer(), np.eye(2)[LABELS]
    run.fit(X, LABELS, epochs=1, metrics=[metrics.r2], validation=(X, rows))
    run.fit(X, rows, epochs=1, metrics=[metrics.r2])
    run.fit(X, LABELS, epochs=1, metrics=[partial(metrics.accuracy), metrics.f1])
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
    assert found["right"] == pytest.approx(weight @ (prediction.argmax(axis=1) == LABELS) / weight.sum())
    assert repr((kept(run), run.optimizer.vector.values, run.history, run.figures, run.last_engine)) == before
    with refused(ArgumentError, "metrics: expected other names than ['loss'], which the history has already"):
        run.evaluate(X, LABELS, metrics={"loss": metrics.accuracy})


@pytest.mark.parametrize(("given", "words"), [
    (metrics.r2, "metrics: expected a list of functions, got one; write metrics=[r2]"),
    ("r2", "metrics: expected functions such as metrics.r2, got 'r2'"),
    (["accuracy"], "metrics: expected functions such as metrics.r2, got 'accuracy'"),
    ({"score": "r2"}, "metrics: expected functions such as metrics.r2, got 'r2'"),
    (b"r2", "metrics: expected functions such as metrics.r2, got b'r2'"),
    (3, "metrics: expected a list of functions such as r2, got 3"),
    (None, "metrics: expected a list of functions such as r2, got None"),
    ({3: metrics.r2}, "metrics: expected functions such as metrics.r2, got one with the name 3, which is no text"),
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


def right(run: Trainer, rows: int, weight: Any) -> Any:
    """Return the weighted share of the first rows that are right."""
    found = run.model.predict(X[:rows]).argmax(axis=1) == LABELS[:rows]
    return pytest.approx(float(weight[:rows] @ found) / float(weight[:rows].sum()), rel=1e-12)


def test_sample_weights_reach_the_metrics_that_take_them() -> None:
    run, weights = trainer(), np.arange(20.0)
    given: dict[str, Any] = {"a": metrics.accuracy, "own": lambda p, t: np.mean(p.argmax(axis=1) == t),
                             "fixed": partial(metrics.accuracy, sample_weight=np.ones(20))}  # fmt: skip
    run.fit(X, LABELS, epochs=1, sample_weight=weights, metrics=given)
    found = run.history.metrics
    assert found["a"] == [right(run, 20, weights)]
    assert found["own"] == found["fixed"] == [right(run, 20, np.ones(20))] != found["a"]
    run.fit(X, LABELS, epochs=1, validation=(X[:5], LABELS[:5], weights[:5]), metrics=[metrics.accuracy])
    assert run.history.metrics["accuracy"][1] == right(run, 5, weights)


def column(loss: Any, outputs: int = 1) -> Trainer:
    model = mlp([3, 4, outputs], rng=0)
    return Trainer(model, loss, SGD(model.parameters(), 0.1), rng=0)


def test_one_column_is_compared_as_a_probability_unless_a_threshold_is_set() -> None:
    run = column(SigmoidCrossEntropy())
    logits, target = run.model.predict(X), LABELS[:, None].astype(float)
    low: Any = partial(metrics.accuracy, threshold=0.6)
    found = run.evaluate(X, target, metrics={"half": metrics.accuracy, "more": low, "auc": metrics.roc_auc})
    assert found["half"] == np.mean((logits >= 0) == target)
    assert found["more"] == np.mean((logits >= np.log(0.6 / 0.4)) == target) != found["half"]
    assert found["auc"] == metrics.roc_auc(logits, target)


def test_columns_of_a_sigmoid_loss_are_several_labels() -> None:
    run, one_hot = column(SigmoidCrossEntropy(), 2), np.eye(2)[LABELS]
    expected = np.mean(((run.model.predict(X) >= 0) == one_hot).all(axis=1))
    assert run.evaluate(X, one_hot, metrics=[metrics.accuracy])["accuracy"] == expected
    squares = column(HalfSquaredError(), 2)
    prediction = squares.model.predict(X)
    found = [squares.evaluate(X, t, metrics=[metrics.accuracy])["accuracy"] for t in (one_hot, np.ones((20, 2)))]
    assert found == [np.mean(prediction.argmax(axis=1) == LABELS), np.mean((prediction >= 0.5).all(axis=1))]


HELD_OUT: list[tuple[Any, Any, Any, str]] = [
    (HalfSquaredError(), np.full((20, 1), 0.1), metrics.r2, "targets that vary"),
    (HalfSquaredError(), Y[:, :1], metrics.accuracy, "compared by r2"),
    (SigmoidCrossEntropy(), np.ones((20, 1)), metrics.roc_auc, "has only one of them"),
]


@pytest.mark.parametrize(("loss", "target", "metric", "words"), HELD_OUT, ids=range(3))
def test_a_metric_that_cannot_be_computed_is_found_before_training(
    loss: Any, target: Any, metric: Any, words: str
) -> None:
    run = column(loss)
    before = repr((kept(run), run.optimizer.vector.values))
    given: dict[str, Any] = {"epochs": 1, "metrics": {"own": metric}}
    doors: list[Callable[[], object]] = [
        lambda: run.fit(X, target, **given),
        lambda: run.fit(X, target, validation=0.5, **given),
        lambda: run.fit(X, np.linspace(0, 1, 20), validation=(X, target), **given),
        lambda: run.fit_batches([(X, target)], validation=(X, target), **given),
    ]
    for door in doors:
        with refused(DataError, words, "in the metric 'own'"):
            door()
    assert repr((kept(run), run.optimizer.vector.values)) == before


def test_metrics_of_predictions_that_are_not_finite_are_nan() -> None:
    run = column(HalfSquaredError())
    run.model.parameters()[0].value[:] = 1e300
    x = np.abs(X) * 1e300
    with np.errstate(all="ignore"):
        assert np.isnan(run.evaluate(x, Y[:, :1], metrics=[metrics.r2])["r2"])


def test_a_function_of_scikit_learn_is_refused_with_the_remedy() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    run = column(HalfSquaredError())
    for given in ([sk.r2_score], {"mine": partial(sk.r2_score, force_finite=False)}):
        with refused(ArgumentError, "r2_score of scikit-learn", '{"r2_score": lambda p, t: r2_score(t, p)}'):
            run.fit(X, Y[:, :1], epochs=1, metrics=given)
    assert len(run.history) == 0
    figures = run.evaluate(X, Y[:, :1], metrics={"a": lambda p, t: sk.r2_score(t, p), "b": metrics.r2})
    assert figures["a"] == pytest.approx(figures["b"], rel=1e-12)


def test_losses_give_the_probabilities_of_an_output() -> None:
    z = np.array([[0.0, 1.0], [-2.0, 3.0]])
    assert SigmoidCrossEntropy().probabilities(z) == pytest.approx(1 / (1 + np.exp(-z)))
    assert SoftmaxCrossEntropy().probabilities(z) == pytest.approx(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))
    assert BinaryCrossEntropy().probabilities(z) is CrossEntropy().probabilities(z) is z
    with refused(StructureError, "HalfSquaredError().probabilities: expected a loss such as SoftmaxCrossEntropy"):
        HalfSquaredError().probabilities(z)
    with refused(ShapeError, "use SigmoidCrossEntropy for two classes"):
        SoftmaxCrossEntropy().probabilities(z[:, :1])


def test_a_partial_has_the_name_of_its_function() -> None:
    run = trainer()
    half: Any = partial(metrics.accuracy)
    assert list(run.evaluate(X, LABELS, metrics=[half])) == ["loss", "accuracy"]
    with refused(ArgumentError, "each name once", "give a mapping"):
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


def test_metrics_of_a_poisson_loss_see_the_rate() -> None:
    model, wanted = Dense(2, 1).initialize(0), [metrics.mean_absolute_error]
    trainer = Trainer(model, PoissonLoss(), SGD(model.parameters(), 0.1))
    x, y = np.random.default_rng(0).normal(size=(9, 2)), np.arange(9.0)
    found = trainer.evaluate(x, y, metrics=wanted)["mean_absolute_error"]
    assert found == pytest.approx(np.abs(np.exp(model.predict(x)[:, 0]) - y).mean(), rel=1e-14)
    model.bias.value = np.array([1e4])
    with np.errstate(over="ignore"):
        assert np.isnan(trainer.evaluate(x, y, metrics=wanted)["mean_absolute_error"])
