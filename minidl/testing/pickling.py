"""A round trip through pickle that takes classes as known, wherever they are defined."""

from __future__ import annotations

import io
import pickle
from typing import Any, TypeVar

from typing_extensions import override

from ..layers.base import Component
from ..losses import Loss
from ..optimizers import Optimizer
from .state import contents

T = TypeVar("T")

_KINDS = (Component, Loss, Optimizer)


def through_pickle(value: T) -> T:
    """Return what comes out of pickle.

    A class defined in a function or in a notebook cannot be found by its name in a file; that says nothing about
    whether its objects hold what pickle takes, so here classes are handed over by themselves.
    """
    file = io.BytesIO()
    _Pickler(file).dump(value)
    file.seek(0)
    kinds = {id(type(held)): type(held) for _, held in contents(value) if isinstance(held, _KINDS)}
    again: T = _Unpickler(file, kinds).load()
    return again


class _Pickler(pickle.Pickler):
    """Takes the classes of layers, merges, losses and optimizers as known."""

    @override
    def persistent_id(self, obj: Any) -> int | None:
        return id(obj) if isinstance(obj, type) and issubclass(obj, _KINDS) else None


class _Unpickler(pickle.Unpickler):
    """Finds the classes that `_Pickler` took as known.

    Args:
        file: What it wrote.
        kinds: The classes by what it wrote for them.
    """

    def __init__(self, file: io.BytesIO, kinds: dict[int, type]) -> None:
        super().__init__(file)
        self._kinds = kinds

    @override
    def persistent_load(self, pid: Any) -> type:
        return self._kinds[pid]
