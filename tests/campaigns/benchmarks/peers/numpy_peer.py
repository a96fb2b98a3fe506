"""The loops that a good NumPy user writes for just these networks, with nothing around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import Peer, PredictionCall, Training, by_steps


class NumPyLoop(Peer):
    """Plain NumPy: vectors and outer products for single rows, matrices for batches."""

    name = "NumPy"
    package = "numpy"
    note = "a loop written by hand for just this network: vectors and `np.outer` for single rows, matrices for batches."

    @override
    def training(self, network: Network) -> Training | None:
        if not network.plain:
            return None
        if network.batch == 1 and network.activation == "sigmoid" and network.loss == "half squared error":
            return _online_squared(network)
        if network.activation == "relu":
            return _batched_squared(network) if network.loss == "half squared error" else _batched_softmax(network)
        return None

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        activation: Callable[[Array], Array] = _logistic() if network.activation == "sigmoid" else _relu
        weights, biases = _values(network)
        if len(x) == 1:
            return partial(_predict_row, weights, biases, activation, x[0])
        return partial(_predict_rows, weights, biases, activation, x)


def _online_squared(network: Network) -> Training:
    """Write equations (1) to (7) with vectors, one row at a time, sigmoid between the layers."""
    weights, biases = _values(network)
    last, rate, expit = len(weights) - 1, network.learning_rate, _logistic()

    def step(x: Array, y: Array) -> float:
        outputs = [x]
        for i in range(last):
            outputs.append(expit(weights[i] @ outputs[i] + biases[i]))
        error = weights[last] @ outputs[last] + biases[last] - y
        loss = 0.5 * float(error @ error)
        for i in range(last, -1, -1):
            weight_gradient, bias_gradient = np.outer(error, outputs[i]), error
            if i > 0:
                error = (error @ weights[i]) * outputs[i] * (1.0 - outputs[i])
            weights[i] -= rate * weight_gradient
            biases[i] -= rate * bias_gradient
        return loss

    return by_steps(step, [(x[0], y[0]) for x, y in network.data_in_batches()])


def _batched_squared(network: Network) -> Training:
    """Write the update for a batch, ReLU between the layers, half the squared error."""
    weights, biases = _values(network)

    def step(x: Array, y: Array) -> float:
        outputs = _forward_relu(weights, biases, x)
        difference = outputs.pop() - y
        loss = 0.5 * float(np.sum(difference * difference)) / len(x)
        _descend_relu(weights, biases, outputs, difference / len(x), network.learning_rate)
        return loss

    return by_steps(step, network.data_in_batches())


def _batched_softmax(network: Network) -> Training:
    """Write the update for a batch, ReLU between the layers, cross-entropy of the softmax with integer labels."""
    weights, biases = _values(network)

    def step(x: Array, y: Array) -> float:
        outputs = _forward_relu(weights, biases, x)
        logits = outputs.pop()
        rows = np.arange(len(x))
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(sums[:, 0]) - logits[rows, y]))
        error = exponentials / sums
        error[rows, y] -= 1.0
        error /= len(x)
        _descend_relu(weights, biases, outputs, error, network.learning_rate)
        return loss

    return by_steps(step, network.data_in_batches())


def _forward_relu(weights: list[Array], biases: list[Array], x: Array) -> list[Array]:
    """Return the input, the output of each hidden layer, and the output of the last one."""
    outputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        outputs.append(np.maximum(outputs[-1] @ weight.T + bias, 0.0))
    outputs.append(outputs[-1] @ weights[-1].T + biases[-1])
    return outputs


def _descend_relu(weights: list[Array], biases: list[Array], inputs: list[Array], error: Array, rate: float) -> None:
    """Go down the layers with the error of the last one, and update each on the way."""
    for i in range(len(weights) - 1, -1, -1):
        weight_gradient, bias_gradient = error.T @ inputs[i], error.sum(axis=0)
        if i > 0:
            error = (error @ weights[i]) * (inputs[i] > 0.0)
        weights[i] -= rate * weight_gradient
        biases[i] -= rate * bias_gradient


def _predict_row(weights: list[Array], biases: list[Array], activation: Callable[[Array], Array], x: Array) -> Array:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = activation(weight @ x + bias)
    y: Array = weights[-1] @ x + biases[-1]
    return y


def _predict_rows(weights: list[Array], biases: list[Array], activation: Callable[[Array], Array], x: Array) -> Array:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = activation(x @ weight.T + bias)
    y: Array = x @ weights[-1].T + biases[-1]
    return y


def _logistic() -> Callable[[Array], Array]:
    """Import σ where it is wanted only: a process that needs none shall not pay for SciPy."""
    from scipy.special import expit

    function: Callable[[Array], Array] = expit
    return function


def _relu(x: Array) -> Array:
    y: Array = np.maximum(x, 0.0)
    return y


def _values(network: Network) -> tuple[list[Array], list[Array]]:
    layers = list(network.initial_values())
    return [weight for weight, _ in layers], [bias for _, bias in layers]


PEERS: tuple[Peer, ...] = (NumPyLoop(),)
