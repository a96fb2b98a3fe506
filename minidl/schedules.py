"""Schedules: the learning rate as a function of the step number.

A schedule is called with the number of steps taken so far. The names are lower-case because a schedule is a function
of one number; they are classes so that one can be printed, compared, pickled and made again from its arguments.
"""

# ruff: noqa: N801

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import cos, pi
from typing import TypeAlias

from .arrays import positive_int, real
from .errors import DTypeError
from .typing import override

__all__ = [
    "constant",
    "cosine",
    "exponential",
    "one_cycle",
    "step",
    "warmup",
]

Schedule: TypeAlias = Callable[[int], float]
"""Any function of the number of steps taken so far."""

LearningRate: TypeAlias = "float | Schedule"
"""What an optimizer takes: a number, or a function of the step number."""


class _Printed(ABC):
    """A schedule that is what its arguments say, kept under their names."""

    @abstractmethod
    def __call__(self, number: int) -> float:
        """Return the rate after ``number`` steps."""

    @override
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    @override
    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class constant(_Printed):
    """Keep the rate: η(n) = η₀.

    Args:
        rate: η₀ ≥ 0.
    """

    def __init__(self, rate: float) -> None:
        self.rate = real(rate, "constant(rate)", least=0)

    @override
    def __call__(self, number: int) -> float:
        return self.rate


class step(_Printed):
    """Multiply the rate now and then: η(n) = η₀ fᵏ with k = ⌊n / every⌋.

    Args:
        initial: η₀ ≥ 0.
        every: Steps from one drop to the next.
        factor: f ≥ 0.
    """

    def __init__(self, initial: float, every: int, factor: float = 0.1) -> None:
        self.initial = real(initial, "step(initial)", least=0)
        self.every = positive_int(every, "step(every)")
        self.factor = real(factor, "step(factor)", least=0)

    @override
    def __call__(self, number: int) -> float:
        dropped: float = self.factor ** (number // self.every)
        return self.initial * dropped


class exponential(_Printed):
    """Let the rate decay smoothly: η(n) = η₀ f^(n / every).

    Args:
        initial: η₀ ≥ 0.
        factor: f > 0.
        every: Steps in which the rate is multiplied by f once.
    """

    def __init__(self, initial: float, factor: float, every: int = 1) -> None:
        self.initial = real(initial, "exponential(initial)", least=0)
        self.factor = real(factor, "exponential(factor)", above=0)
        self.every = positive_int(every, "exponential(every)")

    @override
    def __call__(self, number: int) -> float:
        decayed: float = self.factor ** (number / self.every)
        return self.initial * decayed


class cosine(_Printed):
    """Go from one rate to another along half a cosine: η(n) = η₁ + (η₀ − η₁) (1 + cos(π n / N)) / 2.

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts.

    Args:
        initial: η₀ ≥ 0.
        steps: N; from then on the rate is η₁.
        final: η₁ ≥ 0.
    """

    def __init__(self, initial: float, steps: int, final: float = 0.0) -> None:
        self.initial = real(initial, "cosine(initial)", least=0)
        self.steps = positive_int(steps, "cosine(steps)")
        self.final = real(final, "cosine(final)", least=0)

    @override
    def __call__(self, number: int) -> float:
        return _half_cosine(self.initial, self.final, number / self.steps)


class warmup(_Printed):
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

    def __init__(self, schedule: LearningRate, steps: int) -> None:
        if isinstance(schedule, type):
            raise DTypeError(f"warmup(schedule): expected a schedule or a number, got the class {schedule.__name__}; "
                             f"call it with its arguments: {schedule.__name__}(…)")
        self.schedule = schedule if callable(schedule) else real(schedule, "warmup(schedule)", least=0)
        self.steps = positive_int(steps, "warmup(steps)")

    @override
    def __call__(self, number: int) -> float:
        if number < self.steps:
            return self._follow(0) * (number + 1) / (self.steps + 1)
        return self._follow(number - self.steps)

    def _follow(self, number: int) -> float:
        return self.schedule(number) if callable(self.schedule) else self.schedule


class one_cycle(_Printed):
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

    def __init__(self, highest: float, steps: int, rise: float = 0.3, start_divisor: float = 25.0,
                 end_divisor: float = 1e4) -> None:
        self.highest = real(highest, "one_cycle(highest)", least=0)
        self.steps = positive_int(steps, "one_cycle(steps)")
        self.rise = real(rise, "one_cycle(rise)", above=0, below=1)
        self.start_divisor = real(start_divisor, "one_cycle(start_divisor)", above=0)
        self.end_divisor = real(end_divisor, "one_cycle(end_divisor)", above=0)

    @override
    def __call__(self, number: int) -> float:
        start = self.highest / self.start_divisor
        time = number / self.steps
        if time < self.rise:
            return _half_cosine(start, self.highest, time / self.rise)
        return _half_cosine(self.highest, start / self.end_divisor, (time - self.rise) / (1.0 - self.rise))


def _half_cosine(begin: float, end: float, time: float) -> float:
    """Go from ``begin`` at time 0 to ``end`` at time 1 and stay there."""
    return end + (begin - end) * 0.5 * (1.0 + cos(pi * min(time, 1.0)))
