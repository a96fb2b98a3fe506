"""Optimizers with one fault each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from typing_extensions import override

from minidl import Array, Parameter
from minidl.optimizers import Optimizer


class Momentum(Optimizer):
    """v ← 0.9 v + g, W ← W − η v: a right optimizer, from which the wrong ones differ in one place."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        super().__init__(parameters, learning_rate)
        self.velocity = self.slot()

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self.velocity *= 0.9
        self.velocity += gradients
        values -= learning_rate * self.velocity


class Uphill(Momentum):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        super().update(values, gradients, -learning_rate)


class TooSlow(Momentum):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        super().update(values, gradients, 1e-6 * learning_rate)


class MakesNewValues(Momentum):
    """Puts its result into a name of its own."""

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        values = values - learning_rate * gradients


class MovesTheParameters(Momentum):
    """Gives each parameter an array of its own after each step."""

    @override
    def step(self) -> None:
        super().step()
        for parameter in self.vector.parameters:
            parameter.cast(parameter.dtype)


class WritesIntoGradients(Momentum):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        gradients *= learning_rate
        values -= gradients


class SmallNoise(Momentum):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        super().update(values, gradients, learning_rate * np.random.default_rng().uniform(0.9, 1.1))


class RemembersInAList(Momentum):
    """The slots do not hold what it remembers."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        super().__init__(parameters, learning_rate)
        del self.velocity
        self.memory = [np.zeros_like(self.vector.values)]

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self.memory[0] = 0.9 * self.memory[0] + gradients
        values -= learning_rate * self.memory[0]


class RemembersUndeclared(Momentum):
    """Its vector looks like a slot, but `slot` did not make it."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        super().__init__(parameters, learning_rate)
        self.velocity = np.zeros_like(self.vector.values)


class ChangesAnUndeclaredNumber(Momentum):
    """Its rate falls, and `changing` does not name it."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        super().__init__(parameters, learning_rate)
        self.factor = 1.0

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        super().update(values, gradients, self.factor * learning_rate)
        self.factor *= 0.99


class RemembersLate(Momentum):
    """The slot comes only with the first step."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        super().__init__(parameters, learning_rate)
        del self.velocity

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        if not hasattr(self, "velocity"):
            self.velocity = self.slot()
        super().update(values, gradients, learning_rate)


class RemembersTheParameters(Momentum):
    """Keeps the arrays of the first step, wherever the parameters are by then."""

    @override
    def step(self) -> None:
        if not hasattr(self, "views"):
            self.views = [p.value for p in self.vector.parameters]
        self.vector.complete()
        self.last_rate = self.current_rate()
        for view, place in zip(self.views, self.vector.slices(), strict=True):
            view -= self.last_rate * self.vector.gradients[place].reshape(view.shape)
        self.vector.use_up()
        self.steps += 1


class StepsWithoutGradients(Momentum):
    @override
    def step(self) -> None:
        for parameter in self.vector.parameters:
            parameter.grad += 0.0
        super().step()


class LeavesTheGradients(Momentum):
    """Each step sees the gradients of all steps before it."""

    @override
    def step(self) -> None:
        self.vector.complete()
        gradients = [parameter.grad.copy() for parameter in self.vector.parameters]
        super().step()
        for parameter, gradient in zip(self.vector.parameters, gradients, strict=True):
            parameter.grad += gradient


class ForgetsToCount(Momentum):
    @override
    def step(self) -> None:
        super().step()
        self.steps = 0


class DoublesShared(Momentum):
    """A parameter that is given twice gets two steps."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        given = list(parameters)
        super().__init__(given, learning_rate)
        self._times = np.concatenate([np.full(p.size, given.count(p), p.dtype) for p in self.vector.parameters])

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        super().update(values, gradients * self._times, learning_rate)


class DoubleSlots(Momentum):
    """Remembers in float64, whatever the parameters are."""

    @override
    def slot(self) -> Array:
        self._slots.append(np.zeros(self.vector.values.shape))
        return self._slots[-1]


class DoesNotCopy(Momentum):
    def __deepcopy__(self, memo: dict[int, Any]) -> DoesNotCopy:
        return self


class HoldsALambda(Momentum):
    def __init__(self, parameters: Iterable[Parameter], learning_rate: float = 0.05) -> None:
        super().__init__(parameters, learning_rate)
        self.rule = lambda g: g


class SkipsWithoutGradient(Momentum):
    """A parameter without a gradient keeps its value, though its velocity goes on."""

    @override
    def step(self) -> None:
        unused = [not p.has_grad for p in self.vector.parameters]
        before = self.vector.values.copy()
        super().step()
        for skipped, place in zip(unused, self.vector.slices(), strict=True):
            if skipped:
                self.vector.values[place] = before[place]


class Diverges(Momentum):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        super().update(values, gradients, 1e3 * learning_rate)
