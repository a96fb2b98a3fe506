"""Schedules: the learning rate as a function of the step number.

A schedule is called with the number of steps taken so far. The names are lower-case because a schedule is a function
of one number; they are classes so that one can be printed, compared, copied and made again from its arguments.
"""

# ruff: noqa: N801

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import TypeAlias

from .arrays import positive_int, real
from .errors import DTypeError

Schedule: TypeAlias = Callable[[int], float]
"""Any function of the number of steps taken so far."""

LearningRate: TypeAlias = "float | Schedule"
"""What an optimizer takes: a number, or a function of the step number."""


@dataclass(frozen=True)
class constant:
    """Keep the rate: η(n) = η₀.

    Args:
        rate: η₀ ≥ 0.
    """

    rate: float

    def __post_init__(self) -> None:
        real(self.rate, "constant(rate)", least=0)

    def __call__(self, number: int) -> float:
        return self.rate


@dataclass(frozen=True)
class step:
    """Multiply the rate now and then: η(n) = η₀ fᵏ with k = ⌊n / every⌋.

    Args:
        initial: η₀ ≥ 0.
        every: Steps from one drop to the next.
        factor: f ≥ 0.
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        real(self.initial, "step(initial)", least=0)
        positive_int(self.every, "step(every)")
        real(self.factor, "step(factor)", least=0)

    def __call__(self, number: int) -> float:
        dropped: float = self.factor ** (number // self.every)
        return self.initial * dropped


@dataclass(frozen=True)
class exponential:
    """Let the rate decay smoothly: η(n) = η₀ f^(n / every).

    Args:
        initial: η₀ ≥ 0.
        factor: f > 0.
        every: Steps in which the rate is multiplied by f once.
    """

    initial: float
    factor: float
    every: int = 1

    def __post_init__(self) -> None:
        real(self.initial, "exponential(initial)", least=0)
        real(self.factor, "exponential(factor)", above=0)
        positive_int(self.every, "exponential(every)")

    def __call__(self, number: int) -> float:
        decayed: float = self.factor ** (number / self.every)
        return self.initial * decayed


@dataclass(frozen=True)
class cosine:
    """Go from one rate to another along half a cosine: η(n) = η₁ + (η₀ − η₁) (1 + cos(π n / N)) / 2.

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts.

    Args:
        initial: η₀ ≥ 0.
        steps: N; from then on the rate is η₁.
        final: η₁ ≥ 0.
    """

    initial: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        real(self.initial, "cosine(initial)", least=0)
        positive_int(self.steps, "cosine(steps)")
        real(self.final, "cosine(final)", least=0)

    def __call__(self, number: int) -> float:
        return _half_cosine(self.initial, self.final, number / self.steps)


@dataclass(frozen=True)
class warmup:
    """Rise to the first rate of a schedule, then follow it: η(n) = s(0) (n + 1) / (N + 1) for n < N, then s(n − N).

    Source: Goyal et al. 2017, section 2.2 (gradual warm-up).

    Args:
        schedule: s, or a number for a rate that stays.
        steps: N, the steps of the rise.

    Example:
        >>> rate = warmup(constant(0.3), steps=2)
        >>> [round(rate(n), 3) for n in range(4)]
        [0.1, 0.2, 0.3, 0.3]
    """

    schedule: LearningRate
    steps: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            real(self.schedule, "warmup(schedule)", least=0)
        elif isinstance(self.schedule, type):
            raise DTypeError(f"warmup(schedule): expected a schedule or a number, got the class {self.schedule!r}; "
                             f"call it with its arguments: {self.schedule.__name__}(…)")
        positive_int(self.steps, "warmup(steps)")

    def __call__(self, number: int) -> float:
        if number < self.steps:
            return self._follow(0) * (number + 1) / (self.steps + 1)
        return self._follow(number - self.steps)

    def _follow(self, number: int) -> float:
        return self.schedule(number) if callable(self.schedule) else self.schedule


@dataclass(frozen=True)
class one_cycle:
    """Rise to a high rate and fall far below the first one, both along half a cosine.

    With t = n / N: from η/a up to η while t ≤ r, then down to η/(a b) at t = 1, where it stays.
    Source: Smith and Topin 2018, with the cosine and the numbers of fast.ai.

    Args:
        highest: η ≥ 0, the rate at the top.
        steps: N, the length of the cycle.
        rise: r in (0, 1), the part of the cycle that rises.
        start_divisor: a > 0.
        end_divisor: b > 0.
    """

    highest: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        real(self.highest, "one_cycle(highest)", least=0)
        positive_int(self.steps, "one_cycle(steps)")
        real(self.rise, "one_cycle(rise)", above=0, below=1)
        real(self.start_divisor, "one_cycle(start_divisor)", above=0)
        real(self.end_divisor, "one_cycle(end_divisor)", above=0)

    def __call__(self, number: int) -> float:
        start = self.highest / self.start_divisor
        time = number / self.steps
        if time < self.rise:
            return _half_cosine(start, self.highest, time / self.rise)
        return _half_cosine(self.highest, start / self.end_divisor, (time - self.rise) / (1.0 - self.rise))


def _half_cosine(begin: float, end: float, time: float) -> float:
    """Go from ``begin`` at time 0 to ``end`` at time 1 and stay there."""
    return end + (begin - end) * 0.5 * (1.0 + cos(pi * min(time, 1.0)))
