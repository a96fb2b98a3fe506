"""What layers look like in ONNX files: those of minidl, of PyTorch and of skl2onnx.

A pattern is written as calls of operators. ``x`` is the input of the layer, another name is a constant, and a number is
a constant of that value.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._rules.special import SCALE
from ..layers import (
    ELU,
    GELU,
    Activation,
    BatchNorm,
    Columns,
    Dense,
    Embedding,
    Flatten,
    LayerNorm,
    LeakyReLU,
    PReLU,
    ReLU,
    Rescale,
    RMSNorm,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
)
from ..layers.base import Layer

Constants: TypeAlias = Mapping[str, npt.NDArray[Any]]
Attributes: TypeAlias = Mapping[str, Any]
Make: TypeAlias = "Callable[[Constants, Attributes], Layer | None]"


def _filled(layer: Any, constants: Constants) -> Layer:
    """Put constants into the parameters and buffers with their names."""
    for name, value in constants.items():
        if hasattr(layer, name) and name != "epsilon":
            part = getattr(layer, name)
            part.value = np.array(np.broadcast_to(value, part.value.shape))
    made: Layer = layer
    return made


def _dense(weight: npt.NDArray[Any], bias: Any) -> Layer:
    layer = Dense(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    return _filled(layer, {"weight": weight} if bias is None else {"weight": weight, "bias": np.ravel(bias)})


def _gemm(c: Constants, a: Attributes) -> Layer | None:
    weight = c["weight"] if a.get("transB") else c["weight"].T
    bias = c["bias"] * weight.dtype.type(a.get("beta", 1.0)) if "bias" in c else None
    return _dense(weight * weight.dtype.type(a.get("alpha", 1.0)), bias)


def _product(c: Constants, a: Attributes) -> Layer | None:
    return _dense(c["weight"].T, c.get("bias")) if c["weight"].ndim == 2 else None


def _norm(kind: Any) -> Make:
    def make(c: Constants, a: Attributes) -> Layer | None:
        if "axes" in c and c["axes"].tolist() not in ([1], [-1]):
            return None
        epsilon = float(c["epsilon"]) if "epsilon" in c else a.get("epsilon", 1e-5)
        return _filled(kind(c["weight"].size, epsilon=epsilon, dtype=c["weight"].dtype), c)

    return make


def _slope(c: Constants, a: Attributes) -> Layer | None:
    slope = c["slope"]
    if slope.ndim == 0:
        return LeakyReLU(float(slope))
    features = slope.size if slope.size > 1 else None
    return _filled(PReLU(features=features, dtype=slope.dtype), {"weight": np.ravel(slope)})


def _embedding(c: Constants, a: Attributes) -> Layer | None:
    weight = c["weight"]
    if weight.ndim != 2:
        return None
    codes = np.diff([*c["first_rows"], len(weight)]).astype(int).tolist() if "first_rows" in c else len(weight)
    return _filled(Embedding(codes, weight.shape[1], dtype=weight.dtype), {"weight": weight})


def _columns(c: Constants, a: Attributes) -> Layer | None:
    return Columns(c["indices"].tolist()) if a.get("axis") == 1 and c["indices"].ndim == 1 else None


def _scaling(kind: Any) -> Make:
    def make(c: Constants, a: Attributes) -> Layer | None:
        (first, *_) = c.values()
        return _filled(kind(first.size, dtype=first.dtype), c) if all(value.ndim == 1 for value in c.values()) else None

    return make


def _simple(kind: Callable[[], Layer]) -> Make:
    return lambda c, a: kind()


def _bounded(kind: Callable[[], Layer]) -> Make:
    """Make a layer that bounds its input from below by the smallest finite number, of float32 or of float64."""
    return lambda c, a: kind() if c["lowest"] <= np.finfo(np.float32).min else None


_CENTRED = "Sub(x, Div(ReduceSum(x, axes), n))"
_NORMAL = "Div({0}, Sqrt(Add(Div(ReduceSum(Mul({0}, {0}), axes), n), epsilon)))"
_HALF = 0.5**0.5
_ERF = f"Erf(Div(x, {2**0.5}))"
_Z = f"Mul({-_HALF}, x)"
_T = f"Div({SCALE}, Add(Abs({_Z}), {SCALE}))"
_RIGHT = (
    f"Mul(Mul(Exp(Mul(Mul(Abs({_Z}), Abs({_Z})), -1)), {_T}), "
    f"MatMul(Pow(Unsqueeze(Sub(Mul(2, {_T}), 1), axes), powers), coefficients))"
)

PATTERNS: list[tuple[ast.expr, Make]] = [
    (ast.parse(text, mode="eval").body, make)
    for text, make in [
        ("Add(MatMul(x, weight), bias)", _product),
        ("MatMul(x, weight)", _product),
        ("Gemm(x, weight, bias)", _gemm),
        ("Gemm(x, weight)", _gemm),
        ("Relu(x)", _simple(ReLU)),
        ("Sigmoid(x)", _simple(Sigmoid)),
        ("Tanh(x)", _simple(Tanh)),
        ("Softmax(x)", _simple(Softmax)),
        ("Softplus(x)", _simple(Softplus)),
        ("Add(Max(x, 0), Log(Add(Exp(Mul(Abs(x), -1)), 1)))", _simple(Softplus)),
        ("Where(Greater(x, threshold), x, Softplus(x))", _simple(Softplus)),
        ("Mul(x, Sigmoid(x))", _simple(SiLU)),
        ("Mul(Max(x, lowest), Sigmoid(x))", _bounded(SiLU)),
        ("Gelu(Max(x, lowest))", _bounded(GELU)),
        ("Gelu(x)", lambda c, a: GELU() if a.get("approximate", b"none") == b"none" else None),
        (f"Mul(Max(x, lowest), Mul(0.5, Sub(1, Erf({_Z}))))", _bounded(GELU)),
        (f"Mul(Mul(x, Add({_ERF}, 1)), 0.5)", _simple(GELU)),
        (f"Mul(Mul(x, 0.5), Add({_ERF}, 1))", _simple(GELU)),
        (f"Mul(Max(x, lowest), Mul(0.5, Where(Greater({_Z}, 0), {_RIGHT}, Sub(2, {_RIGHT}))))", _bounded(GELU)),
        ("Sin(x)", lambda c, a: Activation(np.sin, np.cos)),
        ("Exp(x)", lambda c, a: Activation(np.exp, np.exp)),
        ("Elu(x)", lambda c, a: ELU(a.get("alpha", 1.0))),
        ("Where(Greater(x, 0), x, Mul(alpha, Sub(Exp(Min(x, 0)), 1)))", lambda c, a: ELU(float(c["alpha"]))),
        ("LeakyRelu(x)", lambda c, a: LeakyReLU(a.get("alpha", 0.01))),
        ("Where(Greater(x, 0), x, Mul(slope, x))", _slope),
        ("PRelu(x, slope)", lambda c, a: _slope({"slope": np.ravel(c["slope"])}, a)),
        ("LayerNormalization(x, weight, bias)", _norm(LayerNorm)),
        ("LayerNormalization(x, weight)", _norm(LayerNorm)),
        (f"Add(Mul({_NORMAL.format(_CENTRED)}, weight), bias)", _norm(LayerNorm)),
        (f"Mul({_NORMAL.format('x')}, weight)", _norm(RMSNorm)),
        ("Mul(Mul(x, Reciprocal(Sqrt(Add(ReduceMean(Pow(x, 2), axes), epsilon)))), weight)", _norm(RMSNorm)),
        ("BatchNormalization(x, weight, bias, running_mean, running_var)", _norm(BatchNorm)),
        ("Add(Mul(Div(Sub(x, running_mean), Sqrt(Add(running_var, epsilon))), weight), bias)", _norm(BatchNorm)),
        ("Div(Sub(x, mean), deviation)", _scaling(Standardize)),
        ("Add(Mul(x, scale), shift)", _scaling(Rescale)),
        ("Gather(x, indices)", _columns),
        ("Flatten(Gather(weight, Cast(Add(x, first_rows))))", _embedding),
        ("Flatten(Gather(weight, Cast(x)))", _embedding),
        ("Flatten(x)", _simple(Flatten)),
        ("Reshape(x, shape)", lambda c, a: Flatten() if c["shape"].size == 2 else None),
    ]
]
"""The patterns, in the order in which they are tried, and what makes the layer from constants and attributes."""
