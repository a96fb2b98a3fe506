from __future__ import annotations

import copy

import numpy as np
import pytest

from minidl import Add, Concat, Dense, Graph, Mean, Multiply, Parallel, Tanh
from minidl.errors import ShapeError
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
def test_graph_and_parallel_refuse_such_a_gradient_at_their_door(merge: Merge, shape: tuple[int, int]) -> None:
    wide = 4 if isinstance(merge, Concat) else 2
    parallel = Parallel(Dense(2, 2), Tanh(), merge=merge)
    graph = Graph({"h": (Dense(2, 2), "x"), "out": (copy.deepcopy(merge), "x", "h")}, output="out")
    for container in (parallel, graph):
        container.forward(np.ones((3, 2)))
        for door in (container.backward, container.backward_parameters):
            with refused(ShapeError, f"{type(container).__name__}: expected a gradient of shape (3, {wide})"):
                door(np.ones(shape))
