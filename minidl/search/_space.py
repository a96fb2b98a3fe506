"""Draw settings from a space, and make the Trainers from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from .._data import described
from ..errors import ArgumentError, DTypeError


def draw(space: object, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw settings by a Latin hypercube: of ``count`` equal parts of each name's probability every one is used once.

    Args:
        space: Maps names to frozen distributions, or sequences of values.
        count: How many.
        rng: Generator.

    Raises:
        DTypeError, ArgumentError: no such mapping, an empty one, or an entry that cannot be drawn from.
    """
    if not isinstance(space, Mapping) or not all(isinstance(name, str) for name in space):
        raise DTypeError("find_settings(space): expected a mapping from arguments of build to values, such as "
                         f"{{'learning_rate': scipy.stats.loguniform(0.001, 1)}}, got {described(space)}")
    if not space:
        raise ArgumentError("find_settings(space): expected at least one name, got an empty mapping")
    columns = [
        _values(f"find_settings(space[{name!r}])", entry, (rng.permutation(count) + rng.random(count)) / count)
        for name, entry in space.items()
    ]
    return [dict(zip(space, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(where: str, entry: Any, parts: npt.NDArray[np.float64]) -> list[Any]:
    """Return the values of one name at some probabilities."""
    if isinstance(entry, np.ndarray) and entry.ndim == 1:
        entry = entry.tolist()
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        if not len(entry):
            raise ArgumentError(f"{where}: expected at least one value, got an empty {type(entry).__name__}")
        return [entry[int(part * len(entry))] for part in parts]
    if hasattr(entry, "freeze"):
        raise DTypeError(f"{where}: expected a frozen distribution, got {described(entry)}; give it its parameters, "
                         "as in scipy.stats.loguniform(0.001, 1)")
    if not callable(getattr(entry, "ppf", None)):
        raise DTypeError(f"{where}: expected a frozen distribution, such as scipy.stats.loguniform(0.001, 1), or a "
                         f"list of values, got {described(entry)}; write one value as a list: [value]")
    found = np.asarray(entry.ppf(parts), dtype=float).tolist()
    wrong = [value for value in found if not isfinite(value)]
    if wrong:
        raise ArgumentError(f"{where}: expected a distribution of finite numbers, got {wrong[0]}; "
                            "check its parameters")
    return [int(value) for value in found] if hasattr(entry, "pmf") else found


def built(build: object, settings: list[dict[str, Any]]) -> Iterator[object]:
    """Yield what ``build`` makes from each of some settings.

    Raises:
        DTypeError: it is no function, or does not take the names.
    """
    if not callable(build):
        raise DTypeError(f"find_settings(build): expected a function that makes a Trainer, got {described(build)}")
    signature = None
    with suppress(TypeError, ValueError):  # some functions that are not written in Python have no signature
        signature = inspect.signature(build)
    if signature is not None:
        try:
            signature.bind(**settings[0])
        except TypeError as error:
            raise DTypeError(
                f"find_settings(build): expected a function of the names in the space, {', '.join(settings[0])}, "
                f"got one of {signature} ({error}); give both the same names"
            ) from None
    for one in settings:
        yield call(build, **one)


def call(build: Callable[..., object], *arguments: object, **settings: object) -> object:
    """Make a Trainer; an error says from which arguments."""
    try:
        return build(*arguments, **settings)
    except Exception as error:
        shown = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in settings.items())]
        error.add_note(f"in build({', '.join(shown)})")
        raise
