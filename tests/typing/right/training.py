"""The public face in use: a Trainer, and the loop by hand."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from minidl import (
    ELU,
    SGD,
    Dense,
    HalfSquaredError,
    History,
    Normal,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Trainer,
    batches,
    mlp,
)

x = np.linspace(0, 3 * np.pi, 200)[:, None]
y = np.sin(x)

model = Sequential(Dense(1, 20), Sigmoid(), Dense(20, 1, weight_initializer=Normal(0, 1))).initialize(rng=0)
loss, optimizer = HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05)
trainer = Trainer(model, loss, optimizer, rng=0)
assert_type(trainer.fit(x, y, epochs=2, batch_size=1, validation=(x[:5], y[:5])), History)
assert_type(trainer.fit(x, y[:, 0], epochs=1, validation=(x[:5], y[:5], [1, 1, 1, 0, 2])), History)
assert_type(trainer.history.loss, list[float])

rng = np.random.default_rng(0)
for batch_x, batch_y in batches(x, y, batch_size=1, rng=rng):
    assert_type(batch_x, npt.NDArray[Any])
    loss.forward(model.forward(batch_x), batch_y)
    model.backward(loss.backward())
    optimizer.step()

classifier = mlp([1, 20, 3], activation=lambda: ELU(0.5), dtype=np.float32, rng=rng)
assert_type(classifier, Sequential)
labels = np.zeros(200, int)
Trainer(classifier, SoftmaxCrossEntropy(), SGD(classifier.parameters(), 0.1)).fit(x, labels, epochs=1)
