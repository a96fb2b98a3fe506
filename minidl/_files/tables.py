"""What a file may name: the closed tables of built-in classes and functions, and what the caller adds to them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from .._core.functions import special
from .._core.initializer import Initializer
from ..errors import ArgumentError, DTypeError
from ..initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from ..layers.activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from ..layers.base import Component
from ..layers.columns import Columns
from ..layers.dense import Dense
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding
from ..layers.flatten import Flatten
from ..layers.graph import Graph
from ..layers.merges import Add, Concat, Mean, Multiply
from ..layers.normalization import BatchNorm, LayerNorm, RMSNorm
from ..layers.parallel import Parallel
from ..layers.residual import Residual
from ..layers.sequential import Sequential

Function: TypeAlias = Callable[..., Any]
Shapes: TypeAlias = dict[str, tuple[Any, ...]]

CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Dense, Embedding, Columns, Flatten, Dropout, BatchNorm, LayerNorm, RMSNorm, PReLU,
        Activation, Identity, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, GELU, SiLU, Softplus, Softmax,
        Sequential, Residual, Parallel, Graph, Add, Mean, Multiply, Concat,
        Constant, Zeros, Normal, Uniform, TruncatedNormal, GlorotUniform, GlorotNormal, HeUniform, HeNormal,
        LeCunUniform, LeCunNormal, Orthogonal,
    )
}  # fmt: skip

NUMPY = (
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cbrt", "ceil", "cos", "cosh", "exp",
    "exp2", "expm1", "fabs", "floor", "log", "log10", "log1p", "log2", "negative", "ones_like", "positive",
    "reciprocal", "rint", "sign", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "zeros_like",
)  # fmt: skip

SCIPY = (
    "cosm1", "dawsn", "erf", "erfc", "erfcx", "erfinv", "expit", "exprel", "gammaln", "i0", "i1", "j0", "j1",
    "log_expit", "log_ndtr", "logit", "ndtr", "ndtri", "psi",
)  # fmt: skip


def tensors_of(kind: type[Any], arguments: Mapping[str, Any]) -> Shapes:
    """Return the shapes of the tensors that a built-in layer has when it is made with these arguments.

    With them a file that asks for more than it holds is refused before anything of that size is made.

    Raises:
        KeyError: an argument is missing.
    """
    if kind is Dense:
        return {"weight": (arguments["out_features"], arguments["in_features"]), "bias": (arguments["out_features"],)}
    if kind is Embedding:
        return {"weight": (arguments["codes"], arguments["out_features"])}
    if kind is PReLU:
        return {"weight": (1,)}
    if kind is RMSNorm:
        return {"weight": (arguments["features"],)}
    if kind is LayerNorm:
        return dict.fromkeys(("weight", "bias"), (arguments["features"],))
    if kind is BatchNorm:
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (arguments["features"],))
    return {}


@cache
def numpy_functions() -> dict[str, Function]:
    """Map ``"numpy.sin"`` and its like to the functions."""
    return {f"numpy.{name}": getattr(np, name) for name in NUMPY}


@cache
def scipy_functions() -> dict[str, Function]:
    """Map ``"scipy.special.expit"`` and its like to the functions."""
    return {f"scipy.special.{name}": getattr(special(), name) for name in SCIPY}


def function_called(name: str) -> Function | None:
    """Return the function of the closed tables that has this name, None where there is none."""
    package, _, last = name.rpartition(".")
    if package == "scipy.special" and last in SCIPY:
        return scipy_functions()[name]
    return numpy_functions().get(name)


def name_of_function(function: Function) -> str | None:
    """Return the name under which the closed tables have a function, None where they do not."""
    tables = [numpy_functions()]
    if "scipy.special" in sys.modules:
        tables.append(scipy_functions())
    return next((name for table in tables for name, known in table.items() if known is function), None)


class Custom:
    """The caller's classes and functions, by name.

    Args:
        given: Layers, merges, initializers (the classes) and functions.

    Raises:
        DTypeError: something else.
        ArgumentError: a name that cannot be told apart.
    """

    def __init__(self, given: Iterable[Any] = ()) -> None:
        self.classes: dict[str, type[Any]] = {}
        self.functions: dict[str, Function] = {}
        for item in given:
            self.add(item)

    def add(self, item: Any) -> str:
        """Take one more class or function, and return its name; the same one may come again."""
        name = getattr(item, "__name__", None)
        is_class = isinstance(item, type)
        is_part = is_class and issubclass(item, (Component, Initializer))
        if not callable(item) or not isinstance(name, str) or is_class != is_part:
            raise DTypeError(f"custom: expected classes of layers, merges or initializers, and functions, got {item!r}")
        table = self.classes if is_class else self.functions
        if not name.isidentifier():
            raise ArgumentError(f"custom: expected a function with a name, got {name}; write it with def")
        if name in CLASSES and is_class:
            raise ArgumentError(f"custom: expected a class with a name of its own, got {name!r}, as minidl has one")
        if table.setdefault(name, item) is not item:
            raise ArgumentError(f"custom: expected different names, got two different {name!r}; rename one")
        return name
