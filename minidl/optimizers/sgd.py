"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, real
from .._core.parameter import Parameter
from ..errors import ArgumentError
from ..schedules import LearningRate
from .optimizer import Optimizer

RUN = 1 << 19
"""How many numbers are updated at a time, so that what is computed on the way is small and stays in the cache."""


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
        self.momentum: float = real(momentum, "SGD(momentum)", least=0, below=1)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ArgumentError("SGD(nesterov): expected a momentum above 0 with it, got 0")
        if momentum:
            self.velocity: Array = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        if self.momentum:
            self.velocity *= self.momentum
            self.velocity += gradients
        if self.nesterov:
            self._descend(values, gradients, learning_rate)
            self._descend(values, self.velocity, learning_rate * self.momentum)
        else:
            self._descend(values, self.velocity if self.momentum else gradients, learning_rate)

    def _descend(self, values: Array, direction: Array, rate: float) -> None:
        """Update W ← W − η d."""
        if len(values) > RUN:
            for begin in range(0, len(values), RUN):
                self._descend(values[begin : begin + RUN], direction[begin : begin + RUN], rate)
            return
        move = self._scratch[: len(values)]
        np.multiply(direction, rate, out=move)
        values -= move
