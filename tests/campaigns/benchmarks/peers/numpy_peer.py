"""The loops that a good NumPy user writes for just these networks, with nothing around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import ManyTraining, Peer, PredictionCall, Training, by_steps


class NumPyLoop(Peer):
    """Plain NumPy: vectors and outer products for single rows, matrices for batches."""

    name = "NumPy"
    package = "numpy"
    note = "a loop written by hand for just this network: vectors and `np.outer` for single rows, matrices for batches."

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        if network.plain:
            for layout in LAYOUTS:
                yield layout, _training(network, layout)

    @override
    def many_trainings(self, network: Network, models: int) -> Iterator[tuple[str, ManyTraining]]:
        trainings = [_training(network, "(out, in)", seed) for seed in range(1, models + 1)]
        yield "one after the other", lambda epochs: np.transpose([train(epochs) for train in trainings]).tolist()

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        activation: Callable[[Array], Array] = _logistic() if network.activation == "sigmoid" else _relu
        for layout in LAYOUTS:
            weights, biases = _values(network, layout)
            yield layout, partial(_predict, weights, biases, activation, x[0] if len(x) == 1 else x)


LAYOUTS = ("(out, in)", "(in, out)")
"""How weights lie in memory. The loops below take them as (in, out): as they are, or as the transpose of the others."""


def _training(network: Network, layout: str, seed: int = 1) -> Training:
    if network.batch == 1 and network.activation == "sigmoid" and network.loss == "half squared error":
        return _online_squared(network, layout, seed)
    return (_batched_squared if network.loss == "half squared error" else _batched_softmax)(network, layout, seed)


def _online_squared(network: Network, layout: str, seed: int) -> Training:
    """Write equations (1) to (7) with vectors, one row at a time, sigmoid between the layers."""
    weights, biases = _values(network, layout, seed)
    gradient = np.outer if layout == "(in, out)" else lambda x, error: np.outer(error, x).T
    last, rate, expit = len(weights) - 1, network.learning_rate, _logistic()

    def step(x: Array, y: Array) -> float:
        outputs = [x]
        for i in range(last):
            outputs.append(expit(outputs[i] @ weights[i] + biases[i]))
        error = outputs[last] @ weights[last] + biases[last] - y
        loss = 0.5 * float(error @ error)
        for i in range(last, -1, -1):
            weight_gradient, bias_gradient = gradient(outputs[i], error), error
            if i > 0:
                error = (weights[i] @ error) * outputs[i] * (1.0 - outputs[i])
            weights[i] -= rate * weight_gradient
            biases[i] -= rate * bias_gradient
        return loss

    return by_steps(step, [(x[0], y[0]) for x, y in network.data_in_batches()])


def _batched_squared(network: Network, layout: str, seed: int) -> Training:
    """Write the update for a batch, ReLU between the layers, half the squared error."""
    weights, biases = _values(network, layout, seed)
    descend = _descent(layout, network.learning_rate)

    def step(x: Array, y: Array) -> float:
        outputs = _forward_relu(weights, biases, x)
        difference = outputs.pop() - y
        loss = 0.5 * float(np.sum(difference * difference)) / len(x)
        descend(weights, biases, outputs, difference / len(x))
        return loss

    return by_steps(step, network.data_in_batches())


def _batched_softmax(network: Network, layout: str, seed: int) -> Training:
    """Write the update for a batch, ReLU between the layers, cross-entropy of the softmax with integer labels."""
    weights, biases = _values(network, layout, seed)
    descend = _descent(layout, network.learning_rate)

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
        descend(weights, biases, outputs, error)
        return loss

    return by_steps(step, network.data_in_batches())


def _forward_relu(weights: list[Array], biases: list[Array], x: Array) -> list[Array]:
    """Return the input, the output of each hidden layer, and the output of the last one."""
    outputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        outputs.append(np.maximum(outputs[-1] @ weight + bias, 0.0))
    outputs.append(outputs[-1] @ weights[-1] + biases[-1])
    return outputs


def _descent(layout: str, rate: float) -> Callable[[list[Array], list[Array], list[Array], Array], None]:
    """Write the way down the layers with the error of the last one, which updates each on the way."""
    across = layout == "(out, in)"

    def descend(weights: list[Array], biases: list[Array], inputs: list[Array], error: Array) -> None:
        for i in range(len(weights) - 1, -1, -1):
            weight_gradient = (error.T @ inputs[i]).T if across else inputs[i].T @ error
            bias_gradient = error.sum(axis=0)
            if i > 0:
                error = (error @ weights[i].T) * (inputs[i] > 0.0)
            weights[i] -= rate * weight_gradient
            biases[i] -= rate * bias_gradient

    return descend


def _predict(weights: list[Array], biases: list[Array], activation: Callable[[Array], Array], x: Array) -> Array:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = activation(x @ weight + bias)
    y: Array = x @ weights[-1] + biases[-1]
    return y


def _logistic() -> Callable[[Array], Array]:
    """Import σ where it is wanted only: a process that needs none shall not pay for SciPy."""
    from scipy.special import expit

    function: Callable[[Array], Array] = expit
    return function


def _relu(x: Array) -> Array:
    y: Array = np.maximum(x, 0.0)
    return y


def _values(network: Network, layout: str, seed: int = 1) -> tuple[list[Array], list[Array]]:
    layers = list(network.initial_values(seed))
    weights = [weight.T if layout == "(out, in)" else weight.T.copy() for weight, _ in layers]
    return weights, [bias for _, bias in layers]


PEERS: tuple[Peer, ...] = (NumPyLoop(),)
