"""A model of built-in layers holds no data after a run, so that its pickle is as small as before."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from minidl import (
    SGD,
    Add,
    Array,
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    Embedding,
    HalfSquaredError,
    Layer,
    LayerNorm,
    Parallel,
    PReLU,
    Residual,
    RMSNorm,
    Sequential,
    Softmax,
    Trainer,
)
from minidl.solvers import lbfgs, levenberg_marquardt
from tests.support.conformance_table import activations

ROWS = 400


def model() -> Sequential:
    return Sequential(
        Parallel(Sequential(Columns([0]), Embedding(4, 2)), Sequential(Columns([1, 2]), Dense(2, 2)), merge=Add()),
        Residual(Sequential(Dense(2, 2), PReLU(), LayerNorm(2), RMSNorm(2))), *activations(), BatchNorm(2),
        Softmax(), Dense(2, 1),
    ).initialize(0)  # fmt: skip


def by_trainer(model: Layer, x: Array, y: Array) -> None:
    Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=1e-3)).fit(x, y, epochs=1, batch_size=ROWS)


def by_lbfgs(model: Layer, x: Array, y: Array) -> None:
    lbfgs(model, x, y, loss=HalfSquaredError(), max_iterations=2)


def by_levenberg_marquardt(model: Layer, x: Array, y: Array) -> None:
    levenberg_marquardt(model, x, y, max_iterations=2)


@pytest.mark.parametrize("learn", [by_trainer, by_lbfgs, by_levenberg_marquardt])
def test_built_in_layers_hold_no_data_after_a_run(learn: Callable[[Layer, Array, Array], None]) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 4, (ROWS, 1)), rng.normal(size=(ROWS, 2))], axis=1)
    trained = model()
    if learn is not by_trainer:
        refused = Dropout if learn is by_lbfgs else (Dropout, BatchNorm)
        trained = Sequential(*(layer for layer in trained if not isinstance(layer, refused)))
    learn(trained, x, x[:, 1:2])
    before, after = len(pickle.dumps(model())), len(pickle.dumps(trained))
    assert after < before + 8 * ROWS / 2
    again = pickle.loads(pickle.dumps(trained))
    assert again.predict(x).tobytes() == trained.predict(x).tobytes()
    assert trained.backward(trained.forward(x)).shape == x.shape
