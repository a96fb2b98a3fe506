"""Adam and its variants: a running mean of the gradient over the root of a running mean of its square."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from math import sqrt
from typing import ClassVar

import numpy as np
from typing_extensions import override

from .._core.arrays import Array
from .._core.parameter import Parameter
from .._core.threads import in_blocks
from ..schedules import LearningRate
from .optimizer import Optimizer, descend, follow, rate, setting


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """Divide a running mean of the gradient by the root of one of its square (Kingma and Ba 2015, algorithm 1).

    Update:
        g = ∂e/∂W + λ W
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        m̂ = m / (1 − β₁ᵗ)
        v̂ = v / (1 − β₂ᵗ)
        W ← W − η m̂ / (√v̂ + ε)

    t = 1, 2, … counts the steps. m and v start from zero, and m̂ and v̂ correct for that. `AdamW` keeps the weight
    decay out of the moments.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, by default 0.001, or a function of the step number.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.
    """

    learning_rate: LearningRate = rate(0.001)  # noqa: RUF009 - it only declares
    _: KW_ONLY
    beta1: float = setting(0.9, least=0, below=1)
    beta2: float = setting(0.999, least=0, below=1)
    epsilon: float = setting(1e-8, above=0)

    @override
    def __post_init__(self, parameters: Iterable[Parameter], decayed: Iterable[Parameter] | None) -> None:
        super().__post_init__(parameters, decayed)
        self.first_moment: Array = self.slot()
        self.second_moment: Array = self.slot()

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        t = self.steps + 1
        # √v̂ + ε = (√v + ε c) / c with c = √(1 − β₂ᵗ): the corrections of m̂ and v̂ are two numbers, not two vectors.
        c = sqrt(1.0 - self.beta2**t)
        rate, epsilon = learning_rate * c / (1.0 - self.beta1**t), self.epsilon * c

        def move(w: Array, g: Array, m: Array, v: Array, work: Array) -> None:
            follow(m, g, self.beta1, work)  # m ← β₁ m + (1 − β₁) g
            follow(v, np.multiply(g, g, out=work), self.beta2, work)  # v ← β₂ v + (1 − β₂) g²
            descend(w, m, v, rate, epsilon, work)  # W ← W − η m̂ / (√v̂ + ε)

        in_blocks(move, (values, gradients, self.first_moment, self.second_moment), self._scratch)


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    """Step as `Adam`, with a weight decay that stays out of the moments (Loshchilov and Hutter 2019, algorithm 2).

    Update:
        W ← W − η λ W
        g = ∂e/∂W
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        m̂ = m / (1 − β₁ᵗ)
        v̂ = v / (1 − β₂ᵗ)
        W ← W − η m̂ / (√v̂ + ε)

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.
    """

    _: KW_ONLY
    weight_decay: float = setting(0.01, least=0)

    @override
    def decay(self, values: Array, gradients: Array, strengths: Array, learning_rate: float) -> Array:
        """W ← W − η λ W; the gradients stay as they are."""
        def shrink(w: Array, strength: Array, work: Array) -> None:
            w -= np.multiply(np.multiply(strength, w, out=work), learning_rate, out=work)

        in_blocks(shrink, (values, strengths), self._scratch)
        return gradients


@dataclass(eq=False, repr=False)
class NAdam(Adam):
    """Step as `Adam`, and look ahead as Nesterov's momentum does (Dozat 2016, algorithm 2, in the form of PyTorch).

    Update:
        g = ∂e/∂W + λ W
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        v̂ = v / (1 − β₂ᵗ)
        p ← p μₜ
        d = μₜ₊₁ m / (1 − p μₜ₊₁) + (1 − μₜ) g / (1 − p)
        W ← W − η d / (√v̂ + ε)

    The momentum grows with the steps t = 1, 2, …: μₜ = β₁ (1 − ½ 0.96^(t ψ)). p starts from 1.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.
        momentum_decay: ψ ≥ 0, how soon μₜ grows from β₁ / 2 to β₁.

    Attributes:
        momentum_product: p so far.

    Example:
        >>> model = mlp([2, 3, 1], rng=0)
        >>> NAdam(model.parameters(), learning_rate=0.01)
        NAdam(13 numbers, learning_rate=0.01)
    """

    learning_rate: LearningRate = rate(0.002)  # noqa: RUF009 - it only declares
    _: KW_ONLY
    momentum_decay: float = setting(0.004, least=0)

    changing: ClassVar[tuple[str, ...]] = ("momentum_product",)

    @override
    def __post_init__(self, parameters: Iterable[Parameter], decayed: Iterable[Parameter] | None) -> None:
        super().__post_init__(parameters, decayed)
        self.momentum_product: float = 1.0
        self._scratch_ahead = np.empty_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        t = self.steps + 1
        momentum, following = self._momentum(t), self._momentum(t + 1)
        p = self.momentum_product = self.momentum_product * momentum
        c = sqrt(1.0 - self.beta2**t)
        rate, epsilon = learning_rate * c, self.epsilon * c
        of_m, of_g = rate * following / (1.0 - p * following), rate * (1.0 - momentum) / (1.0 - p)

        def move(w: Array, g: Array, m: Array, v: Array, ahead: Array, work: Array) -> None:
            follow(m, g, self.beta1, work)
            follow(v, np.multiply(g, g, out=work), self.beta2, work)
            np.multiply(g, of_g, out=ahead)
            ahead += np.multiply(m, of_m, out=work)
            descend(w, ahead, v, 1.0, epsilon, work)

        moments = self.first_moment, self.second_moment
        in_blocks(move, (values, gradients, *moments), self._scratch_ahead, self._scratch)

    def _momentum_products(self, count: int) -> Array:
        """Return p in each of the next steps."""
        momenta = [self._momentum(t) for t in range(self.steps + 1, self.steps + 1 + count)]
        return np.cumprod([self.momentum_product, *momenta])[1:]

    def _momentum(self, t: int) -> float:
        """Return μₜ."""
        growth: float = 0.96 ** (t * self.momentum_decay)
        return self.beta1 * (1.0 - 0.5 * growth)
