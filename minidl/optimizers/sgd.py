"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, flag
from .._core.parameter import Parameter
from .._core.threads import in_blocks
from ..errors import ArgumentError
from .optimizer import Optimizer, setting


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """Step against the gradient, the article's equation (7), optionally with momentum.

    Update:
        g = ∂e/∂W + λ W
        v ← μ v + g
        W ← W − η (g + μ v) if nesterov, else W − η v

    Without momentum, v is g: W ← W − η g. Nesterov's momentum is that of Sutskever et al. 2013, in the form of PyTorch.

    Args:
        parameters: What to learn.
        learning_rate: η > 0, or a function of the step number.
        weight_decay: λ ≥ 0.
        decayed: Which parameters decay; default those of two or more dimensions.
        momentum: μ in [0, 1). One that was 0 at the start stays 0.
        nesterov: Look ahead along the velocity; needs momentum.
    """

    _: KW_ONLY
    momentum: float = setting(0.0, least=0, below=1, slot="velocity")
    nesterov: bool = False

    @override
    def __post_init__(self, parameters: Iterable[Parameter], decayed: Iterable[Parameter] | None) -> None:
        if flag(self.nesterov, "SGD(nesterov)") and not self.momentum:
            raise ArgumentError("SGD(nesterov): expected a momentum above 0 with it, got 0")
        super().__post_init__(parameters, decayed)
        self.velocity: Array | None = self.slot() if self.momentum else None

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        def plain(w: Array, g: Array, work: Array) -> None:
            w -= np.multiply(g, learning_rate, out=work)

        def with_momentum(w: Array, g: Array, v: Array, work: Array) -> None:
            v *= self.momentum
            v += g
            if self.nesterov:
                w -= np.multiply(g, learning_rate, out=work)
                w -= np.multiply(v, learning_rate * self.momentum, out=work)
            else:
                w -= np.multiply(v, learning_rate, out=work)

        if self.velocity is None:
            in_blocks(plain, (values, gradients), self._scratch)
        else:
            in_blocks(with_momentum, (values, gradients, self.velocity), self._scratch)
