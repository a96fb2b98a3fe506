from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import Add, Dense, Graph, Tanh
from minidl.errors import ArgumentError, DTypeError, StructureError
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


def test_widths_that_do_not_fit_are_refused_with_both_nodes() -> None:
    with refused(StructureError, "Dense(5 -> 1): expected 5 features, 'h' gives 4", 'at layer "out"'):
        Graph({"h": (Dense(3, 4), "x"), "out": (Dense(5, 1), "h")}, output="out")


@pytest.mark.parametrize("name", ["x", "", "a.b", 5, "a\xa0b", "a\nb"])
def test_a_name_that_no_node_can_have_is_refused(name: Any) -> None:
    with refused(ArgumentError, "Graph: expected names of nodes other than 'x' and without a dot", f"got {name!r}"):
        Graph({name: (Tanh(), "x")}, output=name)


def test_a_node_that_is_no_layer_is_refused() -> None:
    with refused(DTypeError, "Graph(nodes): expected a mapping {name: (layer, input)}, got 3"):
        Graph(3, output="out")  # type: ignore[arg-type]
    with refused(DTypeError, "Graph: node 'out': expected a Layer or Merge, got 5"):
        Graph({"out": (5, "x")}, output="out")  # type: ignore[dict-item]


@pytest.mark.parametrize("node", [(Tanh(),), [Tanh(), "x"], (Tanh(), 3), (Add(), "x", Tanh()), Tanh(), ()])
def test_a_node_without_its_inputs_is_refused(node: Any) -> None:
    with refused(ArgumentError, "Graph: expected node 'out' as (layer, input) or (merge, input, …), got "):
        Graph({"out": node}, output="out")


NODES: dict[str, Node] = {"h": (Dense(3, 3), "x"), "out": (Add(), "h", "x")}


@pytest.mark.parametrize(
    ("nodes", "output", "words"),
    [
        (NODES, "y", "Graph(output): expected one of the nodes ['h', 'out'], got 'y'"),
        (NODES, "h", "Graph: the output 'h' does not use the nodes ['out']; remove or connect them"),
        ({"h": (Tanh(), "z")}, "h", "Graph: node 'h' has the unknown input 'z'; known are ['x', 'h']"),
        ({"h": (Add(), "x", "z")}, "h", "Graph: node 'h' has the unknown input 'z'; known are ['x', 'h']"),
        ({"h": (Tanh(), "x", "x")}, "h", "Graph: layer Tanh() of node 'h' takes one input, got ['x', 'x']"),
    ],
)
def test_nodes_that_are_not_connected_are_refused(nodes: dict[str, Node], output: str, words: str) -> None:
    with refused(StructureError, words):
        Graph(nodes, output=output)
