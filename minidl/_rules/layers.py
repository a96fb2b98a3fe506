"""The rules of the built-in layers, merges and containers: what each computes in prediction."""

from __future__ import annotations

from functools import reduce
from operator import add, mul
from typing import Any

import numpy as np

from .._files.tables import name_of
from ..errors import StructureError
from ..layers import (
    ELU,
    GELU,
    Activation,
    Add,
    BatchNorm,
    Columns,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Graph,
    Identity,
    LayerNorm,
    LeakyReLU,
    Mean,
    Multiply,
    Parallel,
    PReLU,
    ReLU,
    Rescale,
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
)
from .builder import Builder, Rule, Value

FUNCTIONS: dict[str, Rule] = {
    "numpy.square": lambda to, x: x * x,
    "numpy.negative": lambda to, x: -x,
    "numpy.reciprocal": lambda to, x: 1.0 / x,
    "scipy.special.expit": lambda to, x: to.apply("sigmoid", x),
    "scipy.special.erf": lambda to, x: 1.0 - to.apply("erfc", x),
    "scipy.special.erfc": lambda to, x: to.apply("erfc", x),
    "scipy.special.ndtr": lambda to, x: 0.5 * to.apply("erfc", -(0.5**0.5) * x),
    **{
        f"numpy.{name}": lambda to, x, function=function: to.apply(function, x)
        for name, function in {
            "absolute": "abs", "fabs": "abs", "arctan": "atan", "arcsinh": "asinh",
            **{name: name for name in
               ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log", "log1p", "sqrt")},
        }.items()
    },
}  # fmt: skip
"""The functions of an `Activation` that are known, by their names in files."""


def bounded_below(to: Builder, x: Value) -> Value:
    """Replace −∞ by the smallest finite number, because −∞ · 0 is NaN."""
    return to.apply("maximum", x, float(np.finfo(to.dtype).min))


def _activation(layer: Activation, to: Builder, x: Value) -> Value:
    function = FUNCTIONS.get(name_of(layer.function) or "")
    if function is None:
        raise StructureError(
            f'{to.where}: expected known functions such as numpy.sin, got {layer!r} at "{to.path}"; write a layer with '
            f"a method {' or '.join(to.hooks)}(self, to, x){to.advice}"
        )
    return function(to, x)


def _softmax(_: Any, to: Builder, x: Value) -> Value:
    exponential = to.apply("exp", x - to.largest(x))
    return exponential / to.total(exponential)


def _normal(layer: Any, to: Builder, x: Value) -> Value:
    """Divide x by its root mean square, and multiply by w."""
    return x / to.apply("sqrt", to.mean(x * x) + layer.epsilon) * to.array(layer.weight)


def _batch_norm(layer: BatchNorm, to: Builder, x: Value) -> Value:
    scale = layer.weight.value / np.sqrt(layer.running_var.value + layer.epsilon)
    return (x - to.array(layer.running_mean)) * to.array(scale, "scale") + to.array(layer.bias)


def _embedding(layer: Embedding, to: Builder, x: Value) -> Value:
    if isinstance(layer.codes, list):  # each column has rows of its own, one column after the other
        first = np.cumsum([0, *layer.codes[:-1]])
        x = x + to.array(first.astype(np.float64), "first_rows")
    return to.lookup(x, layer.weight)


def _sequential(model: Sequential, to: Builder, x: Value) -> Value:
    for place, layer in enumerate(model):
        x = to.part(layer, str(place), x)
    return x


def _parallel(model: Parallel, to: Builder, x: Value) -> Value:
    branches = [to.part(layer, str(place), x) for place, layer in enumerate(model.layers)]
    return to.part(model.merge, "merge", *branches)


def _graph(model: Graph, to: Builder, x: Value) -> Value:
    values = {"x": x}
    for name in model.order:
        values[name] = to.part(model.parts[name], name, *(values[source] for source in model.inputs[name]))
    return values[model.output]


RULES: dict[type[Any], Rule] = {
    Identity: lambda layer, to, x: x,
    Dropout: lambda layer, to, x: x,
    Flatten: lambda layer, to, x: x,  # an image comes in as one row already
    Dense: lambda layer, to, x: to.dense(x, layer.weight, layer.bias),
    Sigmoid: lambda layer, to, x: to.apply("sigmoid", x),
    Tanh: lambda layer, to, x: to.apply("tanh", x),
    ReLU: lambda layer, to, x: to.apply("maximum", x, 0.0),
    LeakyReLU: lambda layer, to, x: to.apply("where", x, x, layer.slope * x),
    PReLU: lambda layer, to, x: to.apply("where", x, x, to.array(layer.weight) * x),
    ELU: lambda layer, to, x: to.apply(
        "where", x, x, layer.alpha * to.apply("expm1", to.apply("minimum", x, 0.0))
    ),
    GELU: lambda layer, to, x: bounded_below(to, x) * FUNCTIONS["scipy.special.ndtr"](to, x),
    SiLU: lambda layer, to, x: bounded_below(to, x) * to.apply("sigmoid", x),
    Softplus: lambda layer, to, x: (
        to.apply("maximum", x, 0.0) + to.apply("log1p", to.apply("exp", -to.apply("abs", x)))
    ),
    Softmax: _softmax,
    Activation: _activation,
    LayerNorm: lambda layer, to, x: _normal(layer, to, x - to.mean(x)) + to.array(layer.bias),
    RMSNorm: _normal,
    BatchNorm: _batch_norm,
    Columns: lambda layer, to, x: to.columns(x, layer.indices),
    Embedding: _embedding,
    Standardize: lambda layer, to, x: (x - to.array(layer.mean)) / to.array(layer.deviation),
    Rescale: lambda layer, to, x: x * to.array(layer.scale) + to.array(layer.shift),
    Sequential: _sequential,
    Residual: lambda layer, to, x: x + to.part(layer.layer, "layer", x),
    Parallel: _parallel,
    Graph: _graph,
    Add: lambda merge, to, *xs: reduce(add, xs),
    Multiply: lambda merge, to, *xs: reduce(mul, xs),
    Mean: lambda merge, to, *xs: reduce(add, xs) / len(xs),
    Concat: lambda merge, to, *xs: to.concat(*xs),
}  # fmt: skip
"""Maps each class to its rule, from the layer, the builder and the inputs to the output.

A rule is for exactly its class, because a subclass may compute something else.
"""
