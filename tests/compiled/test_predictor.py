"""Prediction in compiled code: that of the NumPy path to rounding, whatever the rows, their layout and the threads."""

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
    ELU,
    GELU,
    SGD,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    HalfSquaredError,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Predictor,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    Trainer,
    mlp,
)
from minidl._compiled import predictor as prediction
from minidl._compiled.chain import chain
from minidl._compiled.kernels import LAYERS
from minidl.errors import CompileError, DTypeError, ShapeError
from minidl.layers import Rescale, Standardize

Array = np.ndarray[Any, Any]
ROWS = 1300
X = np.random.default_rng(1).normal(size=(ROWS, 5))


def square(x: Any) -> Any:
    return 0.5 * x * x


def double(x: Any) -> Any:
    return 1.0 * x


def every_layer() -> Sequential:
    """A network of all layers that can be compiled, its running statistics and slopes away from their first values."""
    model = Sequential(
        Identity(), Standardize.of(X + 2.0), Dense(5, 9), Sigmoid(), Residual(Sequential(Tanh(), Dropout(0.5))), GELU(),
        BatchNorm(9), SiLU(), LayerNorm(9), Dense(9, 64, bias=False), PReLU(features=64), Softplus(), ReLU(),
        RMSNorm(64), LeakyReLU(0.1), ELU(0.8), PReLU(), Dense(64, 3), Activation(square, double), Softmax(),
        Rescale.of(X[:, :3] - 4.0),
    ).initialize(rng=0)
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        parameter.value += 0.2 * rng.normal(size=parameter.shape)
    for _ in range(3):
        model.forward(X[:50])
    return model


def in_single_precision() -> Sequential:
    return Sequential(Dense(5, 64), BatchNorm(64), ReLU(), Dense(64, 3), Softmax()).initialize(rng=0).astype(np.float32)


@pytest.fixture(scope="module", params=[every_layer, in_single_precision], ids=["float64", "float32"])
def both(request: pytest.FixtureRequest) -> tuple[Sequential, Predictor]:
    model = request.param()
    return model, Predictor(model)


def close(found: Array, wanted: Array) -> bool:
    tolerance = 1e-12 if wanted.dtype == np.float64 else 1e-5
    same = found.shape == wanted.shape and found.dtype == wanted.dtype
    return same and np.allclose(found, wanted, rtol=tolerance, atol=tolerance)


def test_every_layer_that_is_compiled_is_in_the_network() -> None:
    assert {type(layer) for _, layer in chain(every_layer())} == {*LAYERS, Residual}


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 511, 512, 513, ROWS])
def test_predictions_are_those_of_the_numpy_path(both: tuple[Sequential, Predictor], rows: int) -> None:
    model, predict = both
    before = X.copy()
    assert close(predict(X[:rows]), model.predict(X[:rows]))
    assert np.array_equal(X, before)


def test_threads_do_not_change_the_bits(both: tuple[Sequential, Predictor], monkeypatch: pytest.MonkeyPatch) -> None:
    predict = both[1]
    monkeypatch.setattr(prediction, "WAKING", 1)
    found = []
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr(prediction, "thread_count", lambda threads=threads: threads)
        found.append(predict(X))
    assert all(np.array_equal(other, found[0]) for other in found)


def test_wide_layers_are_predicted_by_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "WIDE_BLOCK", 100)
    model = Sequential(Dense(5, 200), ReLU(), Dense(200, 200), ReLU(), Dense(200, 2)).initialize(rng=0)
    predict = Predictor(model)
    for rows in (1, 99, 100, 250):
        assert close(predict(X[:rows]), model.predict(X[:rows]))


def layouts() -> dict[str, Array]:
    read_only = X.copy()
    read_only.flags.writeable = False
    return {
        "fortran": np.asfortranarray(X), "strided": np.repeat(X, 2, axis=1)[:, ::2], "reversed": X[::-1].copy()[::-1],
        "read-only": read_only, "big-endian": X.astype(">f8"), "a list": X.tolist(),
        "long double": X.astype(np.longdouble),
    }


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("rows", [1, 3, ROWS])
def test_every_layout_gives_the_same_bits(both: tuple[Sequential, Predictor], layout: str, rows: int) -> None:
    predict = both[1]
    assert np.array_equal(predict(layouts()[layout][:rows]), predict(X[:rows]))


