"""minidl itself: the Trainer, and the update written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from importlib.util import find_spec
from typing import Literal

import numpy as np
from typing_extensions import override

import minidl
from minidl import (
    SGD,
    Adam,
    BatchNorm,
    CrossEntropy,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    LayerNorm,
    Loss,
    Predictor,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Trainer,
)
from minidl.callbacks import StopAfter
from minidl.optimizers import Optimizer
from minidl.search import fit_all
from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import ManyTraining, Peer, PredictionCall, Training, by_steps

LONG = 1_000_000
"""Epochs of a training that is worth compiling for, whatever the network."""

LOSSES: dict[str, type[Loss]] = {
    "half squared error": HalfSquaredError,
    "softmax cross-entropy": SoftmaxCrossEntropy,
    "cross-entropy": CrossEntropy,
    "sigmoid cross-entropy": SigmoidCrossEntropy,
}


class Fit(Peer):
    """`Trainer.fit`, by the engine that it takes for a long training: the column that all others are compared with."""

    name = "minidl"
    package = "minidl"
    apart = True
    note = (
        "one `fit` of many epochs, everything in it included, by the engine that a long training takes by itself; "
        "a `Predictor`, where Numba is installed."
    )

    @override
    def about(self) -> str:
        if find_spec("numba") is None:
            return f"minidl {minidl.__version__}"
        import numba

        return f"minidl {minidl.__version__} (Numba {numba.__version__}, {numba.get_num_threads()} threads)"

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        x, y = network.data()
        trainer = trainer_of(network, long_engine(network))

        def train(epochs: int) -> list[float]:
            history = trainer.fit(x, y, epochs=epochs, batch_size=network.batch, shuffle=False, progress=False)
            return history.loss[-epochs:]

        yield "", train

    @override
    def many_trainings(self, network: Network, models: int) -> Iterator[tuple[str, ManyTraining]]:
        yield "threads", fitting_all(network, models)

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        model = _model(network)
        yield "", partial(model.predict if find_spec("numba") is None else Predictor(model), x)


class InNumPy(Peer):
    """Forward, loss, backward and step written by hand, on NumPy; `Sequential.predict`."""

    name = "minidl in NumPy"
    note = "`forward`, `backward_parameters` and `step` written out by hand, or `predict`, all on NumPy."

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        model, loss = _model(network), LOSSES[network.loss]()
        optimizer = _optimizer(network, model)

        def step(x: Array, y: Array) -> float:
            error = loss.forward(model.forward(x), y)
            model.backward_parameters(loss.backward())
            optimizer.step()
            return error

        yield "", by_steps(step, network.data_in_batches())

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        yield "", partial(_model(network).predict, x)


def fitting_all(network: Network, models: int, executor: Executor | None = None) -> ManyTraining:
    """Make ready `fit_all`, in an order of the rows that each model draws for each epoch."""
    x, y = network.data()
    trainers = _trainers(network, models)

    def train(epochs: int) -> list[list[float]]:
        nonlocal trainers
        trainers = fit_all(trainers, x, y, epochs=epochs, batch_size=network.batch, executor=executor, progress=False)
        return [[trainer.history.loss[epoch] for trainer in trainers] for epoch in range(-epochs, 0)]

    return train


def fitting_one_by_one(network: Network, models: int, epochs: int) -> list[list[float]]:
    """Do the same by `Trainer.fit` of one model after the other, to compare with."""
    x, y = network.data()
    losses = [
        trainer.fit(x, y, epochs=epochs, batch_size=network.batch, progress=False).loss
        for trainer in _trainers(network, models)
    ]
    return [list(epoch) for epoch in zip(*losses, strict=True)]


def _trainers(network: Network, models: int) -> list[Trainer]:
    engine = long_engine(network)
    return [trainer_of(network, engine, seed) for seed in range(1, models + 1)]


def trainer_of(network: Network, engine: Literal["numpy", "compiled"], seed: int = 1) -> Trainer:
    """Make the Trainer of a network at its first values."""
    model = _model(network, seed)
    return Trainer(model, LOSSES[network.loss](), _optimizer(network, model), rng=seed, engine=engine)


def long_engine(network: Network) -> Literal["numpy", "compiled"]:
    """Begin a long training, and see which engine ``engine="auto"`` takes."""
    model = _model(network)
    trainer = Trainer(model, LOSSES[network.loss](), _optimizer(network, model), rng=0)
    x, y = network.data()
    stop = StopAfter(1e-9)
    trainer.fit(x, y, epochs=LONG, batch_size=network.batch, shuffle=False, callbacks=[stop], progress=False)
    return "compiled" if trainer.last_engine == "compiled" else "numpy"


def _model(network: Network, seed: int = 1) -> Sequential:
    layers: list[Layer] = []
    *hidden, last = [_dense(weight, bias) for weight, bias in network.initial_values(seed)]
    for dense in hidden:
        layers.append(dense)
        if network.between == "LayerNorm":
            layers.append(LayerNorm(dense.out_features, dtype=network.dtype))
        if network.between == "BatchNorm":
            layers.append(BatchNorm(dense.out_features, dtype=network.dtype))
        layers.append(Sigmoid() if network.activation == "sigmoid" else ReLU())
        if network.between == "dropout":
            layers.append(Dropout(0.1).initialize(0))
    return Sequential(*layers, last, *([Softmax()] * (network.loss == "cross-entropy")))


def _dense(weight: Array, bias: Array) -> Dense:
    dense = Dense(weight.shape[1], weight.shape[0], dtype=np.dtype(weight.dtype))
    dense.weight.value, dense.bias.value = weight, bias
    return dense


def _optimizer(network: Network, model: Layer) -> Optimizer:
    if network.optimizer == "Adam":
        return Adam(model.parameters(), learning_rate=network.learning_rate)
    momentum = 0.9 if network.optimizer == "momentum" else 0.0
    return SGD(model.parameters(), learning_rate=network.learning_rate, momentum=momentum)


PEERS: tuple[Peer, ...] = (Fit(), InNumPy())
