"""Base class of initializers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from .arrays import Array


class Initializer(ABC):
    """Draw the first values of a parameter.

    A subclass writes `draw`, and keeps the arguments of ``__init__`` as attributes of the same names.
    """

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return fresh float64 values of ``shape``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{v!r}' for v in vars(self).values())})"
