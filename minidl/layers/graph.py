"""A named graph of layers and merges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy.typing as npt

from ..arrays import Array
from ..errors import ArgumentError, StructureError
from ..typing import override
from .component import Child
from .container import Container
from .layer import Layer
from .merge import Merge
from .structure import brief, check_part, locate

Node: TypeAlias = "tuple[Layer | Merge, *tuple[str, ...]]"

INPUT = "x"
"""The name under which the nodes find the input of the graph."""


class Graph(Container):
    """Compute named nodes from one another: each is a layer with one input, or a merge with several.

    The nodes may be given in any order; they are computed so that each comes after its inputs. A node that is used
    several times gets the sum of the gradients.

    Args:
        nodes: Maps the name of a node to its layer or merge and the names of its inputs; ``"x"`` is the input of the
            graph.
        output: Name of the node whose value is the output.

    Raises:
        StructureError: a cycle, an unknown name, a node that the output does not use, or widths that do not fit;
            each with the name of the node.

    Example:
        >>> import numpy as np
        >>> from minidl import Concat, Dense
        >>> nodes = {"h": (Dense(3, 8), "x"), "j": (Concat(), "x", "h"), "out": (Dense(11, 1), "j")}
        >>> graph = Graph(nodes, output="out")
        >>> graph(np.zeros((5, 3))).shape
        (5, 1)
    """

    def __init__(self, nodes: Mapping[str, Node], *, output: str) -> None:
        self.nodes = {name: _checked_node(name, node) for name, node in nodes.items()}
        self.output = output
        self._order = _topological_order(self.nodes, output)
        self._settle()
        self._in_features = self._width_from_nodes()
        if self._in_features is not None:
            self.output_features(self._in_features)

    @override
    def children(self) -> Iterator[tuple[str, Child]]:
        for name, (part, *_) in self.nodes.items():
            yield name, part

    @override
    def forward(self, x: Array) -> Array:
        values = {INPUT: self._enter(x)}
        for name in self._order:
            part, *inputs = self.nodes[name]
            try:
                values[name] = part.forward(*(values[source] for source in inputs))
            except Exception as error:
                locate(error, self, part)
                raise
        return self._leave(values[self.output])

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        gradients = _Gradients()
        gradients.add(self.output, grad)
        for name in reversed(self._order):
            part, *inputs = self.nodes[name]
            try:
                given = part.backward(gradients.of(name))
            except Exception as error:
                locate(error, self, part)
                raise
            for source, gradient in zip(inputs, given if isinstance(given, tuple) else (given,), strict=True):
                gradients.add(source, gradient)
        return gradients.of(INPUT)

    @override
    def predict(self, x: npt.ArrayLike) -> Array:
        values = {INPUT: self._enter(x)}
        for name in self._order:
            part, *inputs = self.nodes[name]
            try:
                values[name] = part.predict(*(values[source] for source in inputs))
            except Exception as error:
                locate(error, self, part)
                raise
        return values[self.output]

    @override
    def output_features(self, input_features: int) -> int:
        widths = {INPUT: input_features}
        for name in self._order:
            part, *inputs = self.nodes[name]
            given = [widths[source] for source in inputs]
            try:
                wanted = part.input_features() if isinstance(part, Layer) else None
                if wanted is not None and given != [wanted]:
                    raise StructureError(f"{brief(part)}: expected {wanted} features, {inputs[0]!r} gives {given[0]}")
                widths[name] = part.output_features(*given)
            except Exception as error:
                locate(error, self, part)
                raise
        return widths[self.output]

    def _width_from_nodes(self) -> int | None:
        """Find the width of the input from the layers that read it."""
        for part, *inputs in self.nodes.values():
            if INPUT in inputs and isinstance(part, Layer) and part.input_features() is not None:
                return part.input_features()
        return None

    @override
    def __repr__(self) -> str:
        lines = [f"  {name}: {brief(part)} <- {', '.join(inputs)}" for name, (part, *inputs) in self.nodes.items()]
        return "\n".join(["Graph(", *lines, f")  output {self.output!r}"])


class _Gradients:
    """Gradients by name; the second one for a name makes a sum of its own, which later ones are added to."""

    def __init__(self) -> None:
        self._found: dict[str, Array] = {}
        self._own: set[str] = set()

    def add(self, name: str, gradient: Array) -> None:
        if name not in self._found:
            self._found[name] = gradient
        elif name in self._own:
            self._found[name] += gradient
        else:
            self._found[name] = self._found[name] + gradient
            self._own.add(name)

    def of(self, name: str) -> Array:
        return self._found[name]


def _checked_node(name: str, node: Node) -> Node:
    """Return a node in its plain form; refuse one that is not (layer, input) or (merge, input, …)."""
    if not isinstance(name, str) or not name or name == INPUT or "." in name:
        raise ArgumentError(f"Graph: expected names of nodes other than {INPUT!r} and without a dot, got {name!r}")
    if not isinstance(node, tuple) or len(node) < 2 or not all(isinstance(source, str) for source in node[1:]):
        raise ArgumentError(f"Graph: expected node {name!r} as (layer, input) or (merge, input, …), got {node!r}")
    check_part(node[0], (Layer, Merge), f"Graph: node {name!r}")
    if isinstance(node[0], Layer) and len(node) > 2:
        raise StructureError(f"Graph: layer {brief(node[0])} of node {name!r} takes one input, got {list(node[1:])}; "
                             "merge them first, with Concat() or Add()")
    return node


def _topological_order(nodes: Mapping[str, Node], output: str) -> list[str]:
    """Order the nodes so that each comes after its inputs; refuse unknown names, cycles and unused nodes."""
    if output not in nodes:
        raise StructureError(f"Graph(output): expected one of the nodes {list(nodes)}, got {output!r}")
    order: dict[str, None] = {}  # these two are lists whose members are found at once
    entered = {output: None}
    waiting = [(output, iter(nodes[output][1:]))]
    while waiting:
        name, sources = waiting[-1]
        source = next((s for s in sources if s != INPUT and s not in order), None)
        if source is None:
            order[name] = None
            del entered[name]
            waiting.pop()
        elif source in entered:
            path = list(entered)
            cycle = " <- ".join([*path[path.index(source):], source])
            raise StructureError(f"Graph: node {source!r} depends on itself: {cycle}")
        elif source not in nodes:
            raise StructureError(f"Graph: node {name!r} has the unknown input {source!r}; known are {[INPUT, *nodes]}")
        else:
            entered[source] = None
            waiting.append((source, iter(nodes[source][1:])))
    unused = [name for name in nodes if name not in order]
    if unused:
        raise StructureError(f"Graph: the output {output!r} does not use the nodes {unused}; remove or connect them")
    if not any(INPUT in nodes[name][1:] for name in order):
        raise StructureError(f"Graph: no node reads the input {INPUT!r}")
    return list(order)
