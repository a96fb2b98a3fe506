from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import (
    SGD,
    Add,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Graph,
    HalfSquaredError,
    Loss,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
)
from minidl.data import check_ending, checked
from minidl.errors import DataError, ShapeError, StructureError
from minidl.solvers import lbfgs
from tests.refusal import refused

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
def test_a_loss_from_probabilities_over_a_model_that_gives_any_number_is_refused(loss: Loss) -> None:
    words = f"{loss!r} expects probabilities, but the model ends in Dense(4 -> 2)", "Sigmoid()", "SoftmaxCrossEntropy()"
    with refused(StructureError, "Trainer: ", *words):
        Trainer(MODEL, loss, SGD(MODEL.parameters(), 0.1))
    with refused(StructureError, "lbfgs: ", *words):
        lbfgs(MODEL, X, Y / 2, loss=loss)
    for last in (Sigmoid(), Softmax()):
        check_ending("Trainer", Sequential(MODEL, last), loss)
