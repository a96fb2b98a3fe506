"""Find and replace the parts of a layer: parameters, buffers, random generators, layers and merges.

Everything that needs parts (listing, copying, saving, casting, drawing) uses `mapped` on attributes.
"""

from __future__ import annotations

import copy
from collections import UserList, deque
from collections.abc import Callable, Mapping, Set, ValuesView
from functools import cache
from operator import is_
from typing import Any, Generic, TypeAlias, TypeVar, Union

import numpy as np

from .._core.parameter import Buffer, Parameter
from ..errors import StructureError

Part: TypeAlias = Union["Holder", Parameter, Buffer, "np.random.Generator"]
Found = TypeVar("Found")
Visit: TypeAlias = Callable[[str, Any], Any]

UNNAMED = (Set, deque, UserList, ValuesView)
"""Collections in which a part has no path."""


class Holder:
    """Base of layers and merges: `mapped` finds parts in its attributes."""

    _unnamed: str = ""
    """An attribute that paths leave out: its parts are at ``"0.weight"``, not at ``"layers.0.weight"``."""


class ByClass(dict[type[Any], Found], Generic[Found]):
    """A function of a class that is computed once for each class: a lookup takes 25 ns, a cached call 60."""

    def __init__(self, function: Callable[[type[Any]], Found]) -> None:
        self.function = function

    def __missing__(self, kind: type[Any]) -> Found:
        self[kind] = found = self.function(kind)
        return found


def goes_past(kind: type[Any], short_cut: str, method: str) -> bool:
    """Whether a nearer class in the order of look-up overrides the method that the short cut stands for."""
    return _place(kind, method) < _place(kind, short_cut)


def _place(kind: type[Any], method: str) -> int:
    return next((place for place, base in enumerate(kind.__mro__) if method in vars(base)), len(kind.__mro__))


def mapped(value: Any, visit: Visit, path: str = "") -> Any:
    """Return ``value`` with ``visit(path, part)`` in place of each part, through lists, tuples and mappings.

    A value in which nothing changes is returned as it is.

    Raises:
        StructureError: a part in another collection, such as a set or a deque, where it has no path.
    """
    if isinstance(value, kinds()):
        return visit(path, value)
    dot = f"{path}." if path else ""
    if isinstance(value, (list, tuple)):
        items = [mapped(item, visit, f"{dot}{place}") for place, item in enumerate(value)]
        return value if all(map(is_, items, value)) else _rebuilt(value, items)
    if isinstance(value, Mapping):
        found = {key: mapped(item, visit, f"{dot}{key}") for key, item in value.items()}
        return value if all(item is value[key] for key, item in found.items()) else _rebuilt(value, found)
    if isinstance(value, UNNAMED) and any(isinstance(item, kinds()) for item in value):
        raise StructureError(
            f"{path}: expected layers and parameters in a list, a tuple or a mapping, got a {type(value).__name__}, "
            "where they have no name; use a list"
        )
    return value


@cache
def kinds() -> tuple[type[Any], ...]:
    """Return the classes of parts. A constant would import ``numpy.random``, a third of the import time of minidl."""
    return (Holder, Parameter, Buffer, np.random.Generator)


@ByClass
def may_hold_parts(kind: type[Any]) -> bool:
    """Whether a value of this class is a part or a collection."""
    return issubclass(kind, (*kinds(), list, tuple, Mapping, *UNNAMED))


def _rebuilt(old: Any, new: Any) -> Any:
    """Make a collection of the kind of ``old`` from new items."""
    kind = type(old)
    if isinstance(old, tuple):
        return kind._make(new) if hasattr(kind, "_make") else kind(new)  # the former is a named tuple
    try:
        clone = copy.copy(old)
        for key, item in new.items() if isinstance(old, Mapping) else enumerate(new):
            clone[key] = item
    except TypeError:
        clone = kind(new)
    return clone


@ByClass
def slots_of(kind: type[Any]) -> list[str]:
    """List the attributes that instances of a class keep in ``__slots__``."""
    found = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{slot}" if private else slot)
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def attributes(holder: Any) -> dict[str, Any]:
    """Map the name of each attribute to its value, those in ``__slots__`` included."""
    own: dict[str, Any] = vars(holder)
    slots = slots_of[type(holder)]
    return own if not slots else own | {name: getattr(holder, name) for name in slots if hasattr(holder, name)}


