"""Kernels of `Residual`: one link before its layers, one after them."""

from __future__ import annotations

from .activations import identity_backward, identity_forward
from .language import Kernels, Vector


def residual_begin_backward(grad: Vector, other_grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = ∂e/∂y ∂f/∂x + ∂e/∂y."""
    for i in range(len(dx)):
        dx[i] = grad[i] + other_grad[i]


def residual_end_forward(x: Vector, other_x: Vector, y: Vector) -> None:
    """Compute y = f(x) + x."""
    for i in range(len(y)):
        y[i] = x[i] + other_x[i]


RESIDUAL_BEGIN = Kernels(identity_forward, residual_begin_backward)

RESIDUAL_END = Kernels(residual_end_forward, identity_backward)
