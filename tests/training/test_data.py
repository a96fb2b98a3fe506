from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Add,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Graph,
    HalfSquaredError,
    Huber,
    Loss,
    MeanAbsoluteError,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
)
from minidl._data import check_ending, checked
from minidl.errors import DataError, ShapeError, StructureError
from minidl.solvers import lbfgs, levenberg_marquardt
from tests.support.refusal import refused

MODEL = mlp([3, 4, 2], rng=0)
X, Y = np.ones((5, 3)), np.ones((5, 2))


def test_what_fits_is_not_copied() -> None:
    weights = np.ones(5)
    x, y, w = checked(MODEL, HalfSquaredError(), X, Y, weights)
    assert (x is X, y is Y, w is weights) == (True, True, True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_everything_is_cast_to_the_dtype_of_the_model(dtype: Any) -> None:
    arrays = checked(MODEL.astype(dtype), HalfSquaredError(), X.astype(int), Y.tolist(), [1] * 5)
    assert [array.dtype for array in arrays] == [dtype] * 3


def test_labels_stay_integers() -> None:
    labels = np.array([0, 1, 0, 1, 1], np.int8)
    assert checked(MODEL, SoftmaxCrossEntropy(), X, labels)[1].dtype == np.int8


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        (X[:, :2], Y, ShapeError, ["x: expected x of shape (batch, 3), got (5, 2)"]),
        (X, Y[:, :1], ShapeError, ["expected a target of shape (5, 2)", "got (5, 1)"]),
        (X, Y[:, 0], ShapeError, ["expected a target of shape (5, 2)", "got (5,)"]),
        (X[:4], Y, ShapeError, ["expected the same number of rows in x and y, got x 4, y 5"]),
        (X[:0], Y[:0], DataError, ["expected at least one row, got none"]),
        (np.where(X > 0, np.nan, X), Y, DataError, ["x: expected finite numbers, got nan at index (0, 0)"]),
        (X, np.where(Y > 0, -np.inf, Y), DataError, ["target y: expected finite numbers, got -inf at index (0, 0)"]),
    ],
)
def test_what_does_not_fit_is_refused(x: Any, y: Any, error: Any, words: list[str]) -> None:
    with refused(error, *words):
        checked(MODEL, HalfSquaredError(), x, y)


def test_numbers_too_large_for_float32_are_refused_and_not_trained_on() -> None:
    with refused(DataError, "x: expected finite numbers, got inf at index (0, 0)"):
        checked(MODEL.astype(np.float32), HalfSquaredError(), X * 1e300, Y)


def test_a_graph_that_ends_in_what_the_loss_contains_is_refused() -> None:
    inner = Sequential(Dense(3, 2), Graph({"p": (Softmax(), "x")}, output="p"))
    graph = Graph({"out": (inner, "h"), "h": (Tanh(), "x")}, output="out")
    with refused(StructureError, "Trainer: SoftmaxCrossEntropy() expects logits, but the model ends in Softmax()"):
        check_ending("Trainer", graph, SoftmaxCrossEntropy())
    check_ending("Trainer", graph, CrossEntropy())
    check_ending("Trainer", Graph({"out": (Add(), "x", "x")}, output="out"), SoftmaxCrossEntropy())


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), CrossEntropy()], ids=repr)
def test_a_loss_of_probabilities_for_a_model_with_any_output_is_refused(loss: Loss) -> None:
    words = f"{loss!r} expects probabilities, but the model ends in Dense(4 -> 2)", "Sigmoid()", "SoftmaxCrossEntropy()"
    with refused(StructureError, "Trainer: ", *words):
        Trainer(MODEL, loss, SGD(MODEL.parameters(), 0.1))
    with refused(StructureError, "lbfgs: ", *words):
        lbfgs(MODEL, X, Y / 2, loss=loss)
    for last in (Sigmoid(), Softmax()):
        check_ending("Trainer", Sequential(MODEL, last), loss)


ONE = mlp([3, 4, 1], rng=0)


class Series:
    """A table's column: an array can be made of it, and it cannot be indexed like one."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self._values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: object) -> object:
        raise KeyError(key)


@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanAbsoluteError(), BinaryCrossEntropy(), SigmoidCrossEntropy()])
def test_a_flat_target_is_a_column_for_a_model_with_one_output(loss: Loss) -> None:
    y = np.linspace(0, 1, 5)
    _, targets = checked(ONE, loss, X, y)
    assert targets.shape == (5, 1)
    assert np.shares_memory(targets, y)
    assert (targets[:, 0] == y).all()
    with refused(ShapeError, "expected a target of shape (5, 1) like the prediction, got (5,); use y[:, None]"):
        loss.forward(targets, y)


def test_labels_of_a_loss_that_takes_them_stay_flat() -> None:
    class Ordinal(Huber):
        @override
        def check_data(self, target: Any, width: int | None, dtype: Any) -> Any:
            return np.asarray(target)

    assert checked(ONE, Ordinal(), X, np.arange(5))[1].shape == (5,)
    assert checked(mlp([3, 2]), SoftmaxCrossEntropy(), X, [0, 1, 1, 0, 1])[1].shape == (5,)


def test_the_columns_of_a_table_are_data() -> None:
    y, w = np.arange(5.0), np.arange(1.0, 6.0)
    x, targets, weight = checked(ONE, HalfSquaredError(), Series(X), Series(y), Series(w))
    assert (x is X, targets.shape, weight is w) == (True, (5, 1), True)
    assert np.shares_memory(targets, y)
    labels = checked(MODEL, SoftmaxCrossEntropy(), X, Series([0, 1, 1, 0, 1]))[1]
    assert labels.tolist() == [0, 1, 1, 0, 1]


def test_every_way_in_takes_a_flat_target_like_a_column() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)

    def results(target: Any) -> list[Any]:
        model = mlp([3, 4, 1], rng=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
        trainer.fit(x, target, epochs=2, batch_size=4, validation=(x, target))
        trainer.fit(x, target, epochs=1, validation=0.25)
        trainer.fit_batches([(x, target)], epochs=1, validation=(x, target))
        found = [trainer.history.loss, trainer.history.validation_loss, trainer.evaluate(x, target)]
        for _ in range(2):
            found.append(lbfgs(model, x, target, validation=(x, target), max_iterations=3).loss)
            found.append(levenberg_marquardt(model, x, target, validation=(x, target), max_iterations=3).loss)
        return found

    assert results(y) == results(y[:, None]) == results(Series(y))
