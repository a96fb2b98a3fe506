"""Optimizers: one vector equation each, on the flat storage of all parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from typing_extensions import override

from .arrays import Array, real
from .errors import ArgumentError
from .parameter import Parameter, ParameterVector

LearningRate: TypeAlias = "float | Callable[[int], float]"


class Optimizer(ABC):
    """Move parameters against their gradients.

    A subclass writes `update`, and keeps what it remembers from step to step as arrays like ``self.vector.values``.

    Args:
        parameters: What to learn; what is not given stays as it is (frozen).
        learning_rate: η > 0, or a function of the number of steps taken so far.
        weight_decay: λ ≥ 0, how strongly the decayed parameters are drawn towards zero.
        decayed: Which parameters decay; default the weights, that is, those of two or more dimensions.

    Attributes:
        vector: The parameters' values and gradients as two vectors.
        steps: How many steps have been taken.
        last_rate: The learning rate of the last step.
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
        self.learning_rate: LearningRate = learning_rate
        self.weight_decay = real(weight_decay, f"{name}(weight_decay)", least=0)
        self.vector = ParameterVector(parameters)
        self.steps = 0
        self.last_rate = 0.0
        self._decay = self._decay_vector(decayed) if weight_decay else None

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
        self.vector.collect()
        self.last_rate = self.current_rate()
        self.update(self.vector.values, self.vector.gradients, self.last_rate)
        self.steps += 1

    def current_rate(self) -> float:
        """Return the learning rate of the next step."""
        rate = self.learning_rate
        if callable(rate):
            return real(rate(self.steps), f"{type(self).__name__}: learning rate at step {self.steps}", least=0)
        return rate

    def slots(self) -> dict[str, Array]:
        """Map the name of each vector that is remembered from step to step to it."""
        shape = self.vector.values.shape
        return {name: v for name, v in vars(self).items()
                if isinstance(v, np.ndarray) and v.shape == shape and name not in ("_decay", "_scratch")}

    def numbers(self) -> dict[str, float]:
        """Return the plain numbers that change from step to step or that a callback may change."""
        return {name: value for name, value in vars(self).items() if isinstance(value, (int, float))}

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


class SGD(Optimizer):
    """W ← W − η g, the article's equation (7); with momentum μ: v ← μ v + g, W ← W − η v.

    With Nesterov's momentum the step is W ← W − η (g + μ v) (Sutskever et al. 2013, in the form of PyTorch).
    Weight decay adds λ W to the gradient g.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        momentum: μ in [0, 1).
        nesterov: Look ahead along the velocity; needs momentum.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay=weight_decay, decayed=decayed)
        self.momentum = real(momentum, "SGD(momentum)", least=0, below=1)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ArgumentError("SGD(nesterov): expected a momentum above 0 with it, got 0")
        self._scratch = np.empty_like(self.vector.values)
        if momentum:
            self._velocity = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        if self._decay is not None:
            gradients = gradients + self._decay * values
        if self.momentum:
            self._velocity *= self.momentum
            self._velocity += gradients
            gradients = gradients + self.momentum * self._velocity if self.nesterov else self._velocity
        np.multiply(gradients, learning_rate, out=self._scratch)
        values -= self._scratch
