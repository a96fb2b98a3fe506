"""Kernels of the optimizers: one step on the flat vectors.

An ε that rounds to zero in the dtype of the network is replaced by `LEAST`: where all gradients are zero, as in the
pads of padded memory, 0 / 0 would be NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from ...optimizers import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSProp
from .elementary import LEAST, real
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
    size, floor = real(learning_rate * correction / (1 - beta1**step)), max(real(epsilon * correction), LEAST)
    keep1, new1, keep2, new2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    for i in range(len(values)):
        first_moment[i] = keep1 * first_moment[i] + new1 * gradients[i]
        second_moment[i] = keep2 * second_moment[i] + new2 * (gradients[i] * gradients[i])
        values[i] -= size * (first_moment[i] / (sqrt(second_moment[i]) + floor))


def nadam(
    values: Vector,
    gradients: Vector,
    first_moment: Vector,
    second_moment: Vector,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    momentum_decay: float,
    momentum_product: float,
    step: int,
) -> None:
    """Update W ← W − η [μₜ₊₁ m / (1 − p μₜ₊₁) + (1 − μₜ) g / (1 − p)] / (√v̂ + ε), with m and v as in `adam`.

    μₜ = β₁ (1 − ½ 0.96^(t ψ)), p = μ₁ μ₂ … μₜ.
    """
    momentum = beta1 * (1 - 0.5 * (24 / 25) ** (step * momentum_decay))
    following = beta1 * (1 - 0.5 * (24 / 25) ** ((step + 1) * momentum_decay))
    size, floor = learning_rate * sqrt(1 - beta2**step), max(real(epsilon * sqrt(1 - beta2**step)), LEAST)
    of_moment = real(size * following / (1 - momentum_product * following))
    of_gradient = real(size * (1 - momentum) / (1 - momentum_product))
    keep1, new1, keep2, new2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    for i in range(len(values)):
        first_moment[i] = keep1 * first_moment[i] + new1 * gradients[i]
        second_moment[i] = keep2 * second_moment[i] + new2 * (gradients[i] * gradients[i])
        values[i] -= (of_moment * first_moment[i] + of_gradient * gradients[i]) / (sqrt(second_moment[i]) + floor)


def adagrad(values: Vector, gradients: Vector, square_sum: Vector, learning_rate: Real, epsilon: Real) -> None:
    """Update s ← s + g², W ← W − η g / (√s + ε)."""
    for i in range(len(values)):
        square_sum[i] += gradients[i] * gradients[i]
        values[i] -= learning_rate * (gradients[i] / (sqrt(square_sum[i]) + max(epsilon, LEAST)))


def rmsprop(
    values: Vector, gradients: Vector, square_mean: Vector, learning_rate: Real, rho: float, epsilon: Real
) -> None:
    """Update s ← ρ s + (1 − ρ) g², W ← W − η g / (√s + ε)."""
    for i in range(len(values)):
        square_mean[i] = real(rho) * square_mean[i] + real(1 - rho) * (gradients[i] * gradients[i])
        values[i] -= learning_rate * (gradients[i] / (sqrt(square_mean[i]) + max(epsilon, LEAST)))


def rmsprop_momentum(
    values: Vector,
    gradients: Vector,
    square_mean: Vector,
    velocity: Vector,
    learning_rate: Real,
    rho: float,
    momentum: Real,
    epsilon: Real,
) -> None:
    """Update s ← ρ s + (1 − ρ) g², v ← μ v + g / (√s + ε), W ← W − η v."""
    for i in range(len(values)):
        square_mean[i] = real(rho) * square_mean[i] + real(1 - rho) * (gradients[i] * gradients[i])
        velocity[i] = momentum * velocity[i] + gradients[i] / (sqrt(square_mean[i]) + max(epsilon, LEAST))
        values[i] -= learning_rate * velocity[i]


GRADIENT_DECAY = OneKernel(gradient_decay, vectors=("_decay",))
VALUE_DECAY = OneKernel(value_decay, vectors=("_decay",))
REMEMBER = OneKernel(remember, vectors=("_before",))
HOLD_BACK = OneKernel(hold_back, vectors=("_before", "_held_back"))
PLAIN_SGD = OneKernel(sgd)
SGD_MOMENTUM = OneKernel(sgd_momentum, vectors=("velocity",), numbers=("momentum",))
SGD_NESTEROV = OneKernel(sgd_nesterov, vectors=("velocity",), numbers=("momentum",))
ADAM = OneKernel(adam, vectors=("first_moment", "second_moment"), numbers=("beta1", "beta2", "epsilon"))
NADAM = OneKernel(
    nadam,
    vectors=("first_moment", "second_moment"),
    numbers=("beta1", "beta2", "epsilon", "momentum_decay"),
    sequences=("momentum_product",),
)
ADAGRAD = OneKernel(adagrad, vectors=("square_sum",), numbers=("epsilon",))
RMSPROP = OneKernel(rmsprop, vectors=("square_mean",), numbers=("rho", "epsilon"))
RMSPROP_MOMENTUM = OneKernel(
    rmsprop_momentum, vectors=("square_mean", "velocity"), numbers=("rho", "momentum", "epsilon")
)


OPTIMIZERS: dict[type[Optimizer], tuple[OneKernel, Callable[[Any], OneKernel]]] = {
    SGD: (
        GRADIENT_DECAY,
        lambda own: PLAIN_SGD if own.velocity is None else SGD_NESTEROV if own.nesterov else SGD_MOMENTUM,
    ),
    Adam: (GRADIENT_DECAY, lambda _: ADAM),
    AdamW: (VALUE_DECAY, lambda _: ADAM),
    NAdam: (GRADIENT_DECAY, lambda _: NADAM),
    Adagrad: (GRADIENT_DECAY, lambda _: ADAGRAD),
    RMSProp: (GRADIENT_DECAY, lambda own: RMSPROP if own.velocity is None else RMSPROP_MOMENTUM),
}
"""Maps an optimizer to its weight decay, and to a function that chooses its step."""


def step_of(optimizer: Optimizer) -> list[OneKernel]:
    """List the kernels of a step, in their order."""
    decay, step = OPTIMIZERS[type(optimizer)]
    steps = [decay, step(optimizer)] if optimizer._decaying else [step(optimizer)]
    return steps if optimizer._held_back is None else [REMEMBER, *steps, HOLD_BACK]
