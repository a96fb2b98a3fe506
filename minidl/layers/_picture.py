"""Describe a model for pictures, and show it in a notebook."""

from __future__ import annotations

from html import escape

from .._drawing import draw
from .._drawing.structure import Node
from ._parts import children
from ._structure import count
from .base import Component, wiring
from .dense import Dense

DEEPEST = 60
"""Levels of nesting that are drawn; Python cannot run a model of many more."""


def structure(part: Component, depth: int | None = None) -> Node:
    """Describe a model and its parts, down to a depth; None for all."""
    return _node(part, "", DEEPEST if depth is None else depth, set())


def _node(part: Component, path: str, depth: int, seen: set[int]) -> Node:
    dot = f"{path}." if path else ""
    inner = [(name, child) for name, child in children(part) if isinstance(child, Component)]
    if not inner or not depth:
        return _leaf(part, path, seen)
    parts = {name: _node(child, f"{dot}{name}", depth - 1, seen) for name, child in inner}
    return Node(path, type(part).__name__, parts=parts, wiring=wiring[type(part)](part))


def _leaf(part: Component, path: str, seen: set[int]) -> Node:
    """Describe a part as one box; its note counts what it learns, and says what another part has too."""
    text = repr(part)
    learned = {id(parameter) for parameter in part.parameters()}
    note = f"{count(part):,}{' shared' if learned & seen else ''}" if learned else ""
    seen |= learned
    weight = part.weight.value if type(part) is Dense else None
    return Node(path, type(part).__name__ if "\n" in text else text.replace("->", "→"), note, weight=weight)


def size_of(part: Component) -> str:
    """Return how many numbers a model learns, in words."""
    frozen = sum(parameter.size for parameter in part.parameters() if parameter.frozen)
    return f"{count(part):,} parameters" + f", {frozen:,} of them frozen" * bool(frozen)


def html_of(part: Component) -> str:
    """Return a picture of a model, with its repr to unfold."""
    words = f"{type(part).__name__}, {size_of(part)}"
    picture = draw(structure(part))
    return f"<div>{picture}<details><summary>{escape(words)}</summary><pre>{escape(repr(part))}</pre></details></div>"
