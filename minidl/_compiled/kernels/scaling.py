"""Kernels of `Standardize` and `Rescale`."""

from __future__ import annotations

from .language import Kernels, Matrix, Row


def standardize_forward(x: Matrix, y: Matrix, mean: Row, deviation: Row) -> None:
    """Compute y = (x − μ) / s."""
    for r in range(len(x)):
        for j in range(x.shape[1]):
            y[r, j] = (x[r, j] - mean[j]) / deviation[j]


def standardize_backward(grad: Matrix, dx: Matrix, deviation: Row) -> None:
    """Compute ∂e/∂x = g / s."""
    for r in range(len(grad)):
        for j in range(grad.shape[1]):
            dx[r, j] = grad[r, j] / deviation[j]


def rescale_forward(x: Matrix, y: Matrix, scale: Row, shift: Row) -> None:
    """Compute y = x ∘ s + μ."""
    for r in range(len(x)):
        for j in range(x.shape[1]):
            y[r, j] = x[r, j] * scale[j] + shift[j]


def rescale_backward(grad: Matrix, dx: Matrix, scale: Row) -> None:
    """Compute ∂e/∂x = g ∘ s."""
    for r in range(len(grad)):
        for j in range(grad.shape[1]):
            dx[r, j] = grad[r, j] * scale[j]


STANDARDIZE = Kernels(standardize_forward, standardize_backward, buffers=("mean", "deviation"))

RESCALE = Kernels(rescale_forward, rescale_backward, buffers=("scale", "shift"))
