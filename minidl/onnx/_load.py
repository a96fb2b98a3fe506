"""Load a network from an ONNX file."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import path_text
from ..errors import ArgumentError, FileFormatError, StructureError
from ..layers import Add, Concat, Graph, Identity, Mean, Merge, Multiply, Sequential
from ..layers.base import Layer
from ._package import onnx_package
from ._patterns import PATTERNS
from ._verify import verify

PASSED = ("Identity", "Dropout", "Cast")
"""Operators that leave numbers as they are in prediction."""

FOLDED = ("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that are computed at once, if their input is a constant."""

MERGES: dict[str, type[Merge]] = {"Add": Add, "Sum": Add, "Mul": Multiply, "Mean": Mean, "Concat": Concat}

COMMUTATIVE = ("Add", "Mul")


def load(path: str | os.PathLike[str], *, output: str | None = None) -> Sequential | Graph:
    """Load a network from an ONNX file: one of `save`, or of dense layers from PyTorch, scikit-learn or others.

    The result is compared with the reference implementation of ONNX on some rows. Nothing of the file is run.

    Args:
        path: The file.
        output: Name of the output, or of any result in the file; None for the first output.

    Returns:
        A `Sequential` where the layers are a chain, else a `Graph`.

    Raises:
        FileFormatError: the file is not a right ONNX file.
        StructureError: an operator that is no part of a layer of minidl; the message names it.
        ArgumentError: the file has no such output.
        ImportError: the package ``onnx`` is not installed.
        OSError: there is no such file, or it may not be read.
    """
    source, onnx = path_text(path), onnx_package("onnx.load")
    try:
        made = onnx.load(source)
        onnx.checker.check_model(made, full_check=True)
    except OSError:
        raise
    except Exception as error:
        found = " ".join(str(error).split())[:200]
        raise FileFormatError(source, "a right ONNX model", f"{type(error).__name__}: {found}") from None
    reader = _Reader(onnx, made, source, output)
    model = reader.network()
    sizes = [size.dim_value for size in reader.input.type.tensor_type.shape.dim[1:]]
    shape = tuple(sizes) if sizes and all(sizes) else (model.in_features or 1,)
    verify(onnx, made, model, shape, reader.output, "onnx.load")
    return model