def children(holder: Holder) -> list[tuple[str, Part]]:
    """List (name, part) for each part that the attributes hold, in the order in which they were made.

    Raises:
        StructureError: two parts under one name, or one without a name.
    """
    found: dict[str, Part] = {}

    def check(path: str, part: Part) -> None:
        if found[path] is not part:
            raise _same_path(holder, path)

    for name, value in attributes(holder).items():
        if may_hold_parts[type(value)]:
            path = "" if name == holder._unnamed else name
            # A second part under one path comes back as the first, so that the value changes.
            place = found.setdefault
            placed = place(path, value) if isinstance(value, kinds()) else mapped(value, place, path)
            if placed is not value:
                mapped(value, check, path)
    return list(found.items())


def _same_path(holder: Holder, path: str) -> StructureError:
    return StructureError(f'{type(holder).__name__}: two parts have the path "{path}"; rename one of the keys')


def walk(holder: Holder, prefix: str = "") -> list[tuple[str, Part]]:
    """List (path, part) of every part at any depth; a part that is held twice comes twice."""
    found = []
    for name, child in children(holder):
        found.append((prefix + name, child))
        if isinstance(child, Holder):
            found += walk(child, f"{prefix}{name}.")
    return found


def named(holder: Holder, kind: type[Any] | tuple[type[Any], ...]) -> dict[str, Any]:
    """Map the first path of each part of one kind to it.

    Raises:
        StructureError: two parts under one path.
    """
    paths: dict[str, Part] = {}
    found: dict[int, tuple[str, Any]] = {}
    for path, child in walk(holder):
        if paths.setdefault(path, child) is not child:
            raise _same_path(holder, path)
        if isinstance(child, kind):
            found.setdefault(id(child), (path, child))
    return dict(found.values())


def with_parts(holder: Found, visit: Visit) -> Found:
    """Return a shallow copy of the holder with ``visit(path, part)`` in place of each part."""
    clone = object.__new__(type(holder))
    for name, value in attributes(holder).items():
        object.__setattr__(clone, name, mapped(value, visit, name) if may_hold_parts[type(value)] else value)
    return clone


def all_paths(holder: Holder) -> list[tuple[Parameter | Buffer | np.random.Generator, list[str]]]:
    """List each parameter, buffer and generator with all the paths that it has."""
    found: dict[int, tuple[Any, list[str]]] = {}
    for path, part in walk(holder):
        if not isinstance(part, Holder):
            found.setdefault(id(part), (part, []))[1].append(path)
    return list(found.values())


def replace_parts(holder: Holder, visit: Visit, prefix: str = "") -> None:
    """Put ``visit(path, part)`` in the place of each parameter, buffer and generator, at any depth."""

    def visited(path: str, part: Part) -> Any:
        if not isinstance(part, Holder):
            return visit(prefix + path, part)
        replace_parts(part, visit, f"{prefix}{path}.")
        return part

    for name, value in list(attributes(holder).items()):
        if may_hold_parts[type(value)]:
            changed = mapped(value, visited, "" if name == holder._unnamed else name)
            if changed is not value:
                setattr(holder, name, changed)


def first_parameter(holder: Any, learning: bool = False) -> Parameter | None:
    """Return the first parameter, or the first that is not frozen; fast, because containers ask in every pass."""
    unusual = False
    for value in holder.__dict__.values():
        kind = type(value)
        if kind is Parameter:
            found: Parameter | None = value
            if not (learning and value.frozen):
                return found
        elif may_hold_parts[kind]:
            for item in value if kind is tuple or kind is list else value.values() if kind is dict else (value,):
                if isinstance(item, Holder):
                    if (found := first_parameter(item, learning)) is not None:
                        return found
                elif may_hold_parts[type(item)]:
                    unusual = True
    if unusual or slots_of[type(holder)]:
        parameters = (part for _, part in walk(holder) if isinstance(part, Parameter))
        return next((parameter for parameter in parameters if not (learning and parameter.frozen)), None)
    return None
