"""Optimizers that give each number a rate of its own, from the gradients that it has had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from .._core.parameter import Parameter
from .._core.threads import in_blocks
from ..schedules import LearningRate
from .optimizer import Optimizer, descend, follow, rate, setting


@dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    """Divide the gradient by the root of the sum of all its squares (Duchi et al. 2011, figure 1, the diagonal form).

    Update:
        g = ∂e/∂W + λ W
        s ← s + g²
        W ← W − η g / (√s + ε)

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
        epsilon: ε > 0.

    Example:
        >>> model = mlp([2, 3, 1], rng=0)
        >>> Adagrad(model.parameters(), learning_rate=0.1)
        Adagrad(13 numbers, learning_rate=0.1)
    """

    learning_rate: LearningRate = rate(0.01)  # noqa: RUF009 - it only declares
    _: KW_ONLY
    epsilon: float = setting(1e-10, above=0)

    @override
    def __post_init__(self, parameters: Iterable[Parameter], decayed: Iterable[Parameter] | None) -> None:
        super().__post_init__(parameters, decayed)
        self.square_sum: Array = self.slot()

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        def move(w: Array, g: Array, s: Array, work: Array) -> None:
            s += np.multiply(g, g, out=work)
            descend(w, g, s, learning_rate, self.epsilon, work)

        in_blocks(move, (values, gradients, self.square_sum), self._scratch)


@dataclass(eq=False, repr=False)
class RMSProp(Optimizer):
    """Divide the gradient by the root of a running mean of its square (Tieleman and Hinton 2012, lecture 6.5).

    Update:
        g = ∂e/∂W + λ W
        s ← ρ s + (1 − ρ) g²
        v ← μ v + g / (√s + ε)
        W ← W − η v

    Without momentum, μ is 0.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
        rho: ρ in [0, 1), how much of the mean square is kept.
        momentum: μ in [0, 1). One that was 0 at the start stays 0.
        epsilon: ε > 0.

    Example:
        >>> model = mlp([2, 3, 1], rng=0)
        >>> RMSProp(model.parameters(), learning_rate=0.01)
        RMSProp(13 numbers, learning_rate=0.01)
    """

    learning_rate: LearningRate = rate(0.01)  # noqa: RUF009 - it only declares
    _: KW_ONLY
    rho: float = setting(0.99, least=0, below=1)
    momentum: float = setting(0.0, least=0, below=1, slot="velocity")
    epsilon: float = setting(1e-8, above=0)

    @override
    def __post_init__(self, parameters: Iterable[Parameter], decayed: Iterable[Parameter] | None) -> None:
        super().__post_init__(parameters, decayed)
        self.square_mean: Array = self.slot()
        self.velocity: Array | None = self.slot() if self.momentum else None

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        def move(w: Array, g: Array, s: Array, v: Array, work: Array) -> None:
            follow(s, np.multiply(g, g, out=work), self.rho, work)
            if self.velocity is None:
                descend(w, g, s, learning_rate, self.epsilon, work)
            else:
                v *= self.momentum
                descend(v, g, s, -1.0, self.epsilon, work)
                w -= np.multiply(v, learning_rate, out=work)

        velocity = gradients if self.velocity is None else self.velocity
        in_blocks(move, (values, gradients, self.square_mean, velocity), self._scratch)
