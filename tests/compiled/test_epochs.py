"""Several epochs in one call of compiled code: the same bits as one epoch after the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

pytest.importorskip("numba")

from minidl import L1, SGD, ClipGlobalNorm, Dense, Dropout, HalfSquaredError, Layer, Sequential, Tanh, Trainer, mlp
from minidl._compiled import CompiledLoop
from minidl._compiled.loop import aligned
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, DivergenceError, DTypeError
from minidl.layers._parts import named
from minidl.optimizers import NAdam
from minidl.schedules import Cosine, Schedule

Array = np.ndarray[Any, Any]
X = np.random.default_rng(1).normal(size=(60, 2))
Y = np.sin(X[:, :1])


def network() -> Sequential:
    return Sequential(Dense(2, 5), Tanh(), Dropout(0.2), Dense(5, 1)).initialize(rng=1)


def bits(run: Trainer) -> list[Any]:
    generators = [own.bit_generator.state for own in named(run.model, np.random.Generator).values()]
    return [run.optimizer.vector.values.tobytes(), generators, run.history.loss, run.optimizer.steps]


class Watching(Callback):
    """Act after each epoch, so that the engine runs one epoch at a time."""

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        pass


def calls_of(run: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many epochs each call of the compiled loop has."""
    found: list[int] = []
    inner = CompiledLoop.run

    def noted(self: Any, arrays: Any, orders: Array, **more: Any) -> int:
        found.append(len(orders))
        return inner(self, arrays, orders, **more)

    monkeypatch.setattr(CompiledLoop, "run", noted)
    return found


def with_extras(net: Layer) -> Trainer:
    extras: Any = {"penalties": [L1(0.01, net.parameters())], "clip": ClipGlobalNorm(0.1)}
    return Trainer(net, HalfSquaredError(), NAdam(net.parameters()), rng=2, engine="compiled", **extras)


DECAY = Cosine(0.1, epochs=12)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 59, 100])  # Of 60 rows: a rest of 4, none, a single row, one batch.
@pytest.mark.parametrize(
    ("model", "rate", "data"),
    [
        (lambda: mlp([2, 5, 1], activation=Tanh, rng=1), 0.1, {}),
        (network, 0.1, {"shuffle": False}),
        (network, DECAY, {"sample_weight": np.linspace(0, 2, 60)}),
        (lambda: mlp([2, 5, 1], activation=Tanh, rng=1), DECAY, {"x": np.asfortranarray(X)}),
        (lambda: mlp([2, 5, 1], activation=Tanh, rng=1), None, {}),
    ],
)
def test_many_epochs_in_one_call_have_the_bits_of_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, model: Callable[[], Layer], rate: Any, data: dict[str, Any]
) -> None:
    runs = []
    for watched in ([Watching()], []):
        net = model()
        run = with_extras(net) if rate is None else Trainer(
            net, HalfSquaredError(), SGD(net.parameters(), rate), rng=2, engine="compiled"
        )
        calls = calls_of(run, monkeypatch)
        run.fit(**{"x": X, "y": Y, **data}, epochs=12, batch_size=batch_size, callbacks=watched)
        runs.append(run)
    assert calls == [12]
    assert bits(runs[0]) == bits(runs[1])
    assert runs[0].history.learning_rate == runs[1].history.learning_rate
    assert len(runs[1].history.seconds) == 12
    # The next epoch goes on with the same generators and steps.
    assert bits(fitted(runs[0], 1, batch_size)) == bits(fitted(runs[1], 1, batch_size))


def fitted(run: Trainer, epochs: int, batch_size: int) -> Trainer:
    run.fit(X, Y, epochs=epochs, batch_size=batch_size)
    return run


@pytest.mark.parametrize("at_once", [1 << 14, 120])  # All 50 epochs in one call, or two of them.
def test_a_divergence_among_many_epochs_is_found_at_its_batch(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl._training.compiled_engine.WORK_AT_ONCE", at_once * 21)
    ends = []
    for watched in ([Watching()], []):
        net = mlp([2, 5, 1], activation=Tanh, rng=1)
        run = Trainer(net, HalfSquaredError(), SGD(net.parameters(), lambda step: 0.1 if step < 299 else 1e308), rng=2,
                      engine="compiled")
        with pytest.raises(DivergenceError) as error:
            run.fit(X, Y, epochs=50, batch_size=1, callbacks=watched)
        ends.append([*bits(run), str(error.value), run.history.stopped_by, run.position.batch])
    assert ends[0] == ends[1]
    assert len(ends[1][2]) in (4, 5)


def test_an_interrupt_among_many_epochs_ends_the_run_after_a_whole_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    net = mlp([2, 5, 1], activation=Tanh, rng=1)
    run = Trainer(net, HalfSquaredError(), SGD(net.parameters(), 0.1), rng=2, engine="compiled")
    inner = CompiledLoop.run

    def interrupted(self: Any, *given: Any, **more: Any) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return inner(self, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(CompiledLoop, "run", interrupted)
        history = run.fit(X, Y, epochs=1000, batch_size=1)
    assert history.stopped_by == "SIGINT"
    assert 1 < len(history) < 1000
    run.resume(X, Y)
    whole = mlp([2, 5, 1], activation=Tanh, rng=1)
    other = Trainer(whole, HalfSquaredError(), SGD(whole.parameters(), 0.1), rng=2, engine="compiled")
    other.fit(X, Y, epochs=1000, batch_size=1)
    assert bits(run) == bits(other)


def test_the_memory_of_the_loop_begins_at_a_line_of_the_cache() -> None:
    for shape in [(1, 1), (3, 7), (5,)]:
        for dtype in (np.float64, np.float32):
            array = aligned(shape, np.dtype(dtype))
            assert array.shape == shape
            assert array.dtype == dtype
            assert array.ctypes.data % 64 == 0
            assert array.flags.c_contiguous
            assert array.flags.writeable


class Odd(Schedule):
    """Gives a rate that is refused at one step."""

    def __init__(self, wrong: Any) -> None:
        self.wrong = wrong

    @override
    def at(self, step: int, epochs: Any) -> float:
        return self.wrong if step == 130 else 0.1


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.inf, "0.1", None])
def test_a_rate_that_is_refused_is_named_with_its_step(wrong: Any) -> None:
    said = []
    for engine in ("numpy", "compiled"):
        net: Any = mlp([2, 5, 1], activation=Tanh, rng=1)
        run = Trainer(net, HalfSquaredError(), SGD(net.parameters(), Odd(wrong)), rng=2, engine=engine)
        with pytest.raises((ArgumentError, DTypeError), match="step 130") as error:
            run.fit(X, Y, epochs=4, batch_size=1)
        said.append(f"{type(error.value).__name__}: {error.value}")
    assert said[0] == said[1]
