"""Kernels of the normalization layers."""

from __future__ import annotations

from math import sqrt

from .elementary import real
from .language import Column, Kernels, Matrix, Real, Row, Vector
from .rows import sum_of_products, sum_of_rows


def layer_norm_forward(
    x: Matrix, weight: Row, bias: Row, y: Matrix, normal: Matrix, inverse_deviation: Column, epsilon: Real
) -> None:
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε), μ and σ² of each row."""
    width = real(x.shape[1])
    for r in range(len(x)):
        mean, variance = 0.0, 0.0
        for j in range(x.shape[1]):
            mean += x[r, j]
        mean /= width
        for j in range(x.shape[1]):
            normal[r, j] = x[r, j] - mean
            variance += normal[r, j] * normal[r, j]
        inverse_deviation[r] = 1.0 / sqrt(variance / width + epsilon)
        for j in range(x.shape[1]):
            normal[r, j] *= inverse_deviation[r]
            y[r, j] = normal[r, j] * weight[j] + bias[j]


def layer_norm_backward(
    grad: Matrix,
    weight: Row,
    weight_grad: Row,
    bias_grad: Row,
    dx: Matrix,
    normal: Matrix,
    inverse_deviation: Column,
) -> None:
    """Compute ∂e/∂x = (h − mean(h) − x̂ mean(h ∘ x̂)) / √(σ² + ε), h = w ∘ g."""
    sum_of_rows(grad, bias_grad)
    sum_of_products(grad, normal, weight_grad)
    width = real(grad.shape[1])
    for r in range(len(grad)):
        mean, along = 0.0, 0.0
        for j in range(grad.shape[1]):
            dx[r, j] = grad[r, j] * weight[j]
            mean += dx[r, j]
            along += dx[r, j] * normal[r, j]
        mean, along = mean / width, along / width
        for j in range(grad.shape[1]):
            dx[r, j] = (dx[r, j] - mean - normal[r, j] * along) * inverse_deviation[r]


def rms_norm_forward(x: Matrix, weight: Row, y: Matrix, normal: Matrix, inverse_root: Column, epsilon: Real) -> None:
    """Compute y = w ∘ x̂, x̂ = x / √(mean(x²) + ε) of each row."""
    width = real(x.shape[1])
    for r in range(len(x)):
        square = 0.0
        for j in range(x.shape[1]):
            square += x[r, j] * x[r, j]
        inverse_root[r] = 1.0 / sqrt(square / width + epsilon)
        for j in range(x.shape[1]):
            normal[r, j] = x[r, j] * inverse_root[r]
            y[r, j] = normal[r, j] * weight[j]


def rms_norm_backward(
    grad: Matrix, weight: Row, weight_grad: Row, dx: Matrix, normal: Matrix, inverse_root: Column
) -> None:
    """Compute ∂e/∂x = (h − x̂ mean(h ∘ x̂)) / √(mean(x²) + ε), h = w ∘ g."""
    sum_of_products(grad, normal, weight_grad)
    width = real(grad.shape[1])
    for r in range(len(grad)):
        along = 0.0
        for j in range(grad.shape[1]):
            dx[r, j] = grad[r, j] * weight[j]
            along += dx[r, j] * normal[r, j]
        along /= width
        for j in range(grad.shape[1]):
            dx[r, j] = (dx[r, j] - normal[r, j] * along) * inverse_root[r]


def batch_norm_forward(
    x: Matrix,
    weight: Row,
    bias: Row,
    running_mean: Row,
    running_var: Row,
    num_batches_tracked: Vector,
    y: Matrix,
    normal: Matrix,
    mean: Row,
    inverse_deviation: Row,
    momentum: Real,
    epsilon: Real,
) -> None:
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε), μ and σ² of each feature; update the running μ and σ²."""
    rows = real(len(x))
    sum_of_rows(x, mean)
    for j in range(len(mean)):
        mean[j] /= rows
    for r in range(len(x)):
        for j in range(len(mean)):
            normal[r, j] = x[r, j] - mean[j]
            y[r, j] = normal[r, j] * normal[r, j]
    variance = inverse_deviation
    sum_of_rows(y, variance)
    for j in range(len(mean)):
        running_mean[j] += momentum * (mean[j] - running_mean[j])
        running_var[j] += momentum * (variance[j] / (rows - 1.0) - running_var[j])
        inverse_deviation[j] = 1.0 / sqrt(variance[j] / rows + epsilon)
    num_batches_tracked[0] += 1
    for r in range(len(x)):
        for j in range(len(mean)):
            normal[r, j] *= inverse_deviation[j]
            y[r, j] = normal[r, j] * weight[j] + bias[j]


