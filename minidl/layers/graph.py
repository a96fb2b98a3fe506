"""A named graph of layers and merges."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array
from ..errors import ArgumentError, DTypeError, StructureError
from ._container import Container, located
from ._structure import check_part, one_line, refuse_repeated_layers
from .base import Layer, prediction, trait
from .merges import Merge

Node: TypeAlias = "tuple[Layer | Merge, *tuple[str, ...]]"

INPUT = "x"
"""The name under which the nodes find the input of the graph."""


class Graph(Container):
    """Compute named nodes from one another: each is a layer with one input, or a merge with several.

    Forward:
        vᵢ = fᵢ(vⱼ, vₖ, …)
    Backward:
        ∂e/∂vⱼ = Σ over nodes i that read vⱼ of ∂e/∂vᵢ ∂fᵢ/∂vⱼ

    Node i has the value vᵢ. The nodes may be given in any order; they are computed so that each comes after its inputs.

    Args:
        nodes: Maps the name of a node to its layer or merge and the names of its inputs; ``"x"`` is the input of the
            graph.
        output: Name of the output node.

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

    _unnamed = "parts"

    def __init__(self, nodes: Mapping[str, Node], *, output: str) -> None:
        if not isinstance(nodes, Mapping):
            raise DTypeError(f"Graph(nodes): expected a mapping {{name: (layer, input)}}, got {nodes!r}")
        checked = {name: _checked_node(name, node) for name, node in nodes.items()}
        self.parts: dict[str, Layer | Merge] = {name: node[0] for name, node in checked.items()}
        self.inputs: dict[str, tuple[str, ...]] = {name: node[1:] for name, node in checked.items()}
        self.output = output
        self.order: list[str] = _topological_order(self.inputs, output)
        refuse_repeated_layers(self)
        readers = [part for name, part in self.parts.items() if INPUT in self.inputs[name] and isinstance(part, Layer)]
        self.in_features: int | None = next(filter(None, [trait(part, "in_features") for part in readers]), None)
        if self.in_features is not None:
            self.output_features(self.in_features)

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes as they were given."""
        return {name: (part, *self.inputs[name]) for name, part in self.parts.items()}

    @override
    def forward(self, x: Array) -> Array:
        values = {INPUT: self._checked_input(x)}
        with located:
            for name in self.order:
                part = self.parts[name]
                given = [values[source] for source in self.inputs[name]]
                values[name] = part.forward(*given)
        y = values[self.output]
        self._output_shape = y.shape
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        gradients = {self.output: grad}
        with located:
            for name in reversed(self.order):
                part = self.parts[name]
                found = part.backward(gradients[name])
                each = found if isinstance(found, tuple) else (found,)
                for source, gradient in zip(self.inputs[name], each, strict=True):
                    gradients[source] = gradients[source] + gradient if source in gradients else gradient
        return gradients[INPUT]

    def compute(self, x: npt.ArrayLike) -> Array:
        """Predict by each node in order."""
        values = {INPUT: self._checked_input(x)}
        with located:
            for name in self.order:
                part = self.parts[name]
                given = [values[source] for source in self.inputs[name]]
                if isinstance(part, Layer):
                    values[name] = prediction[type(part)](part, *given)
                else:
                    values[name] = part.predict(*given)
        return values[self.output]

    @override
    def output_features(self, input_features: int) -> int:
        widths = {INPUT: input_features}
        with located:
            for name in self.order:
                part, inputs = self.parts[name], self.inputs[name]
                given = [widths[source] for source in inputs]
                wanted = trait(part, "in_features") if isinstance(part, Layer) else None
                if wanted is not None and given != [wanted]:
                    gives = f"{inputs[0]!r} gives {given[0]}"
                    raise StructureError(f"{one_line(part)}: expected {wanted} features, {gives}")
                widths[name] = part.output_features(*given)
        return widths[self.output]

    @override
    def _wiring(self) -> Mapping[str, tuple[str, ...]]:
        return {name: self.inputs[name] for name in self.order}

    @override
    def __repr__(self) -> str:
        lines = [f"  {name}: {one_line(part)} <- {', '.join(inputs)}" for name, (part, *inputs) in self.nodes.items()]
        return "\n".join(["Graph(", *lines, f")  output {self.output!r}"])


def _checked_node(name: str, node: Node) -> Node:
    """Return a node in its plain form; refuse one that is not (layer, input) or (merge, input, …)."""
    if not isinstance(name, str) or not name or name == INPUT or "." in name or not name.isprintable():
        raise ArgumentError(f"Graph: expected names of nodes other than {INPUT!r} and without a dot, "
                            f"in printable characters, got {name!a}")
    if not isinstance(node, tuple) or len(node) < 2 or not all(isinstance(source, str) for source in node[1:]):
        raise ArgumentError(f"Graph: expected node {name!r} as (layer, input) or (merge, input, …), got {node!r}")
    check_part(node[0], (Layer, Merge), f"Graph: node {name!r}")
    if isinstance(node[0], Layer) and len(node) > 2:
        raise StructureError(f"Graph: layer {one_line(node[0])} of node {name!r} takes one input, "
                             f"got {list(node[1:])}; merge them first, with Concat() or Add()")
    return node


def _topological_order(inputs: Mapping[str, tuple[str, ...]], output: str) -> list[str]:
    """Order the nodes so that each comes after its inputs; refuse unknown names, cycles and unused nodes."""
    if not isinstance(output, str) or output not in inputs:
        raise StructureError(f"Graph(output): expected one of the nodes {list(inputs)}, got {output!r}")
    known = [INPUT, *inputs]
    for name, sources in inputs.items():
        unknown = [source for source in sources if source not in known]
        if unknown:
            raise StructureError(f"Graph: node {name!r} has the unknown input {unknown[0]!r}; known are {known}")
    try:
        order = [name for name in TopologicalSorter(inputs).static_order() if name != INPUT]
    except CycleError as error:
        cycle = error.args[1][::-1]
        raise StructureError(f"Graph: node {cycle[0]!r} depends on itself: {' <- '.join(cycle)}") from None
    used = {output}
    for name in reversed(order):
        if name in used:
            used.update(inputs[name])
    unused = [name for name in inputs if name not in used]
    if unused:
        raise StructureError(f"Graph: the output {output!r} does not use the nodes {unused}; remove or connect them")
    return order
