"""JAX on the CPU: one compiled function for each update, or for each epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import ManyTraining, Peer, PredictionCall, Training

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
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        if network.plain:
            for layout in LAYOUTS:
                yield layout, _stepping(network, layout)

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        predict, rows = jax.jit(partial(_predict, network)), jnp.asarray(x)
        for layout in LAYOUTS:
            yield layout, partial(_waiting, predict, _values(network, layout), rows)


LAYOUTS = ("(in, out)", "(out, in)")
"""The shape of the weights: x @ w, as most users of JAX write it, or x @ w.T."""


def _waiting(predict: Callable[[Tree, Any], Any], values: Tree, rows: Any) -> Any:
    return predict(values, rows).block_until_ready()


def _stepping(network: Network, layout: str) -> Training:
    update = _update(network)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(state: Tree, total: Any, x: Any, y: Any) -> tuple[Tree, Any]:
        state, loss = update(state, x, y)
        return state, total + loss

    state = _state(network, layout)
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


class JAXScan(Peer):
    """Whole epochs in one jitted `lax.scan`, its rows gathered by the order that it is given."""

    name = "JAX scan"
    apart = True
    note = (
        "epochs in one jitted `lax.scan` with donated parameters; rows gathered in the scan or before it, updates on "
        "single rows unrolled or not, and losses read at the end of all epochs; many models by `jax.vmap`, on one "
        "device or one for each core; no BatchNorm, which needs a state of its own."
    )

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        if network.between != "BatchNorm":
            unrolled = UNROLLED if network.batch == 1 else (1,)
            for layout, (gathered, epoch), unroll in product(LAYOUTS, GATHERED.items(), unrolled):
                train = _scanning(network, partial(epoch, unroll), _state(network, layout))
                yield f"{layout}, rows gathered {gathered} the scan, unroll={unroll}", train

    @override
    def many_trainings(self, network: Network, models: int) -> Iterator[tuple[str, ManyTraining]]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        jax.config.update("jax_num_cpu_devices", cores)  # Before anything runs; this peer has a process of its own.
        for layout, (gathered, epoch), devices in product(LAYOUTS, GATHERED.items(), sorted({1, cores})):
            states = [_state(network, layout, seed) for seed in range(1, models + 1)]
            state = jax.tree.map(lambda *values: jnp.stack(values), *states)
            parts = jax.sharding.PartitionSpec("models") if models % devices == 0 else jax.sharding.PartitionSpec()
            mesh = jax.make_mesh((devices,), ("models",), devices=jax.devices()[:devices])
            state = jax.device_put(state, jax.sharding.NamedSharding(mesh, parts))
            train = _scanning(network, _vectorized(epoch), state)
            yield f"{layout}, rows gathered {gathered} the scan, {devices} devices", train


Update: TypeAlias = Callable[[Tree, Any, Any], tuple[Tree, Any]]
Epoch: TypeAlias = Callable[[Update, Tree, Any, Any, Any], tuple[Tree, Any]]
"""Takes an update, its state, all rows, their targets and ``(batches, rows)`` numbers of rows; returns the losses."""


def _gathered_inside(unroll: int, update: Update, state: Tree, x: Any, y: Any, order: Any) -> tuple[Tree, Any]:
    state, losses = jax.lax.scan(lambda state, rows: update(state, x[rows], y[rows]), state, order, unroll=unroll)
    return state, losses


def _gathered_before(unroll: int, update: Update, state: Tree, x: Any, y: Any, order: Any) -> tuple[Tree, Any]:
    batches = x[order], y[order]
    state, losses = jax.lax.scan(lambda state, batch: update(state, *batch), state, batches, unroll=unroll)
    return state, losses


def _vectorized(epoch: Callable[..., tuple[Tree, Any]]) -> Epoch:
    return lambda update, state, x, y, order: jax.vmap(lambda one: epoch(1, update, one, x, y, order))(state)


GATHERED = {"in": _gathered_inside, "before": _gathered_before}
UNROLLED = (1, 4)


def _scanning(network: Network, epoch: Epoch, state: Tree) -> Any:
    """Make the training of one model, or of many where the arrays of the state have a first axis for them."""
    update = _update(network)

    @partial(jax.jit, donate_argnums=0, static_argnums=4)
    def run(state: Tree, x: Any, y: Any, order: Any, epochs: int) -> tuple[Tree, Any]:
        state, losses = jax.lax.scan(lambda state, _: epoch(update, state, x, y, order), state, None, length=epochs)
        return state, losses

    x, y = (jnp.asarray(array) for array in network.data())
    order = jnp.arange(len(x)).reshape(network.batches, network.batch)
    call = 10 if network.batch == 1 else 1

    def train(epochs: int) -> list[Any]:
        nonlocal state
        losses = []
        for count in [call] * (epochs // call) + [1] * (epochs % call):
            state, found = run(state, x, y, order, count)
            losses.append(found)
        return [mean for found in losses for mean in np.mean(found, axis=-1).tolist()]

    return train


def _update(network: Network) -> Update:
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
        x = _dense(layer, x)
        if network.between == "LayerNorm":
            centred = x - x.mean(axis=1, keepdims=True)
            scaled = centred / jnp.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
            x = scaled * layer["gain"] + layer["shift"]
        x = function(x)
        if key is not None and network.between == "dropout":
            key, now = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(now, 0.9, x.shape), x / 0.9, 0.0).astype(network.dtype)
    return _dense(last, x)


def _dense(layer: Tree, x: Any) -> Any:
    return (x @ layer["(in, out)"] if "(in, out)" in layer else x @ layer["(out, in)"].T) + layer["bias"]


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


def _state(network: Network, layout: str, seed: int = 1) -> Tree:
    values = _values(network, layout, seed)
    zeros = partial(jax.tree.map, jnp.zeros_like, values)
    own: Tree = None
    if network.optimizer == "momentum":
        own = zeros()
    elif network.optimizer == "Adam":
        own = zeros(), zeros(), jnp.zeros((), network.dtype)
    return values, own, jax.random.key(0)


def _values(network: Network, layout: str, seed: int = 1) -> Tree:
    return [
        {layout: jnp.array(weight.T if layout == "(in, out)" else weight), "bias": jnp.array(bias)}
        | ({"gain": jnp.ones_like(bias), "shift": jnp.zeros_like(bias)} if network.between == "LayerNorm" else {})
        for weight, bias in network.initial_values(seed)
    ]


PEERS: tuple[Peer, ...] = (JAX(), JAXScan())