def batch_norm_backward(
    grad: Matrix,
    weight: Row,
    weight_grad: Row,
    bias_grad: Row,
    dx: Matrix,
    normal: Matrix,
    inverse_deviation: Row,
) -> None:
    """Compute ∂e/∂x = w (g − mean(g) − x̂ mean(g ∘ x̂)) / √(σ² + ε), means over the batch."""
    rows = real(len(grad))
    sum_of_rows(grad, bias_grad)
    sum_of_products(grad, normal, weight_grad)
    for r in range(len(grad)):
        for j in range(len(weight)):
            centred = grad[r, j] - bias_grad[j] / rows - normal[r, j] * (weight_grad[j] / rows)
            dx[r, j] = weight[j] * centred * inverse_deviation[j]


def batch_norm_predict(
    x: Matrix, weight: Row, bias: Row, running_mean: Row, running_var: Row, y: Matrix, scale: Row, epsilon: Real
) -> None:
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε) with the running μ and σ²."""
    for j in range(len(scale)):
        scale[j] = weight[j] / sqrt(running_var[j] + epsilon)
    for r in range(len(x)):
        for j in range(len(scale)):
            y[r, j] = (x[r, j] - running_mean[j]) * scale[j] + bias[j]


def fixed_norm_forward(
    x: Matrix,
    weight: Row,
    bias: Row,
    running_mean: Row,
    running_var: Row,
    y: Matrix,
    normal: Matrix,
    inverse_deviation: Row,
    epsilon: Real,
) -> None:
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε) with the running μ and σ²; do not update them."""
    for j in range(len(weight)):
        inverse_deviation[j] = 1.0 / sqrt(running_var[j] + epsilon)
    for r in range(len(x)):
        for j in range(len(weight)):
            normal[r, j] = (x[r, j] - running_mean[j]) * inverse_deviation[j]
            y[r, j] = normal[r, j] * weight[j] + bias[j]


def fixed_norm_backward(
    grad: Matrix, weight: Row, weight_grad: Row, bias_grad: Row, dx: Matrix, normal: Matrix, inverse_deviation: Row
) -> None:
    """Compute ∂e/∂x = w g / √(σ² + ε)."""
    sum_of_rows(grad, bias_grad)
    sum_of_products(grad, normal, weight_grad)
    for r in range(len(grad)):
        for j in range(len(weight)):
            dx[r, j] = grad[r, j] * weight[j] * inverse_deviation[j]


LAYER_NORM = Kernels(
    layer_norm_forward, layer_norm_backward,
    parameters=("weight", "bias"), numbers=("epsilon",), memory={"normal": Matrix, "inverse_deviation": Column},
)

RMS_NORM = Kernels(
    rms_norm_forward, rms_norm_backward,
    parameters=("weight",), numbers=("epsilon",), memory={"normal": Matrix, "inverse_root": Column},
)

BATCH_NORM = Kernels(
    batch_norm_forward, batch_norm_backward, predict=batch_norm_predict,
    parameters=("weight", "bias"),
    buffers=("running_mean", "running_var", "num_batches_tracked"),
    numbers=("momentum", "epsilon"),
    memory={"normal": Matrix, "mean": Row, "inverse_deviation": Row, "scale": Row},
)

FIXED_NORM = Kernels(
    fixed_norm_forward, fixed_norm_backward, predict=batch_norm_predict,
    parameters=("weight", "bias"),
    buffers=("running_mean", "running_var"),
    numbers=("epsilon",),
    memory={"normal": Matrix, "inverse_deviation": Row, "scale": Row},
)
"""For a `BatchNorm` with frozen statistics."""
