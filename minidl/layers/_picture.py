"""Describe a model for pictures, and show it in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from .._core.parameter import Parameter
from .._drawing.structure import Node
from ._parts import ByClass, Holder, children, goes_past, named

DEEPEST = 60
"""Levels of nesting that are drawn; Python cannot run a model of many more."""


def structure(part: Holder, depth: int | None = None) -> Node:
    """Describe a model and its parts, down to a depth; None for all."""
    return _node(part, "", DEEPEST if depth is None else depth, set())


def _node(part: Holder, path: str, depth: int, seen: set[int]) -> Node:
    dot = f"{path}." if path else ""
    inner = [(name, child) for name, child in children(part) if isinstance(child, Holder)]
    if not inner or not depth:
        return _box(part, path, bool(inner), seen)
    parts = {name: _node(child, f"{dot}{name}", depth - 1, seen) for name, child in inner}
    return Node(path, type(part).__name__, parts=parts, wiring=_known_wiring[type(part)](part))


@ByClass
def _known_wiring(kind: type[Any]) -> Callable[..., Mapping[str, tuple[str, ...]]]:
    """``_wiring``, if it belongs to ``forward``; else that of a container whose data flow is not known."""
    own = not goes_past(kind, "_wiring", "forward")
    method: Callable[..., Mapping[str, tuple[str, ...]]] = kind._wiring if own else Holder._wiring
    return method


def _box(part: Holder, path: str, closed: bool, seen: set[int]) -> Node:
    """Describe a part as one box; its note counts what it learns, and says what another part has too."""
    learned = {id(parameter): parameter.size for parameter in named(part, Parameter).values()}
    note = f"{sum(learned.values()):,}{' shared' if learned.keys() & seen else ''}" if learned else ""
    seen |= learned.keys()
    text = type(part).__name__ if closed else " ".join(repr(part).split())
    weight = getattr(part, part._lines).value if part._lines else None
    return Node(path, text, note, closed=closed, weight=weight)


def html_of(part: Holder) -> str:
    """Return a picture of a model, with its repr to unfold."""
    from .._drawing.picture import draw  # A program that shows no picture does not load it.

    total = sum(parameter.size for parameter in named(part, Parameter).values())
    words = f"{type(part).__name__}, {total:,} parameters"
    picture = draw(structure(part))
    return f"<div>{picture}<details><summary>{escape(words)}</summary><pre>{escape(repr(part))}</pre></details></div>"
