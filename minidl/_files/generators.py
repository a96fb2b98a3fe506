"""States of random generators as plain values, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.generators import plain_state

KINDS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
"""The bit generators of NumPy."""

NO_STATE = f"no state of one of the generators {', '.join(KINDS)}"

RANGES = {"state": range(2**128), "inc": range(2**128), "has_uint32": range(2), "uinteger": range(2**32),
          "pos": range(625), "buffer_pos": range(1, 5)}
"""Ranges of the single numbers of a state; numbers in arrays may have any value of their dtype.

NumPy before 2.5 does not check a position, and reads outside of its memory if the position is too large.
"""


def encode_generator(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator as numbers, texts, lists and dicts.

    Raises:
        ValueError: a bit generator that is not NumPy's own.
    """
    state: dict[str, Any] = plain_state(generator.bit_generator.state)
    decode_generator(state)
    return state


def decode_generator(state: object) -> np.random.Generator:
    """Return a generator in the given state.

    Raises:
        ValueError: the state is wrong; the message says how.
    """
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    if kind not in KINDS:
        raise ValueError(NO_STATE)
    bits = getattr(np.random, kind)(0)
    bits.state = _checked(state, bits.state, "state")
    return np.random.Generator(bits)


def _checked(found: Any, own: Any, name: str) -> Any:
    """Return one field of a state from a file, in the form of NumPy's ``own`` value."""
    if isinstance(own, dict):
        if not isinstance(found, dict):
            raise ValueError(NO_STATE)
        if set(found) != set(own):
            raise ValueError(f"the fields {sorted(found)[:10]} instead of {sorted(own)}")
        return {key: _checked(found[key], value, key) for key, value in own.items()}
    if isinstance(own, str):
        return own
    is_array = isinstance(own, np.ndarray)
    numbers, count = (found, len(own)) if is_array else ([found], 1)
    allowed = range(2 ** (8 * own.itemsize)) if is_array else RANGES[name]
    if not isinstance(numbers, list) or len(numbers) != count:
        raise ValueError(f"{name!r} without its {count} numbers")
    if not all(type(number) is int and number in allowed for number in numbers):
        raise ValueError(f"{name!r} with a number outside of {allowed.start} … {allowed.stop - 1}")
    return np.array(numbers, own.dtype) if is_array else found
