"""Lanes: vectors of 64 bytes, which a processor adds and multiplies in one instruction; here in NumPy.

In a program the functions of `intrinsics` replace these, and the registers of a loop over ``unrolled(n)`` become
single variables. `load` and `store` do not check places.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ..._core.arrays import Array
from .elementary import LANES

Lanes: TypeAlias = Array
"""As many neighbours of an array as fit into 64 bytes."""

unrolled = range
"""Count the rounds of a loop that is written out."""


def registers(count: int) -> list[Any]:
    """Return places for so many vectors."""
    return [None] * count


def load(array: Array, place: Any) -> Lanes:
    """Read the numbers from ``array[place]`` on."""
    begin = np.ravel_multi_index(place, array.shape) if isinstance(place, tuple) else place
    found: Array = array.reshape(-1)[begin : begin + LANES].copy()
    return found


def store(array: Array, place: Any, numbers: Lanes) -> None:
    """Write a vector to ``array[place]`` and the numbers after it."""
    begin = np.ravel_multi_index(place, array.shape) if isinstance(place, tuple) else place
    array.reshape(-1)[begin : begin + LANES] = numbers


def splat(number: Any) -> Lanes:
    """Return a vector of one number."""
    return np.full(LANES, number)


def fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    """Compute a b + c."""
    return a * b + c


def sums(vectors: list[Lanes]) -> Lanes:
    """Return the sum of each of ``LANES`` vectors, as one vector."""
    return np.array([vector.sum() for vector in vectors])


def dots(weight: Array, i: int, grad: Array, r: int) -> Lanes:
    """Return the products of ``LANES`` rows of a matrix, from row i on, with row r of another one."""
    found: Array = weight[i : i + LANES] @ grad[r]
    return found
