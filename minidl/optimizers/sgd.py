"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..arrays import Array, real
from ..errors import ArgumentError
from ..parameter import Parameter
from ..schedules import LearningRate
from ..typing import override
from .optimizer import Optimizer


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
        if momentum:
            self.velocity = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        move, direction = self._scratch, gradients
        if self.momentum:
            self.velocity *= self.momentum
            self.velocity += gradients
            direction = self.velocity
            if self.nesterov:
                np.multiply(self.velocity, self.momentum, out=move)
                move += gradients
                direction = move
        np.multiply(direction, learning_rate, out=move)
        values -= move
