"""Initializers: first values of parameters."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ._core.arrays import Array, real
from ._core.functions import special
from ._core.initializer import Initializer
from .errors import ShapeError

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "Zeros",
]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan in, fan out) of a weight of ``shape`` (out, in); for a bias both are its length."""
    if len(shape) == 2:
        return max(shape[1], 1), max(shape[0], 1)
    size = max(int(np.prod(shape)), 1)
    return size, size


class Constant(Initializer):
    """Start every number at ``value``."""

    def __init__(self, value: float) -> None:
        self.value: float = real(value, "Constant(value)")

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return np.full(shape, self.value)


class Zeros(Initializer):
    """Start every number at zero.

    Example:
        >>> Zeros().draw((3,), np.random.default_rng(0))
        array([0., 0., 0.])
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return np.zeros(shape)


class Normal(Initializer):
    """Draw from the normal distribution N(mean, deviation²); the article draws from N(0, 1)."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        self.mean: float = real(mean, "Normal(mean)")
        self.deviation: float = real(deviation, "Normal(deviation)", least=0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(self.mean, self.deviation, shape)


class Uniform(Initializer):
    """Draw from the uniform distribution on [low, high).

    Example:
        >>> Dense(1, 20, bias_initializer=Uniform(-3.0, 3.0)).bias_initializer
        Uniform(-3.0, 3.0)
    """

    def __init__(self, low: float, high: float) -> None:
        self.low: float = real(low, "Uniform(low)")
        self.high: float = real(high, "Uniform(high)", least=self.low)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.uniform(self.low, self.high, shape)


class TruncatedNormal(Initializer):
    """Draw from N(mean, deviation²), cut off at ``cut`` deviations on either side.

    x = mean + deviation Φ⁻¹(u) with u uniform on [Φ(−cut), Φ(cut)). With the cut at 2 the numbers deviate by
    0.88 ``deviation``.

    Example:
        >>> bool(np.abs(TruncatedNormal(0.0, 1.0).draw((300, 300), np.random.default_rng(0))).max() <= 2.0)
        True
    """

    def __init__(self, mean: float = 0.0, deviation: float = 1.0, cut: float = 2.0) -> None:
        self.mean: float = real(mean, "TruncatedNormal(mean)")
        self.deviation: float = real(deviation, "TruncatedNormal(deviation)", least=0)
        self.cut: float = real(cut, "TruncatedNormal(cut)", above=0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        tail = float(special().ndtr(-self.cut))
        standard = special().ndtri(rng.uniform(tail, 1.0 - tail, shape))
        values: Array = self.mean + self.deviation * np.clip(standard, -self.cut, self.cut)
        return values


class GlorotUniform(Initializer):
    """Draw from U(−a, a) with a = √(6 / (fan in + fan out)) (Glorot and Bengio 2010, equation 16).

    Example:
        >>> float(GlorotUniform().draw((300, 100), np.random.default_rng(0)).max().round(3))
        0.122
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        bound = sqrt(6.0 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


class GlorotNormal(Initializer):
    """Draw from N(0, 2 / (fan in + fan out)) (Glorot and Bengio 2010, equation 12).

    Example:
        >>> float(GlorotNormal().draw((300, 100), np.random.default_rng(0)).std().round(3))
        0.071
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(0.0, sqrt(2.0 / sum(fans(shape))), shape)


class HeUniform(Initializer):
    """Draw from U(−a, a) with a = √(6 / fan in), for rectifiers such as ReLU (He et al. 2015, section 2.2).

    Example:
        >>> float(HeUniform().draw((300, 150), np.random.default_rng(0)).max().round(3))
        0.2
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        bound = sqrt(6.0 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


class HeNormal(Initializer):
    """Draw from N(0, 2 / fan in), for rectifiers such as ReLU (He et al. 2015, equation 10).

    Example:
        >>> float(HeNormal().draw((300, 200), np.random.default_rng(0)).std().round(2))
        0.1
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(0.0, sqrt(2.0 / fans(shape)[0]), shape)


class LeCunUniform(Initializer):
    """Draw from U(−a, a) with a = √(3 / fan in), which keeps the variance (LeCun et al. 1998, section 4.6).

    Example:
        >>> float(LeCunUniform().draw((300, 300), np.random.default_rng(0)).max().round(3))
        0.1
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        bound = sqrt(3.0 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


class LeCunNormal(Initializer):
    """Draw from N(0, 1 / fan in), which keeps the variance (LeCun et al. 1998, equation 16)."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.normal(0.0, sqrt(1.0 / fans(shape)[0]), shape)


class Orthogonal(Initializer):
    """Draw a matrix of orthonormal rows or columns, whichever are fewer, times ``gain`` (Saxe et al. 2014).

    It is the Q of a normal matrix A = Q R, with the signs that make the diagonal of R positive, so that every
    such matrix is equally likely (Mezzadri 2007).
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain: float = real(gain, "Orthogonal(gain)", above=0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        if len(shape) != 2:
            raise ShapeError(f"{self}: expected the shape (out_features, in_features) of a weight, got {shape}")
        q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
        q *= np.where(np.diag(r) < 0.0, -self.gain, self.gain)
        return q if shape[0] >= shape[1] else q.T
