"""Equations of a layer, merge, loss or optimizer: read from its docstring."""

from __future__ import annotations

import inspect
from dataclasses import dataclass


@dataclass(frozen=True)
class Equations:
    """Hold the equations of each phase, in the order in which they are computed."""

    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()
    update: tuple[str, ...] = ()


def equations(part: object) -> Equations:
    """Return the first line of the docstring of the class."""
    text = (inspect.getdoc(type(part)) or "").split("\n")[0].removesuffix(".")
    return Equations(forward=(text,) if text else ())
