"""Large batches: two threads compute their halves; bits do not depend on how many threads there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl import (
    SGD,
    BatchNorm,
    ClipGlobalNorm,
    Dense,
    HalfSquaredError,
    MeanAbsoluteError,
    ReLU,
    Sequential,
    Trainer,
)
from minidl._compiled import HalvesLoop, halves
from minidl._core.threads import pool
from minidl._training import compiled_engine
from minidl._training.compiled_engine import EngineName
from minidl.errors import DivergenceError
from minidl.initializers import Constant
from tests.compiled.test_networks import CASES, EXTRAS, WEIGHTS, close, trained


@pytest.fixture(autouse=True)
def small_batches_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_engine, "LARGE", 1)
    monkeypatch.setattr(compiled_engine, "ROWS", 2)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note each call of a program in halves."""
    noted: list[Any] = []
    inner = HalvesLoop._call

    def call(self: HalvesLoop, *given: Any) -> int:
        noted.append(given)
        return inner(self, *given)

    monkeypatch.setattr(HalvesLoop, "_call", call)
    return noted


def watched_pool(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note each time that a helping thread is asked for."""
    noted: list[int] = []

    def watched(threads: int) -> Any:
        noted.append(threads)
        return pool(threads)

    monkeypatch.setattr("minidl._compiled.halves.pool", watched)
    return noted


def values(trainer: Trainer) -> Any:
    return trainer.optimizer.vector.values


# 67 rows: the last batch of 8 has 3, that of 33 has 34, that of 32 has 35.
@pytest.mark.parametrize(
    ("name", "sizes"),
    [("norms", [8, 33]), ("bent", [8]), ("labels", [32, 67]), ("both", [8]), ("residual", [33]), ("clipped", [32]),
     ("clipped numbers", [8]), ("penalized", [33])],
)
def test_halves_give_what_whole_batches_give_in_numpy(name: str, sizes: list[int], calls: list[Any]) -> None:
    for size in sizes:
        for weights in (None, WEIGHTS):
            wanted, found = (
                trained(CASES[name], engine, size, weights, EXTRAS.get(name)) for engine in ("numpy", "compiled")
            )
            assert close(found.history.loss, wanted.history.loss, wanted)
            assert close(values(found), values(wanted), wanted)
    assert calls


@pytest.mark.parametrize("name", ["labels", "both"])
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_number_of_threads(
    threads: int, name: str, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = trained(CASES[name], "compiled", 10, extras=EXTRAS.get(name))
    helpers = watched_pool(monkeypatch)
    monkeypatch.setattr(halves, "blas_threads", lambda: threads)
    found = trained(CASES[name], "compiled", 10, extras=EXTRAS.get(name))
    assert found.history.loss == wanted.history.loss
    np.testing.assert_array_equal(values(found), values(wanted))
    assert bool(helpers) == (threads == 2)


def network(*middle: Any) -> Sequential:
    return Sequential(Dense(3, 6), *middle, ReLU(), Dense(6, 2)).initialize(rng=0)


X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.random.default_rng(1).normal(size=(40, 2))


def test_frozen_layers_stay_and_the_others_learn_as_in_numpy(calls: list[Any]) -> None:
    runs = []
    engines: list[EngineName] = ["numpy", "compiled"]
    for engine in engines:
        model = network()
        model[0].freeze()
        weight, *_ = model.parameters()
        before = weight.value.copy()
        trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine=engine)
        trainer.fit(X, Y, epochs=2, batch_size=10)
        np.testing.assert_array_equal(weight.value, before)
        runs.append(values(trainer))
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-12, atol=1e-14)
    assert calls


@pytest.mark.parametrize("threads", [0, 1, 2])  # 0: not in halves.
def test_a_norm_that_cannot_be_clipped_leaves_the_weights(
    threads: int, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "blas_threads", lambda: threads)
    monkeypatch.setattr(compiled_engine, "ROWS", 2 if threads else 1000)
    ends = []
    # The gradient of row 25 is 0.85e308 for each of six weights: all are finite, and their norm is not.
    x, y, weights = np.where(np.arange(40)[:, None] == 25, 1e8, X), np.ones((40, 2)), np.ones(40)
    weights[25] = 1.7e301
    engines: list[EngineName] = ["numpy", "compiled"]
    for engine in engines:
        model = Sequential(Dense(3, 2, weight_initializer=Constant(0.0)))
        trainer = Trainer(
            model, MeanAbsoluteError(), SGD(model.parameters(), 1e-12), rng=0, engine=engine, clip=ClipGlobalNorm(1.0)
        )
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(x, y, epochs=1, batch_size=10, sample_weight=weights, shuffle=False)
        ends.append((caught.value.epoch, caught.value.batch, str(caught.value), values(trainer)))
    assert ends[0][:2] == (0, 2)
    assert ends[0][:3] == ends[1][:3]
    np.testing.assert_allclose(ends[1][3], ends[0][3], rtol=1e-12)
    assert bool(calls) == bool(threads)


def test_a_divergence_leaves_the_weights_from_before_its_update(calls: list[Any]) -> None:
    errors = []
    engines: list[EngineName] = ["numpy", "compiled"]
    for engine in engines:
        model = network()
        trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e9), rng=0, engine=engine)
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(X, Y, epochs=20, batch_size=10)
        errors.append((caught.value.epoch, caught.value.batch, values(trainer)))
    assert errors[0][:2] == errors[1][:2]
    assert np.isfinite(errors[1][2]).all()
    np.testing.assert_allclose(errors[1][2], errors[0][2], rtol=1e-6)
    assert calls


def test_a_layer_that_needs_the_whole_batch_is_not_halved(calls: list[Any]) -> None:
    model = network(BatchNorm(6))
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="compiled")
    trainer.fit(X, Y, epochs=2, batch_size=10)
    assert trainer.last_engine == "compiled"
    assert not calls


def test_busy_cores_make_one_thread_go_on_alone(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="compiled")
    monkeypatch.setattr(halves, "blas_threads", lambda: 2)
    monkeypatch.setattr(halves, "thread_time", lambda: 0.0)  # As if other programs had all the time.
    helpers = watched_pool(monkeypatch)
    trainer.fit(X, Y, epochs=12, batch_size=10, validation=0.1)  # A call for each epoch.
    assert len(calls) == 12
    assert len(helpers) == 4  # In epochs 1, 3, 6 and 11: it waits twice as long each time.


def test_auto_compiles_few_large_updates_that_take_long() -> None:
    assert compiled_engine.pays(1 << 30, 1 << 10, in_halves=True)
    assert not compiled_engine.pays(1 << 30, 1 << 9, in_halves=True)
    assert not compiled_engine.pays(1 << 30, 1 << 20, in_halves=False)
    assert compiled_engine.pays(1 << 25, 6_000, in_halves=False)
    assert not compiled_engine.pays(1 << 25, 5_999, in_halves=False)
    assert not compiled_engine.pays((1 << 25) + 1, 1 << 20, in_halves=False)
    assert compiled_engine.pays(1 << 17, 15_000, in_halves=False)
    assert not compiled_engine.pays(1 << 10, 29_000, in_halves=False)
