"""Equations of a layer, merge, loss, optimizer, clip or penalty: read from its docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

_SECTION = re.compile(r"^(Forward|Backward|Update):\n((?:    .+\n?)+)", re.MULTILINE)

_METHODS = {
    "forward": ("forward", "forward_rows", "compute", "value"),
    "backward": ("backward", "backward_rows", "gradient"),
    "update": ("update",),
}
"""For each phase, the methods in which a class may say what it computes."""


@dataclass(frozen=True)
class Equations:
    """Hold the equations of each phase, in the order in which they are computed."""

    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()
    update: tuple[str, ...] = ()


def equations(part: object) -> Equations:
    """Read the equations of an object or of a class.

    They are the lines of the sections ``Forward:``, ``Backward:`` and ``Update:`` in the docstring of the class. If a
    section is missing, the first line of the method's docstring takes its place. If the method has no docstring,
    `forward` and `update` take the first line of the docstring of the class.
    """
    kind = part if isinstance(part, type) else type(part)
    return Equations(**{phase: _lines(kind, phase) for phase in _METHODS})


def _lines(kind: type, phase: str) -> tuple[str, ...]:
    """Return what the class says of a phase, or the class from which it inherits the phase."""
    for base in kind.__mro__:
        if base is object or inspect.isabstract(base):  # Base classes of a kind have no equation.
            break
        sections = {name.lower(): body for name, body in _SECTION.findall(_documentation(base))}
        if phase in sections:
            return tuple(line.strip() for line in sections[phase].splitlines())
        methods = [vars(base)[name] for name in _METHODS[phase] if name in vars(base)]
        if methods:
            texts = [*map(_documentation, methods), _documentation(base) if phase != "backward" else ""]
            return tuple([text.split("\n")[0].removesuffix(".") for text in texts if text][:1])
    return ()


def _documentation(found: object) -> str:
    text = inspect.cleandoc(getattr(found, "__doc__", None) or "")
    return "" if text.startswith(f"{getattr(found, '__name__', '')}(") else text  # A dataclass writes its signature.
