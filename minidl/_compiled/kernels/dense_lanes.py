"""Kernels of `Dense` for tiny networks: the outputs of a layer fill whole vectors, and nothing is left over.

The memory of each stream is padded to whole vectors, and so are both dimensions of a weight. The weight is Wᵀ: row i
holds the weights of input i. In the columns that are pads, weights, biases and gradients are zero; other pads may hold
anything.
"""

from __future__ import annotations

from .dense import DENSE
from .elementary import LANES
from .lanes import dots, fma, load, registers, splat, store, sums, unrolled
from .language import Kernels, Matrix, Real, Row


def lanes_forward(x: Matrix, inputs: int, weight: Matrix, bias: Row, y: Matrix) -> None:
    """Compute y = b + Σᵢ xᵢ Wᵢ, four rows at a time."""
    t = registers(4)
    last = len(x) - 1
    for j in range(0, len(bias), LANES):
        for r in range(0, len(x), 4):
            for k in unrolled(4):
                t[k] = load(bias, j)
            for i in range(inputs):
                w = load(weight, (i, j))
                for k in unrolled(4):
                    t[k] = fma(splat(x[min(r + k, last), i]), w, t[k])
            for k in unrolled(4):
                store(y, (min(r + k, last), j), t[k])


def lanes_backward(
    x: Matrix, inputs: int, weight: Matrix, grad: Matrix, weight_grad: Matrix, bias_grad: Row, dx: Matrix
) -> None:
    """Compute ∂e/∂xᵢ = Σⱼ Wᵢⱼ gⱼ, a vector of inputs at a time, and the gradients of `lanes_backward_parameters`."""
    lanes_backward_parameters(x, inputs, grad, weight_grad, bias_grad)
    for i in range(0, inputs, LANES):
        for r in range(len(grad)):
            store(dx, (r, i), dots(weight, i, grad, r))
    for r in range(len(dx)):
        for i in range(inputs, dx.shape[1]):
            dx[r, i] = 0.0


def lanes_backward_parameters(x: Matrix, inputs: int, grad: Matrix, weight_grad: Matrix, bias_grad: Row) -> None:
    """Compute ∂e/∂Wᵢ = Σ over the batch of xᵢ g, four inputs at a time, and ∂e/∂b = Σ over the batch of g."""
    t = registers(4)
    last = inputs - 1
    for j in range(0, len(bias_grad), LANES):
        total = splat(0.0)
        for r in range(len(grad)):
            total = total + load(grad, (r, j))
        store(bias_grad, j, total)
        for i in range(0, last + 1, 4):
            for k in unrolled(4):
                t[k] = splat(0.0)
            for r in range(len(grad)):
                g = load(grad, (r, j))
                for k in unrolled(4):
                    t[k] = fma(splat(x[r, min(i + k, last)]), g, t[k])
            for k in unrolled(4):
                store(weight_grad, (min(i + k, last), j), t[k])


def lanes_row_forward(x: Matrix, inputs: int, weight: Matrix, bias: Row, y: Matrix) -> None:
    """Compute y = b + Σᵢ xᵢ Wᵢ of a single row, in four partial sums."""
    t = registers(4)
    for j in range(0, len(bias), LANES):
        for k in unrolled(4):
            t[k] = splat(0.0)
        t[0] = load(bias, j)
        for i in range(inputs % 4):
            t[0] = fma(splat(x[0, i]), load(weight, (i, j)), t[0])
        for i in range(inputs % 4, inputs, 4):
            for k in unrolled(4):
                t[k] = fma(splat(x[0, i + k]), load(weight, (i + k, j)), t[k])
        store(y, (0, j), (t[0] + t[1]) + (t[2] + t[3]))


def lanes_row_descent(
    x: Matrix, inputs: int, weight: Matrix, bias: Row, grad: Matrix, dx: Matrix, learning_rate: Real
) -> None:
    """Compute ∂e/∂xᵢ = Σⱼ Wᵢⱼ gⱼ of a single row, and update Wᵢ ← Wᵢ − η xᵢ g and b ← b − η g in the same pass."""
    t = registers(LANES)
    w = registers(LANES)
    for i in range(0, inputs, LANES):
        for k in unrolled(LANES):
            t[k] = splat(0.0)
        for j in range(0, len(bias), LANES):
            g = load(grad, (0, j))
            step = splat(learning_rate) * g
            for k in unrolled(LANES):
                w[k] = load(weight, (i + k, j))
                t[k] = fma(w[k], g, t[k])
            for k in unrolled(LANES):
                store(weight, (i + k, j), w[k] - step * splat(x[0, i + k]))
        store(dx, (0, i), sums(t))
    for i in range(inputs, dx.shape[1]):
        dx[0, i] = 0.0
    for j in range(0, len(bias), LANES):
        store(bias, j, load(bias, j) - splat(learning_rate) * load(grad, (0, j)))


def lanes_row_descent_parameters(
    x: Matrix, inputs: int, weight: Matrix, bias: Row, grad: Matrix, learning_rate: Real
) -> None:
    """Update Wᵢ ← Wᵢ − η xᵢ g and b ← b − η g of a single row."""
    for j in range(0, len(bias), LANES):
        step = splat(learning_rate) * load(grad, (0, j))
        store(bias, j, load(bias, j) - step)
        for i in range(inputs):
            store(weight, (i, j), load(weight, (i, j)) - step * splat(x[0, i]))


DENSE_LANES = Kernels(lanes_forward, lanes_backward, lanes_backward_parameters, parameters=DENSE.parameters)

DENSE_ROW_LANES = Kernels(lanes_row_forward, lanes_backward, lanes_backward_parameters, parameters=DENSE.parameters)
"""For batches of a single row."""

DENSE_ROW_LANES_DESCENT = Kernels(
    lanes_row_forward, lanes_row_descent, lanes_row_descent_parameters, parameters=DENSE.parameters
)
"""For single rows and plain SGD: the backward kernels update the parameters and write no gradients."""
