"""Observe the passes of a model: methods of its parts are shadowed by attributes of the objects, for a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from .errors import StructureError
from .layers._parts import walk
from .layers.base import Component, Layer

Method: TypeAlias = tuple[str, Any, str]
"""The path of an object, the object, and the name of one of its methods."""

Wrap: TypeAlias = Callable[[Callable[..., Any], str, Any, str], Callable[..., Any]]
"""Turns a method, with the path, the object and the name, into the function that is called in its place."""


def pass_methods(model: Layer) -> list[Method]:
    """List the methods of all layers and merges of a model that are called in a training pass."""
    parts: dict[int, tuple[str, Any]] = {id(model): ("", model)}
    for path, part in walk(model):
        if isinstance(part, Component):
            parts.setdefault(id(part), (path, part))
    names = ("forward", "backward", "backward_parameters")
    return [(path, part, name) for path, part in parts.values() for name in names if hasattr(part, name)]


@contextmanager
def shadowed(methods: Iterable[Method], wrap: Wrap) -> Iterator[None]:
    """Within this context, call ``wrap(method, path, object, name)`` in the place of each method.

    A part that asks for its own `inference` in a pass gets a copy that is not shadowed.
    """
    found: dict[int, _Shadows] = {}
    try:
        for path, part, name in methods:
            shadows = found.setdefault(id(part), _Shadows(part))
            if isinstance(part, Component) and "inference" not in shadows.added:
                shadows.add("inference", shadows.inference)
            shadows.add(name, wrap(getattr(part, name), path, part, name))
        yield
    finally:
        for shadows in found.values():
            shadows.remove()
            shadows.added.clear()  # They hold what the pass has made, and one another.


@contextmanager
def not_too_deep(where: str) -> Iterator[None]:
    """Refuse a model in which containers are nested too deeply for Python."""
    try:
        yield
    except RecursionError:
        raise StructureError(
            f"{where}: containers are nested too deeply for Python's limit of {sys.getrecursionlimit()} calls; nest "
            "fewer, or raise it: sys.setrecursionlimit"
        ) from None


class _Shadows:
    """The attributes that shadow the methods of one object, and those of these names that it had itself."""

    def __init__(self, part: Any) -> None:
        self.part = part
        self.added: dict[str, Callable[..., Any]] = {}
        self.own: dict[str, Any] = {}

    def add(self, name: str, function: Callable[..., Any]) -> None:
        if name in vars(self.part):
            self.own[name] = vars(self.part)[name]
        vars(self.part)[name] = self.added[name] = function

    def remove(self) -> None:
        for name in self.added:
            vars(self.part).pop(name, None)
        vars(self.part).update(self.own)

    def inference(self) -> Any:
        self.remove()
        try:
            return self.part.inference()
        finally:
            vars(self.part).update(self.added)
