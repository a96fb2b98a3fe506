"""Kernels of the layers that are no activations, and the table of all layers that can be lowered.

A new layer is lowered by two functions, in the language of `language`, and one line in a table.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from ..layers.base import Layer
from ..layers.dense import Dense
from ..layers.dropout import Dropout
from ..layers.normalization import BatchNorm, LayerNorm, RMSNorm
from .activations import ACTIVATIONS, identity_forward
from .elementary import real
from .language import Column, Kernels, Matrix, Real, Row, Vector


def dense_forward(x: Matrix, weight: Matrix, bias: Row, y: Matrix) -> None:
    """Compute y = x Wᵀ + b, equation (1)."""
    np.dot(x, weight.T, y)
    add_to_rows(bias, y)


def dense_backward(x: Matrix, weight: Matrix, grad: Matrix, weight_grad: Matrix, bias_grad: Row, dx: Matrix) -> None:
    """Compute ∂e/∂x = g W, equation (4), and the gradients of `dense_backward_parameters`."""
    dense_backward_parameters(x, grad, weight_grad, bias_grad)
    np.dot(grad, weight, dx)


def dense_backward_parameters(x: Matrix, grad: Matrix, weight_grad: Matrix, bias_grad: Row) -> None:
    """Compute ∂e/∂W = gᵀ x and ∂e/∂b = Σ over the batch of g, equations (5) and (6)."""
    np.dot(grad.T, x, weight_grad)
    sum_of_rows(grad, bias_grad)


def dense_predict(x: Matrix, weight_turned: Matrix, bias: Row, y: Matrix) -> None:
    """Compute y = x Wᵀ + b, where Wᵀ lies in one run: twice as fast for few rows, and turned once for many blocks."""
    np.dot(x, weight_turned, y)
    add_to_rows(bias, y)


def dense_row_forward(x: Vector, weight: Matrix, bias: Row, y: Vector) -> None:
    """Compute y = W x + b of a single row by loops, which cost less than calling BLAS, four outputs at a time."""
    odd = len(y) % 4
    for j in range(odd):
        total = 0.0
        for i in range(len(x)):
            total += weight[j, i] * x[i]
        y[j] = total + bias[j]
    for j in range(odd, len(y), 4):
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        for i in range(len(x)):
            t0 += weight[j, i] * x[i]
            t1 += weight[j + 1, i] * x[i]
            t2 += weight[j + 2, i] * x[i]
            t3 += weight[j + 3, i] * x[i]
        y[j], y[j + 1], y[j + 2], y[j + 3] = t0 + bias[j], t1 + bias[j + 1], t2 + bias[j + 2], t3 + bias[j + 3]


def dense_row_backward(
    x: Vector, weight: Matrix, grad: Vector, weight_grad: Matrix, bias_grad: Row, dx: Vector
) -> None:
    """Compute ∂e/∂x = Wᵀ g of a single row, and the gradients of `dense_row_backward_parameters`."""
    dense_row_backward_parameters(x, grad, weight_grad, bias_grad)
    odd = len(grad) % 4
    for i in range(len(dx)):
        dx[i] = 0.0
    for j in range(odd):
        for i in range(len(dx)):
            dx[i] += grad[j] * weight[j, i]
    for j in range(odd, len(grad), 4):
        g0, g1, g2, g3 = grad[j], grad[j + 1], grad[j + 2], grad[j + 3]
        for i in range(len(dx)):
            dx[i] += g0 * weight[j, i] + g1 * weight[j + 1, i] + g2 * weight[j + 2, i] + g3 * weight[j + 3, i]


def dense_row_backward_parameters(x: Vector, grad: Vector, weight_grad: Matrix, bias_grad: Row) -> None:
    """Compute ∂e/∂W = g xᵀ and ∂e/∂b = g of a single row."""
    for j in range(len(grad)):
        bias_grad[j] = grad[j]
        for i in range(len(x)):
            weight_grad[j, i] = grad[j] * x[i]


def dense_row_descent(x: Vector, weight: Matrix, bias: Row, grad: Vector, dx: Vector, learning_rate: Real) -> None:
    """Compute ∂e/∂x = Wᵀ g of a single row, and take the step of `dense_row_descent_parameters` in the same pass."""
    for i in range(len(dx)):
        dx[i] = 0.0
    for j in range(len(grad)):
        step = learning_rate * grad[j]
        bias[j] -= step
        for i in range(len(dx)):
            w = weight[j, i]
            dx[i] += grad[j] * w
            weight[j, i] = w - step * x[i]


def dense_row_descent_parameters(x: Vector, weight: Matrix, bias: Row, grad: Vector, learning_rate: Real) -> None:
    """Update W ← W − η g xᵀ and b ← b − η g, equations (5) to (7) in one: no gradient is written down."""
    for j in range(len(grad)):
        step = learning_rate * grad[j]
        bias[j] -= step
        for i in range(len(x)):
            weight[j, i] -= step * x[i]


def add_to_rows(bias: Row, y: Matrix) -> None:
    """Add b to each row of y."""
    for r in range(len(y)):
        for j in range(len(bias)):
            y[r, j] += bias[j]


def sum_of_rows(x: Matrix, total: Row) -> None:
    """Add up the rows of x."""
    for j in range(len(total)):
        total[j] = 0.0
    for r in range(len(x)):
        for j in range(len(total)):
            total[j] += x[r, j]


def dropout_forward(x: Vector, uniform: Vector, y: Vector, mask: Vector, rate: float) -> None:
    """Compute y = x ∘ m / (1 − p), mᵢ = 0 where a random number in [0, 1) is below p, else 1."""
    least, scale = real(rate), real(1 / (1 - rate))
    for i in range(len(x)):
        mask[i] = scale if uniform[i] >= least else 0.0
        y[i] = x[i] * mask[i]


def dropout_backward(grad: Vector, dx: Vector, mask: Vector) -> None:
    """Compute ∂e/∂x = g ∘ m / (1 − p)."""
    for i in range(len(grad)):
        dx[i] = grad[i] * mask[i]


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
    for j in range(len(weight_grad)):
        weight_grad[j] = 0.0
    width = real(grad.shape[1])
    for r in range(len(grad)):
        mean, along = 0.0, 0.0
        for j in range(grad.shape[1]):
            weight_grad[j] += grad[r, j] * normal[r, j]
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
    for j in range(len(weight_grad)):
        weight_grad[j] = 0.0
    width = real(grad.shape[1])
    for r in range(len(grad)):
        along = 0.0
        for j in range(grad.shape[1]):
            weight_grad[j] += grad[r, j] * normal[r, j]
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
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε), μ and σ² of each feature; the running ones follow."""
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
    for j in range(len(weight_grad)):
        weight_grad[j] = 0.0
    for r in range(len(grad)):
        for j in range(len(weight)):
            weight_grad[j] += grad[r, j] * normal[r, j]
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
    """Compute y = w ∘ x̂ + b, x̂ = (x − μ) / √(σ² + ε) with the running μ and σ², which stay as they are."""
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
    for j in range(len(weight_grad)):
        weight_grad[j] = 0.0
    for r in range(len(grad)):
        for j in range(len(weight)):
            weight_grad[j] += grad[r, j] * normal[r, j]
            dx[r, j] = grad[r, j] * weight[j] * inverse_deviation[j]


