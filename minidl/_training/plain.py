"""Turn plain values from a file into dataclasses, by the declared types of their fields."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np

from .._files.generators import decode_generator
from .._files.strict import shown

FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
"""An array of numbers. `typed` cannot look into ``npt.NDArray``, which is an alias of its own from NumPy 2.5 on."""

NAMES = {bool: "bool", int: "whole number", float: "finite number", str: "text", np.ndarray: "array of numbers",
         list: "list", dict: "dict", NoneType: "null"}


def typed(kind: Any, value: Any, where: str) -> Any:
    """Return a plain value as an object of a declared type.

    Args:
        kind: A dataclass, a union, ``list[...]``, ``dict[str, ...]``, ``Any``, a generator in the form of its state,
            or one of the types in `NAMES`; ``int`` is a whole number of at least 0, and ``float`` takes one as well.
        value: The value.
        where: Its name in an error.

    Raises:
        ValueError: the value has another type, or a dataclass refuses it.
    """
    plain, inside = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return value
    if kind is np.random.Generator:
        return decode_generator(value)
    if plain is UnionType:
        for option in inside[:-1]:
            with suppress(ValueError):
                return typed(option, value, where)
        return typed(inside[-1], value, where)
    if is_dataclass(kind):
        needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
        hints = get_type_hints(kind)
        right = isinstance(value, dict) and needed <= value.keys() <= hints.keys()
        require(right, f"no dict of {', '.join(hints)} as {where}", value)
        made: Any = kind
        return made(**{name: typed(hints[name], item, f"{where}.{name}") for name, item in value.items()})
    if plain is int:
        right = type(value) is int and 0 <= value < 2**53
    elif plain is float:
        right = type(value) in (int, float) and isfinite(value)
    else:
        right = isinstance(value, plain) and (plain is not np.ndarray or value.dtype.kind == "f")
    require(right, f"no {NAMES[plain]} as {where}", value)
    if plain is list:
        return [typed(inside[0], item, where) for item in value]
    if plain is dict:
        return {name: typed(inside[1], item, f"{where}.{name}") for name, item in value.items()}
    return value


def require(holds: bool, otherwise: str, found: object) -> None:
    """Raise a ValueError with the text ``otherwise`` and the value if a condition does not hold."""
    if not holds:
        raise ValueError(f"{otherwise}: {shown(found)}")
