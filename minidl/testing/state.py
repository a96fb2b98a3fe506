"""List, compare and pickle all that an object holds, at any depth."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, TypeVar

import numpy as np

from .._core.parameter import Buffer, Parameter
from ..layers.base import Component, Layer
from ..layers.merges import Merge
from ..losses import Loss
from ..optimizers import Optimizer

T = TypeVar("T")

_KINDS = (Component, Loss, Optimizer)
_BASES = (object, Component, Layer, Merge, Loss, Optimizer)


def contents(value: object, closed: tuple[type, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield (path, object) of an object and of all that it holds: attributes, items, and what its class keeps.

    Each object comes once, at its first path. Objects of the ``closed`` types are not entered.
    """
    seen: set[int] = set()
    waiting = [("", value)]
    while waiting:
        path, value = waiting.pop()
        if not isinstance(value, (int, float, complex, str, bytes, type(None), np.generic)):
            if id(value) in seen:
                continue
            seen.add(id(value))
        yield path, value
        if not isinstance(value, closed):
            waiting += reversed([(f"{path}{step}", held) for step, held in _held(value)])


def fingerprint(value: object) -> dict[str, object]:
    """Map the path of each thing that an object holds to what can be compared of it."""
    return {path: _comparable(held) for path, held in contents(value)}


def difference(before: dict[str, object], after: dict[str, object]) -> str:
    """Return the names of the differences between two fingerprints; empty if there are none."""
    paths = [path for path in {**before, **after} if before.get(path, ...) != after.get(path, ...)]
    return ", ".join(path.lstrip(".") for path in paths[:4]) + (" …" if len(paths) > 4 else "")


def private_arrays(value: object) -> dict[str, np.ndarray[Any, Any]]:
    """Map paths to the arrays that an object holds outside of its parameters and buffers."""
    found = contents(value, closed=(Parameter, Buffer))
    return {path: held for path, held in found if isinstance(held, np.ndarray)}


def _held(value: object) -> list[tuple[str, Any]]:
    """List what an object holds directly."""
    match value:
        case dict():
            return [(f"[{key!r}]", item) for key, item in value.items()]
        case list() | tuple() | deque():
            return [(f"[{place}]", item) for place, item in enumerate(value)]
        case set() | frozenset():
            return [("{…}", item) for item in value]
        case Parameter():
            return [(".value", value._value)] + ([(".grad", value._grad)] if value.has_grad else [])
        case Buffer():
            return [(".value", value.value)]
        case type() | np.ndarray() | np.random.Generator():
            return []
    held = [(f".{name}", item) for name, item in getattr(value, "__dict__", {}).items()]
    for kind in type(value).__mro__ if hasattr(value, "__dict__") else ():
        if kind not in _BASES and not kind.__module__.startswith(("builtins", "abc", "numpy")):
            held += [
                (f".{name} (of the class)", item)
                for name, item in vars(kind).items()
                if isinstance(item, (np.ndarray, list, dict, set, Parameter, Buffer)) and not name.startswith("__")
            ]
    return held


def _comparable(value: object) -> object:
    """Return what two objects are compared by, without what they hold."""
    match value:
        case np.ndarray():
            return value.shape, value.dtype.str, value.tobytes()
        case np.random.Generator():
            return repr(value.bit_generator.state)
        case int() | str() | bytes() | complex() | None | type() | np.dtype():
            return value
        case float() | np.generic():
            return repr(value)
        case list() | tuple() | deque() | dict() | set() | frozenset():
            return type(value), len(value)
    is_function = isinstance(value, (FunctionType, BuiltinFunctionType, MethodType, np.ufunc))
    plain = hasattr(value, "__dict__") or isinstance(value, (Parameter, Buffer))
    return type(value) if plain and not is_function else id(value)


def through_pickle(value: T) -> T:
    """Return what comes out of pickle.

    A class defined in a function or in a notebook cannot be found by its name in a file; that says nothing about
    whether its objects hold what pickle takes, so here classes are handed over by themselves.
    """
    kinds = {id(type(held)): type(held) for _, held in contents(value) if isinstance(held, _KINDS)}
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.persistent_id = lambda item: id(item) if id(item) in kinds else None  # type: ignore[method-assign]
    pickler.dump(value)
    unpickler = pickle.Unpickler(io.BytesIO(file.getvalue()))
    unpickler.persistent_load = kinds.__getitem__  # type: ignore[method-assign]
    again: T = unpickler.load()
    return again
