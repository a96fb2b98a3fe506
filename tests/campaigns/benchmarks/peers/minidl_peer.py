"""minidl itself: the Trainer, and the update written by hand."""

from __future__ import annotations

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
from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import Peer, PredictionCall, Training, by_steps

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
    def training(self, network: Network) -> Training:
        x, y = network.data()
        trainer = trainer_of(network, long_engine(network))

        def train(epochs: int) -> list[float]:
            history = trainer.fit(x, y, epochs=epochs, batch_size=network.batch, shuffle=False, progress=False)
            return history.loss[-epochs:]

        return train

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        model = _model(network)
        return partial(model.predict if find_spec("numba") is None else Predictor(model), x)


class InNumPy(Peer):
    """Forward, loss, backward and step written by hand, on NumPy; `Sequential.predict`."""

    name = "minidl in NumPy"
    note = "`forward`, `backward_parameters` and `step` written out by hand, or `predict`, all on NumPy."

    @override
    def training(self, network: Network) -> Training:
        model, loss = _model(network), LOSSES[network.loss]()
        optimizer = _optimizer(network, model)

        def step(x: Array, y: Array) -> float:
            error = loss.forward(model.forward(x), y)
            model.backward_parameters(loss.backward())
            optimizer.step()
            return error

        return by_steps(step, network.data_in_batches())

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        return partial(_model(network).predict, x)


def trainer_of(network: Network, engine: Literal["numpy", "compiled"]) -> Trainer:
    """Make the Trainer of a network at its first values."""
    model = _model(network)
    return Trainer(model, LOSSES[network.loss](), _optimizer(network, model), rng=0, engine=engine)


def long_engine(network: Network) -> Literal["numpy", "compiled"]:
    """Begin a long training, and see which engine ``engine="auto"`` takes."""
    model = _model(network)
    trainer = Trainer(model, LOSSES[network.loss](), _optimizer(network, model), rng=0)
    x, y = network.data()
    stop = StopAfter(1e-9)
    trainer.fit(x, y, epochs=LONG, batch_size=network.batch, shuffle=False, callbacks=[stop], progress=False)
    return "compiled" if trainer.last_engine == "compiled" else "numpy"


def _model(network: Network) -> Sequential:
    layers: list[Layer] = []
    *hidden, last = [_dense(weight, bias) for weight, bias in network.initial_values()]
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
