"""A run that was saved, killed or interrupted at any batch ends with the bits of a run in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    ArgumentError,
    CallOrderError,
    DataError,
    Dense,
    HalfSquaredError,
    MeanSquaredError,
    Sequential,
    Trainer,
    mlp,
)
from minidl.callbacks import Callback, Checkpoint, EarlyStopping

from .resume_points import BATCH, EPOCHS, EXTRAS, KINDS, OPTIMIZERS, X, Y, bits, build, fit, points, watchers


class SaveAt(Callback):
    """Save once, at one batch of one epoch, and stop."""

    every_batches = 1

    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.epoch, self.batch = path, epoch, batch

    @override
    def after_batches(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.run.position.batch) == (self.epoch, self.batch):
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
        def after_batches(self, trainer: Trainer) -> None:
            if (len(trainer.history), trainer.run.position.batch) == (2, 5):
                trainer.stop("enough")

    history = stopped.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, callbacks=[StopOnce()])
    assert (history.stopped_by, len(history)) == ("enough", 2)
    stopped.resume(X, Y, callbacks=[])
    assert bits(stopped) == bits(whole)


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
    assert watcher.best < np.inf


def test_a_run_saved_as_it_ended_is_over_when_it_is_resumed(tmp_path: Path) -> None:
    whole = build("momentum", "plain")
    keeper = Checkpoint(tmp_path)
    whole.fit(X, Y, epochs=100, batch_size=BATCH, validation=0.2, callbacks=[EarlyStopping(patience=2), keeper])
    assert whole.history.stopped_by.startswith("EarlyStopping")
    again = build("momentum", "plain")
    again.restore(keeper.files()[-1])
    again.resume(X, Y, validation=0.2, callbacks=[EarlyStopping(patience=2), Checkpoint(tmp_path)])
    assert bits(again) == bits(whole)
