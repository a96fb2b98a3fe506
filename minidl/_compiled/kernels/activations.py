"""Kernels of the activations and of `Residual`: their equations, element by element."""

from __future__ import annotations

from math import erfc, log1p

import numpy as np

from ...layers.activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from ...layers.base import Layer
from .elementary import decay, decay_less_one, sigmoid, tanh
from .language import Function, Kernels, Matrix, Real, Vector


def activation_forward(x: Vector, y: Vector, function: Function) -> None:
    """Compute y = f(x) for a function of the user."""
    for i in range(len(x)):
        y[i] = function(x[i])


def activation_backward(x: Vector, grad: Vector, dx: Vector, derivative: Function) -> None:
    """Compute ∂e/∂x = g f′(x)."""
    for i in range(len(x)):
        dx[i] = grad[i] * derivative(x[i])


def array_activation_forward(x: Matrix, y: Matrix, function: Function) -> None:
    """Compute y = f(x) for a function that takes only arrays."""
    found = function(x)
    for r in range(len(x)):  # Numba takes ten times as long to compile y[:, :] = found.
        for j in range(x.shape[1]):
            y[r, j] = found[r, j]


def array_activation_backward(x: Matrix, grad: Matrix, dx: Matrix, derivative: Function) -> None:
    """Compute ∂e/∂x = g f′(x) for a derivative that takes only arrays."""
    slope = derivative(x)
    for r in range(len(x)):
        for j in range(x.shape[1]):
            dx[r, j] = grad[r, j] * slope[r, j]


def identity_forward(x: Vector, y: Vector) -> None:
    """Compute y = x."""
    for i in range(len(x)):
        y[i] = x[i]


