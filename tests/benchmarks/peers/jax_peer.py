"""JAX on the CPU: one compiled function for each update."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from ..networks import Array, Network
from .peer import Peer, PredictionCall, Training

Values: TypeAlias = list[tuple[Any, Any]]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


class JAX(Peer):
    """A jitted step that hands its parameters over; nothing waits for the device but the loss of each epoch."""

    name = "JAX"
    package = "jax"
    note = "a jitted step with donated parameters, the losses added up on the device and read once an epoch."

    @override
    def about(self) -> str:
        return f"JAX {jax.__version__}"

    @override
    def training(self, network: Network) -> Training:
        error = partial(_squared if network.loss == "half squared error" else _cross_entropy, network.activation)
        rate = network.learning_rate

        @partial(jax.jit, donate_argnums=(0, 1))
        def step(values: Values, total: Any, x: Any, y: Any) -> tuple[Values, Any]:
            loss, gradients = jax.value_and_grad(error)(values, x, y)
            return jax.tree.map(lambda value, gradient: value - rate * gradient, values, gradients), total + loss

        values = _values(network)
        batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in network.data_in_batches()]

        def train(epochs: int) -> list[float]:
            nonlocal values
            means = []
            for _ in range(epochs):
                total = jnp.zeros((), network.dtype)
                for x, y in batches:
                    values, total = step(values, total, x, y)
                means.append(float(total) / len(batches))
            jax.block_until_ready(values)
            return means

        return train

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        values, rows = _values(network), jnp.asarray(x)
        predict = jax.jit(partial(_predict, network.activation))
        return lambda: predict(values, rows).block_until_ready()


def _predict(activation: str, values: Values, x: Any) -> Any:
    function = jax.nn.sigmoid if activation == "sigmoid" else jax.nn.relu
    *hidden, (last_weight, last_bias) = values
    for weight, bias in hidden:
        x = function(x @ weight.T + bias)
    return x @ last_weight.T + last_bias


def _squared(activation: str, values: Values, x: Any, y: Any) -> Any:
    return 0.5 * jnp.sum((_predict(activation, values, x) - y) ** 2) / len(x)


def _cross_entropy(activation: str, values: Values, x: Any, y: Any) -> Any:
    log_p = jax.nn.log_softmax(_predict(activation, values, x))
    return -jnp.mean(log_p[np.arange(len(x)), y])


def _values(network: Network) -> Values:
    return [(jnp.array(weight), jnp.array(bias)) for weight, bias in network.initial_values()]


PEER = JAX()
