"""What is held out of the data, and the figures of an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import SGD, HalfSquaredError, SoftmaxCrossEntropy, Trainer, metrics, mlp
from minidl.errors import ArgumentError, DTypeError
from minidl.training.evaluation import Validation
from tests.refusal import refused

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
        trainer().measure(X, LABELS, {"nothing": nothing})


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


def test_what_is_neither_a_pair_nor_a_fraction_is_refused() -> None:
    with refused(DTypeError, "validation: expected (x, y), or", "a fraction of the rows such as 0.2, got '0.2'"):
        trainer().fit(X, LABELS, epochs=1, validation="0.2")  # type: ignore[arg-type]