def identity_backward(grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = g."""
    for i in range(len(grad)):
        dx[i] = grad[i]


def residual_forward(x: Vector, other_x: Vector, y: Vector) -> None:
    """Compute y = f(x) + x after the layers of f."""
    for i in range(len(y)):
        y[i] = x[i] + other_x[i]


def residual_backward(grad: Vector, other_grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = g ∂f/∂x + g before the layers of f."""
    for i in range(len(dx)):
        dx[i] = grad[i] + other_grad[i]


def sigmoid_forward(x: Vector, y: Vector) -> None:
    """Compute y = 1 / (1 + e⁻ˣ)."""
    for i in range(len(x)):
        y[i] = sigmoid(x[i])


def sigmoid_backward(y: Vector, grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = g y (1 − y)."""
    for i in range(len(y)):
        dx[i] = grad[i] * y[i] * (1.0 - y[i])


def tanh_forward(x: Vector, y: Vector) -> None:
    """Compute y = tanh x."""
    for i in range(len(x)):
        y[i] = tanh(x[i])


def tanh_backward(y: Vector, grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = g (1 − y²)."""
    for i in range(len(y)):
        dx[i] = grad[i] * (1.0 - y[i] * y[i])


def relu_forward(x: Vector, y: Vector) -> None:
    """Compute y = max(x, 0); NaN stays."""
    for i in range(len(x)):
        y[i] = 0.0 if x[i] < 0.0 else x[i]


def relu_backward(y: Vector, grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = g where y > 0, else 0."""
    for i in range(len(y)):
        dx[i] = grad[i] if y[i] > 0.0 else 0.0


def leaky_relu_forward(x: Vector, y: Vector, slope: Real) -> None:
    """Compute y = x for x > 0, else a x."""
    for i in range(len(x)):
        y[i] = x[i] if x[i] > 0.0 else slope * x[i]


def leaky_relu_backward(x: Vector, grad: Vector, dx: Vector, slope: Real) -> None:
    """Compute ∂e/∂x = g for x > 0, else a g."""
    for i in range(len(x)):
        dx[i] = grad[i] if x[i] > 0.0 else slope * grad[i]


def prelu_forward(x: Matrix, y: Matrix, weight: Vector) -> None:
    """Compute y = x for x > 0, else a x, with one slope or one for each feature."""
    own, first = len(weight) > 1, weight[0]
    for r in range(len(x)):
        for j in range(x.shape[1]):
            slope = weight[j] if own else first
            y[r, j] = x[r, j] if x[r, j] > 0.0 else slope * x[r, j]


def prelu_backward(x: Matrix, grad: Matrix, dx: Matrix, weight: Vector, weight_grad: Vector) -> None:
    """Compute ∂e/∂x = g for x > 0, else a g; ∂e/∂a = Σ over x ≤ 0 of x g, of all numbers or of each feature."""
    own, total = 1 if len(weight) > 1 else 0, 0.0
    for j in range(x.shape[1]):
        slope = weight[own * j]
        if own:
            total = 0.0
        for r in range(len(x)):
            total += np.float64(0.0 if x[r, j] > 0.0 else x[r, j] * grad[r, j])
            dx[r, j] = grad[r, j] if x[r, j] > 0.0 else slope * grad[r, j]
        weight_grad[own * j] = total


def elu_forward(x: Vector, y: Vector, alpha: Real) -> None:
    """Compute y = x for x > 0, else a (eˣ − 1)."""
    for i in range(len(x)):
        below = alpha * decay_less_one(0.0 if x[i] > 0.0 else x[i])
        y[i] = x[i] if x[i] > 0.0 else below


def elu_backward(x: Vector, grad: Vector, dx: Vector, alpha: Real) -> None:
    """Compute ∂e/∂x = g for x > 0, else g a eˣ."""
    for i in range(len(x)):
        below = alpha * decay(0.0 if x[i] > 0.0 else x[i])
        dx[i] = grad[i] * (1.0 if x[i] > 0.0 else below)


def gelu_forward(x: Vector, y: Vector, probability: Vector) -> None:
    """Compute y = x Φ(x), Φ(x) = ½ erfc(−x / √2)."""
    for i in range(len(x)):
        probability[i] = 0.5 * erfc(-0.7071067811865476 * x[i])
        y[i] = (-1e30 if x[i] < -1e30 else x[i]) * probability[i]


def gelu_backward(x: Vector, grad: Vector, dx: Vector, probability: Vector) -> None:
    """Compute ∂e/∂x = g (Φ(x) + x φ(x)), φ(x) = e^(−x²/2) / √(2π)."""
    for i in range(len(x)):
        near = -50.0 if x[i] < -50.0 else (50.0 if x[i] > 50.0 else x[i])
        density = 0.3989422804014327 * decay(-0.5 * near * near)
        dx[i] = grad[i] * (probability[i] + near * density)


def silu_forward(x: Vector, y: Vector, sigma: Vector) -> None:
    """Compute y = x σ(x)."""
    for i in range(len(x)):
        sigma[i] = sigmoid(x[i])
        y[i] = (-1e30 if x[i] < -1e30 else x[i]) * sigma[i]


def silu_backward(x: Vector, grad: Vector, dx: Vector, sigma: Vector) -> None:
    """Compute ∂e/∂x = g σ(x) (1 + x (1 − σ(x)))."""
    for i in range(len(x)):
        near = -1e3 if x[i] < -1e3 else (1e3 if x[i] > 1e3 else x[i])
        dx[i] = grad[i] * (sigma[i] * (1.0 + near * (1.0 - sigma[i])))


def softplus_forward(x: Vector, y: Vector) -> None:
    """Compute y = max(x, 0) + log(1 + e^−|x|)."""
    for i in range(len(x)):
        y[i] = (0.0 if x[i] < 0.0 else x[i]) + log1p(decay(-abs(x[i])))


def softplus_backward(x: Vector, grad: Vector, dx: Vector) -> None:
    """Compute ∂e/∂x = g σ(x)."""
    for i in range(len(x)):
        dx[i] = grad[i] * sigmoid(x[i])


def softmax_forward(x: Matrix, y: Matrix) -> None:
    """Compute y_j = eˣʲ / Σₖ eˣᵏ of each row, the maximum of the row subtracted first."""
    for r in range(len(x)):
        highest = np.max(x[r])
        for j in range(x.shape[1]):
            y[r, j] = decay(x[r, j] - highest)
        total = np.sum(y[r])
        for j in range(x.shape[1]):
            y[r, j] /= total


def softmax_backward(y: Matrix, grad: Matrix, dx: Matrix) -> None:
    """Compute ∂e/∂x = y ∘ (g − Σₖ gₖ yₖ)."""
    for r in range(len(y)):
        along = 0.0
        for j in range(y.shape[1]):
            along += grad[r, j] * y[r, j]
        for j in range(y.shape[1]):
            dx[r, j] = y[r, j] * (grad[r, j] - along)


ELEMENTWISE: dict[type[Layer], Kernels] = {
    Identity: Kernels(identity_forward, identity_backward),
    Sigmoid: Kernels(sigmoid_forward, sigmoid_backward),
    Tanh: Kernels(tanh_forward, tanh_backward),
    ReLU: Kernels(relu_forward, relu_backward),
    LeakyReLU: Kernels(leaky_relu_forward, leaky_relu_backward, numbers=("slope",)),
    ELU: Kernels(elu_forward, elu_backward, numbers=("alpha",)),
    GELU: Kernels(gelu_forward, gelu_backward, memory={"probability": Matrix}),
    SiLU: Kernels(silu_forward, silu_backward, memory={"sigma": Matrix}),
    Softplus: Kernels(softplus_forward, softplus_backward),
}
"""Activations that compute each number alone, by a function that is finite at 0, as is its derivative."""

ACTIVATIONS: dict[type[Layer], Kernels] = {
    Activation: Kernels(activation_forward, activation_backward, functions=("function", "derivative")),
    PReLU: Kernels(prelu_forward, prelu_backward, parameters=("weight",)),
    Softmax: Kernels(softmax_forward, softmax_backward),
    **ELEMENTWISE,
}

RESIDUAL_BEGIN = Kernels(identity_forward, residual_backward)
"""Before the layers of a `Residual`."""

RESIDUAL_END = Kernels(residual_forward, identity_backward)
"""After them."""

ARRAY_ACTIVATION = Kernels(
    array_activation_forward, array_activation_backward, functions=("function", "derivative")
)
"""For an `Activation` of functions that Numba can compile for arrays, but not for single numbers."""
