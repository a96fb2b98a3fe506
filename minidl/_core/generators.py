"""Random generators: from seeds, for constructors, and their states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np

from ..errors import ArgumentError, DTypeError

Seed: TypeAlias = "np.random.Generator | int | None"
"""A generator that is used as it is, a seed, or None for fresh entropy."""

def generator(rng: Seed, purpose: str) -> np.random.Generator:
    """Make the generator for one purpose: a Generator is used as it is, None draws a fresh seed.

    An integer is mixed with the purpose, so that one seed gives independent streams for a model and for its trainer.
    """
    if rng is None:
        return np.random.default_rng()
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
        raise DTypeError(f"rng: expected a numpy.random.Generator, an integer or None, got {rng!r}")
    if rng < 0:
        raise ArgumentError(f"rng: expected a seed of at least 0, got {rng}")
    return np.random.default_rng([int(rng), int.from_bytes(purpose.encode(), "little")])


def first_draws() -> np.random.Generator:
    """Return what the constructors of layers draw from: fresh entropy, or what `drawing_from` says."""
    return _source.get() or np.random.default_rng()


@contextmanager
def drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """Let constructors of layers draw from a generator within this context."""
    token = _source.set(rng)
    try:
        yield
    finally:
        _source.reset(token)


_source: ContextVar[np.random.Generator | None] = ContextVar("minidl_first_draws", default=None)


def reseed(own: np.random.Generator, rng: np.random.Generator) -> None:
    """Put a generator of any of NumPy's kinds into a state drawn from another, as `initialize` does with Dropout's."""
    seed = int(rng.integers(2**63))
    own.bit_generator.state = type(own.bit_generator)(seed).state


def child_generator(rng: np.random.Generator) -> np.random.Generator:
    """Draw a generator from a generator, so that a restored parent draws the same children."""
    return np.random.default_rng(int(rng.integers(2**63)))


def plain_state(value: Any) -> Any:
    """Return the state of a bit generator with its arrays as lists of numbers."""
    if isinstance(value, dict):
        return {name: plain_state(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return [int(item) for item in value]
    return value if isinstance(value, str) else int(value)
