"""Kernels of penalties and clips: what changes the gradients between the backward pass and the step."""

from __future__ import annotations

from math import isfinite, sqrt

import numpy as np

from ...optimizers import L1, L2, Clip, ClipGlobalNorm, ClipNorm, ClipValue, Penalty
from .elementary import LEAST, real
from .language import Indices, OneKernel, Vector


def l1_value(values: Vector, strengths: Vector) -> float:
    """Compute e = λ Σ |W|."""
    total = 0.0
    for i in range(len(values)):
        total += np.float64(strengths[i] * abs(values[i]))
    return total


def l1_backward(values: Vector, gradients: Vector, strengths: Vector) -> None:
    """Add ∂e/∂W = λ sign(W)."""
    for i in range(len(values)):
        sign = 1.0 if values[i] > 0.0 else (-1.0 if values[i] < 0.0 else values[i])
        gradients[i] += strengths[i] * sign


def l2_value(values: Vector, strengths: Vector) -> float:
    """Compute e = ½ λ Σ W²."""
    total = 0.0
    for i in range(len(values)):
        total += np.float64(strengths[i] * values[i] * values[i])
    return 0.5 * total


def l2_backward(values: Vector, gradients: Vector, strengths: Vector) -> None:
    """Add ∂e/∂W = λ W."""
    for i in range(len(values)):
        gradients[i] += strengths[i] * values[i]


def norm(gradients: Vector) -> float:
    """Compute ‖g‖ = √Σ g²; as s ‖g / s‖, s = max |g|, where the squares are too large or too small for numbers."""
    scale, square = np.float64(1.0), np.float64(0.0)
    for i in range(len(gradients)):
        square += np.float64(gradients[i]) * np.float64(gradients[i])
    if square < 1e-290 or not isfinite(square):
        scale, square = np.float64(LEAST), np.float64(0.0)
        for i in range(len(gradients)):
            scale = np.float64(abs(gradients[i])) if abs(gradients[i]) > scale else scale
        for i in range(len(gradients)):
            square += (gradients[i] / scale) * (gradients[i] / scale)
    return scale * sqrt(square)


def clip_value(gradients: Vector, limit: float) -> float:
    """Update g ← max(−c, min(g, c)); return 0, or NaN if a gradient is not finite."""
    most, wrong = real(limit), 0.0
    for i in range(len(gradients)):
        wrong += gradients[i] - gradients[i]
        gradients[i] = max(-most, min(gradients[i], most))
    return wrong


def clip_norm(gradients: Vector, places: Indices, limit: float) -> float:
    """Update g ← g c / ‖g‖ if ‖g‖ > c for the gradient of each parameter; return 0, or NaN if a norm is not finite."""
    wrong = np.float64(0.0)
    for k in range(len(places)):
        own = gradients[places[k, 0] : places[k, 1]]
        wrong += clip_global_norm(own, limit)
    return wrong


def clip_global_norm(gradients: Vector, limit: float) -> float:
    """Update g ← g c / ‖g‖ if ‖g‖ > c, with g all gradients; return 0, or NaN if the norm is not finite."""
    size = norm(gradients)
    part = real(limit / size if size > limit else 1.0)
    for i in range(len(gradients)):
        gradients[i] *= part
    return size - size


PENALTIES: dict[type[Penalty], tuple[OneKernel, OneKernel]] = {
    L1: (OneKernel(l1_value), OneKernel(l1_backward)),
    L2: (OneKernel(l2_value), OneKernel(l2_backward)),
}
"""Maps a penalty to its value and its gradient."""

CLIPS: dict[type[Clip], OneKernel] = {
    ClipValue: OneKernel(clip_value, numbers=("limit",)),
    ClipNorm: OneKernel(clip_norm, numbers=("limit",)),
    ClipGlobalNorm: OneKernel(clip_global_norm, numbers=("limit",)),
}
"""Maps a clip to its kernel, which returns NaN where the clip raises a `GradientError`."""
