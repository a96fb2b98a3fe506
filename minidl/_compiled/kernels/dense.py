"""Kernels of `Dense`: one or many rows, training or prediction."""

from __future__ import annotations

import numpy as np

from .language import Kernels, Matrix, Real, Row, Vector
from .rows import add_to_rows, sum_of_rows


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


def dense_predict(x: Matrix, weight_transposed: Matrix, bias: Row, y: Matrix) -> None:
    """Compute y = x Wᵀ + b from a contiguous Wᵀ: twice as fast for few rows; many blocks use one transposition."""
    np.dot(x, weight_transposed, y)
    add_to_rows(bias, y)


def linear_forward(x: Matrix, weight: Matrix, y: Matrix) -> None:
    """Compute y = x Wᵀ."""
    np.dot(x, weight.T, y)


def linear_backward(x: Matrix, weight: Matrix, grad: Matrix, weight_grad: Matrix, dx: Matrix) -> None:
    """Compute ∂e/∂x = g W and ∂e/∂W = gᵀ x."""
    np.dot(grad.T, x, weight_grad)
    np.dot(grad, weight, dx)


def linear_backward_parameters(x: Matrix, grad: Matrix, weight_grad: Matrix) -> None:
    """Compute ∂e/∂W = gᵀ x."""
    np.dot(grad.T, x, weight_grad)


def dense_row_forward(x: Vector, weight: Matrix, bias: Row, y: Vector) -> None:
    """Compute y = W x + b of a single row; loops cost less here than a call of BLAS.

    Four outputs at a time use each number of x four times. A weight that does not fit in the nearest cache comes in
    faster in the order in which it lies in memory, one output after the other.
    """
    alone = len(y) if weight.nbytes > 32768 else len(y) % 4
    for j in range(alone):
        total = 0.0
        for i in range(len(x)):
            total += weight[j, i] * x[i]
        y[j] = total + bias[j]
    for j in range(alone, len(y), 4):
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
    """Compute ∂e/∂x = Wᵀ g of a single row, and do the update of `dense_row_descent_parameters` in the same pass."""
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
    """Update W ← W − η g xᵀ and b ← b − η g, equations (5) to (7) together: no gradient is stored."""
    for j in range(len(grad)):
        step = learning_rate * grad[j]
        bias[j] -= step
        for i in range(len(x)):
            weight[j, i] -= step * x[i]


DENSE = Kernels(dense_forward, dense_backward, dense_backward_parameters, parameters=("weight", "bias"))

LINEAR = Kernels(linear_forward, linear_backward, linear_backward_parameters, parameters=("weight",))
"""For a `Dense` without a bias, in every table."""

DENSE_NARROW = Kernels(
    dense_forward, dense_backward, dense_backward_parameters, dense_predict, parameters=("weight", "bias")
)
"""For prediction of many rows in small blocks."""

DENSE_ROW = Kernels(
    dense_row_forward, dense_row_backward, dense_row_backward_parameters, parameters=("weight", "bias")
)
"""For batches of a single row."""

DENSE_ROW_DESCENT = Kernels(
    dense_row_forward, dense_row_descent, dense_row_descent_parameters, parameters=("weight", "bias")
)
"""For single rows and plain SGD: the backward kernels update the parameters and write no gradients."""
