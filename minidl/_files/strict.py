"""Strict JSON: no duplicate keys, NaN or oversized values; and values from files in error messages."""

from __future__ import annotations

import json
from math import isfinite
from reprlib import Repr
from typing import Any

import numpy as np

MOST_VALUES = 200_000
"""Most values in one text: parsing turns each byte of `[[],[],…` into 20 bytes."""

MOST_DIGITS = 40
"""Most digits of a whole number: the state of a generator has 39."""

MOST_LEVELS = 500
"""Most levels of nesting. Python's own limit does not protect, because the user may have raised it."""

_STEPS = np.zeros(256, np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1
_REPR = Repr()
_REPR.maxlist = _REPR.maxdict = 8
_REPR.maxstring = 60
_NO_BRACKETS = bytes(byte for byte in range(256) if not _STEPS[byte])


def parse(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: the text is not JSON, is ambiguous, or is far too large.
    """
    _check_size(text)
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_whole, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("values nested too deeply") from None


def dump(value: object) -> str:
    """Return the shortest JSON text of a value; raise ValueError and TypeError as `json.dumps` does."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def shown(value: object) -> str:
    """Show a value from a file in one short line."""
    return repr(shortened(value)) if isinstance(value, str) else shortened(_REPR.repr(value))


def shortened(text: str) -> str:
    """Cut a text to the length of a line."""
    return text if len(text) <= 80 else text[:79] + "…"


def _check_size(text: str) -> None:
    """Refuse too many values and too deep a nesting before Python's reader makes objects of them."""
    plain = text.replace("\\\\", "").replace('\\"', "")
    texts = plain.count('"') // 2
    if texts > 2 * MOST_VALUES:
        raise ValueError(f"{texts:,} texts (at most {2 * MOST_VALUES:,} are read)")
    outside = "".join(plain.split('"')[::2])
    values = sum(map(outside.count, ",[{"))
    if values > MOST_VALUES:
        raise ValueError(f"{values:,} values (at most {MOST_VALUES:,} are read)")
    brackets = outside.encode("ascii", "ignore").translate(None, _NO_BRACKETS)
    steps = _STEPS[np.frombuffer(brackets, np.uint8, min(len(brackets), 2 * MOST_VALUES))]
    if np.cumsum(steps, dtype=np.int32).max(initial=0) > MOST_LEVELS:
        raise ValueError("values nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {shown(next(n for n in found if names.count(n) > 1))} twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant}, which is no JSON number")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


def _finite(text: str) -> float:
    if len(text) > MOST_DIGITS or not isfinite(float(text)):
        raise ValueError(f"the number {shown(text)}, which is out of range")
    return float(text)
