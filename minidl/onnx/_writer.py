"""Write a model as nodes of ONNX: by the common rules, and by operators of ONNX where they are exact enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._rules import RULES, Builder, Value
from .._rules.layers import bounded_below
from .._rules.special import SCALE, erfc_coefficients
from ..errors import StructureError
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

ONLY_SINGLE = (
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
    "Hardmax", "LeakyRelu", "Mean", "Mish", "PRelu", "Selu", "Sinh", "Softplus", "Softsign", "Tan", "ThresholdedRelu",
)  # fmt: skip
"""Operators that onnxruntime 1.32 cannot compute in float64."""

Native = Callable[..., Value]


def _erfc(to: Writer, x: Value) -> Value:
    if to.dtype == np.float32:
        return 1.0 - to.node("Erf", x)
    coefficients, z = erfc_coefficients(), to.node("Abs", x)
    t = SCALE / (z + SCALE)
    powers = to.constant(np.arange(len(coefficients), dtype=np.float64), "erfc/powers")
    powers = to.node("Pow", to.node("Unsqueeze", 2.0 * t - 1.0, to.axes(2)), powers)
    right = to.node("Exp", -(z * z)) * t * to.node("MatMul", powers, to.constant(coefficients, "erfc/coefficients"))
    return to.apply("where", x, right, 2.0 - right)


def _largest(to: Writer, x: Value) -> Value:
    return to.node("ReduceMax", x, to.axes(1)) if to.opset >= 18 else to.node("ReduceMax", x, axes=[1])


OPERATIONS: dict[str, Native] = {
    "expm1": lambda to, x: to.node("Exp", x) - 1.0,
    "log1p": lambda to, x: to.node("Log", x + 1.0),
    "where": lambda to, x, y, z: to.node("Where", to.node("Greater", x, to.number(0.0)), y, z),
    "total": lambda to, x: to.node("ReduceSum", x, to.axes(1), keepdims=1),
    "largest": _largest,
    "dense": lambda to, x, *arrays: to.node("Gemm", x, *arrays, transB=1),
    "columns": lambda to, x, indices: to.node("Gather", x, indices, axis=1),
    "lookup": lambda to, x, table: to.node("Flatten", to.node("Gather", table, to.codes(x), axis=0), axis=1),
    "concat": lambda to, *xs: to.node("Concat", *xs, axis=1),
    "erfc": _erfc,
    **{name: lambda to, *xs, kind=kind: to.node(kind, *xs) for name, kind in OPERATORS.items()},
}
"""Maps each operation of the rules to what writes it."""

NATIVE: dict[type[Any], Native] = {
    Flatten: lambda layer, to, x: to.node("Flatten", x, axis=1),
    ReLU: lambda layer, to, x: to.node("Relu", x),
    Softmax: lambda layer, to, x: to.node("Softmax", x, axis=1),
    Mean: lambda layer, to, *xs: to.node("Sum", *xs) / len(xs) if len(xs) > 1 else xs[0],
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
    PReLU: lambda layer, to, x: to.node("PRelu", x, to.array(layer.weight)),
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
            self._native[GELU] = lambda layer, to, x: to.node("Gelu", bounded_below(to, x))

    def node(self, kind: str, *inputs: Value | str, **attributes: Any) -> Value:
        """Add one node with one output.

        Args:
            kind: Name of an operator of ONNX, such as ``"Sin"``.
            inputs: Results of other nodes, or of `array`.
            attributes: Attributes of the operator.

        Raises:
            StructureError: an operator that onnxruntime does not have in the dtype of the model.
        """
        if kind in ONLY_SINGLE and self.dtype != np.float32:
            raise StructureError(
                f'onnx.save: expected operators that onnxruntime computes in float64, got {kind} at "{self.path}"; '
                "save with dtype=np.float32, or write it by other operators: functions={f: lambda to, x: …}, or to_onnx"
            )
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
        found = OPERATIONS[operation](self, *inputs)
        found.width = width
        return found

    def axes(self, axis: int) -> Value:
        """Return an axis, as operators expect it."""
        return self.constant(np.array([axis]), f"axes/{axis}")

    def codes(self, x: Value) -> Value:
        """Return codes as whole numbers."""
        return self.node("Cast", x, to=self._onnx.TensorProto.INT64)

    @override
    def write(self, part: Component, *xs: Value) -> Value:
        function = self._functions.get(part.function) if type(part) is Activation else None
        if function is not None:
            return function(self, *xs) if callable(function) else self.node(function, *xs)
        native = self._native.get(type(part))
        found = native(part, self, *xs) if native else super().write(part, *xs)
        found.width = cast(Any, part).output_features(*(x.width for x in xs))
        return found
