"""The contract of an optimizer: one vector equation on the flat storage of all parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from math import inf
from typing import Any

import numpy as np

from .._core.arrays import Array, real
from .._core.configuration import arguments
from .._core.parameter import Parameter
from .._core.vector import ParameterVector
from ..errors import ArgumentError, DTypeError
from ..schedules import Epochs, LearningRate, Schedule


class Optimizer(ABC):
    """Move parameters against their gradients.

    A subclass writes `update`. What it remembers from step to step it keeps as attributes: vectors like
    ``self.vector.values``, and numbers. Room for what is not remembered is in ``self._scratch``, a vector like them::

        class SignDescent(Optimizer):
            def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
                np.sign(gradients, out=self._scratch)
                self._scratch *= learning_rate
                values -= self._scratch

    Args:
        parameters: What to learn; those that are frozen are skipped.
        learning_rate: η > 0, a schedule, or a function of the number of steps taken so far.
        weight_decay: λ ≥ 0, how strongly the decayed parameters are drawn towards zero.
        decayed: Which parameters decay; default the weights, that is, those of two or more dimensions.

    Attributes:
        vector: The parameters' values and gradients as two vectors.
        steps: How many steps have been taken.
        last_rate: The learning rate of the last step.
        epochs: How the steps make up epochs; a Trainer sets it for schedules in epochs, and it is in no file.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        weight_decay: float = 0.0,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        name = type(self).__name__
        if not callable(learning_rate):
            learning_rate = real(learning_rate, f"{name}(learning_rate)", above=0)
        elif isinstance(learning_rate, type):
            made = f"{learning_rate.__name__}(…)"
            raise DTypeError(f"{name}(learning_rate): expected a number or a function of the step number, got a class; "
                             f"call it with its arguments: {made}")
        self.learning_rate: LearningRate = learning_rate
        self.weight_decay: float = real(weight_decay, f"{name}(weight_decay)", least=0)
        self.vector: ParameterVector = ParameterVector(parameters)
        self.steps: int = 0
        self.last_rate: float = 0.0
        self.epochs: Epochs | None = None
        self._decay = self._decay_vector(decayed) if weight_decay else None
        self._scratch = np.empty_like(self.vector.values)
        if weight_decay:
            self._decayed_gradients = np.empty_like(self.vector.values)

    @abstractmethod
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        """Change ``values`` in place; ``gradients`` is not written to.

        Args:
            values: All parameters in one vector.
            gradients: ∂e/∂values.
            learning_rate: η of this step.
        """

    def step(self) -> None:
        """Update the parameters once, and use up their gradients.

        Raises:
            CallOrderError: no parameter has a gradient since the last step.
        """
        vector = self.vector
        vector.complete()
        self.last_rate = self.current_rate()
        values, gradients = vector.values, vector.gradients
        # An update is one equation for all numbers; what is frozen, and what is remembered of it, is put back.
        held = [(part[place], part[place].copy()) for part in self._moved() for place in vector.frozen]
        if self._decay is not None:
            gradients = self.decay(values, gradients, self._decay, self.last_rate)
        self.update(values, gradients, self.last_rate)
        for part, value in held:
            part[...] = value
        vector.use_up()
        self.steps += 1

    def _moved(self) -> list[Array]:
        """List the vectors that an update changes; none where nothing is frozen."""
        return [self.vector.values, *self.slots().values()] if self.vector.frozen else []

    def decay(self, values: Array, gradients: Array, strengths: Array, learning_rate: float) -> Array:
        """Draw the decayed parameters towards zero before the update: g + λ W, where λ W is the gradient of ½ λ ‖W‖².

        Args:
            values: All parameters in one vector.
            gradients: ∂e/∂values; it is not written to.
            strengths: λ of each number, zero for what does not decay.
            learning_rate: η of this step.

        Returns:
            The gradients that `update` is given.
        """
        np.multiply(strengths, values, out=self._decayed_gradients)
        self._decayed_gradients += gradients
        return self._decayed_gradients

    def current_rate(self) -> float:
        """Return the learning rate of the next step.

        Raises:
            CallOrderError: it is a schedule in epochs, and no Trainer has said how many steps an epoch has.
        """
        rate = self.learning_rate
        if not callable(rate):
            return rate
        found = rate(self.steps, self.epochs) if isinstance(rate, Schedule) else rate(self.steps)
        if type(found) is float and 0.0 <= found < inf:  # `real` takes longer than a step of a small network.
            return found
        return real(found, f"{type(self).__name__}: learning rate at step {self.steps}", least=0)

    def slots(self) -> dict[str, Array]:
        """Map the name of each vector that is remembered from step to step to it.

        These are the attributes that are arrays like ``vector.values``, without those named ``_scratch…``.
        """
        shape = self.vector.values.shape
        return {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray) and value.shape == shape and not name.startswith(("_scratch", "_decay"))
        }

    def numbers(self) -> dict[str, float]:
        """Return the plain numbers that change from step to step, and the learning rate, which a callback may lower.

        Other arguments of the constructor are `settings`; an optimizer that changes one as it goes adds it here.
        """
        fixed = _fixed_arguments(type(self))
        own = vars(self).items()
        return {name: value for name, value in own if isinstance(value, (int, float)) and name not in fixed}

    def settings(self) -> dict[str, Any]:
        """Return what stays from step to step: which parameters learn and decay, and the constructor's arguments.

        Of the arguments there are those that are kept as attributes of their names.
        """
        own, changing = vars(self), self.numbers()
        names = sorted(_constructor_arguments(type(self)) - changing.keys() - {"parameters", "decayed"})
        owned = zip(self.vector.parameters, self.vector.slices(), strict=True)
        decay = self._decay
        return {
            **{name: own[name] for name in names if name in own},
            "parameters": list(self.vector.parameters),
            "decayed": [] if decay is None else [parameter for parameter, place in owned if decay[place].any()],
        }

    def restore_numbers(self, numbers: dict[str, float]) -> None:
        """Take back what `numbers` gave."""
        vars(self).update(numbers)

    def _decay_vector(self, decayed: Iterable[Parameter] | None) -> Array:
        owned = {id(p): place for p, place in zip(self.vector.parameters, self.vector.slices(), strict=True)}
        chosen = [p for p in self.vector.parameters if len(p.shape) >= 2] if decayed is None else list(decayed)
        decay = np.zeros_like(self.vector.values)
        for parameter in chosen:
            if id(parameter) not in owned:
                raise ArgumentError(f"{type(self).__name__}(decayed): {parameter!r} is not among the parameters")
            decay[owned[id(parameter)]] = self.weight_decay
        return decay

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vector.values.size:,} numbers, learning_rate={self.learning_rate})"


@cache
def _constructor_arguments(kind: type) -> frozenset[str]:
    """Name the arguments of a class's constructor and of those of its bases."""
    return frozenset(name for base in kind.__mro__ if "__init__" in vars(base) for name in arguments(base))


@cache
def _fixed_arguments(kind: type) -> frozenset[str]:
    """Name those of them that stay from step to step."""
    return _constructor_arguments(kind) - {"learning_rate", "steps", "last_rate"}
