"""The names that a file may use: built-in classes, closed tables of functions, and the caller's own additions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isabstract
from typing import Any, TypeAlias

import numpy as np

from .. import initializers, layers
from .._core.functions import special
from .._core.initializer import Initializer
from ..errors import ArgumentError, DTypeError
from ..layers.base import Component

Function: TypeAlias = Callable[..., Any]

PUBLIC = [getattr(module, name) for module in (layers, initializers) for name in module.__all__]

CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in PUBLIC
    if isinstance(kind, type) and issubclass(kind, (Component, Initializer)) and not isabstract(kind)
}
"""All public layers, merges and initializers by name."""

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "numpy": (
        "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cbrt", "ceil", "cos", "cosh", "exp",
        "exp2", "expm1", "fabs", "floor", "log", "log10", "log1p", "log2", "negative", "ones_like", "positive",
        "reciprocal", "rint", "sign", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "zeros_like",
    ),
    "scipy.special": (
        "cosm1", "dawsn", "erf", "erfc", "erfcx", "erfinv", "expit", "exprel", "gammaln", "i0", "i1", "j0", "j1",
        "log_expit", "log_ndtr", "logit", "ndtr", "ndtri", "psi",
    ),
}  # fmt: skip
"""The functions that a file may name, as in ``"numpy.sin"``."""


def is_built_in(kind: type[Any]) -> bool:
    """Return whether a class is one of `CLASSES`; a subclass of one is not."""
    return CLASSES.get(kind.__name__) is kind


def tensors_of(kind: type[Any], arguments: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the shapes of the tensors of a built-in layer with these constructor arguments.

    Raises:
        KeyError, TypeError: an argument is missing, or of a wrong type.
    """
    return kind._array_shapes(arguments) if is_built_in(kind) and issubclass(kind, Component) else {}


def function_called(name: str) -> Function | None:
    """Return the function with this name in the closed tables, None if there is none."""
    package, _, last = name.rpartition(".")
    if last not in FUNCTIONS.get(package, ()):
        return None
    found: Function = getattr(np if package == "numpy" else special(), last)
    return found


def name_of(item: Any) -> str | None:
    """Return the name of a built-in class or function in files; None for one that the caller has to pass."""
    name = getattr(item, "__name__", "")
    if isinstance(item, type):
        return name if is_built_in(item) else None
    known = (f"{package}.{name}" for package in FUNCTIONS)
    return next((full for full in known if function_called(full) is item), None)


class Custom:
    """The caller's classes and functions, by name.

    Args:
        given: Layers, merges, initializers (the classes) and functions; or one of them.

    Raises:
        DTypeError: an object of another kind.
        ArgumentError: two objects with one name, or a name that minidl uses.
    """

    def __init__(self, given: Any = ()) -> None:
        self.classes: dict[str, type[Any]] = {}
        self.functions: dict[str, Function] = {}
        for item in given if isinstance(given, Iterable) and not isinstance(given, (str, np.ndarray)) else (given,):
            self.add(item)

    def add(self, item: Any) -> str:
        """Add a class or function, and return its name; adding the same one again is allowed."""
        name = getattr(item, "__name__", None)
        is_class = isinstance(item, type)
        is_part = is_class and issubclass(item, (Component, Initializer))
        if not callable(item) or not isinstance(name, str) or is_class != is_part:
            raise DTypeError(f"custom: expected classes of layers, merges or initializers, and functions, got {item!r}")
        if not name.isidentifier():
            raise ArgumentError(f"custom: expected a function with a name, got {name}; write it with def")
        if name in CLASSES and is_class:
            raise ArgumentError(f"custom: expected a class with a name of its own, got {name!r}, as minidl has one")
        table = self.classes if is_class else self.functions
        if table.setdefault(name, item) is not item:
            raise ArgumentError(f"custom: expected different names, got two different {name!r}; rename one")
        return name
