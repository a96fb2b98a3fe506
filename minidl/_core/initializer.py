"""Base class of initializers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from .arrays import Array


class Initializer(ABC):
    """Draw the first values of a parameter.

    A subclass writes `draw`, and keeps the arguments of ``__init__`` as attributes of the same names.

    Example:
        >>> class Alternating(Initializer):
        ...     def draw(self, shape, rng):
        ...         return np.where(np.arange(np.prod(shape)) % 2, -1.0, 1.0).reshape(shape)
        >>> Dense(4, 1, weight_initializer=Alternating()).weight.value
        array([[ 1., -1.,  1., -1.]])
    """

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return fresh float64 values of ``shape``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{v!r}' for v in vars(self).values())})"
