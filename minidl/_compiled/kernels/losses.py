"""Kernels of the losses: each returns (1/N) Σᵢ wᵢ eᵢ over the rows of a batch, and writes its gradient."""

from __future__ import annotations

from math import exp, log, log1p

import numpy as np

from ...losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    ElementwiseLoss,
    GaussianNLL,
    HalfSquaredError,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Pinball,
    PoissonLoss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from .elementary import LEAST, MOST, decay, less, real, sigmoid
from .language import Column, Function, Matrix, OneKernel, Real, Row, Vector


def half_squared_error(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix) -> float:
    """Compute eᵢ = ½ ‖pᵢ − tᵢ‖²."""
    rows, total = len(prediction), 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / rows), 0.0
        for j in range(prediction.shape[1]):
            difference = prediction[r, j] - target[r, j]
            error += difference * difference
            gradient[r, j] = difference * scale
        total += np.float64(sample_weight[r]) * (0.5 * error)
    return total / rows


def mean_squared_error(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix) -> float:
    """Compute eᵢ = (1/m) Σⱼ (pᵢⱼ − tᵢⱼ)² over the m outputs."""
    (rows, outputs), total = prediction.shape, 0.0
    for r in range(rows):
        scale, error = real(2 * sample_weight[r] / (rows * outputs)), 0.0
        for j in range(outputs):
            difference = prediction[r, j] - target[r, j]
            error += difference * difference
            gradient[r, j] = difference * scale
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * outputs))


def mean_absolute_error(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix) -> float:
    """Compute eᵢ = (1/m) Σⱼ |pᵢⱼ − tᵢⱼ|, ∂eᵢ/∂p = sign(p − t) / m."""
    (rows, outputs), total = prediction.shape, 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / (rows * outputs)), 0.0
        for j in range(outputs):
            difference = prediction[r, j] - target[r, j]
            error += abs(difference)
            gradient[r, j] = scale if difference > 0.0 else (-scale if difference < 0.0 else difference)
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * outputs))


def huber(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix, delta: Real) -> float:
    """Compute eᵢ = (1/m) Σⱼ h(dᵢⱼ), d = p − t, h(d) = ½ d² for |d| ≤ δ, else δ (|d| − ½ δ)."""
    (rows, outputs), total = prediction.shape, 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / (rows * outputs)), 0.0
        for j in range(outputs):
            difference = prediction[r, j] - target[r, j]
            inner = -delta if difference < -delta else (delta if difference > delta else difference)
            error += inner * (difference - 0.5 * inner)
            gradient[r, j] = inner * scale
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * outputs))


def pinball(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix, quantiles: Row) -> float:
    """Compute eᵢ = (1/m) Σⱼ h(dᵢⱼ), d = p − t, h(d) = (1 − q) d for d > 0, else −q d; t has one column."""
    (rows, outputs), total = prediction.shape, 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / (rows * outputs)), 0.0
        for j in range(outputs):
            difference, q = prediction[r, j] - target[r, 0], quantiles[j]
            slope = 1.0 - q if difference > 0.0 else (-q if difference < 0.0 else difference)
            error += slope * difference
            gradient[r, j] = slope * scale
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * outputs))


def elementwise(
    prediction: Matrix,
    target: Matrix,
    sample_weight: Column,
    gradient: Matrix,
    function: Function,
    derivative: Function,
) -> float:
    """Compute eᵢ = (1/m) Σⱼ f(pᵢⱼ, tᵢⱼ) for a function of the user."""
    (rows, outputs), total = prediction.shape, 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / (rows * outputs)), 0.0
        for j in range(outputs):
            error += real(function(prediction[r, j], target[r, j]))
            gradient[r, j] = real(derivative(prediction[r, j], target[r, j])) * scale
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * outputs))


def poisson(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix) -> float:
    """Compute eᵢ = (1/m) Σⱼ (exp(p) − t p), ∂e/∂p = exp(p) − t."""
    (rows, outputs), total = prediction.shape, 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / (rows * outputs)), 0.0
        for j in range(outputs):
            p, t = prediction[r, j], target[r, j]
            rate = real(exp(p))
            error += rate - t * p if t != 0.0 else rate
            gradient[r, j] = (rate - t) * scale
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * outputs))


def gaussian(prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix) -> float:
    """Compute eᵢ = (1/m) Σⱼ (s + ½ z²), z = (μ − t) / exp(s); the outputs are all μ, then all s."""
    (rows, columns), total = target.shape, 0.0
    for r in range(rows):
        scale, error = real(sample_weight[r] / (rows * columns)), 0.0
        for j in range(columns):
            log_spread = prediction[r, columns + j]
            spread = real(exp(log_spread))
            z = (prediction[r, j] - target[r, j]) / spread
            error += log_spread + 0.5 * z * z
            gradient[r, j] = z / spread * scale
            gradient[r, columns + j] = (1.0 - z * z) * scale
        total += np.float64(sample_weight[r]) * error
    return np.float64(total / (rows * columns))


