from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from minidl import Add, Concat, Dense, Graph, Mean, Multiply, Parallel, Residual, Sequential, Tanh
from minidl._core.arrays import Array
from minidl.errors import DTypeError, ShapeError, StructureError
from minidl.layers import Merge
from tests.support.refusal import refused


@pytest.mark.parametrize("merge", [Concat(), Add(), Mean(), Multiply()], ids=repr)
@pytest.mark.parametrize("rows", [(3, 1), (1, 3), (3, 2), (0, 3)])
def test_inputs_of_different_rows_are_refused(merge: Merge, rows: tuple[int, int]) -> None:
    inputs = [np.ones((count, 2)) for count in rows]
    with refused(ShapeError, repr(merge), f"got ({rows[0]}, 2), ({rows[1]}, 2)"):
        merge.forward(*inputs)


@pytest.mark.parametrize("shape", [(3, 1), (1, 2)])
def test_a_product_refuses_a_gradient_that_numpy_would_broadcast(shape: tuple[int, int]) -> None:
    merge = Multiply()
    merge.forward(np.ones((3, 2)), np.ones((3, 2)))
    with refused(ShapeError, "Multiply(): expected a gradient of shape (3, 2)", f"got {shape}"):
        merge.backward(np.ones(shape))


@pytest.mark.parametrize("merge", [Concat(), Add(), Mean(), Multiply()], ids=repr)
@pytest.mark.parametrize("shape", [(3, 1), (1, 2)])
def test_graph_and_parallel_refuse_such_a_gradient_at_once(merge: Merge, shape: tuple[int, int]) -> None:
    wide = 4 if isinstance(merge, Concat) else 2
    parallel = Parallel(Dense(2, 2), Tanh(), merge=merge)
    graph = Graph({"h": (Dense(2, 2), "x"), "out": (copy.deepcopy(merge), "x", "h")}, output="out")
    for container in (parallel, graph):
        container.forward(np.ones((3, 2)))
        for backward in (container.backward, container.backward_parameters):
            with refused(ShapeError, f"{type(container).__name__}: expected a gradient of shape (3, {wide})"):
                backward(np.ones(shape))


def test_concat_gives_each_input_its_columns_of_the_gradient() -> None:
    merge = Concat()
    merge.forward(np.ones((2, 1)), np.ones((2, 3)), np.ones((2, 2)))
    grad = np.arange(12.0).reshape(2, 6)
    first, second, third = merge.backward(grad)
    assert (first == grad[:, :1]).all()
    assert (second == grad[:, 1:4]).all()
    assert (third == grad[:, 4:]).all()


def test_parallel_refuses_a_merge_that_is_none() -> None:
    with refused(DTypeError, "Parallel(merge): expected a Merge, got 5"):
        Parallel(Dense(2, 2), Tanh(), merge=5)  # type: ignore[arg-type]


def test_a_branch_without_parameters_has_a_backward_pass_of_parameters() -> None:
    branch = Sequential(Tanh())
    model = Parallel(branch, Dense(3, 2).initialize(0), merge=Concat())
    model.forward(np.ones((4, 3)))
    model.backward_parameters(np.ones((4, 5)))
    assert [parameter.has_grad for parameter in model.parameters()] == [True, True]


def test_residual_refuses_a_layer_that_changes_the_width() -> None:
    with refused(StructureError, "Residual: expected Sequential(…) to keep the width 3, got 2"):
        Residual(Sequential(Dense(3, 4), Dense(4, 2)))


@pytest.mark.parametrize("kind", [Add, Mean, Multiply, Concat])
def test_a_prediction_keeps_what_backward_needs_as_it_was(kind: type[Merge]) -> None:
    merge = kind()
    x, y = np.array([[1.0, 2.0]]), np.array([[3.0, 5.0]])
    out = merge.forward(x, y)
    before = merge.backward(np.ones_like(out))
    kept = dict(vars(merge))
    assert merge.predict(x, y).tolist() == out.tolist()
    merge.predict(np.zeros((4, 7)), np.zeros((4, 7)), np.zeros((4, 7)))
    assert vars(merge).keys() == kept.keys()
    assert all(vars(merge)[name] is value for name, value in kept.items())
    for gradient, again in zip(before, merge.backward(np.ones_like(out)), strict=True):
        assert gradient.tolist() == again.tolist()


def test_a_merge_that_overrides_forward_alone_predicts_by_it() -> None:
    class Negative(Add):
        def forward(self, *xs: Array) -> Array:
            return -super().forward(*xs)

    assert Negative().predict(np.array([[1.0]]), np.array([[2.0]])).tolist() == [[-3.0]]


def test_a_node_that_is_used_three_times_gets_the_sum_of_three_gradients() -> None:
    nodes: dict[str, Any] = {"h": (Tanh(), "x"), "a": (Add(), "h", "h"), "out": (Concat(), "a", "h", "h")}
    graph = Graph(nodes, output="out")
    graph.forward(np.zeros((1, 1)))
    grad = np.array([[1.0, 10.0, 100.0]])
    assert graph.backward(grad).tolist() == [[112.0]]
    assert grad.tolist() == [[1.0, 10.0, 100.0]]