def test_the_parameters_are_those_of_the_moment(both: tuple[Sequential, Predictor]) -> None:
    model = copy.deepcopy(both[0])
    predict = Predictor(model)
    first = predict(X)
    y = np.tile([0.2, 0.3, 0.5], (ROWS, 1))
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="numpy")
    trainer.fit(X, y, epochs=1)
    assert not close(predict(X), first)
    assert close(predict(X), model.predict(X))
    for layer in model:
        if isinstance(layer, LeakyReLU):
            layer.slope = 0.5
    assert close(predict(X[:3]), model.predict(X[:3]))


def test_a_copy_predicts_with_its_own_model(both: tuple[Sequential, Predictor]) -> None:
    model, predict = both
    twin = copy.deepcopy(predict)
    next(iter(twin.model.parameters())).value += 1.0
    assert close(predict(X), model.predict(X))
    assert close(twin(X), twin.model.predict(X))
    assert not close(twin(X), predict(X))
    again = pickle.loads(pickle.dumps(predict))
    assert np.array_equal(again(X), predict(X))


def test_any_number_of_threads_may_predict_at_once(both: tuple[Sequential, Predictor]) -> None:
    predict = both[1]
    wanted = [predict(X), predict(X[:1]), predict(X[:40])]
    wrong: list[Array] = []

    def again() -> None:
        for _ in range(30):
            found = [predict(X), predict(X[:1]), predict(X[:40])]
            wrong.extend(a for a, b in zip(found, wanted, strict=True) if not np.array_equal(a, b))

    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Sequential(Dense(5, 5), Flatten()), r'^Predictor: Flatten at "1" .*; use model.predict$'),
        (lambda: Sequential(Sigmoid(), Tanh()), "^Predictor: expected parameters, .* got none; use model.predict$"),
        (lambda: Sequential(Dense(5, 5), Dense(5, 2, dtype=np.float32)), "of one dtype, got float32 and float64"),
        (lambda: Sequential(Dense(5, 5), Activation(lambda x: eval("x"), np.cos)), "its function uses more than Numba"),
    ],
)
def test_what_cannot_be_compiled_is_named(model: Callable[[], Layer], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        Predictor(model())


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"Predictor\(model\): expected a Layer, got <class .*parentheses of Dense"):
        Predictor(Dense)  # type: ignore[arg-type]


def test_a_wrong_shape_is_refused(both: tuple[Sequential, Predictor]) -> None:
    with pytest.raises(ShapeError, match=r"Predictor: expected x of shape \(batch, 5\), got \(2, 4\)"):
        both[1](np.zeros((2, 4)))


def test_a_shared_parameter_can_be_predicted_with() -> None:
    first, second = Dense(5, 5).initialize(0), Dense(5, 5)
    second.weight = first.weight
    model = Sequential(first, Tanh(), second)
    assert close(Predictor(model)(X), model.predict(X))


def test_a_chain_of_any_width_follows_its_input() -> None:
    model = Sequential(PReLU(), Sigmoid())
    predict = Predictor(model)
    for x in (X, X[:, :2], X[:1, :3]):
        assert close(predict(x), model.predict(x))


