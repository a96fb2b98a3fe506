"""The rules of the built-in layers, merges and containers: what each computes in prediction."""

from __future__ import annotations

from collections.abc import Callable
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
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .builder import Builder, Rule, Value

RULES: dict[type[Any], Rule] = {}
"""Maps each class to its rule; exactly this class, because a subclass may compute something else."""


def rule(*kinds: type[Any]) -> Callable[[Rule], Rule]:
    """Make a function the rule of some classes: from the layer, the builder and the inputs to the output."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


@rule(Identity, Dropout, Flatten)
def same(_: Any, to: Builder, x: Value) -> Value:
    """Return the input; an image comes in as one row already."""
    return x


@rule(Dense)
def dense(layer: Dense, to: Builder, x: Value) -> Value:
    """Write x Wᵀ + b."""
    return to.dense(x, layer.weight, layer.bias)


@rule(Sigmoid)
def sigmoid(_: Any, to: Builder, x: Value) -> Value:
    """Write 1 / (1 + e⁻ˣ)."""
    return to.apply("sigmoid", x)


@rule(Tanh)
def tanh(_: Any, to: Builder, x: Value) -> Value:
    """Write tanh(x)."""
    return to.apply("tanh", x)


@rule(ReLU)
def relu(_: Any, to: Builder, x: Value) -> Value:
    """Write max(x, 0)."""
    return to.apply("maximum", x, 0.0)


@rule(LeakyReLU)
def leaky_relu(layer: LeakyReLU, to: Builder, x: Value) -> Value:
    """Write x if x > 0, else a x."""
    return to.apply("where", x, x, layer.slope * x)


@rule(PReLU)
def prelu(layer: PReLU, to: Builder, x: Value) -> Value:
    """Write x if x > 0, else a x."""
    return to.apply("where", x, x, to.array(layer.weight, "weight") * x)


@rule(ELU)
def elu(layer: ELU, to: Builder, x: Value) -> Value:
    """Write x if x > 0, else a (eˣ − 1)."""
    return to.apply("where", x, x, layer.alpha * to.apply("expm1", to.apply("minimum", x, 0.0)))


@rule(GELU)
def gelu(_: Any, to: Builder, x: Value) -> Value:
    """Write x Φ(x)."""
    return x * FUNCTIONS["scipy.special.ndtr"](to, x)


@rule(SiLU)
def silu(_: Any, to: Builder, x: Value) -> Value:
    """Write x σ(x)."""
    return x * to.apply("sigmoid", x)


@rule(Softplus)
def softplus(_: Any, to: Builder, x: Value) -> Value:
    """Write max(x, 0) + log(1 + e^−|x|)."""
    return to.apply("maximum", x, 0.0) + to.apply("log1p", to.apply("exp", -to.apply("abs", x)))


@rule(Softmax)
def softmax(_: Any, to: Builder, x: Value) -> Value:
    """Write eˣ⁻ᵐ / Σ eˣ⁻ᵐ, with m the largest of the row."""
    exponential = to.apply("exp", x - to.largest(x))
    return exponential / to.total(exponential)


@rule(LayerNorm)
def layer_norm(layer: LayerNorm, to: Builder, x: Value) -> Value:
    """Write w x̂ + b."""
    return _over_root_mean_square(layer, to, x - to.mean(x)) + to.array(layer.bias, "bias")


@rule(RMSNorm)
def rms_norm(layer: RMSNorm, to: Builder, x: Value) -> Value:
    """Write w x̂."""
    return _over_root_mean_square(layer, to, x)


def _over_root_mean_square(layer: Any, to: Builder, x: Value) -> Value:
    return x / to.apply("sqrt", to.mean(x * x) + layer.epsilon) * to.array(layer.weight, "weight")


@rule(BatchNorm)
def batch_norm(layer: BatchNorm, to: Builder, x: Value) -> Value:
    """Write w (x − μ) / √(σ² + ε) + b, with the running statistics."""
    scale = layer.weight.value / np.sqrt(layer.running_var.value + layer.epsilon)
    return (x - to.array(layer.running_mean)) * to.array(scale, "scale") + to.array(layer.bias, "bias")


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
        for function, names in {
            "abs": ("absolute", "fabs"), "atan": ("arctan",), "asinh": ("arcsinh",),
            **{name: (name,) for name in
               ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log", "log1p", "sqrt")},
        }.items()
        for name in names
    },
}  # fmt: skip
"""The functions of an `Activation` that are known, by their names in files."""


@rule(Activation)
def activation(layer: Activation, to: Builder, x: Value) -> Value:
    """Write f(x) for a function of the table, or of the caller's."""
    function = FUNCTIONS.get(name_of(layer.function) or "")
    if function is None:
        raise StructureError(
            f'{to.where}: expected known functions such as numpy.sin, got {layer!r} at "{to.path}"; write a layer with '
            f"a method {to.hooks[-1]}(self, to, x){to.advice}"
        )
    return function(to, x)


@rule(Columns)
def columns(layer: Columns, to: Builder, x: Value) -> Value:
    """Select columns."""
    return to.columns(x, layer.indices)


@rule(Embedding)
def embedding(layer: Embedding, to: Builder, x: Value) -> Value:
    """Look up rows of W."""
    return to.lookup(x, layer.weight)


@rule(Sequential)
def sequential(model: Sequential, to: Builder, x: Value) -> Value:
    """Write each layer in turn."""
    for place, layer in enumerate(model):
        x = to.part(layer, str(place), x)
    return x


@rule(Residual)
def residual(model: Residual, to: Builder, x: Value) -> Value:
    """Write x + f(x)."""
    return x + to.part(model.layer, "layer", x)


@rule(Parallel)
def parallel(model: Parallel, to: Builder, x: Value) -> Value:
    """Write each branch, and the merge."""
    branches = [to.part(layer, str(place), x) for place, layer in enumerate(model.layers)]
    return to.part(model.merge, "merge", *branches)


@rule(Graph)
def graph(model: Graph, to: Builder, x: Value) -> Value:
    """Write each node after its inputs."""
    values = {"x": x}
    for name in model.order:
        values[name] = to.part(model.parts[name], name, *(values[source] for source in model.inputs[name]))
    return values[model.output]


@rule(Add)
def add_all(_: Any, to: Builder, *xs: Value) -> Value:
    """Write x₁ + x₂ + …."""
    return reduce(add, xs)


@rule(Multiply)
def multiply(_: Any, to: Builder, *xs: Value) -> Value:
    """Write x₁ ∘ x₂ ∘ …."""
    return reduce(mul, xs)


@rule(Mean)
def mean(_: Any, to: Builder, *xs: Value) -> Value:
    """Write (x₁ + x₂ + …) / n."""
    return reduce(add, xs) / len(xs)


@rule(Concat)
def concat(_: Any, to: Builder, *xs: Value) -> Value:
    """Put the inputs side by side."""
    return to.concat(*xs)
