"""Kernels of the optimizers: one step on the flat vectors."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from ...optimizers import SGD, Adam, AdamW, Optimizer
from .elementary import real
from .language import OneKernel, Real, Vector


def gradient_decay(values: Vector, gradients: Vector, _decay: Vector) -> None:
    """Update g ← g + λ W."""
    for i in range(len(values)):
        gradients[i] += _decay[i] * values[i]


def value_decay(values: Vector, _decay: Vector, learning_rate: Real) -> None:
    """Update W ← W − η λ W."""
    for i in range(len(values)):
        values[i] -= _decay[i] * values[i] * learning_rate


def remember(values: Vector, _before: Vector) -> None:
    """Keep W as it is before the step."""
    for i in range(len(values)):
        _before[i] = values[i]


def hold_back(values: Vector, _before: Vector, _held_back: Vector) -> None:
    """Update W ← W − (1 − f) ΔW, with ΔW the step: it becomes f times as long."""
    for i in range(len(values)):
        values[i] -= _held_back[i] * (values[i] - _before[i])


def sgd(values: Vector, gradients: Vector, learning_rate: Real) -> None:
    """Update W ← W − η g, equation (7)."""
    for i in range(len(values)):
        values[i] -= learning_rate * gradients[i]


def sgd_momentum(values: Vector, gradients: Vector, velocity: Vector, learning_rate: Real, momentum: Real) -> None:
    """Update v ← μ v + g, W ← W − η v."""
    for i in range(len(values)):
        velocity[i] = momentum * velocity[i] + gradients[i]
        values[i] -= learning_rate * velocity[i]


def sgd_nesterov(values: Vector, gradients: Vector, velocity: Vector, learning_rate: Real, momentum: Real) -> None:
    """Update v ← μ v + g, W ← W − η (g + μ v)."""
    for i in range(len(values)):
        velocity[i] = momentum * velocity[i] + gradients[i]
        values[i] -= learning_rate * (gradients[i] + momentum * velocity[i])


def adam(
    values: Vector,
    gradients: Vector,
    first_moment: Vector,
    second_moment: Vector,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
) -> None:
    """Update W ← W − η m̂ / (√v̂ + ε), m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g².

    m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ); √v̂ + ε = (√v + ε c) / c with c = √(1 − β₂ᵗ).
    """
    correction = sqrt(1 - beta2**step)
    size, floor = real(learning_rate * correction / (1 - beta1**step)), real(epsilon * correction)
    keep1, new1, keep2, new2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    for i in range(len(values)):
        g = gradients[i]
        first_moment[i] = keep1 * first_moment[i] + new1 * g
        second_moment[i] = keep2 * second_moment[i] + new2 * (g * g)
        values[i] -= size * (first_moment[i] / (sqrt(second_moment[i]) + floor))


GRADIENT_DECAY = OneKernel(gradient_decay, vectors=("_decay",))
VALUE_DECAY = OneKernel(value_decay, vectors=("_decay",))
REMEMBER = OneKernel(remember, vectors=("_before",))
HOLD_BACK = OneKernel(hold_back, vectors=("_before", "_held_back"))
PLAIN_SGD = OneKernel(sgd)
SGD_MOMENTUM = OneKernel(sgd_momentum, vectors=("velocity",), numbers=("momentum",))
SGD_NESTEROV = OneKernel(sgd_nesterov, vectors=("velocity",), numbers=("momentum",))
ADAM = OneKernel(adam, vectors=("first_moment", "second_moment"), numbers=("beta1", "beta2", "epsilon"))


def _sgd_step(optimizer: Any) -> OneKernel:
    if optimizer.velocity is None:
        return PLAIN_SGD
    return SGD_NESTEROV if optimizer.nesterov else SGD_MOMENTUM


OPTIMIZERS: dict[type[Optimizer], tuple[OneKernel, Callable[[Any], OneKernel]]] = {
    SGD: (GRADIENT_DECAY, _sgd_step),
    Adam: (GRADIENT_DECAY, lambda _: ADAM),
    AdamW: (VALUE_DECAY, lambda _: ADAM),
}
"""Maps an optimizer to its weight decay, and to a function that chooses its step."""


def step_of(optimizer: Optimizer) -> list[OneKernel]:
    """List the kernels of a step, in their order."""
    decay, step = OPTIMIZERS[type(optimizer)]
    steps = [decay, step(optimizer)] if optimizer._decaying else [step(optimizer)]
    return steps if optimizer._held_back is None else [REMEMBER, *steps, HOLD_BACK]
