"""minidl itself: the update written by hand, and the Trainer."""

from __future__ import annotations

from functools import partial

import numpy as np
from typing_extensions import override

import minidl
from minidl import SGD, HalfSquaredError, Loss, ReLU, Sequential, Sigmoid, SoftmaxCrossEntropy, Trainer, mlp

from ..networks import Array, Network
from .peer import Peer, PredictionCall, Training, by_steps


class HandLoop(Peer):
    """Forward, loss, backward and step written by hand: the column that all others are compared with."""

    name = "minidl"
    package = "minidl"

    @override
    def about(self) -> str:
        return f"minidl {minidl.__version__}"

    @override
    def training(self, network: Network) -> Training:
        model, loss = _model(network), _loss(network)
        optimizer = SGD(model.parameters(), learning_rate=network.learning_rate)

        def step(x: Array, y: Array) -> float:
            error = loss.forward(model.forward(x), y)
            model.backward_parameters(loss.backward())
            optimizer.step()
            return error

        return by_steps(step, network.data_in_batches())

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        return partial(_model(network).predict, x)


class TrainerFit(Peer):
    """The same by `Trainer.fit`."""

    name = "Trainer.fit"
    note = "one `fit` of many epochs in the order of the data, everything in it included."

    @override
    def training(self, network: Network) -> Training:
        model = _model(network)
        trainer = Trainer(model, _loss(network), SGD(model.parameters(), learning_rate=network.learning_rate), rng=0)
        x, y = network.data()

        def train(epochs: int) -> list[float]:
            history = trainer.fit(x, y, epochs=epochs, batch_size=network.batch, shuffle=False, progress=False)
            return history.loss[-epochs:]

        return train


def _model(network: Network) -> Sequential:
    activation = {"sigmoid": Sigmoid, "relu": ReLU}[network.activation]
    model = mlp(network.sizes, activation=activation, dtype=np.dtype(network.dtype), rng=0)
    values = [value for layer in network.initial_values() for value in layer]
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.value = value
    return model


def _loss(network: Network) -> Loss:
    return HalfSquaredError() if network.loss == "half squared error" else SoftmaxCrossEntropy()