FIXED_NORM = Kernels(fixed_norm_forward, fixed_norm_backward, predict=batch_norm_predict)
"""For a `BatchNorm` whose statistics are frozen."""

LAYERS: dict[type[Layer], Kernels] = {
    Dense: Kernels(dense_forward, dense_backward, dense_backward_parameters),
    Dropout: Kernels(dropout_forward, dropout_backward, predict=identity_forward),
    LayerNorm: Kernels(layer_norm_forward, layer_norm_backward),
    RMSNorm: Kernels(rms_norm_forward, rms_norm_backward),
    BatchNorm: Kernels(batch_norm_forward, batch_norm_backward, predict=batch_norm_predict),
    **ACTIVATIONS,
}

ONE_ROW: dict[type[Layer], Kernels] = {
    **LAYERS,
    Dense: Kernels(dense_row_forward, dense_row_backward, dense_row_backward_parameters),
}
"""The same for batches of a single row."""

NARROW: dict[type[Layer], Kernels] = {
    **LAYERS,
    Dense: replace(LAYERS[Dense], predict=dense_predict),
}
"""The same where many rows are predicted in small blocks."""

ONE_ROW_DESCENT: dict[type[Layer], Kernels] = {
    Dense: Kernels(dense_row_forward, dense_row_descent, dense_row_descent_parameters),
}
"""Of layers that learn, where the optimizer is plain SGD: the way back takes the step, and writes no gradients."""
