"""Kernels of `Dropout`."""

from __future__ import annotations

from .activations import identity_forward
from .elementary import real
from .language import Kernels, Matrix, Vector


def dropout_forward(x: Vector, uniform: Vector, y: Vector, mask: Vector, rate: float) -> None:
    """Compute y = x ∘ m / (1 − p), mᵢ = 0 if a random number in [0, 1) is below p, else 1."""
    least, scale = real(rate), real(1 / (1 - rate))
    for i in range(len(x)):
        mask[i] = scale if uniform[i] >= least else 0.0
        y[i] = x[i] * mask[i]


def dropout_backward(grad: Vector, dx: Vector, mask: Vector) -> None:
    """Compute ∂e/∂x = g ∘ m / (1 − p)."""
    for i in range(len(grad)):
        dx[i] = grad[i] * mask[i]


DROPOUT = Kernels(
    dropout_forward, dropout_backward, predict=identity_forward,
    numbers=("rate",), memory={"mask": Matrix}, uniform="rng",
)
