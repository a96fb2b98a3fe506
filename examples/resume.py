"""Interrupt a run in the middle of an epoch, go on in a new Trainer, and compare every bit with a run in one piece."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from typing_extensions import override

from minidl import SGD, BatchNorm, Dense, Dropout, HalfSquaredError, Sequential, Tanh, Trainer
from minidl.callbacks import Callback

X = np.linspace(0, 3 * np.pi, 200)[:, None]
Y = np.sin(X)


class InterruptAt(Callback):
    """Stand in for Ctrl-C, a full time slot, or a power cut, between two batches."""

    every_batches = 1

    def __init__(self, epoch: int, batch: int, path: Path) -> None:
        self.epoch, self.batch, self.path = epoch, batch, path

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (self.epoch, self.batch):
            trainer.save(self.path)
            trainer.stop("the power went")


def build() -> Trainer:
    """Make the same untrained Trainer every time: dropout and shuffles draw random numbers all along."""
    layers = (Dense(1, 20), BatchNorm(20), Tanh(), Dropout(0.1), Dense(20, 1))
    model = Sequential(*layers).initialize(rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05, momentum=0.9), rng=0)


def main() -> None:
    whole = build()
    whole.fit(X, Y, epochs=30, batch_size=8)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        first = build()
        first.fit(X, Y, epochs=30, batch_size=8, callbacks=[InterruptAt(epoch=11, batch=7, path=path)])
        print(f"interrupted: {first.history}, at batch {first.position.batch}")

        second = build()
        second.restore(path)
        second.resume(X, Y, callbacks=[InterruptAt(epoch=-1, batch=-1, path=path)])
    print(f"resumed:     {second.history}")
    print(f"one piece:   {whole.history}")

    same_weights = second.optimizer.vector.values.tobytes() == whole.optimizer.vector.values.tobytes()
    same_losses = second.history.loss == whole.history.loss
    print(f"same weights to the last bit: {same_weights}; same losses: {same_losses}")
    assert same_weights
    assert same_losses


if __name__ == "__main__":
    main()
