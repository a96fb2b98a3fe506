"""Write a model as nodes of ONNX: by the common rules, and by operators of ONNX where they are exact enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._rules import RULES, Builder, Value
from .._rules.special import SCALE, erfc_coefficients
from ..errors import ArgumentError, StructureError
from ..layers import (
    ELU,
    GELU,
    Activation,
    BatchNorm,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Mean,
    PReLU,
    ReLU,
    Softmax,
    Softplus,
)
from ..layers.base import Component, Layer

OPERATORS = {
    "+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "maximum": "Max", "minimum": "Min",
    **{name: name.capitalize() for name in (
        "abs", "asinh", "atan", "cos", "cosh", "exp", "log", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh",
    )},
}  # fmt: skip
"""The functions of rules that are operators of ONNX."""

ONLY_SINGLE = ("Asinh", "Atan", "Cosh", "Erf", "Sinh", "Tan")
"""Operators of these rules that onnxruntime 1.32 cannot compute in float64."""

Native = Callable[..., Value]

NATIVE: dict[type[Any], Native] = {
    Flatten: lambda layer, to, x: to.node("Flatten", x, axis=1),
    ReLU: lambda layer, to, x: to.node("Relu", x),
    Softmax: lambda layer, to, x: to.node("Softmax", x, axis=1),
    Mean: lambda layer, to, *xs: to.node("Sum", *xs) / len(xs),
    BatchNorm: lambda layer, to, x: (
        (x - to.array(layer.running_mean)) / to.apply("sqrt", to.array(layer.running_var) + layer.epsilon)
        * to.array(layer.weight) + to.array(layer.bias)
    ),
}  # fmt: skip
"""Operators for a whole layer, in float32 and float64. All weights of a layer stay in the file, under their names."""

SINGLE: dict[type[Any], Native] = {
    ELU: lambda layer, to, x: to.node("Elu", x, alpha=layer.alpha),
    LeakyReLU: lambda layer, to, x: to.node("LeakyRelu", x, alpha=layer.slope),
    Mean: lambda layer, to, *xs: to.node("Mean", *xs),
    PReLU: lambda layer, to, x: to.node("PRelu", x, to.array(layer.weight, "weight")),
    Softplus: lambda layer, to, x: to.node("Softplus", x),
    BatchNorm: lambda layer, to, x: to.node(
        "BatchNormalization", x,
        *(to.array(part) for part in (layer.weight, layer.bias, layer.running_mean, layer.running_var)),
        epsilon=layer.epsilon,
    ),
    LayerNorm: lambda layer, to, x: to.node(
        "LayerNormalization", x, to.array(layer.weight), to.array(layer.bias), axis=-1, epsilon=layer.epsilon
    ),
}  # fmt: skip
"""The same, in float32 only: attributes of ONNX are float32, and onnxruntime has few of these in float64."""


class Writer(Builder):
    """Make nodes and initializers.

    A method ``to_onnx(self, to, x)`` of a layer gets it as ``to``, and may call `node` besides the operations.

    Attributes:
        nodes: The nodes.
        initializers: Maps the name of each constant to its array.
    """

    hooks: ClassVar = ("to_onnx", "export")
    advice: ClassVar = ", or give functions={f: 'Sin'} with the name of an operator of ONNX"

    def __init__(self, onnx: Any, model: Layer, opset: int, functions: Mapping[Any, Any], dtype: Any) -> None:
        super().__init__(model, "onnx.save", RULES, dtype)
        self._onnx = onnx
        self.opset = opset
        self._functions = functions
        self.nodes: list[Any] = []
        self.initializers: dict[str, npt.NDArray[Any]] = {}
        self._count: Counter[str] = Counter()
        single = self.dtype == np.float32
        self._native = NATIVE | (SINGLE if single else {})
        if single and opset >= 20:
            self._native[GELU] = lambda layer, to, x: to.node("Gelu", x)

    def node(self, kind: str, *inputs: Value | str, **attributes: Any) -> Value:
        """Add one node with one output.

        Args:
            kind: Name of an operator of ONNX, such as ``"Sin"``.
            inputs: Results of other nodes, or of `array`.
            attributes: Attributes of the operator.
        """
        label = f"{self.path or 'model'}/{kind}"
        self._count[label] += 1
        name = label if self._count[label] == 1 else f"{label}_{self._count[label]}"
        names = [value.name if isinstance(value, Value) else value for value in inputs]
        self.nodes.append(self._onnx.helper.make_node(kind, names, [name], name=name, **attributes))
        widths = [value.width for value in inputs if isinstance(value, Value)]
        return Value(self, name, max(widths, default=1))

    @override
    def number(self, value: float) -> Value:
        return self.constant(np.array(value, self.dtype), f"number/{value!r}")

    @override
    def constant(self, value: npt.NDArray[Any], name: str) -> Value:
        self.initializers[name] = value
        return Value(self, name, value.shape[-1] if value.ndim else 1)

    @override
    def add(self, operation: str, width: int, *inputs: Value) -> Value:
        own = getattr(self, f"_{operation}", None)
        if own is None:
            kind = OPERATORS[operation]
            if kind in ONLY_SINGLE and self.dtype != np.float32:
                raise StructureError(
                    f'onnx.save: expected operators that onnxruntime computes in float64, got {kind} at "{self.path}"; '
                    "save with dtype=np.float32, or give functions={f: lambda to, x: …}"
                )
            own = lambda *values: self.node(kind, *values)  # noqa: E731 - as the methods below
        found: Value = own(*inputs)
        found.width = width
        return found

    @override
    def write(self, part: Component, *xs: Value) -> Value:
        function = self._functions.get(part.function) if type(part) is Activation else None
        if function is not None:
            return function(self, *xs) if callable(function) else self.node(function, *xs)
        native = self._native.get(type(part))
        found = native(part, self, *xs) if native else super().write(part, *xs)
        found.width = part.output_features(*(x.width for x in xs))
        return found

    def _axes(self, axis: int) -> Value:
        return self.constant(np.array([axis]), f"axes/{axis}")

    def _expm1(self, x: Value) -> Value:
        return self.node("Exp", x) - 1.0

    def _log1p(self, x: Value) -> Value:
        return self.node("Log", x + 1.0)

    def _where(self, x: Value, y: Value, z: Value) -> Value:
        return self.node("Where", self.node("Greater", x, self.number(0.0)), y, z)

    def _total(self, x: Value) -> Value:
        return self.node("ReduceSum", x, self._axes(1), keepdims=1)

    def _largest(self, x: Value) -> Value:
        return self.node("ReduceMax", x, self._axes(1)) if self.opset >= 18 else self.node("ReduceMax", x, axes=[1])

    def _dense(self, x: Value, *arrays: Value) -> Value:
        return self.node("Gemm", x, *arrays, transB=1)

    def _columns(self, x: Value, indices: Value) -> Value:
        return self.node("Gather", x, indices, axis=1)

    def _lookup(self, x: Value, table: Value) -> Value:
        codes = self.node("Cast", x, to=self._onnx.TensorProto.INT64)
        return self.node("Flatten", self.node("Gather", table, codes, axis=0), axis=1)

    def _concat(self, *xs: Value) -> Value:
        return self.node("Concat", *xs, axis=1)

    def _erfc(self, x: Value) -> Value:
        if self.dtype == np.float32:
            return 1.0 - self.node("Erf", x)
        coefficients = erfc_coefficients()
        z = self.node("Abs", x)
        t = SCALE / (z + SCALE)
        powers = self.node("Pow", self.node("Unsqueeze", 2.0 * t - 1.0, self._axes(2)),
                           self.constant(np.arange(len(coefficients), dtype=np.float64), "erfc/powers"))
        sums = self.node("MatMul", powers, self.constant(coefficients, "erfc/coefficients"))
        right = self.node("Exp", -(z * z)) * t * sums
        return self._where(x, right, 2.0 - right)


def check_opset(onnx: Any, opset: int) -> None:
    """Refuse a version of the operators that is not known here."""
    newest = onnx.defs.onnx_opset_version()
    if not 17 <= opset <= newest:
        raise ArgumentError(f"onnx.save(opset): expected 17 to {newest}, the newest of onnx {onnx.__version__}, "
                            f"got {opset}")
