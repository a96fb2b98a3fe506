"""The public face in use: a Trainer, and the loop by hand."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from minidl import (
    ELU,
    L2,
    SGD,
    Array,
    Dense,
    HalfSquaredError,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Trainer,
    batches,
    metrics,
    mlp,
)
from minidl.callbacks import EarlyStopping
from minidl.initializers import Normal
from minidl.solvers import SolverResult, lbfgs, levenberg_marquardt
from minidl.trainer import History

x = np.linspace(0, 3 * np.pi, 200)[:, None]
y = np.sin(x)

model = Sequential(Dense(1, 20), Sigmoid(), Dense(20, 1, weight_initializer=Normal(0, 1))).initialize(rng=0)
loss, optimizer = HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05)
trainer = Trainer(model, loss, optimizer, rng=0)
assert_type(trainer.fit(x, y, epochs=2, batch_size=1, validation=(x[:5], y[:5])), History)
assert_type(trainer.fit(x, y[:, 0], epochs=1, validation=(x[:5], y[:5], [1, 1, 1, 0, 2])), History)
assert_type(trainer.history.loss, list[float])
assert_type(trainer.evaluate(x, y, metrics=[metrics.r2]), dict[str, float])
assert_type(trainer.position.batch, int)


@metrics.metric("min", takes="values")
def largest_error(prediction: Array, target: npt.NDArray[Any]) -> float:
    return float(np.max(np.abs(prediction - target)))


trainer.fit(x, y, epochs=2, metrics=[largest_error], callbacks=[EarlyStopping(1, "largest_error", mode="min")])

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

penalties = [L2(1e-3, model.parameters())]
assert_type(lbfgs(classifier, x, labels, loss=SoftmaxCrossEntropy(), validation=(x[:5], labels[:5])), SolverResult)
assert_type(levenberg_marquardt(model, x, y, loss=loss, sample_weight=[1.0] * 200, penalties=penalties), SolverResult)
levenberg_marquardt(model, x, y, validation=(x[:5], y[:5], [1.0] * 5), max_iterations=3)
