"""Adam and its kin: a running mean of the gradient over the root of a running mean of its square."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from math import sqrt

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, real
from .._core.parameter import Parameter
from ..schedules import LearningRate
from .optimizer import Optimizer


class _Moments(Optimizer, ABC):
    """What Adam and its kin share: m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g², from zero."""

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay=weight_decay, decayed=decayed)
        name = type(self).__name__
        self.beta1: float = real(beta1, f"{name}(beta1)", least=0, below=1)
        self.beta2: float = real(beta2, f"{name}(beta2)", least=0, below=1)
        self.epsilon: float = real(epsilon, f"{name}(epsilon)", above=0)
        self.first_moment: Array = np.zeros_like(self.vector.values)
        self.second_moment: Array = np.zeros_like(self.vector.values)

    def _follow_first(self, gradients: Array) -> None:
        np.multiply(gradients, 1.0 - self.beta1, out=self._scratch)
        self.first_moment *= self.beta1
        self.first_moment += self._scratch

    def _follow_second(self, gradients: Array) -> None:
        np.multiply(gradients, gradients, out=self._scratch)
        self._scratch *= 1.0 - self.beta2
        self.second_moment *= self.beta2
        self.second_moment += self._scratch

    def _adam(self, values: Array, gradients: Array, learning_rate: float) -> None:
        """W ← W − η m̂ / (√v̂ + ε), with the corrections as two numbers in place of two vectors.

        √v̂ + ε = (√v + ε c) / c with c = √(1 − β₂ᵗ), so that η c / (1 − β₁ᵗ) can wait until the end.
        """
        self._follow_first(gradients)
        self._follow_second(gradients)
        t = self.steps + 1
        correction = sqrt(1.0 - self.beta2**t)
        move = self._scratch
        np.sqrt(self.second_moment, out=move)
        move += self.epsilon * correction
        np.divide(self.first_moment, move, out=move)
        move *= learning_rate * correction / (1.0 - self.beta1**t)
        values -= move


class Adam(_Moments):
    """W ← W − η m̂ / (√v̂ + ε) at step t = 1, 2, … (Kingma and Ba 2015, algorithm 1).

    m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g² start from zero; m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ)
    correct for that. Weight decay adds λ W to the gradient g; `AdamW` keeps it apart.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, by default 0.001, or a function of the step number.
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
    """

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self._adam(values, gradients, learning_rate)


class AdamW(_Moments):
    """W ← W − η λ W, then as `Adam`: the decay stays out of the moments (Loshchilov and Hutter 2019, algorithm 2).

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
                         weight_decay=weight_decay, decayed=decayed)

    @override
    def decay(self, values: Array, gradients: Array, strengths: Array, learning_rate: float) -> Array:
        """W ← W − η λ W; the gradients stay as they are."""
        np.multiply(strengths, values, out=self._scratch)
        self._scratch *= learning_rate
        values -= self._scratch
        return gradients

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self._adam(values, gradients, learning_rate)


class NAdam(_Moments):
    """W ← W − η (μₜ₊₁ m / (1 − p μₜ₊₁) + (1 − μₜ) g / (1 − p)) / (√v̂ + ε), p = μ₁ μ₂ ⋯ μₜ.

    `Adam` that looks ahead as Nesterov's momentum does, with m, v and v̂ as there and a momentum that grows,
    μₜ = β₁ (1 − ½ 0.96^(t ψ)) (Dozat 2016, algorithm 2, in the form of PyTorch). Weight decay adds λ W to the
    gradient g.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.
        momentum_decay: ψ ≥ 0, how soon μₜ grows from β₁ / 2 to β₁.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.

    Attributes:
        momentum_product: p so far.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate = 0.002,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 0.004,
        weight_decay: float = 0.0,
        decayed: Iterable[Parameter] | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
                         weight_decay=weight_decay, decayed=decayed)
        self.momentum_decay: float = real(momentum_decay, "NAdam(momentum_decay)", least=0)
        self.momentum_product: float = 1.0
        self._scratch_ahead = np.empty_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        t = self.steps + 1
        momentum, following = self._momentum(t), self._momentum(t + 1)
        self.momentum_product *= momentum
        self._follow_first(gradients)
        self._follow_second(gradients)
        correction = sqrt(1.0 - self.beta2**t)
        scale = learning_rate * correction
        ahead, move = self._scratch_ahead, self._scratch
        np.multiply(gradients, scale * (1.0 - momentum) / (1.0 - self.momentum_product), out=ahead)
        np.multiply(self.first_moment, scale * following / (1.0 - self.momentum_product * following), out=move)
        ahead += move
        np.sqrt(self.second_moment, out=move)
        move += self.epsilon * correction
        ahead /= move
        values -= ahead

    def _momentum(self, t: int) -> float:
        """Return μₜ."""
        growth: float = 0.96 ** (t * self.momentum_decay)
        return self.beta1 * (1.0 - 0.5 * growth)
