"""Kernels of penalties and clips, which change the gradients between the backward pass and the step."""

from __future__ import annotations

from math import isfinite, sqrt

import numpy as np

from ...optimizers import Clip, ClipGlobalNorm, ClipNorm, ClipValue
from .elementary import real, shrunk
from .language import Indices, OneKernel, Vector


def penalty_value(values: Vector, l1: Vector, l2: Vector) -> float:
    """Compute e = Σ (λ₁ |W| + ½ λ₂ W²)."""
    total = 0.0
    for i in range(len(values)):
        total += np.float64(l1[i] * abs(values[i]) + 0.5 * l2[i] * values[i] * values[i])
    return total


def penalty_backward(values: Vector, gradients: Vector, l1: Vector, l2: Vector) -> None:
    """Update g ← g + λ₁ sign(W) + λ₂ W."""
    for i in range(len(values)):
        gradients[i] += l1[i] * (1.0 if values[i] > 0.0 else -1.0 if values[i] < 0.0 else values[i]) + l2[i] * values[i]


def clip_value(gradients: Vector, limit: float) -> float:
    """Update g ← max(−c, min(g, c)); return 0, or a gradient that is not finite."""
    most, wrong = real(limit), 0.0
    for i in range(len(gradients)):
        wrong = wrong if isfinite(gradients[i]) else gradients[i]
        gradients[i] = max(-most, min(gradients[i], most))
    return wrong


def clip_norm(gradients: Vector, places: Indices, limit: float) -> float:
    """Update g ← g c / ‖g‖ if ‖g‖ > c for the g between two places; return 0, or a norm that is not finite.

    If the squares are too large for numbers, ‖g‖ is 10²⁰⁰ ‖g / 10²⁰⁰‖. (In float32 they never are.)
    """
    wrong = np.float64(0.0)
    for k in range(len(places)):
        own, square, small = gradients[places[k, 0] : places[k, 1]], np.float64(0.0), np.float64(0.0)
        for i in range(len(own)):
            square += np.float64(own[i]) * np.float64(own[i])
            small += np.float64(shrunk(own[i])) * np.float64(shrunk(own[i]))
        size = sqrt(square) if isfinite(square) else sqrt(small) / 1e-200
        wrong = wrong if isfinite(size) else np.float64(size)
        if size > limit:
            for i in range(len(own)):
                own[i] *= real(limit / size)
    return wrong


CLIPS: dict[type[Clip], OneKernel] = {
    ClipValue: OneKernel(clip_value, numbers=("limit",)),
    ClipNorm: OneKernel(clip_norm, numbers=("limit",)),
    ClipGlobalNorm: OneKernel(clip_norm, numbers=("limit",)),
}
"""Maps a clip to its kernel, which returns a number that is not finite where the clip raises a `GradientError`."""
