"""Schedules: the learning rate as a function of the number of steps or epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from copy import copy
from math import cos, inf, isfinite, pi
from typing import NamedTuple, Self, TypeAlias

from typing_extensions import override

from ._core.arrays import listed, positive_int, real
from ._core.configuration import arguments
from .errors import ArgumentError, CallOrderError, DTypeError

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Epochs",
    "Exponential",
    "LearningRate",
    "MultiStep",
    "OneCycle",
    "Schedule",
    "Step",
    "Warmup",
]

LearningRate: TypeAlias = float | Callable[[int], float]
"""What an optimizer takes: a number, a schedule, or any function of the number of steps taken so far."""


class Epochs(NamedTuple):
    """How the steps of an optimizer make up epochs; a Trainer keeps this in `optimizer.epochs`.

    With k, j = divmod(n - first_step, steps_per_epoch), step n is at the time first_epoch + k + j / steps_per_epoch.

    Attributes:
        first_step: A step at which an epoch begins.
        first_epoch: The number of that epoch, from 0.
        steps_per_epoch: Steps of each epoch from there on.

    Example:
        >>> Epochs(first_step=0, first_epoch=0, steps_per_epoch=50).passed(120)
        120
    """

    first_step: int
    first_epoch: int
    steps_per_epoch: int

    def passed(self, step: int) -> int:
        """Return the time at a step as a whole number: epochs times ``steps_per_epoch``, at least 0."""
        return max(self.first_epoch * self.steps_per_epoch + step - self.first_step, 0)


class Schedule(ABC):
    """Base of schedules: the learning rate η as a function of time.

    A subclass keeps the arguments of its constructor as attributes of their names and writes `at`. Two schedules of one
    class with equal arguments are equal.

    Args:
        steps: Its length N in steps.
        epochs: N in epochs, instead of steps.

    Raises:
        ArgumentError: both are given, or neither.

    Example:
        >>> class Linear(Schedule):
        ...     def __init__(self, initial: float, *, steps: int | None = None, epochs: int | None = None) -> None:
        ...         super().__init__(steps=steps, epochs=epochs)
        ...         self.initial = initial
        ...
        ...     def at(self, step: int, epochs: Epochs | None) -> float:
        ...         n, length = self.elapsed(step, epochs)
        ...         return self.initial * max(1.0 - n / length, 0.0)
        >>> Linear(0.2, epochs=2).in_steps(50)
        Linear(0.2, steps=100)
        >>> Linear(0.2, steps=100)(50)
        0.1
    """

    steps: int | None = None
    epochs: int | None = None

    def __init__(self, *, steps: int | None = None, epochs: int | None = None) -> None:
        name = type(self).__name__
        self.steps = None if steps is None else positive_int(steps, f"{name}(steps)")
        self.epochs = None if epochs is None else positive_int(epochs, f"{name}(epochs)")
        if (steps is None) == (epochs is None):
            found = "neither" if steps is None else "both"
            raise ArgumentError(f"{name}: expected steps= or epochs=, got {found}; write "
                                f"{name}(..., steps={self.steps or 1000}) or {name}(..., epochs={self.epochs or 10})")

    @abstractmethod
    def at(self, step: int, epochs: Epochs | None) -> float:
        """Return η.

        Args:
            step: Steps taken so far.
            epochs: How the steps make up epochs; None where it is not known.
        """

    def __call__(self, step: int, epochs: Epochs | None = None) -> float:
        """Return η after ``step`` steps.

        Args:
            step: Steps taken so far.
            epochs: How the steps make up epochs; a schedule in epochs needs it.

        Raises:
            CallOrderError: the schedule is in epochs, and ``epochs`` is None.
            ArgumentError, DTypeError: η is not a finite number.
        """
        try:
            rate = self.at(step, epochs)
        except OverflowError:
            rate = inf
        if type(rate) is not float:
            rate = real(rate, f"{self!r}: the rate at step {step}")
        if not isfinite(rate):
            raise ArgumentError(f"{self!r}: expected a finite rate at step {step}, got {rate}; use smaller numbers")
        return rate

    def in_steps(self, steps_per_epoch: int) -> Self:
        """Return this schedule in steps, for epochs of ``steps_per_epoch`` steps."""
        count = positive_int(steps_per_epoch, f"{type(self).__name__}.in_steps(steps_per_epoch)")
        twin = copy(self)
        if self.epochs is not None:
            twin.steps, twin.epochs = self.epochs * count, None
        return twin

    def elapsed(self, step: int, epochs: Epochs | None) -> tuple[int, int]:
        """Return the time n ≥ 0 and the length N of this schedule, both in steps; for `at`.

        Where this schedule is in epochs, the two are n and N times the steps of an epoch.

        Raises:
            CallOrderError: the schedule is in epochs, and ``epochs`` is None.
        """
        if self.epochs is None:
            return max(step, 0), self.steps or 1
        if epochs is None:
            raise CallOrderError(
                f"{self!r}: expected to know how many steps an epoch has, which a Trainer tells its optimizer; train "
                "with a Trainer, or give steps= instead of epochs=, or use schedule.in_steps(steps_per_epoch)"
            )
        return epochs.passed(step), self.epochs * epochs.steps_per_epoch

    @override
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    @override
    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    @override
    def __repr__(self) -> str:
        shown = []
        for name, argument in arguments(type(self)).items():
            value = getattr(self, name)
            if argument.default is argument.empty:
                shown.append(repr(value))
            elif value != argument.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Constant(Schedule):
    """Keep the rate: η(n) = η₀.

    Args:
        rate: η₀ ≥ 0.

    Example:
        >>> Constant(0.1)(1000)
        0.1
    """

    def __init__(self, rate: float) -> None:
        self.rate: float = real(rate, "Constant(rate)", least=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        return self.rate


class Step(Schedule):
    """Multiply the rate once every N steps or epochs: η(n) = η₀ fᵏ with k = ⌊n / N⌋.

    Args:
        initial: η₀ ≥ 0.
        factor: f ≥ 0.
        steps: N in steps.
        epochs: N in epochs, instead of steps.

    Example:
        >>> rate = Step(0.1, 0.5, steps=100)
        >>> [rate(step) for step in (0, 99, 100, 200)]
        [0.1, 0.1, 0.05, 0.025]
    """

    def __init__(
        self, initial: float, factor: float = 0.1, *, steps: int | None = None, epochs: int | None = None
    ) -> None:
        super().__init__(steps=steps, epochs=epochs)
        self.initial: float = real(initial, "Step(initial)", least=0)
        self.factor: float = real(factor, "Step(factor)", least=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        dropped: float = self.factor ** (n // length)
        return self.initial * dropped


class MultiStep(Schedule):
    """Multiply the rate at some times: η(n) = η₀ fᵏ, with k the number of milestones m for which n ≥ m N.

    Args:
        initial: η₀ ≥ 0.
        milestones: The times m ≥ 1, in units of N.
        factor: f ≥ 0.
        steps: N in steps, 1 for milestones that are steps.
        epochs: N in epochs instead, 1 for milestones that are epochs.

    Example:
        >>> rate = MultiStep(0.1, [30, 60], epochs=1)
        >>> rate.in_steps(50)
        MultiStep(0.1, (30, 60), steps=50)
    """

    def __init__(
        self,
        initial: float,
        milestones: Iterable[int],
        factor: float = 0.1,
        *,
        steps: int | None = None,
        epochs: int | None = None,
    ) -> None:
        super().__init__(steps=steps, epochs=epochs)
        where = "MultiStep(milestones)"
        times = listed(milestones, where, "times such as [30, 60]")
        if not times:
            raise ArgumentError(f"{where}: expected at least one milestone, got none")
        self.initial: float = real(initial, "MultiStep(initial)", least=0)
        self.milestones: tuple[int, ...] = tuple([positive_int(time, where) for time in times])
        self.factor: float = real(factor, "MultiStep(factor)", least=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        dropped: float = self.factor ** sum([n >= time * length for time in self.milestones])
        return self.initial * dropped


class Exponential(Schedule):
    """Let the rate decay smoothly: η(n) = η₀ f^(n / N).

    Args:
        initial: η₀ ≥ 0.
        factor: f > 0.
        steps: N in steps: after each N the rate is multiplied by f once more.
        epochs: N in epochs, instead of steps.

    Example:
        >>> rate = Exponential(0.1, 0.5, steps=100)
        >>> [rate(step) for step in (0, 100, 200)]
        [0.1, 0.05, 0.025]
    """

    def __init__(self, initial: float, factor: float, *, steps: int | None = None, epochs: int | None = None) -> None:
        super().__init__(steps=steps, epochs=epochs)
        self.initial: float = real(initial, "Exponential(initial)", least=0)
        self.factor: float = real(factor, "Exponential(factor)", above=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        decayed: float = self.factor ** (n / length)
        return self.initial * decayed


class Cosine(Schedule):
    """Go from one rate to another along half a cosine: η(n) = η₁ + (η₀ − η₁) (1 + cos(π n / N)) / 2.

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts.

    Args:
        initial: η₀ ≥ 0.
        steps: N in steps; from then on the rate is η₁.
        epochs: N in epochs, instead of steps.
        final: η₁ ≥ 0.
    """

    def __init__(
        self, initial: float, *, steps: int | None = None, epochs: int | None = None, final: float = 0.0
    ) -> None:
        super().__init__(steps=steps, epochs=epochs)
        self.initial: float = real(initial, "Cosine(initial)", least=0)
        self.final: float = real(final, "Cosine(final)", least=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        return _half_cosine(self.initial, self.final, n / length)


class CosineRestarts(Schedule):
    """Go from one rate to another along half a cosine, again and again.

    In each period η(t) = η₁ + (η₀ − η₁) (1 + cos(π t / T)) / 2, with t from 0 to its length T, which it does not reach.
    The first period has the length N, and each later one g times the length of the one before.

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5.

    Args:
        initial: η₀ ≥ 0.
        steps: N in steps.
        epochs: N in epochs, instead of steps.
        growth: g, a whole number.
        final: η₁ ≥ 0.

    Example:
        >>> rate = CosineRestarts(0.2, steps=10)
        >>> [round(rate(step), 3) for step in (0, 5, 9, 10)]
        [0.2, 0.1, 0.005, 0.2]
    """

    def __init__(
        self,
        initial: float,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        growth: int = 1,
        final: float = 0.0,
    ) -> None:
        super().__init__(steps=steps, epochs=epochs)
        self.initial: float = real(initial, "CosineRestarts(initial)", least=0)
        self.growth: int = positive_int(growth, "CosineRestarts(growth)")
        self.final: float = real(final, "CosineRestarts(final)", least=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        if self.growth == 1:
            n %= length
        while n >= length:
            n, length = n - length, length * self.growth
        return _half_cosine(self.initial, self.final, n / length)


class Warmup(Schedule):
    """Rise to the first rate of a schedule, then follow it: η(n) = s(0) (n + 1) / (N + 1) for n < N, then s(n − N).

    In epochs, n and N are counted in steps, as many as an epoch has at the time. The schedule may be in the other unit:
    then its own time is delayed by these N steps, and is never below 0.

    Source: Goyal et al. 2017, section 2.2 (gradual warm-up).

    Args:
        schedule: s: a schedule, a function of the number of steps, or a number for a rate that stays.
        steps: N, the length of the rise, in steps.
        epochs: N in epochs, instead of steps.

    Example:
        >>> rate = Warmup(0.3, steps=2)
        >>> [round(rate(n), 3) for n in range(4)]
        [0.1, 0.2, 0.3, 0.3]
    """

    def __init__(self, schedule: LearningRate, *, steps: int | None = None, epochs: int | None = None) -> None:
        super().__init__(steps=steps, epochs=epochs)
        if isinstance(schedule, type):
            raise DTypeError(f"Warmup(schedule): expected a schedule or a number, got the class {schedule.__name__}; "
                             f"call it with its arguments: {schedule.__name__}(...)")
        self.schedule: LearningRate = (
            schedule if callable(schedule) else real(schedule, "Warmup(schedule)", least=0)
        )

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        if n < length:
            begin = None if epochs is None else Epochs(0, 0, epochs.steps_per_epoch)
            return self._follow(0, begin) * ((n + 1) / (length + 1))
        return self._follow(step - length, epochs)

    def _follow(self, step: int, epochs: Epochs | None) -> float:
        schedule = self.schedule
        if isinstance(schedule, Schedule):
            return schedule(step, epochs)
        if callable(schedule):
            return real(schedule(max(step, 0)), "Warmup(schedule): learning rate", least=0)
        return schedule

    @override
    def in_steps(self, steps_per_epoch: int) -> Self:
        twin = super().in_steps(steps_per_epoch)
        if isinstance(self.schedule, Schedule):
            twin.schedule = self.schedule.in_steps(steps_per_epoch)
        return twin


class OneCycle(Schedule):
    """Rise to a high rate, then decrease far below the first one, both along half a cosine.

    With t = n / N: from η/a up to η while t ≤ r, then down to η/(a b) at t = 1, where it stays.
    Source: Smith and Topin 2018, with the cosine and the numbers of fast.ai.

    Args:
        highest: η ≥ 0, the rate at the top.
        steps: N, the length of the cycle, in steps.
        epochs: N in epochs, instead of steps.
        rise: r in (0, 1), the part of the cycle that rises.
        start_divisor: a > 0.
        end_divisor: b > 0.

    Example:
        >>> rate = OneCycle(0.1, steps=100)
        >>> [round(rate(step), 4) for step in (0, 30, 60)]
        [0.004, 0.1, 0.0611]
    """

    def __init__(
        self,
        highest: float,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ) -> None:
        super().__init__(steps=steps, epochs=epochs)
        self.highest: float = real(highest, "OneCycle(highest)", least=0)
        self.rise: float = real(rise, "OneCycle(rise)", above=0, below=1)
        self.start_divisor: float = real(start_divisor, "OneCycle(start_divisor)", above=0)
        self.end_divisor: float = real(end_divisor, "OneCycle(end_divisor)", above=0)

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        n, length = self.elapsed(step, epochs)
        start = self.highest / self.start_divisor
        time = n / length
        if time < self.rise:
            return _half_cosine(start, self.highest, time / self.rise)
        return _half_cosine(self.highest, start / self.end_divisor, (time - self.rise) / (1.0 - self.rise))


def _half_cosine(begin: float, end: float, time: float) -> float:
    """Go from ``begin`` at time 0 to ``end`` at time 1 and stay there."""
    return end + (begin - end) * 0.5 * (1.0 + cos(pi * min(time, 1.0)))
