"""Optimizers that give each number a rate of its own, from the gradients that it has had."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, real
from .._core.parameter import Parameter
from ..schedules import LearningRate
from .optimizer import Optimizer


class Adagrad(Optimizer):
    """s ← s + g², W ← W − η g / (√s + ε) (Duchi et al. 2011, figure 1, the diagonal form).

    Weight decay adds λ W to the gradient g.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        epsilon: ε > 0.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate = 0.01,
        *,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay=weight_decay, decayed=decayed)
        self.epsilon: float = real(epsilon, "Adagrad(epsilon)", above=0)
        self.square_sum: Array = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        move = self._scratch
        np.multiply(gradients, gradients, out=move)
        self.square_sum += move
        np.sqrt(self.square_sum, out=move)
        move += self.epsilon
        np.divide(gradients, move, out=move)
        move *= learning_rate
        values -= move


class RMSProp(Optimizer):
    """s ← ρ s + (1 − ρ) g², W ← W − η g / (√s + ε) (Tieleman and Hinton 2012, lecture 6.5).

    With momentum μ: v ← μ v + g / (√s + ε), W ← W − η v. Weight decay adds λ W to the gradient g.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        rho: ρ in [0, 1), how much of the mean square is kept.
        momentum: μ in [0, 1).
        epsilon: ε > 0.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate = 0.01,
        *,
        rho: float = 0.99,
        momentum: float = 0.0,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay=weight_decay, decayed=decayed)
        self.rho: float = real(rho, "RMSProp(rho)", least=0, below=1)
        self.momentum: float = real(momentum, "RMSProp(momentum)", least=0, below=1)
        self.epsilon: float = real(epsilon, "RMSProp(epsilon)", above=0)
        self.square_mean: Array = np.zeros_like(self.vector.values)
        if momentum:
            self.velocity: Array = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        move = self._scratch
        np.multiply(gradients, gradients, out=move)
        move *= 1.0 - self.rho
        self.square_mean *= self.rho
        self.square_mean += move
        np.sqrt(self.square_mean, out=move)
        move += self.epsilon
        np.divide(gradients, move, out=move)
        if self.momentum:
            self.velocity *= self.momentum
            self.velocity += move
            np.multiply(self.velocity, learning_rate, out=move)
        else:
            move *= learning_rate
        values -= move
