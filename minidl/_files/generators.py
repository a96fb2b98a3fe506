"""States of random generators as plain values, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.generators import plain_state

KINDS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
"""The bit generators of NumPy."""

WORD = 2**64
LIMITS: dict[str, dict[str, tuple[int, int]]] = {
    "PCG64": {"state": (1, 2**128), "inc": (1, 2**128)},
    "PCG64DXSM": {"state": (1, 2**128), "inc": (1, 2**128)},
    "MT19937": {"key": (624, 2**32), "pos": (1, 625)},
    "Philox": {"counter": (4, WORD), "key": (2, WORD)},
    "SFC64": {"state": (4, WORD)},
}
"""For each field of the inner state how many numbers it has, and below what they lie.

NumPy takes a position beyond the end as it comes and reads outside of its memory, so nothing may go unchecked.
"""
OUTER = {"has_uint32": (1, 2), "uinteger": (1, 2**32)}
PHILOX = {"buffer": (4, WORD), "buffer_pos": (1, 5)}


def encode_generator(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator as numbers, texts, lists and dicts.

    Raises:
        ValueError: a bit generator that is not NumPy's own.
    """
    state: dict[str, Any] = plain_state(generator.bit_generator.state)
    complaint = _complaint(state)
    if complaint:
        raise ValueError(complaint)
    return state


def decode_generator(state: object) -> np.random.Generator:
    """Return a generator in the given state.

    Raises:
        ValueError: saying what is wrong with the state.
    """
    complaint = _complaint(state)
    if complaint or not isinstance(state, dict):
        raise ValueError(complaint)
    bits = getattr(np.random, state["bit_generator"])()
    inner = {
        name: np.array(value, np.uint32 if state["bit_generator"] == "MT19937" else np.uint64)
        if isinstance(value, list) else value
        for name, value in state["state"].items()
    }  # fmt: skip
    rest = {name: np.array(value, np.uint64) if isinstance(value, list) else value for name, value in state.items()}
    bits.state = {**rest, "state": inner}
    return np.random.Generator(bits)


def _complaint(state: object) -> str:
    """Say what is wrong with a state; empty where nothing is."""
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    if not isinstance(state, dict) or kind not in KINDS or not isinstance(state.get("state"), dict):
        return f"no state of one of the generators {', '.join(KINDS)}"
    outer = {**(PHILOX if kind == "Philox" else {}), **({} if kind == "MT19937" else OUTER)}
    given = {name: value for name, value in state.items() if name not in ("bit_generator", "state")}
    return _wrong_field(given, outer) or _wrong_field(state["state"], LIMITS[kind])


def _wrong_field(given: dict[str, Any], limits: dict[str, tuple[int, int]]) -> str:
    if set(given) != set(limits):
        return f"the fields {sorted(given)[:10]} instead of {sorted(limits)}"
    for name, (count, bound) in limits.items():
        numbers = given[name] if count > 1 else [given[name]]
        if not isinstance(numbers, list) or len(numbers) != count:
            return f"{name!r} without its {count} numbers"
        if not all(type(number) is int and 0 <= number < bound for number in numbers):
            return f"{name!r} with a number outside of 0 … {bound - 1}"
    return ""
