"""The state of a model by name, and one part of it put in the place of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from .._core.parameter import Buffer, Parameter
from ..layers._parts import attributes, children, mapped
from ..layers.base import Component

Part: TypeAlias = "Parameter | Buffer | np.random.Generator"


def state_parts(component: Component, path: str = "") -> Iterator[tuple[str, Component, Part]]:
    """Yield (path, holder, part) of all that is state, at any depth; what is held twice comes twice."""
    for name, child in children(component):
        full = f"{path}.{name}" if path else name
        if isinstance(child, Component):
            yield from state_parts(child, full)
        elif isinstance(child, (Parameter, Buffer, np.random.Generator)):
            yield full, component, child


def shared_paths(component: Component) -> list[list[str]]:
    """List the paths of each part that is held at several places."""
    found: dict[int, list[str]] = {}
    for path, _, part in state_parts(component):
        found.setdefault(id(part), []).append(path)
    return [paths for paths in found.values() if len(paths) > 1]


def exchange(holder: Component, old: Part, new: Part) -> None:
    """Put one part in the place of another in all attributes of its holder."""
    for name, value in attributes(holder).items():
        changed = mapped(value, lambda _, part: new if part is old else part)
        if changed is not value:
            setattr(holder, name, changed)
