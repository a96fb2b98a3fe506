"""What layers and losses refuse, with the words of the message; beside it what is just right, and passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl import (
    Add,
    BatchNorm,
    Columns,
    Dense,
    Embedding,
    Graph,
    LayerNorm,
    MeanSquaredError,
    Parallel,
    Residual,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    metrics,
)
from minidl.errors import ArgumentError, DataError, ShapeError, StructureError
from tests.support.refusal import refused


def graph(output: str = "h", **nodes: Any) -> Graph:
    return Graph({"h": (Dense(2, 3), "x"), **nodes}, output=output)


REFUSED: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a node without inputs": (lambda: graph(h=(Tanh(),)), ArgumentError,
                              "Graph: expected node 'h' as (layer, input) or (merge, input, …), got (Tanh(),)"),
    "a node that is a layer": (lambda: graph(h=Tanh()), ArgumentError, "as (layer, input) or (merge, input, …)"),
    "an input that is no name": (lambda: graph(h=(Tanh(), 1)), ArgumentError, "got (Tanh(), 1)"),
    "a layer with two inputs": (lambda: graph(h=(Dense(2, 1), "x", "x")), StructureError,
                                "Graph: layer Dense(2 -> 1) of node 'h' takes one input, got ['x', 'x']; merge them"),
    "an unknown output": (lambda: graph("out"), StructureError, "Graph(output): expected one of the nodes ['h'], got"),
    "an unknown input": (lambda: graph("k", k=(Add(), "h", "g")), StructureError,
                         "Graph: node 'k' has the unknown input 'g'; known are ['x', 'h', 'k']"),
    "an unused node": (lambda: graph(k=(Tanh(), "h")), StructureError,
                       "Graph: the output 'h' does not use the nodes ['k']; remove or connect them"),
    "a circle that does not read x": (lambda: graph(h=(Tanh(), "k"), k=(Tanh(), "h")), StructureError,
                                      "depends on itself"),
    "branches of two widths": (lambda: Parallel(Dense(2, 1), Tanh(), Dense(3, 1)), StructureError,
                               'Parallel: expected branches that take the same width, got "0" takes 2, "2" takes 3'),
    "a residual that narrows": (lambda: Residual(Columns([0])).forward(np.ones((4, 2))), ShapeError,
                                "Residual: expected Columns([0]) to keep the shape (4, 2), got (4, 1)"),
    "too few columns": (lambda: Columns([0, 2]).forward(np.ones((4, 2))), ShapeError,
                        "Columns([0, 2]): expected x with at least 3 columns, got (4, 2)"),
    "two columns of codes": (lambda: Embedding(3, 2).forward(np.ones((4, 2))), ShapeError,
                             "expected x of shape (batch, 1), got (4, 2)"),
    "a width of LayerNorm": (lambda: LayerNorm(3).forward(np.ones((4, 2))), ShapeError,
                             "expected x of shape (batch, 3), got (4, 2)"),
    "one row in BatchNorm": (lambda: BatchNorm(2).forward(np.ones((1, 2))), ShapeError,
                             "expected at least 2 rows in training, got 1; use a larger batch"),
    "probabilities of no classes": (lambda: MeanSquaredError().probabilities(np.ones((1, 2))), StructureError,
                                    "MeanSquaredError().probabilities: expected a loss such as SoftmaxCrossEntropy"),
    "probabilities of one class": (lambda: SoftmaxCrossEntropy().probabilities(np.ones((2, 1))), ShapeError,
                                   "an output for each class, got one, whose softmax is always 1"),
    "no labels": (lambda: SoftmaxCrossEntropy().forward(np.ones((0, 2)), np.zeros(0, int)), DataError,
                  "SoftmaxCrossEntropy(): expected at least one row, got an empty batch"),
    "labels of three dimensions": (lambda: metrics.accuracy(np.ones((2, 2)), np.ones((2, 2, 2), int)), ShapeError,
                                   "expected labels (rows,) or rows of 0 and 1, got a target of shape (2, 2, 2)"),
    **{f"the code {code}": (lambda code=code: Embedding(3, 2).forward(np.array([[0.0], [code]])),  # type: ignore[misc]
                            DataError, f"expected whole codes in 0 … 2, got {code} at row 1")
       for code in (-1.0, 0.5, 3.0, np.nan)},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_its_words(case: str) -> None:
    call, error, words = REFUSED[case]
    with refused(error, words):  # type: ignore[arg-type]
        call()


def test_what_just_fits_passes() -> None:
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert Columns([0, 2]).forward(x).tolist() == [[1, 3], [4, 6]]
    table = Embedding(3, 2).initialize(0)
    assert np.array_equal(table.forward(np.array([[0.0], [2.0]])), table.weight.value[[0, 2]])
    assert np.isfinite(BatchNorm(3).forward(x)).all()
    assert np.array_equal(Residual(Columns([1, 0, 2])).forward(x), x + x[:, [1, 0, 2]])
    assert graph("k", k=(Add(), "h", "h")).predict(x[:, :2]).shape == (2, 3)
    assert SoftmaxCrossEntropy().forward(np.zeros((2, 2)), np.array([0, 1])) == pytest.approx(np.log(2), rel=1e-15)
    assert Sequential(Parallel(Dense(2, 1), Tanh())).predict(x[:, :2]).shape == (2, 3)