def test_validation_runs_in_compiled_code_with_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential(Dense(5, 4), Dropout(0.3), Dense(4, 1)).initialize(rng=3)
    y = np.sin(X[:, :1])
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01), rng=0, engine="compiled")
    calls: list[int] = []
    whole = Predictor.__call__

    def counted(self: Predictor, x: Any) -> Any:
        calls.append(len(x))
        return whole(self, x)

    monkeypatch.setattr(Predictor, "__call__", counted)
    history = trainer.fit(X, y, epochs=2, validation=0.5)
    assert calls == [ROWS // 2, ROWS // 2]
    monkeypatch.undo()
    same = Sequential(Dense(5, 4), Dropout(0.3), Dense(4, 1)).initialize(rng=3)
    numpy = Trainer(same, HalfSquaredError(), SGD(same.parameters(), 0.01), rng=0, engine="numpy")
    numpy.fit(X, y, epochs=2, validation=0.5)
    np.testing.assert_allclose(history.validation_loss, numpy.history.validation_loss, rtol=1e-12)
    history = trainer.fit(X, y, epochs=1, validation=(X, y))
    assert history.validation_loss[-1] == pytest.approx(HalfSquaredError()(model.predict(X), y), rel=1e-12)


@pytest.mark.parametrize("last", [Dense(4, 3), Sequential(Dense(4, 3))], ids=["flat", "nested"])
def test_a_model_that_was_changed_is_compiled_anew(last: Layer) -> None:
    model = Sequential(Dense(5, 4), Tanh(), last).initialize(rng=0)
    predict = Predictor(model)
    assert close(predict(X[:9]), model.predict(X[:9]))
    model.layers = (model[0], ReLU(), model[2])
    for x in (X[:1], X[:9]):
        assert close(predict(x), model.predict(x))
    for parameter in model.parameters():
        parameter.cast(np.float32)
    assert close(predict(X[:1]), model.predict(X[:1]))
    model[0].weight = Dense(5, 4, dtype=np.float32).initialize(9).weight  # type: ignore[attr-defined]
    assert close(predict(X[:1]), model.predict(X[:1]))


def test_evaluation_predicts_by_the_model_whatever_engine_ran() -> None:
    model = Sequential(Dense(5, 4), Dropout(0.3), Dense(4, 1)).initialize(rng=3)
    y = np.sin(X[:, :1])
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01), rng=0, engine="compiled")
    trainer.fit(X, y, epochs=1)
    assert trainer.evaluate(X, y)["loss"] == HalfSquaredError()(model.predict(X), y)
    model.layers = (model[0], ReLU(), model[2])
    assert trainer.evaluate(X, y)["loss"] == HalfSquaredError()(model.predict(X), y)


def test_where_no_thread_can_be_had_the_caller_computes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(threads: int) -> Any:
        raise RuntimeError("cannot schedule new futures after shutdown")

    predict = Predictor(Sequential(Dense(5, 4), Tanh(), Dense(4, 1)).initialize(rng=3))
    wanted = predict(X)
    monkeypatch.setattr(prediction, "WAKING", 1)
    monkeypatch.setattr(prediction, "thread_count", lambda: 3)
    monkeypatch.setattr(prediction, "pool", refusing)
    assert np.array_equal(predict(X), wanted)


def test_wide_networks_are_divided_among_threads_of_one_blas_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    model = Sequential(Dense(5, 600), Tanh(), Dense(600, 30), Tanh(), Dense(30, 2)).initialize(rng=0)
    predict, whole = Predictor(model), prediction.Forward.__call__
    seen: list[tuple[str, int, set[int]]] = []

    def noted(self: Any, x: Any, *others: Any) -> None:
        pools = threadpoolctl.threadpool_info()
        threads = {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}
        seen.append((threading.current_thread().name, len(x), threads))
        whole(self, x, *others)

    monkeypatch.setattr(prediction.Forward, "__call__", noted)
    found = []
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        for threads in (1, 2, 3):
            monkeypatch.setattr(prediction, "thread_count", lambda threads=threads: threads)
            seen.clear()
            found.append(predict(X))
            assert sum(rows for _, rows, _ in seen) == ROWS
            assert all(limit == {1} for _, _, limit in seen)
            assert len(seen) == threads
            assert sum(name.startswith("minidl") for name, *_ in seen) == threads - 1
    assert all(np.array_equal(other, found[0]) for other in found)
    assert close(found[0], model.predict(X))


@pytest.mark.parametrize(
    ("sizes", "with_limit", "without"),
    [((1, 20, 20, 1), 256, 256), ((64, 128, 10), 112, 32), ((128, 128, 10), 48, 16), ((784, 256, 10), 256, 0)],
)
def test_blocks_depend_on_the_sizes_alone(
    sizes: tuple[int, ...], with_limit: int, without: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("threadpoolctl")
    model = mlp(sizes, rng=0)
    assert prediction.Passes(model).block == with_limit
    monkeypatch.setattr(prediction, "libraries", tuple)
    assert prediction.Passes(model).block == without
    x = np.random.default_rng(0).normal(size=(ROWS, sizes[0]))
    assert close(Predictor(model)(x), model.predict(x))
