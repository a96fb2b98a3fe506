"""JAX on the CPU: one compiled function for each update, or for each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import Peer, PredictionCall, Training

Tree: TypeAlias = Any
"""Arrays in lists, tuples and dicts."""

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


class JAX(Peer):
    """A jitted step that hands its parameters over; nothing waits for the device but the loss of each epoch."""

    name = "JAX"
    package = "jax"
    apart = True
    note = "a jitted step with donated parameters, the losses added up on the device and read once an epoch."

    @override
    def about(self) -> str:
        return f"JAX {jax.__version__}"

    @override
    def training(self, network: Network) -> Training | None:
        if not network.plain:
            return None
        update = _update(network)

        @partial(jax.jit, donate_argnums=(0, 1))
        def step(state: Tree, total: Any, x: Any, y: Any) -> tuple[Tree, Any]:
            state, loss = update(state, x, y)
            return state, total + loss

        state = _state(network)
        batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in network.data_in_batches()]

        def train(epochs: int) -> list[float]:
            nonlocal state
            means = []
            for _ in range(epochs):
                total = jnp.zeros((), network.dtype)
                for x, y in batches:
                    state, total = step(state, total, x, y)
                means.append(float(total) / len(batches))
            jax.block_until_ready(state)
            return means

        return train

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        values, rows = _values(network), jnp.asarray(x)
        predict = jax.jit(partial(_predict, network))
        return lambda: predict(values, rows).block_until_ready()


class JAXScan(Peer):
    """A whole epoch in one jitted `lax.scan`, its rows gathered by the order that it is given."""

    name = "JAX scan"
    note = (
        "an epoch in one jitted `lax.scan` with donated parameters; rows gathered in the scan or before it, "
        "whichever is faster, and losses read at the end of all epochs; no BatchNorm, which needs a state of its own."
    )

    @override
    def training(self, network: Network) -> Training | None:
        if network.between == "BatchNorm":
            return None
        epochs = [_gathered_inside, _gathered_before]
        return _scanning(network, min(epochs, key=lambda epoch: _fastest(_scanning(network, epoch))))


Epoch: TypeAlias = Callable[[Callable[..., tuple[Tree, Any]], Tree, Any, Any, Any], tuple[Tree, Any]]
"""Takes an update, its state, all rows, their targets and ``(batches, rows)`` numbers of rows; returns the losses."""


def _gathered_inside(update: Callable[..., Any], state: Tree, x: Any, y: Any, order: Any) -> tuple[Tree, Any]:
    state, losses = jax.lax.scan(lambda state, rows: update(state, x[rows], y[rows]), state, order)
    return state, losses


def _gathered_before(update: Callable[..., Any], state: Tree, x: Any, y: Any, order: Any) -> tuple[Tree, Any]:
    state, losses = jax.lax.scan(lambda state, batch: update(state, *batch), state, (x[order], y[order]))
    return state, losses


def _scanning(network: Network, epoch: Epoch) -> Training:
    update = _update(network)
    run = jax.jit(lambda state, x, y, order: epoch(update, state, x, y, order), donate_argnums=0)
    state = _state(network)
    x, y = (jnp.asarray(array) for array in network.data())
    order = jnp.arange(len(x)).reshape(network.batches, network.batch)

    def train(epochs: int) -> list[float]:
        nonlocal state
        losses = []
        for _ in range(epochs):
            state, found = run(state, x, y, order)
            losses.append(found)
        return [float(np.mean(found)) for found in losses]

    return train


def _fastest(train: Training) -> float:
    """Return the seconds of the fastest of some turns, after the one that compiles."""
    train(1)
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        train(2)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _update(network: Network) -> Callable[[Tree, Any, Any], tuple[Tree, Any]]:
    """Make one update out of (values, the optimizer's own numbers, a key for dropout), x and y."""
    rate, error = network.learning_rate, partial(_error, network)

    def update(state: Tree, x: Any, y: Any) -> tuple[Tree, Any]:
        values, own, key = state
        if network.between == "dropout":
            key, now = jax.random.split(key)
        else:
            now = key
        loss, gradients = jax.value_and_grad(error)(values, x, y, now)
        if network.optimizer == "SGD":
            step = gradients
        elif network.optimizer == "momentum":
            step = own = jax.tree.map(lambda v, g: 0.9 * v + g, own, gradients)
        else:
            first, second, count = own
            count = count + 1
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
            step = jax.tree.map(
                lambda m, v: m / (1 - 0.9**count) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8), first, second
            )
            own = first, second, count
        return (jax.tree.map(lambda w, s: w - rate * s, values, step), own, key), loss

    return update


def _predict(network: Network, values: Tree, x: Any, key: Any = None) -> Any:
    function = jax.nn.sigmoid if network.activation == "sigmoid" else jax.nn.relu
    *hidden, last = values
    for layer in hidden:
        x = x @ layer["weight"].T + layer["bias"]
        if network.between == "LayerNorm":
            centred = x - x.mean(axis=1, keepdims=True)
            scaled = centred / jnp.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
            x = scaled * layer["gain"] + layer["shift"]
        x = function(x)
        if key is not None and network.between == "dropout":
            key, now = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(now, 0.9, x.shape), x / 0.9, 0.0).astype(network.dtype)
    return x @ last["weight"].T + last["bias"]


def _error(network: Network, values: Tree, x: Any, y: Any, key: Any) -> Any:
    z = _predict(network, values, x, key)
    match network.loss:
        case "half squared error":
            return 0.5 * jnp.sum((z - y) ** 2) / len(x)
        case "softmax cross-entropy":
            return -jnp.mean(jax.nn.log_softmax(z)[np.arange(len(x)), y])
        case "cross-entropy":
            return -jnp.sum(y * jnp.log(jax.nn.softmax(z))) / len(x)
        case "sigmoid cross-entropy":
            return jnp.sum(jnp.maximum(z, 0.0) - y * z + jnp.log1p(jnp.exp(-jnp.abs(z)))) / len(x)


def _state(network: Network) -> Tree:
    values = _values(network)
    zeros = partial(jax.tree.map, jnp.zeros_like, values)
    own: Tree = None
    if network.optimizer == "momentum":
        own = zeros()
    elif network.optimizer == "Adam":
        own = zeros(), zeros(), jnp.zeros((), network.dtype)
    return values, own, jax.random.key(0)


def _values(network: Network) -> Tree:
    return [
        {"weight": jnp.array(weight), "bias": jnp.array(bias)}
        | ({"gain": jnp.ones_like(bias), "shift": jnp.zeros_like(bias)} if network.between == "LayerNorm" else {})
        for weight, bias in network.initial_values()
    ]


PEERS: tuple[Peer, ...] = (JAX(), JAXScan())
