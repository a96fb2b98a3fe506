"""How parameters get their first values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt

import numpy as np

from .arrays import Array, real


class Initializer(ABC):
    """Draw the first values of a parameter.

    A subclass writes `draw`; what it takes in ``__init__`` it keeps under the same names.
    """

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return fresh float64 values of ``shape``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{v!r}' for v in vars(self).values())})"


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan in, fan out) of a weight of ``shape`` (out, in); for a bias both are its length."""
    if len(shape) == 2:
        return max(shape[1], 1), max(shape[0], 1)
    size = int(np.prod(shape)) if shape else 1
    return max(size, 1), max(size, 1)


class Constant(Initializer):
    """Start every number at ``value``."""

    def __init__(self, value: float) -> None:
        self.value = real(value, "Constant(value)")

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return np.full(shape, self.value)


class Zeros(Initializer):
    """Start every number at zero."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return np.zeros(shape)


class Normal(Initializer):
    """Draw from the normal distribution N(mean, deviation²); the article draws from N(0, 1)."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        self.mean = real(mean, "Normal(mean)")
        self.deviation = real(deviation, "Normal(deviation)", least=0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(self.mean, self.deviation, shape)


class Uniform(Initializer):
    """Draw from the uniform distribution on [low, high)."""

    def __init__(self, low: float, high: float) -> None:
        self.low = real(low, "Uniform(low)")
        self.high = real(high, "Uniform(high)", least=self.low)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.uniform(self.low, self.high, shape)


class GlorotUniform(Initializer):
    """Draw from U(−a, a) with a = √(6 / (fan in + fan out)) (Glorot and Bengio 2010, equation 16)."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        bound = sqrt(6.0 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


class GlorotNormal(Initializer):
    """Draw from N(0, 2 / (fan in + fan out)) (Glorot and Bengio 2010, equation 12)."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(0.0, sqrt(2.0 / sum(fans(shape))), shape)


class HeUniform(Initializer):
    """Draw from U(−a, a) with a = √(6 / fan in), for ReLU and its kin (He et al. 2015, section 2.2)."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        bound = sqrt(6.0 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


class HeNormal(Initializer):
    """Draw from N(0, 2 / fan in), for ReLU and its kin (He et al. 2015, equation 10)."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(0.0, sqrt(2.0 / fans(shape)[0]), shape)
