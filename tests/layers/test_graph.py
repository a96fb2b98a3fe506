from __future__ import annotations

import numpy as np

from minidl import Add, Graph, Tanh
from minidl.errors import StructureError
from minidl.layers.graph import Node
from tests.support.refusal import refused


def test_a_cycle_is_named_from_the_node_that_closes_it() -> None:
    nodes: dict[str, Node] = {"out": (Tanh(), "a"), "a": (Tanh(), "b"), "b": (Add(), "x", "c"), "c": (Tanh(), "a")}
    with refused(StructureError, "node 'a' depends on itself: a <- b <- c <- a"):
        Graph(nodes, output="out")


def test_a_node_that_is_used_twice_is_computed_once_before_its_users() -> None:
    nodes: dict[str, Node] = {"out": (Add(), "a", "b"), "b": (Tanh(), "h"), "a": (Tanh(), "h"), "h": (Tanh(), "x")}
    x = np.array([[0.5, -2.0]])
    assert (Graph(nodes, output="out").predict(x) == 2 * np.tanh(np.tanh(x))).all()