def binary_cross_entropy(
    prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix, label_smoothing: Real
) -> float:
    """Compute eᵢ = −Σⱼ [t log p + (1 − t) log(1 − p)], ∂e/∂p = (p − t) / (p (1 − p)), p kept inside (0, 1)."""
    rows, total, keep = len(prediction), 0.0, 1.0 - label_smoothing
    for r in range(rows):
        scale, error = real(sample_weight[r] / rows), 0.0
        for j in range(prediction.shape[1]):
            p, t = prediction[r, j], keep * target[r, j] + 0.5 * label_smoothing
            p = LEAST if p < LEAST else (MOST if p > MOST else p)
            error -= t * log(p) + (1.0 - t) * log1p(-p)
            gradient[r, j] = (p - t) / (p * (1.0 - p)) * scale
        total += np.float64(sample_weight[r]) * error
    return total / rows


def cross_entropy(
    prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix, label_smoothing: Real
) -> float:
    """Compute eᵢ = −Σⱼ t log p, ∂e/∂p = −t / p, p kept above 0."""
    rows, total, keep = len(prediction), 0.0, 1.0 - label_smoothing
    even = real(label_smoothing / prediction.shape[1])
    for r in range(rows):
        scale, error = real(sample_weight[r] / rows), 0.0
        for j in range(prediction.shape[1]):
            p, t = prediction[r, j], keep * target[r, j] + even
            p = LEAST if p < LEAST else p
            error -= t * log(p)
            gradient[r, j] = -t / p * scale
        total += np.float64(sample_weight[r]) * error
    return total / rows


def sigmoid_cross_entropy(
    prediction: Matrix, target: Matrix, sample_weight: Column, gradient: Matrix, label_smoothing: Real
) -> float:
    """Compute eᵢ = Σⱼ [max(z, 0) − t z + log(1 + e^−|z|)] from logits z, ∂e/∂z = (1 − t) σ(z) − t σ(−z)."""
    rows, total, keep = len(prediction), 0.0, 1.0 - label_smoothing
    for r in range(rows):
        scale, error = real(sample_weight[r] / rows), 0.0
        for j in range(prediction.shape[1]):
            z, t = prediction[r, j], keep * target[r, j] + 0.5 * label_smoothing
            error += ((1.0 - t) * z if z > 0.0 else -t * z) + log1p(decay(-abs(z)))
            gradient[r, j] = ((1.0 - t) * sigmoid(z) - t * sigmoid(-z)) * scale
        total += np.float64(sample_weight[r]) * error
    return total / rows


def softmax_cross_entropy(
    prediction: Matrix,
    target: Matrix,
    sample_weight: Column,
    gradient: Matrix,
    flat_gradient: Vector,
    label_smoothing: Real,
) -> float:
    """Compute eᵢ = −Σⱼ t log softmax(z)ⱼ from logits z, ∂e/∂z = softmax(z) Σⱼ t − t.

    With m the largest logit, log softmax(z)ⱼ is (zⱼ − m) − log(1 + Σ eᶻᵏ⁻ᵐ); the sum leaves out the largest.
    """
    rows, total, keep = len(prediction), 0.0, 1.0 - label_smoothing
    even = real(label_smoothing / prediction.shape[1])
    for r in range(rows):
        largest = largest_of(prediction[r])
        for j in range(prediction.shape[1]):
            gradient[r, j] = prediction[r, j] - largest
    for i in range(len(flat_gradient)):  # All rows at once: one row may be too short for vector instructions.
        flat_gradient[i] = decay(flat_gradient[i])
    for r in range(rows):
        largest, equals, others, share = largest_of(prediction[r]), 0.0, 0.0, 0.0
        for j in range(prediction.shape[1]):
            equals += 1.0 if prediction[r, j] == largest else 0.0
            others += 0.0 if prediction[r, j] == largest else gradient[r, j]
            share += keep * target[r, j] + even
        others += equals - 1.0
        scale, error, rest = real(sample_weight[r] / rows), 0.0, log1p(others)
        share /= 1.0 + others
        for j in range(prediction.shape[1]):
            t = keep * target[r, j] + even
            error -= t * less(less(prediction[r, j], largest), rest) if t != 0.0 else 0.0
            gradient[r, j] = (gradient[r, j] * share - t) * scale
        total += np.float64(sample_weight[r]) * error
    return total / rows


def largest_of(x: Vector) -> Real:
    """Return the largest number of a row."""
    largest = x[0]
    for i in range(len(x)):
        largest = x[i] if x[i] > largest else largest
    return largest


LOSSES: dict[type[Loss], OneKernel] = {
    HalfSquaredError: OneKernel(half_squared_error),
    MeanSquaredError: OneKernel(mean_squared_error),
    MeanAbsoluteError: OneKernel(mean_absolute_error),
    Huber: OneKernel(huber, numbers=("delta",)),
    Pinball: OneKernel(pinball, arrays=("quantiles",)),
    ElementwiseLoss: OneKernel(elementwise, functions=("function", "derivative")),
    PoissonLoss: OneKernel(poisson),
    GaussianNLL: OneKernel(gaussian),
    BinaryCrossEntropy: OneKernel(binary_cross_entropy, numbers=("label_smoothing",)),
    CrossEntropy: OneKernel(cross_entropy, numbers=("label_smoothing",)),
    SigmoidCrossEntropy: OneKernel(sigmoid_cross_entropy, numbers=("label_smoothing",)),
    SoftmaxCrossEntropy: OneKernel(softmax_cross_entropy, numbers=("label_smoothing",)),
}
