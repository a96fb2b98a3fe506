"""A run that was saved, killed or interrupted at any batch ends with the bits of a run in one piece."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

import minidl
from minidl import (
    SGD,
    Array,
    Dense,
    Dropout,
    HalfSquaredError,
    Huber,
    MeanSquaredError,
    Parameter,
    Sequential,
    Tanh,
    Trainer,
    mlp,
    optimizers,
)
from minidl._training.checkpoint import environment
from minidl._training.history import History
from minidl.callbacks import Callback, Checkpoint, EarlyStopping
from minidl.errors import ArgumentError, CallOrderError, DataError, FileFormatError, ShapeError
from minidl.optimizers import Optimizer
from minidl.optimizers.clipping import ClipGlobalNorm
from minidl.optimizers.penalties import L2
from minidl.schedules import Cosine, Warmup
from tests.campaigns.resume_points import (
    BATCH,
    EPOCHS,
    EXTRAS,
    KINDS,
    OPTIMIZERS,
    X,
    Y,
    bits,
    build,
    fit,
    kept,
    points,
    watchers,
)
from tests.support.refusal import refused


class SaveAt(Callback):
    """Save once, at one batch of one epoch, and stop."""

    every_batches = 1

    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.epoch, self.batch = path, epoch, batch

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (self.epoch, self.batch):
            trainer.save(self.path)
            trainer.stop("saved")


@pytest.mark.parametrize(("optimizer", "extra", "shuffle"), KINDS)
def test_a_run_saved_at_a_batch_goes_on_with_the_same_bits(
    tmp_path: Path, optimizer: str, extra: str, shuffle: bool
) -> None:
    whole = build(optimizer, extra)
    fit(whole, optimizer, shuffle)
    rng = np.random.default_rng(len(optimizer) + len(extra) + shuffle)
    path = tmp_path / "run.safetensors"
    for epoch, batch in [(0, 1), (int(rng.integers(1, 3)), int(rng.integers(2, 9)))]:
        first = build(optimizer, extra)
        fit(first, optimizer, shuffle, SaveAt(path, epoch, batch))
        assert first.history.stopped_by == "saved"
        second = build(optimizer, extra)
        second.restore(path)
        second.resume(X, Y, validation=0.2, callbacks=[*watchers(optimizer), SaveAt(path, -1, -1)])
        left, right = bits(second), bits(whole)
        left["callbacks"], right["callbacks"] = left["callbacks"][:-1], right["callbacks"]
        assert left == right


def test_killed_runs_go_on_with_the_same_bits() -> None:
    results = dict(points(6, seed=1))
    assert all(results.values()), results


def test_a_run_that_was_stopped_goes_on_in_the_same_process() -> None:
    whole, stopped = build("momentum", "both"), build("momentum", "both")
    whole.fit(X, Y, epochs=EPOCHS, batch_size=BATCH)

    class StopOnce(Callback):
        every_batches = 1

        @override
        def on_batches_end(self, trainer: Trainer) -> None:
            if (len(trainer.history), trainer.position.batch) == (2, 5):
                trainer.stop("enough")

    history = stopped.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, callbacks=[StopOnce()])
    assert (history.stopped_by, len(history)) == ("enough", 2)
    stopped.resume(X, Y, callbacks=[])
    assert bits(stopped) == bits(whole)


class StopAt(Callback):
    """Stop the run once, after a batch."""

    every_batches = 1

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = epoch, batch

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == self.place:
            trainer.stop("enough")


def test_a_refused_resume_changes_nothing() -> None:
    whole, stopped = build("momentum", "both"), build("momentum", "both")
    whole.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, validation=0.2)
    stopped.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, validation=0.2, callbacks=[StopAt(2, 5)])
    for x, validation in ((X + 1, 0.2), (X, 0.3), (X[:, :2], 0.2), (X, 1.5)):
        with pytest.raises((DataError, ShapeError, ArgumentError)):
            stopped.resume(x, Y, validation=validation, callbacks=[])
    stopped.resume(X, Y, validation=0.2, callbacks=[])
    assert bits(stopped) == bits(whole)


class FailOnce(Dropout):
    """Raise an error in one pass."""

    def __init__(self, rate: float, error: type[BaseException], at: int) -> None:
        super().__init__(rate)
        self.error, self.at, self.passes = error, at, 0

    @override
    def forward(self, x: Array) -> Array:
        self.passes += 1
        if self.passes == self.at:
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 3, 14])
def test_a_run_goes_on_after_an_exception_in_the_middle_of_an_epoch(error: type[BaseException], at: int) -> None:
    def built(at: int) -> Trainer:
        model = Sequential(Dense(3, 8), FailOnce(0.2, error, at), Dense(8, 1)).initialize(rng=3)
        return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.02, momentum=0.9), rng=4)

    whole, broken = built(-1), built(at)
    whole.fit(X, Y, epochs=3, batch_size=BATCH, validation=0.2)
    with pytest.raises(error):
        broken.fit(X, Y, epochs=3, batch_size=BATCH, validation=0.2)
    assert broken.interrupted
    broken.resume(X, Y, validation=0.2)
    assert bits(broken) == bits(whole)


def test_a_second_fit_that_was_stopped_goes_on_with_its_own_split() -> None:
    whole, stopped = build("momentum", "both"), build("momentum", "both")
    for trainer in (whole, stopped):
        trainer.fit(X, Y, epochs=2, batch_size=BATCH, validation=0.25)
    whole.fit(X, Y, epochs=3, batch_size=BATCH, validation=0.25)
    stopped.fit(X, Y, epochs=3, batch_size=BATCH, validation=0.25, callbacks=[StopAt(3, 2)])
    stopped.resume(X, Y, validation=0.25, callbacks=[])
    assert bits(stopped) == bits(whole)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("rows", "batch"), [(33, 2), (32, 2), (17, 1), (5, 1), (1, 1)])
def test_a_run_saved_at_the_last_batch_of_an_epoch_goes_on(
    rows: int, batch: int, shuffle: bool, tmp_path: Path
) -> None:
    whole, first, second = made(), made(), made()
    options = {"epochs": 3, "batch_size": 16, "shuffle": shuffle}
    whole.fit(X[:rows], Y[:rows], **options)  # type: ignore[arg-type]
    path = tmp_path / "run.safetensors"
    first.fit(X[:rows], Y[:rows], **options, callbacks=[SaveAt(path, 1, batch)])  # type: ignore[arg-type]
    assert first.history.stopped_by == "saved"
    second.restore(path)
    assert second._run.position.rows == rows
    second.resume(X[:rows], Y[:rows], callbacks=[SaveAt(path, -1, -1)])
    assert {**bits(second), "callbacks": []} == {**bits(whole), "callbacks": []}


def saved(tmp_path: Path) -> Path:
    trainer = build("sgd", "dropout")
    fit(trainer, "sgd", True, SaveAt(tmp_path / "run.safetensors", 1, 2))
    return tmp_path / "run.safetensors"


def test_another_optimizer_loss_or_model_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    model = Sequential(Dense(3, 8), *EXTRAS["dropout"](), Dense(8, 1)).initialize(rng=9)
    other = mlp([3, 5, 1], rng=9)
    cases = {
        "expected an optimizer of the class SGD, got Adam": (model, HalfSquaredError(), OPTIMIZERS["adam"](model)),
        "a loss of the class HalfSquaredError, got MeanSq": (model, MeanSquaredError(), SGD(model.parameters(), 1)),
        "expected the parameters": (other, HalfSquaredError(), SGD(other.parameters(), 1)),
        "expected the optimizer's memory": (model, HalfSquaredError(), OPTIMIZERS["momentum"](model)),
    }
    for words, parts in cases.items():
        trainer = Trainer(*parts)
        before = trainer.optimizer.vector.values.copy()
        with pytest.raises(ArgumentError, match=words):
            trainer.restore(path)
        assert np.array_equal(before, trainer.optimizer.vector.values)
        assert len(trainer.history) == 0


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_momentum_that_the_run_has_set_to_0_is_set_again_to_restore(tmp_path: Path, engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")

    def make() -> Trainer:
        model = mlp([3, 4, 1], rng=0)
        return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1, momentum=0.9), rng=1, engine=engine)

    class NoMomentum(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            assert isinstance(trainer.optimizer, SGD)
            trainer.optimizer.momentum = 0.0

    path, whole, run = tmp_path / "run.safetensors", make(), make()
    whole.fit(X, Y, epochs=4, batch_size=BATCH, callbacks=[NoMomentum()])
    run.fit(X, Y, epochs=4, batch_size=BATCH, callbacks=[NoMomentum(), SaveAt(path, 1, 2)])
    again = make()
    with refused(ArgumentError, "the settings {'momentum': '0.0'}, got {'momentum': '0.9'}; build the Trainer as "
                 "before, and set again what was set since then, such as trainer.optimizer.momentum = 0.0"):
        again.restore(path)
    assert isinstance(again.optimizer, SGD)
    again.optimizer.momentum = 0.0
    again.restore(path)
    again.resume(X, Y, callbacks=[NoMomentum(), SaveAt(path, -1, -1)])
    assert {**bits(again), "callbacks": []} == {**bits(whole), "callbacks": []}


def test_other_data_other_callbacks_and_the_wrong_way_of_feeding_are_refused(tmp_path: Path) -> None:
    trainer = build("sgd", "dropout")
    trainer.restore(saved(tmp_path))
    with pytest.raises(ArgumentError, match=r"expected \['EarlyStopping', 'ReduceOnPlateau', 'SaveAt'\].* got \[\]"):
        trainer.resume(X, Y, validation=0.2, callbacks=[])
    callbacks = [*watchers("sgd"), SaveAt(tmp_path, -1, -1)]
    with pytest.raises(DataError, match="expected the data of the fit"):
        trainer.resume(X + 1, Y, validation=0.2, callbacks=callbacks)
    with pytest.raises(CallOrderError, match="use resume"):
        trainer.resume_batches([(X, Y)], callbacks=callbacks)


def test_another_environment_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    with pytest.warns(UserWarning, match=r"another environment \(threads"):
        build("sgd", "dropout").restore(path)


def test_early_stopping_counts_on_over_a_resume(tmp_path: Path) -> None:
    trainer = build("sgd", "dropout")
    path = saved(tmp_path)
    trainer.restore(path)
    watcher = EarlyStopping(patience=3)
    trainer.resume(X, Y, validation=0.2, callbacks=[watcher, watchers("sgd")[1], SaveAt(path, -1, -1)])
    assert watcher.best == min(trainer.history.validation_loss)


def test_a_run_saved_as_it_ended_is_over_when_it_is_resumed(tmp_path: Path) -> None:
    whole = build("momentum", "plain")
    keeper = Checkpoint(tmp_path)
    whole.fit(X, Y, epochs=100, batch_size=BATCH, validation=0.2, callbacks=[EarlyStopping(patience=2), keeper])
    assert whole.history.stopped_by.startswith("EarlyStopping")
    again = build("momentum", "plain")
    again.restore(keeper.files()[-1])
    again.resume(X, Y, validation=0.2, callbacks=[EarlyStopping(patience=2), Checkpoint(tmp_path)])
    assert bits(again) == bits(whole)


def made(**changes: Any) -> Trainer:
    """Build a Trainer whose parts are the usual ones but for what is given."""
    model = Sequential(Dense(3, 8), Tanh(), dropout := Dropout(0.1), Dense(8, 1)).initialize(0)
    dropout.rng = changes.pop("dropout_rng", dropout.rng)
    parts = {name: changes.pop(name, default) for name, default in
             {"loss": Huber(1.0), "clip": None, "penalty": 0.0, "penalized": 0}.items()}  # fmt: skip
    penalties = [L2(parts["penalty"], [model.parameters()[parts["penalized"]]])] if parts["penalty"] else []
    optimizer = changes.pop("kind", SGD)(model.parameters(), **{"learning_rate": 0.05, **changes})
    return Trainer(model, parts["loss"], optimizer, rng=0, clip=parts["clip"], penalties=penalties)


DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "schedule": ({"learning_rate": Cosine(0.1, steps=9)}, {}, r"Cosine\(initial=0.1.* got .*a number"),
    "other schedule": ({"learning_rate": Cosine(0.1, steps=9)}, {"learning_rate": Cosine(0.1, steps=8)}, "steps=9.*=8"),
    "other unit": ({"learning_rate": Cosine(0.1, steps=9)}, {"learning_rate": Cosine(0.1, epochs=9)}, "epochs=None"),
    "schedule of a function":
        ({"learning_rate": Warmup(np.sqrt, steps=3)}, {"learning_rate": Warmup(np.cbrt, steps=3)}, "sqrt"),
    "decay": ({"weight_decay": 0.1}, {}, "'weight_decay': '0.1'.* got .*'weight_decay': '0.0'"),
    "momentum": ({"momentum": 0.9}, {"momentum": 0.8}, "0.9.* got .*0.8"),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, {"momentum": 0.9}, "'True'.* got .*'False'"),
    "betas": ({"kind": optimizers.Adam, "beta2": 0.9}, {"kind": optimizers.Adam}, "'beta2': '0.9'.* got .*0.999"),
    "clip": ({"clip": ClipGlobalNorm(1.0)}, {}, r"ClipGlobalNorm\(limit=1.0\).* got .*None"),
    "penalty": ({"penalty": 0.1}, {"penalty": 0.10000001}, r"strength=0.1, .* got .*strength=0.10000001"),
    "penalized": ({"penalty": 0.1}, {"penalty": 0.1, "penalized": 2}, r"0.weight.* got .*3.weight"),
    "delta": ({"loss": Huber(1.0)}, {"loss": Huber(2.0)}, r"Huber\(delta=1.0\).* got .*Huber\(delta=2.0\)"),
    "generator of a layer": ({}, {"dropout_rng": np.random.Generator(np.random.SFC64(0))}, "PCG64.* got .*SFC64"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_run_with_other_settings_is_refused_and_nothing_is_changed(case: str, swapped: bool, tmp_path: Path) -> None:
    one, two, words = DIFFERENT[case]
    path = tmp_path / "run.safetensors"
    first, second = made(**one), made(**two)
    if swapped:
        first, second = second, first
    first.fit(X, Y, epochs=2)
    first.save(path)
    before = repr((bits(second), kept(second)))
    with pytest.raises(ArgumentError, match="restore: expected" if swapped else words):
        second.restore(path)
    assert repr((bits(second), kept(second))) == before


def test_a_learning_rate_that_was_lowered_and_the_steps_come_back(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    for kind in (SGD, optimizers.NAdam):
        first, second = made(kind=kind), made(kind=kind)
        first.fit(X, Y, epochs=2)
        first.optimizer.learning_rate = 0.01
        first.save(path)
        second.restore(path)
        assert second.optimizer.numbers() == first.optimizer.numbers()
        assert second.optimizer.numbers()["learning_rate"] == 0.01


def test_an_optimizer_may_change_an_argument_as_it_goes(tmp_path: Path) -> None:
    class Cooling(Optimizer):
        changing = ("heat",)

        def __init__(self, parameters: Iterable[Parameter], learning_rate: float, heat: float = 1.0) -> None:
            super().__init__(parameters, learning_rate)
            self.heat = heat

        @override
        def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
            values -= learning_rate * self.heat * gradients
            self.heat *= 0.9

    first, second = made(kind=Cooling), made(kind=Cooling)
    first.fit(X, Y, epochs=2)
    first.save(tmp_path / "run.safetensors")
    second.restore(tmp_path / "run.safetensors")
    assert second.optimizer.numbers() == first.optimizer.numbers()


def test_an_optimizer_may_keep_an_argument_under_another_name(tmp_path: Path) -> None:
    class Plain(Optimizer):
        def __init__(self, parameters: Iterable[Parameter], learning_rate: float, factor: float = 0.5) -> None:
            super().__init__(parameters, learning_rate)
            self.scale = factor

        @override
        def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
            values -= learning_rate * self.scale * gradients

    first, second = made(kind=Plain), made(kind=Plain)
    first.fit(X, Y, epochs=2)
    first.save(tmp_path / "run.safetensors")
    second.restore(tmp_path / "run.safetensors")
    assert bits(second) == bits(first)


def test_a_long_history_is_saved_and_comes_back(tmp_path: Path) -> None:
    epochs = 100_000
    first, second = made(), made()
    first.fit(X, Y, epochs=1)
    numbers = np.random.default_rng(0).normal(size=epochs).tolist()
    first._run.history = History(numbers, [], {"a.b": numbers, "": [math.nan] * epochs}, numbers, numbers, "epochs")
    assert first._run.plan is not None
    first._run.plan.epochs = epochs
    first.save(tmp_path / "run.safetensors")
    second.restore(tmp_path / "run.safetensors")
    assert repr(second.history.to_dict()) == repr(first.history.to_dict())


def test_the_environment_says_how_many_processors_may_be_used() -> None:
    found = environment()
    assert found["processors"] == os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        assert found["usable processors"] == len(os.sched_getaffinity(0))


def test_a_model_without_a_run_is_no_run_to_restore(tmp_path: Path) -> None:
    model = mlp([1, 1], rng=0)
    minidl.save(model, tmp_path / "model.safetensors")
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    with refused(FileFormatError, "expected a run that Trainer.save wrote, got a model without a run"):
        run.restore(tmp_path / "model.safetensors")
