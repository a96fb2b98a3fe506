from __future__ import annotations

from time import perf_counter

import numpy as np

from minidl import Add, Dense, Graph, StructureError, Tanh
from minidl.layers.graph import Node
from tests.refusal import refused


def test_a_cycle_is_named_from_the_node_that_closes_it() -> None:
    nodes: dict[str, Node] = {"out": (Tanh(), "a"), "a": (Tanh(), "b"), "b": (Add(), "x", "c"), "c": (Tanh(), "a")}
    with refused(StructureError, "node 'a' depends on itself: a ← b ← c ← a"):
        Graph(nodes, output="out")


def test_a_node_that_is_used_twice_is_computed_once_before_its_users() -> None:
    nodes: dict[str, Node] = {"out": (Add(), "a", "b"), "b": (Tanh(), "h"), "a": (Tanh(), "h"), "h": (Tanh(), "x")}
    x = np.array([[0.5, -2.0]])
    assert (Graph(nodes, output="out").predict(x) == 2 * np.tanh(np.tanh(x))).all()


def test_the_time_to_order_a_graph_grows_with_its_nodes() -> None:
    def seconds(depth: int) -> float:
        nodes: dict[str, Node] = {"0": (Dense(1, 1), "x")} | {str(n): (Tanh(), str(n - 1)) for n in range(1, depth)}
        start = perf_counter()
        Graph(nodes, output=str(depth - 1))
        return perf_counter() - start

    small, large = (min(seconds(depth) for _ in range(3)) for depth in (500, 8000))
    assert large < 64 * small  # 16 times the nodes; 256 times the seconds where it grows with the square
