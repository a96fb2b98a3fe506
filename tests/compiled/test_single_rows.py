"""A single row in compiled code: its program gets addresses, which must be those of the model's present arrays."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl import (
    SGD,
    BatchNorm,
    Dense,
    HalfSquaredError,
    Layer,
    LeakyReLU,
    Parameter,
    Predictor,
    Sequential,
    Tanh,
    Trainer,
)
from minidl.errors import CompileError, ShapeError

Array = np.ndarray[Any, Any]
X = np.random.default_rng(1).normal(size=(30, 5))
Y = np.sin(X[:, :1])


def network() -> Sequential:
    model = Sequential(
        Dense(5, 8), BatchNorm(8), LeakyReLU(0.1), Sequential(Dense(8, 7, bias=False), Tanh()), Dense(7, 1)
    )
    return model.initialize(rng=0)


def plain() -> Sequential:
    """A network without buffers and numbers, of which Numba does not check the arguments."""
    return Sequential(Dense(5, 8), Tanh(), Sequential(Dense(8, 7, bias=False), Tanh()), Dense(7, 1)).initialize(rng=0)


def close(found: Array, wanted: Array) -> bool:
    tolerance = 1e-12 if wanted.dtype == np.float64 else 1e-5
    same = found.shape == wanted.shape and found.dtype == wanted.dtype
    return same and np.allclose(found, wanted, rtol=tolerance, atol=tolerance)


def row_for(model: Sequential, place: int) -> Array:
    return np.array(X[place:place + 1], model.dtype)


def train(model: Sequential) -> None:
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="numpy")
    trainer.fit(X, Y, epochs=2)


def change_in_place(model: Layer) -> None:
    for parameter in model.parameters():
        parameter.value *= 1.5


def replace_values(model: Sequential) -> None:
    for parameter in model.parameters():
        parameter.value = parameter.value + 0.25


def replace_parameters(model: Sequential) -> None:
    model[-1].weight = Parameter(np.full((1, 7), 0.5), dtype=model.dtype)  # type: ignore[attr-defined]
    model[-1].bias = Parameter(np.full(1, -3.0), dtype=model.dtype)  # type: ignore[attr-defined]


def add_a_bias(model: Sequential) -> None:
    model[3 if len(model) == 5 else 2][0].bias = Parameter(np.ones(7), dtype=model.dtype)  # type: ignore[index]


def drop_a_bias(model: Sequential) -> None:
    model[0].bias = None  # type: ignore[attr-defined]


def replace_a_layer(model: Sequential) -> None:
    wider = [Dense(5, 11), Tanh(), Dense(11, 7)]
    model.layers = (Sequential(*wider).initialize(rng=4), model[-1])


def cast(model: Sequential) -> None:
    other = np.float32 if model.dtype == np.float64 else np.float64
    for parameter in model.parameters():
        parameter.cast(other)


def freeze(model: Sequential) -> None:
    model[:-1].freeze()


CHANGES = (train, change_in_place, replace_values, cast, replace_parameters, add_a_bias, drop_a_bias, freeze,
           replace_a_layer)


@pytest.mark.parametrize("make", [network, plain])
@pytest.mark.parametrize("change", CHANGES)
def test_a_row_is_predicted_by_the_model_as_it_is_now(
    make: Callable[[], Sequential], change: Callable[[Sequential], None]
) -> None:
    model = make()
    predict = Predictor(model)
    for again in (change, train):
        for row in (row_for(model, 0), row_for(model, 1)):
            for _ in range(3):
                assert close(predict(row), model.predict(row))
        before = [parameter.value for parameter in model.parameters()]
        again(model)
        for old in before:
            if not any(old is parameter.value for parameter in model.parameters()):
                old.fill(np.nan)  # Nobody may read it any more.
    assert close(predict(X[:1]), model.predict(row_for(model, 0)))


def test_running_statistics_are_those_of_the_moment() -> None:
    model = network()
    predict = Predictor(model)
    for _ in range(3):
        assert close(predict(X[:1]), model.predict(X[:1]))
        model.forward(X)


def test_a_number_of_a_layer_may_change_its_type() -> None:
    model = network()
    predict = Predictor(model)
    for slope in (0.1, 0, 1, np.float32(0.5), 0.3):
        model[2].slope = slope  # type: ignore[attr-defined]
        assert close(predict(X[:1]), model.predict(X[:1]))


def test_a_model_of_two_dtypes_is_refused() -> None:
    model = plain()
    predict = Predictor(model)
    predict(X[:1])
    model[0].weight.cast(np.float32)  # type: ignore[attr-defined]
    with pytest.raises(CompileError, match="Predictor: expected parameters, all of one dtype, got float32 and float64"):
        predict(X[:1])
    model[0].weight.cast(np.float64)  # type: ignore[attr-defined]
    assert close(predict(X[:1]), model.predict(X[:1]))


@pytest.mark.parametrize("make", [network, plain])
def test_copies_and_pickles_have_arrays_of_their_own(make: Callable[[], Sequential]) -> None:
    model = make()
    predict = Predictor(model)
    wanted = predict(X[:1])
    for twin in (copy.deepcopy(predict), pickle.loads(pickle.dumps(predict))):
        assert np.array_equal(twin(X[:1]), wanted)
        change_in_place(twin.model)
        assert close(twin(X[:1]), twin.model.predict(X[:1]))
        assert np.array_equal(predict(X[:1]), wanted)


def test_threads_may_predict_while_an_optimizer_moves_the_arrays() -> None:
    model = plain()
    predict = Predictor(model)
    wanted = predict(X[:1])
    ready, done = threading.Barrier(4), threading.Event()
    wrong: list[Array] = []

    def again() -> None:
        ready.wait()
        while not done.is_set():
            wrong.extend(found for _ in range(50) if not np.array_equal(found := predict(X[:1]), wanted))

    threads = [threading.Thread(target=again) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    for _ in range(100):
        optimizer = SGD(model.parameters(), learning_rate=1e-300)  # It gathers all parameters in a new vector.
        model.backward(model.forward(X))
        optimizer.step()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert close(predict(X[:1]), model.predict(X[:1]))


@pytest.mark.parametrize("row", [np.zeros((1, 4)), np.zeros((1, 6)), np.zeros(5), np.zeros((1, 5, 1))])
def test_a_row_of_another_width_is_refused_as_before(row: Array) -> None:
    predict = Predictor(plain())
    predict(X[:1])
    with pytest.raises(ShapeError, match=r"Predictor: expected x of shape \(batch, 5\), got \("):
        predict(row)


@pytest.mark.parametrize("sizes", [(5, 8), (300, 9), (200, 70), (900, 50)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_weights_of_any_size_give_the_same_product(sizes: tuple[int, int], dtype: type[Any]) -> None:
    model = Dense(*sizes).initialize(rng=0).astype(dtype)
    row = np.random.default_rng(0).normal(size=(1, sizes[0])).astype(dtype)
    weight, bias = model.weight.value.astype(np.longdouble), model.bias.value.astype(np.longdouble)
    wanted = (weight * row.astype(np.longdouble)).sum(axis=1) + bias
    assert close(Predictor(model)(row)[0], wanted.astype(dtype))
