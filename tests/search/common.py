"""What the tests of `minidl.search` train."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from typing_extensions import override

from minidl import SGD, Array, Dense, HalfSquaredError, Sequential, Tanh, Trainer

X = np.linspace(-2.0, 2.0, 24)[:, None]
Y = np.sin(X)


def build(learning_rate: float, width: int = 4, seed: int = 0) -> Trainer:
    model = Sequential(Dense(1, width), Tanh(), Dense(width, 1)).initialize(rng=seed)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate), rng=seed, engine="numpy")


def weights(trainer: Trainer) -> Array:
    values: Array = trainer.optimizer.vector.values.copy()
    return values


class CtrlC(Dense):
    """Send Ctrl-C to this process at the forward pass of some number, and be slow from then on."""

    def __init__(self, at: int) -> None:
        super().__init__(1, 1)
        self.at, self.passes = at, 0

    @override
    def forward(self, x: Array) -> Array:
        self.passes += 1
        if self.passes == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        if self.passes >= self.at:
            time.sleep(0.01)
        return super().forward(x)


def interrupting(at: int) -> Trainer:
    model = Sequential(CtrlC(at)).initialize(rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
