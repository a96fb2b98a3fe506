"""Find the first layer that produces a number that is not finite, by running it again with every array looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..layers.component import Component
from ..layers.layer import Layer
from ..parameter import Parameter


class NotFiniteError(Exception):
    """A number that is not finite came up in the layer at ``path``, in ``phase``."""

    def __init__(self, path: str, part: object, phase: str) -> None:
        super().__init__(path)
        self.path, self.part, self.phase = path, part, phase


@contextmanager
def watched(model: Layer) -> Iterator[None]:
    """Within this context every layer of the model raises `NotFiniteError` where its result is not finite."""
    parts: list[tuple[str, Any]] = [("", model)]
    parts += [(path, part) for path, part in model.walk() if isinstance(part, Component)]
    try:
        for path, part in parts:
            for name, phase in (("forward", "forward"), ("backward", "backward"), ("backward_parameters", "backward")):
                if hasattr(part, name):
                    vars(part)[name] = _watching(getattr(part, name), path, part, phase)
        yield
    finally:
        for _, part in parts:
            for name in ("forward", "backward", "backward_parameters"):
                vars(part).pop(name, None)


def _watching(method: Callable[..., Any], path: str, part: Component, phase: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        result = method(*arguments)
        arrays = list(result) if isinstance(result, tuple) else [result]
        if phase == "backward":
            arrays += [child.grad for _, child in part.children() if isinstance(child, Parameter)]
        if not all(array is None or np.isfinite(array).all() for array in arrays):
            raise NotFiniteError(path, part, phase)
        return result

    return call