class _Reader:
    """The nodes that an output needs, and the layers that they are."""

    def __init__(self, onnx: Any, made: Any, path: str, output: str | None) -> None:
        graph, self.path = made.graph, path
        self._onnx = onnx
        self.constants: dict[str, npt.NDArray[Any]] = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise StructureError(f"onnx.load: expected one input, got {[value.name for value in inputs]}")
        self.input = inputs[0]
        self.output = graph.output[0].name if output is None else output
        known = {name for node in graph.node for name in node.output}
        if self.output not in known:
            outputs = [value.name for value in graph.output]
            raise ArgumentError(f"onnx.load(output): expected a result in the file, such as {outputs}, got {output!r}")
        needed, nodes = {self.output}, []
        for node in reversed(graph.node):
            if needed & {*node.output}:
                nodes.append(node)
                needed |= {*node.input}
        del graph.node[:], graph.output[:]
        graph.node.extend(reversed(nodes))
        graph.output.append(onnx.helper.make_empty_tensor_value_info(self.output))
        self.aliases: dict[str, str] = {}
        self.nodes: dict[str, Any] = {}
        for node in graph.node:
            self._read(node)

    def _read(self, node: Any) -> None:
        """Note what makes a result: nothing for a constant, or for one that is equal to its input."""
        name, alone = node.output[0], node.op_type in MERGES and len(node.input) == 1
        if node.op_type == "Constant" or (node.op_type in FOLDED and all(self._is_constant(i) for i in node.input)):
            given = {given: self.constants[self._source(given)] for given in node.input}
            self.constants[name] = self._onnx.reference.ReferenceEvaluator(node).run(None, given)[0]
        elif alone or (node.op_type in PASSED and not self._to_integers(node)):
            self.aliases[name] = self._source(node.input[0])
        else:
            self.nodes[name] = node

    def _to_integers(self, node: Any) -> bool:
        return node.op_type == "Cast" and self._attributes(node)["to"] not in (1, 11)  # float32, float64

    def _attributes(self, node: Any) -> dict[str, Any]:
        return {given.name: self._onnx.helper.get_attribute_value(given) for given in node.attribute}

    def _source(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _is_constant(self, name: str) -> bool:
        return self._source(name) in self.constants

    def network(self) -> Sequential | Graph:
        """Recognize the layers from the output to the input."""
        last, found = self._source(self.output), dict[str, tuple[Any, list[str]]]()
        waiting = [last]
        while waiting:
            name = waiting.pop()
            if name not in found and name != self.input.name:
                found[name] = self._recognized(name)
                waiting += found[name][1]
        chain, name = [], last
        while name != self.input.name and isinstance(found[name][0], Layer):
            chain.append(found[name][0])
            name = found[name][1][0]
        if name == self.input.name and len(chain) == len(found):
            return Sequential(*reversed(chain or [Identity()]))
        labels = {self.input.name: "x"}
        for place, name in enumerate(reversed(found)):
            labels[name] = f"{type(found[name][0]).__name__.lower()}_{place}"
        nodes = {labels[name]: (found[name][0], *(labels[each] for each in found[name][1])) for name in reversed(found)}
        return Graph(nodes, output=labels[last])

    def _recognized(self, name: str) -> tuple[Any, list[str]]:
        """Return the layer or merge that gives a result, and the names of its inputs."""
        node = self.nodes.get(name)
        if node is None:
            raise StructureError(f"onnx.load: expected a result that depends on the input, got {name!r}")
        attributes = self._attributes(node)
        for pattern, make in PATTERNS:
            for names in self._matches(pattern, name, {}):
                constants = {key: self.constants[value] for key, value in names.items() if key != "x"}
                layer = make(constants, attributes)
                if layer is not None:
                    return layer, [names["x"]]
        inputs = [self._source(each) for each in node.input]
        above = self.nodes.get(inputs[0]) if node.op_type == "Div" else None
        if above is not None and above.op_type == "Sum" and self._is_number(inputs[1], len(above.input)):
            return Mean(), [self._source(each) for each in above.input]
        if node.op_type in MERGES and not any(map(self._is_constant, inputs)) and len(inputs) > 1:
            return MERGES[node.op_type](), inputs
        raise StructureError(
            f'{self.path}: expected operators that are layers of minidl, got {node.op_type} at "{node.name or name}"; '
            "load(path, output=…) reads a result before it"
        )

    def _is_number(self, name: str, value: float) -> bool:
        found = self.constants.get(name)
        return found is not None and found.size == 1 and bool(np.isclose(found.item(), value, rtol=1e-6, atol=0.0))

    def _matches(self, pattern: ast.expr, name: str, found: dict[str, str]) -> Iterator[dict[str, str]]:
        """Yield each way in which a result fits a pattern: the names of x and of the constants."""
        name = self._source(name)
        if isinstance(pattern, ast.Name):
            fits = self._is_constant(name) != (pattern.id == "x")
            if fits and found.get(pattern.id, name) == name:
                yield {**found, pattern.id: name}
        elif isinstance(pattern, ast.Call):
            node, (kind, wanted) = self.nodes.get(name), (ast.unparse(pattern.func), pattern.args)
            if node is not None and node.op_type == kind and len(node.input) == len(wanted):
                given = [*node.input]
                for inputs in (given, given[::-1]) if kind in COMMUTATIVE else (given,):
                    yield from self._all_match(wanted, inputs, found)
        elif self._is_number(name, ast.literal_eval(pattern)):
            yield found

    def _all_match(self, patterns: list[ast.expr], names: list[str], found: dict[str, str]) -> Iterator[dict[str, str]]:
        if not patterns:
            yield found
            return
        for first in self._matches(patterns[0], names[0], found):
            yield from self._all_match(patterns[1:], names[1:], first)
