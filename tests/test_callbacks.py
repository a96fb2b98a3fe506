"""Callbacks stop, save and log where they should, and runs can be interrupted and fed from a stream."""

from __future__ import annotations

import copy
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    BatchNorm,
    Buffer,
    Dense,
    HalfSquaredError,
    Layer,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    callbacks,
    metrics,
    mlp,
)
from minidl._training.numpy_engine import NumpyEngine
from minidl.callbacks import Callback, Checkpoint, EarlyStopping, LogFile, StopAfter
from minidl.errors import ArgumentError, CallOrderError, DataError, DivergenceError, DTypeError
from tests.campaigns.resume_points import kept
from tests.support.refusal import refused

X = np.linspace(-1, 1, 40)[:, None]
Y = X**2


def trainer(rate: float = 0.1, seed: int = 0) -> Trainer:
    model = mlp([1, 8, 1], activation=Tanh, rng=seed)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), rate), rng=seed)


class Scripted(Callback):
    """Put given numbers in the place of the validation loss."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.history.validation_loss[-1] = self.losses[len(trainer.history) - 1]


class Weights(Callback):
    """Note the first weight after each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        self.seen.append(float(trainer.model.parameters()[0].value[0, 0]))


def test_early_stopping_waits_for_patience_and_restores_the_best_weights() -> None:
    run, weights = trainer(), Weights()
    losses = [5.0, 4.0, 3.0, 3.5, 3.4, 3.3, 1.0]
    history = run.fit(X, Y, epochs=7, validation=(X, Y), callbacks=[Scripted(losses), weights, EarlyStopping(3)])
    assert len(history) == 6
    assert history.stopped_by == "EarlyStopping: no better validation_loss for 3 epochs"
    assert run.model.parameters()[0].value[0, 0] == weights.seen[2]


def test_early_stopping_restores_running_statistics_with_the_weights() -> None:
    norm = BatchNorm(4)
    model = Sequential(Dense(1, 4), norm, Dense(4, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01), rng=0)
    seen: list[Any] = []

    class Note(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            seen.append(norm.running_mean.value.copy())

    run.fit(X, Y, epochs=3, validation=(X, Y), callbacks=[Scripted([1.0, 2.0, 3.0]), Note(), EarlyStopping(2)])
    assert np.array_equal(norm.running_mean.value, seen[0])
    assert not np.array_equal(seen[0], seen[-1])


def test_a_run_stops_when_its_time_is_over() -> None:
    run = trainer()
    run.engine = "numpy"  # so long a run would be compiled
    history = run.fit(X, Y, epochs=10**9, callbacks=[StopAfter(0.05)])
    assert history.stopped_by == "StopAfter: 0.05 seconds are over"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_log_has_one_line_for_each_epoch_and_continues(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    run = trainer()
    run.fit(X, Y, epochs=3, validation=(X, Y), callbacks=[LogFile(path)])
    run.fit(X, Y, epochs=2, validation=(X, Y), callbacks=[LogFile(path)])
    lines = path.read_text().splitlines()
    if suffix == ".csv":
        assert lines[0] == "epoch,loss,validation_loss,learning_rate,seconds"
        rows = [dict(zip(lines[0].split(","), map(float, line.split(",")), strict=True)) for line in lines[1:]]
    else:
        rows = [json.loads(line) for line in lines]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["loss"] for row in rows] == run.history.loss


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_fit_that_is_refused_leaves_the_log_of_another_run(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"log{suffix}"
    trainer().fit(X, Y, epochs=3, callbacks=[LogFile(path)])
    before = path.read_bytes()
    with refused(ArgumentError, "EarlyStopping(monitor)"):
        trainer().fit(X, Y, epochs=3, callbacks=[LogFile(path), EarlyStopping(3)])
    assert path.read_bytes() == before
    with pytest.raises(OSError, match="nowhere"):
        trainer().fit(X, Y, epochs=1, callbacks=[LogFile(tmp_path / "nowhere" / path.name)])


class Acting(Callback):
    """Call a function at one hook, once."""

    every_batches = 1

    def __init__(self, hook: str, act: Callable[[Trainer], object]) -> None:
        self.hook, self.act, self.left = hook, act, 1

    def _act(self, hook: str, trainer: Trainer) -> None:
        if hook == self.hook and self.left:
            self.left = 0
            self.act(trainer)

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        self._act("begin", trainer)

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        self._act("batch", trainer)

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        self._act("epoch", trainer)


@pytest.mark.parametrize("hook", ["begin", "batch", "epoch"])
@pytest.mark.parametrize("name", ["fit", "fit_batches", "resume", "restore"])
def test_a_callback_cannot_start_its_own_run_again(name: str, hook: str, tmp_path: Path) -> None:
    calls: dict[str, Callable[[Trainer], object]] = {
        "fit": lambda run: run.fit(X, Y, epochs=1),
        "fit_batches": lambda run: run.fit_batches([(X, Y)], epochs=1),
        "resume": lambda run: run.resume(X, Y),
        "restore": lambda run: run.restore(tmp_path / "run.safetensors"),
    }
    first, second = trainer(), trainer()
    first.save(tmp_path / "run.safetensors")

    def refuse(run: Trainer) -> None:
        with refused(CallOrderError, "expected a run that is not in training"):
            calls[name](run)

    for run, act in ((first, refuse), (second, lambda _: None)):
        run.fit(X, Y, epochs=2, batch_size=16, callbacks=[Acting(hook, act)])
    assert kept(first) == kept(second)
    calls[name](first)  # after its end it can


def test_a_copy_that_a_callback_makes_goes_on_without_the_data() -> None:
    run, copies = trainer(), [trainer()] * 0
    run.fit(X, Y, epochs=3, batch_size=16, callbacks=[Acting("batch", lambda run: copies.append(copy.deepcopy(run)))])
    again = copy.deepcopy(copies[0])
    assert again._run.source is None
    with refused(DataError, "expected the data of the fit"):
        again.resume(-X, Y)
    copies[0].resume(X, Y)
    assert kept(copies[0]) == kept(run)


def test_callbacks_after_one_that_raises_are_called() -> None:
    losses = [5.0, 4.0, 3.0, 3.5, 3.4, 3.3, 1.0]

    class Fragile(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            if trainer.history.validation_loss[-1] == 3.0:
                raise KeyError

        @override
        def on_train_end(self, trainer: Trainer) -> None:
            if trainer.history.stopped_by:
                raise KeyError

    run, weights = trainer(), Weights()
    with pytest.raises(KeyError):
        run.fit(X, Y, epochs=7, validation=(X, Y), callbacks=[Scripted(losses), Fragile(), weights, EarlyStopping(3)])
    assert len(run.history) == 3
    with pytest.raises(KeyError):
        run.resume(X, Y, validation=(X, Y))
    assert len(run.history) == 6
    assert run.model.parameters()[0].value[0, 0] == weights.seen[2]
    assert run.optimizer.epochs is None


def test_a_log_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"ends in \.csv or \.jsonl"):
        LogFile(tmp_path / "log.txt")


def test_checkpoints_keep_the_last_and_the_best(tmp_path: Path) -> None:
    keeper = Checkpoint(tmp_path / "kept", keep_last=2, monitor="validation_loss")
    run = trainer()
    run.fit(X, Y, epochs=5, validation=(X, Y), callbacks=[keeper, Scripted([3.0, 1.0, 2.0, 2.0, 2.0])])
    assert [path.name for path in keeper.files()] == [
        "epoch-000004-batch-0000000.safetensors", "epoch-000005-batch-0000000.safetensors"
    ]
    best = trainer(seed=3)
    best.restore(tmp_path / "kept" / "best.safetensors")
    assert len(best.history) == 2


def test_a_class_in_place_of_a_callback_is_refused_with_a_hint() -> None:
    with pytest.raises(DTypeError, match=r"forget the parentheses of EarlyStopping"):
        trainer().fit(X, Y, epochs=1, callbacks=[EarlyStopping])  # type: ignore[list-item]


class SendSignal(Callback):
    every_batches = 1

    def __init__(self, number: signal.Signals, batch: int) -> None:
        self.number, self.batch = number, batch

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if trainer.position.batch == self.batch:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_batch_and_the_run_goes_on_from_there(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    run, whole = trainer(), trainer()
    assert not run.interrupted
    history = run.fit(X, Y, epochs=3, batch_size=4, callbacks=[SendSignal(number, 4)])
    assert history.stopped_by == number.name
    assert (len(history), run.position.batch) == (0, 4)
    assert run.interrupted
    assert signal.getsignal(number) is before
    history = run.resume(X, Y, callbacks=())
    assert history.stopped_by == "epochs"
    assert history.loss == whole.fit(X, Y, epochs=3, batch_size=4).loss
    assert np.array_equal(run.optimizer.vector.values, whole.optimizer.vector.values)


def test_a_second_interrupt_stops_at_once() -> None:
    class Twice(Layer):
        calls = 0

        @override
        def forward(self, x: Array) -> Array:
            self.calls += 1
            if self.calls == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            return x.copy()

        @override
        def backward(self, grad: Array) -> Array:
            return grad

    model = Sequential(Twice(), Dense(1, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.fit(X, Y, epochs=3)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(trainer().fit(X, Y, epochs=2))))
    thread.start()
    thread.join()
    assert found == [2]


def stream() -> Iterator[tuple[Any, ...]]:
    for start in range(0, 40, 8):
        yield X[start:start + 8], Y[start:start + 8]


def test_a_stream_trains_as_the_same_batches_of_arrays_do() -> None:
    fed, whole = trainer(), trainer()
    fed.fit_batches(stream, epochs=3, validation=(X, Y))
    whole.fit(X, Y, epochs=3, batch_size=8, shuffle=False, validation=(X, Y))
    assert fed.history.loss == whole.history.loss
    assert fed.history.validation_loss == whole.history.validation_loss
    assert np.array_equal(fed.optimizer.vector.values, whole.optimizer.vector.values)


def test_a_list_of_batches_is_a_stream_but_a_used_up_iterator_is_not() -> None:
    trainer().fit_batches(list(stream()), epochs=2)
    with pytest.raises(DTypeError, match="read only once"):
        trainer().fit_batches(stream(), epochs=2)


def test_bad_batches_of_a_stream_are_named() -> None:
    with pytest.raises(DataError, match="at least one batch"):
        trainer().fit_batches(list, epochs=1)
    with pytest.raises(DataError) as caught:
        trainer().fit_batches([(X, Y), (X, Y * np.nan)], epochs=1)
    assert caught.value.__notes__ == ["in batch 1"]
    with pytest.raises(DTypeError, match=r"\(x, y\) or \(x, y, sample_weight\)"):
        trainer().fit_batches([X], epochs=1)  # type: ignore[list-item]


def test_divergence_in_a_stream_is_explained_by_replaying_its_batches() -> None:
    run = trainer(rate=1e200)
    with pytest.raises(DivergenceError) as caught:
        run.fit_batches(stream, epochs=5)
    assert (caught.value.epoch, caught.value.batch) == (0, 1)
    assert np.isfinite(run.optimizer.vector.values).all()


def test_pieces_of_a_batch_add_up_to_the_batch() -> None:
    pieces, whole = trainer(), trainer()
    weight = np.linspace(0, 2, 40)
    pieces.fit(X, Y, epochs=2, batch_size=20, micro_batch_size=6, sample_weight=weight)
    whole.fit(X, Y, epochs=2, batch_size=20, sample_weight=weight)
    assert pieces.optimizer.steps == whole.optimizer.steps == 4
    np.testing.assert_allclose(pieces.optimizer.vector.values, whole.optimizer.vector.values, rtol=1e-12)
    np.testing.assert_allclose(pieces.history.loss, whole.history.loss, rtol=1e-12)


def test_a_fraction_is_held_out_and_never_trained_on() -> None:
    seen: list[Array] = []

    class Look(Layer):
        @override
        def forward(self, x: Array) -> Array:
            seen.append(x)
            return x.copy()

        @override
        def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
            return x.copy()

        @override
        def backward(self, grad: Array) -> Array:
            return grad

    model = Sequential(Look(), Dense(1, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    history = run.fit(X, Y, epochs=3, validation=0.25)
    trained = {float(value) for batch in seen for value in batch[:, 0]}
    assert len(trained) == 30
    assert len(history.validation_loss) == 3
    held_out = np.array([value for value in X[:, 0] if float(value) not in trained])[:, None]
    assert history.validation_loss[-1] == pytest.approx(run.evaluate(held_out, held_out**2)["loss"])
    with pytest.raises(ArgumentError, match="leaves nothing on one side"):
        run.fit(X, Y, epochs=1, validation=0.001)


def test_metrics_see_probabilities_where_the_model_gives_logits() -> None:
    x, y = np.array([[-1.0], [1.0]] * 10), np.array([0, 1] * 10)
    model = mlp([1, 2], rng=0)
    run = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 1.0), rng=0)
    history = run.fit(x, y, epochs=30, metrics=[metrics.accuracy], validation=(x, y))
    assert history.metrics["accuracy"][-1] == 1.0
    figures = run.evaluate(x, y, metrics={"total": lambda p, t: float(p.sum())})
    assert figures["total"] == pytest.approx(20.0)


def test_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match="give a mapping"):
        trainer().fit(X, Y, epochs=1, metrics=[metrics.r2, metrics.r2])


def test_a_history_is_as_long_in_every_column_and_becomes_a_dict_and_a_picture(tmp_path: Path) -> None:
    run = trainer()
    run.fit(X, Y, epochs=2)
    history = run.fit(X, Y, epochs=2, validation=(X, Y), metrics=[metrics.r2])
    assert {len(numbers) for numbers in history.series().values()} == {4}
    assert np.isnan(history.validation_loss[:2]).all()
    assert json.loads(json.dumps(history.to_dict()))["loss"] == history.loss
    pytest.importorskip("matplotlib")
    history.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 1000


def test_callbacks_are_called_at_least_every_few_dozen_batches() -> None:
    class Count(Callback):
        calls = 0

        @override
        def on_batches_end(self, trainer: Trainer) -> None:
            self.calls += 1

    count = Count()
    trainer().fit(np.ones((500, 1)), np.ones((500, 1)), epochs=1, batch_size=1, callbacks=[count])
    assert count.calls == 500 // NumpyEngine.at_once


def test_resume_without_a_fit_is_refused() -> None:
    with pytest.raises(CallOrderError, match="neither"):
        trainer().resume(X, Y)


def test_a_callback_that_is_used_again_begins_anew() -> None:
    watcher = EarlyStopping(2, "loss")
    trainer().fit(X, Y, epochs=5, callbacks=[watcher])
    history = trainer(rate=1e-6).fit(X, 100 * Y, epochs=5, callbacks=[watcher])
    assert (len(history), watcher.waited) == (5, 0)
    assert watcher.best == history.loss[-1] > 100


def test_the_time_of_a_callback_that_is_used_again_is_that_of_the_new_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    watch, spent = StopAfter(1e9), []
    for _ in range(2):
        trainer().fit(X, Y, epochs=3, callbacks=[watch])
        spent.append(watch.state()["spent"])
    assert spent[0] == spent[1] > 0


def test_a_checkpoint_that_is_used_again_leaves_the_files_of_the_first_fit(tmp_path: Path) -> None:
    keeper = Checkpoint(tmp_path, keep_last=2)
    trainer().fit(X, Y, epochs=6, callbacks=[keeper])
    trainer().fit(X, Y, epochs=3, callbacks=[keeper])
    assert [int(path.name[6:12]) for path in keeper.files()] == [2, 3]
    assert sorted(int(path.name[6:12]) for path in tmp_path.glob("epoch-*")) == [2, 3, 5, 6]


def test_a_callback_has_a_state_before_its_first_fit(tmp_path: Path) -> None:
    keeper, stopping = Checkpoint(tmp_path), EarlyStopping()
    assert (keeper.files(), keeper.state()["written"]) == ([], [])
    other = EarlyStopping()
    other.restore(stopping.state())
    assert (other.best, other.waited, other.state()) == (None, 0, stopping.state())


def test_checkpoints_of_another_run_in_the_folder_stay(tmp_path: Path) -> None:
    trainer().fit(X, Y, epochs=6, callbacks=[Checkpoint(tmp_path, keep_last=2)])
    keeper = Checkpoint(tmp_path, keep_last=2)
    trainer().fit(X, Y, epochs=3, callbacks=[keeper])
    epochs = sorted(int(path.name[6:12]) for path in tmp_path.glob("epoch-*"))
    assert epochs == [2, 3, 5, 6]
    assert [path.exists() for path in keeper.files()] == [True, True]


@pytest.mark.parametrize(("every", "other"), [(100, None), (25, 10), (7, None)])
def test_checkpoints_come_at_every_multiple_of_their_batches(tmp_path: Path, every: int, other: int | None) -> None:
    class Other(Callback):
        every_batches = other

        @override
        def on_batches_end(self, trainer: Trainer) -> None:
            pass

    keeper = Checkpoint(tmp_path, every_epochs=None, every_batches=every, keep_last=1000)
    trainer().fit(np.ones((300, 1)), np.ones((300, 1)), epochs=1, batch_size=1, callbacks=[keeper, Other()])
    assert [int(path.name[19:26]) for path in keeper.files()] == list(range(every, 301, every))


def test_checkpoints_come_every_few_minutes_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Clock(Callback):
        every_batches = 1

        @override
        def on_batches_end(self, trainer: Trainer) -> None:
            now[0] += 15.0

    keeper = Checkpoint(tmp_path, every_epochs=None, every_minutes=1, keep_last=1000)
    now[0] = 3600.0  # The hour between the making of the callback and the fit does not count.
    trainer().fit(np.ones((10, 1)), np.ones((10, 1)), epochs=1, batch_size=1, callbacks=[Clock(), keeper])
    assert [int(path.name[19:26]) for path in keeper.files()] == [4, 8]


def test_an_exception_in_the_middle_leaves_weights_and_position_that_agree() -> None:
    broken = [True]

    def sometimes() -> Iterator[tuple[Any, ...]]:
        for number, batch in enumerate(stream()):
            if number == 3 and broken[0]:
                raise OSError("the disk is gone")
            yield batch

    run, whole = trainer(), trainer()
    with pytest.raises(OSError, match="the disk is gone"):
        run.fit_batches(sometimes, epochs=2)
    broken[0] = False
    run.resume_batches(sometimes, callbacks=())
    whole.fit_batches(stream, epochs=2)
    assert np.array_equal(run.optimizer.vector.values, whole.optimizer.vector.values)
    assert run.history.loss == whole.history.loss


def test_a_diverged_run_is_explained_in_pieces_and_can_be_continued() -> None:
    sizes: list[int] = []

    class Look(Layer):
        @override
        def forward(self, x: Array) -> Array:
            sizes.append(len(x))
            return x * (np.nan if (x == 0.123).any() else 1.0)

        @override
        def backward(self, grad: Array) -> Array:
            return grad

    model = Sequential(Look(), Dense(1, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    x = X.copy()
    x[25] = 0.123
    with pytest.raises(DivergenceError) as caught:
        run.fit(x, Y, epochs=1, batch_size=10, micro_batch_size=5, shuffle=False)
    assert caught.value.batch == run.position.batch == 2
    assert run.position.rows == 20
    assert set(sizes[1:]) == {5}


def test_early_stopping_that_another_callback_ends_goes_on_from_the_last_state() -> None:
    class StopAt(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            if len(trainer.history) == 4:
                trainer.stop("enough")

    losses = [5.0, 1.0, 2.0, 3.0, 0.5, 0.4]
    first, whole = trainer(), trainer()
    first.fit(X, Y, epochs=6, validation=(X, Y), callbacks=[Scripted(losses), EarlyStopping(5), StopAt()])
    first.resume(X, Y, validation=(X, Y))
    whole.fit(X, Y, epochs=6, validation=(X, Y), callbacks=[Scripted(losses), EarlyStopping(5)])
    assert first.history.loss == whole.history.loss
    assert np.array_equal(first.optimizer.vector.values, whole.optimizer.vector.values)


def test_time_is_counted_while_a_run_runs() -> None:
    watch, began = StopAfter(0.05), time.monotonic()
    trainer().fit(X, Y, epochs=10**9, callbacks=[watch])
    spent = watch.state()["spent"]
    assert 0.05 <= spent <= time.monotonic() - began
    assert watch.state()["spent"] == spent


def test_a_short_run_ends_before_its_time_is_over() -> None:
    assert trainer().fit(X, Y, epochs=20, callbacks=[StopAfter(60)]).stopped_by == "epochs"


def test_a_buffer_that_changes_in_place_does_not_change_the_best_state() -> None:
    class Counting(Layer):
        def __init__(self) -> None:
            self.count = Buffer(np.zeros(1))

        @override
        def forward(self, x: Array) -> Array:
            self.count.value += 1.0
            return x.copy()

        @override
        def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
            return x.copy()

        @override
        def backward(self, grad: Array) -> Array:
            return grad

    layer = Counting()
    model = Sequential(layer, Dense(1, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    losses = [2.0, 1.0, 3.0, 3.0]
    stopping = EarlyStopping(5)
    run.fit(X, Y, epochs=4, batch_size=40, validation=(X, Y), callbacks=[Scripted(losses), stopping])
    assert layer.count.value == 2.0
    layer.forward(X)
    assert layer.count.value == 3.0
    assert stopping.state()["best_state"]["buffers"] == {"0.count": 2.0}


def test_resume_batches_calls_the_new_callbacks_and_gives_them_their_state(tmp_path: Path) -> None:
    class Count(Callback):
        epochs = 0

        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            self.epochs += 1
            if self.epochs == 2:
                trainer.save(tmp_path / "run.safetensors")
                trainer.stop("half")

        @override
        def state(self) -> dict[str, Any]:
            return {"epochs": self.epochs}

        @override
        def restore(self, state: dict[str, Any]) -> None:
            self.epochs = state["epochs"]

    first, second, count = trainer(), trainer(), Count()
    first.fit_batches(stream, epochs=5, callbacks=[Count()])
    second.restore(tmp_path / "run.safetensors")
    second.resume_batches(stream, callbacks=[count])
    assert (len(second.history), count.epochs) == (5, 5)


def test_a_log_gets_new_columns_with_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    run = trainer()
    run.fit(X, Y, epochs=2, callbacks=[LogFile(path)])
    run.fit(X, Y, epochs=1, validation=(X, Y), callbacks=[LogFile(path)])
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert lines[0] == ["epoch", "loss", "validation_loss", "learning_rate", "seconds"]
    assert [line[2] == "" for line in lines[1:]] == [True, True, False]


def test_a_figure_that_is_not_a_number_is_never_the_best() -> None:
    watcher = EarlyStopping(5)
    trainer().fit(X, Y, epochs=4, validation=(X, Y), callbacks=[Scripted([np.nan, 3.0, 2.0, np.nan]), watcher])
    assert (watcher.best, watcher.waited) == (2.0, 1)


def test_a_stream_may_reuse_its_array_and_must_be_long_enough_for_a_resume() -> None:
    buffer = np.empty((8, 1))

    def refilled() -> Iterator[tuple[Any, ...]]:
        for x, y in stream():
            buffer[:] = x
            yield buffer, y

    run = trainer(rate=1e200)
    with pytest.raises(DivergenceError) as caught:
        run.fit_batches(refilled, epochs=5)
    assert (caught.value.epoch, caught.value.batch) == (0, 1)
    stopped = trainer()
    stopped.fit_batches(stream, epochs=3, callbacks=[SendSignal(signal.SIGINT, 4)])
    with pytest.raises(DataError, match="expected at least 4 batches in an epoch, got 2"):
        stopped.resume_batches(list(stream())[:2], callbacks=())


class Keras(Callback):
    def on_epoch_begin(self, trainer: Trainer) -> None: ...


class Torch(Callback):
    def on_batch_end(self, trainer: Trainer) -> None: ...

    @override
    def on_epoch_end(self, trainer: Trainer) -> None: ...


class Lightning(Torch):
    on_batch_end = None  # type: ignore[assignment]


class OnTheObject(Callback):
    def __init__(self) -> None:
        self.on_fit_end = print

    @override
    def on_train_end(self, trainer: Trainer) -> None: ...


class OldBatches(Callback):
    def after_batches(self, trainer: Trainer) -> None: ...


class OldEpoch(Callback):
    def after_epoch(self, trainer: Trainer) -> None: ...


class OldBegin(Callback):
    def begin(self, trainer: Trainer) -> None: ...


class HalfMigrated(Callback):
    def finish(self, trainer: Trainer) -> None: ...

    @override
    def on_epoch_end(self, trainer: Trainer) -> None: ...


class Misspelt(Callback):
    def on_epoch_ends(self, trainer: Trainer) -> None: ...


REFUSED: list[tuple[Callback, str]] = [
    (Keras(), "Keras: there is no method on_epoch_begin that a run calls; the four are on_train_begin, "
              "on_batches_end, on_epoch_end, on_train_end"),
    (Torch(), "no method on_batch_end that a run calls; the four are on_train_begin, on_batches_end, on_epoch_end, "
              "on_train_end; did you mean on_batches_end?"),
    (Misspelt(), "did you mean on_epoch_end?"),
    (Lightning(), "Lightning: there is no method on_"),
    (OnTheObject(), "OnTheObject: there is no method on_fit_end"),
    (OldBatches(), "OldBatches: the method after_batches is called on_batches_end now; rename it"),
    (OldEpoch(), "OldEpoch: the method after_epoch is called on_epoch_end now; rename it"),
    (OldBegin(), "OldBegin: the method begin is called on_train_begin now; rename it"),
    (HalfMigrated(), "HalfMigrated: the method finish is called on_train_end now; rename it"),
    (Callback(), "Callback: expected at least one of the methods on_train_begin, on_batches_end, on_epoch_end, "
                 "on_train_end, got none: it would never act"),
]


@pytest.mark.parametrize(("callback", "words"), REFUSED, ids=[type(callback).__name__ for callback, _ in REFUSED])
def test_a_callback_that_would_not_act_is_refused_before_anything_changes(callback: Callback, words: str) -> None:
    run, watcher = trainer(), EarlyStopping(9, "loss")
    run.fit(X, Y, epochs=2, callbacks=[watcher])
    before = repr((kept(run), vars(watcher), run.optimizer.vector.values))
    calls: list[Callable[[], object]] = [
        lambda: run.fit(X, Y, epochs=1, validation=0.5, callbacks=[watcher, callback]),
        lambda: run.fit_batches(stream, epochs=1, callbacks=[watcher, callback]),
        lambda: run.resume(X, Y, callbacks=[watcher, callback]),
    ]
    for call in calls:
        with refused(ArgumentError, f"fit(callbacks): {type(callback).__name__}: ", words):
            call()
    assert repr((kept(run), vars(watcher), run.optimizer.vector.values)) == before


def test_a_method_may_be_an_attribute_and_an_old_name_may_be_a_number() -> None:
    class Late(Callback):
        after_epoch = 3

    seen: list[Trainer] = []
    callback = Late()
    callback.on_epoch_end = seen.append  # type: ignore[method-assign, assignment]
    run = trainer()
    run.fit(X, Y, epochs=2, callbacks=[callback])
    assert seen == [run, run]


def test_a_method_that_is_only_near_another_one_is_not_suggested() -> None:
    with pytest.raises(ArgumentError) as caught:
        trainer().fit(X, Y, epochs=1, callbacks=[Keras()])
    assert "did you mean" not in str(caught.value)


def test_helpers_called_begin_and_finish_are_left_alone() -> None:
    class Helpers(Callback):
        begin = dict

        def finish(self, text: str) -> str:
            return text

        @override
        def on_epoch_end(self, trainer: Trainer) -> None: ...

    trainer().fit(X, Y, epochs=1, callbacks=[Helpers()])


def test_a_callback_has_a_short_repr(tmp_path: Path) -> None:
    class Own(Callback):
        def __init__(self, data: Any, kept_elsewhere: int = 3) -> None:
            self.data = data

    assert repr(EarlyStopping(10, "accuracy")) == "EarlyStopping(10, 'accuracy')"
    assert repr(StopAfter(3)) == "StopAfter(3)"
    assert repr(LogFile("log.csv")) == "LogFile('log.csv')"
    assert repr(Checkpoint("kept", monitor="loss")) == "Checkpoint('kept')"
    assert repr(Own(np.zeros((1000, 3)))) == "Own(ndarray of shape (1000, 3))"
    with refused(DTypeError, "write callbacks=[StopAfter(3)]"):
        trainer().fit(X, Y, epochs=1, callbacks=StopAfter(3))  # type: ignore[arg-type]


def test_the_position_and_the_figures_are_there_for_callbacks() -> None:
    class Note(Callback):
        every_batches = 3

        def __init__(self) -> None:
            self.seen: list[Any] = []

        @override
        def on_train_begin(self, trainer: Trainer) -> None:
            self.seen.append(trainer.figures)

        @override
        def on_batches_end(self, trainer: Trainer) -> None:
            self.seen.append(trainer.position)

        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            self.seen.append(trainer.position)

    run, note = trainer(), Note()
    assert run.figures == {}
    run.fit(X, Y, epochs=1, batch_size=10, validation=(X, Y), callbacks=[note],
            metrics={"right": metrics.r2, "error": metrics.mean_absolute_error, "own": lambda p, t: 0.0})
    figures, middle, end = note.seen
    assert figures == {"loss": "min", "validation_loss": "min", "right": "max", "error": "min", "own": None}
    assert list(figures) == [name for name in run.history.series() if name not in ("learning_rate", "seconds")]
    assert (middle.batch, middle.rows, end.batch, end.rows, end.loss) == (3, 30, 0, 0, 0.0)
    assert middle.loss > 0


def test_one_callback_instead_of_a_list_and_a_number_as_clip_are_refused() -> None:
    with pytest.raises(DTypeError, match=r"write callbacks=\["):
        trainer().fit(X, Y, epochs=1, callbacks=EarlyStopping())  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"expected Callback objects, got 5$"):
        trainer().fit(X, Y, epochs=1, callbacks=[5])  # type: ignore[list-item]
    model = mlp([1, 1], rng=0)
    with pytest.raises(DTypeError, match="ClipGlobalNorm"):
        Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), clip=1.0)  # type: ignore[arg-type]


class Wandering(Callback):
    """Change the working folder in a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        os.chdir(self.folder)


def test_relative_paths_stay_in_the_folder_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    saving = Checkpoint("runs", keep_last=1)
    acting = [Wandering(tmp_path / "elsewhere"), saving, LogFile("log.csv")]
    trainer().fit(X, Y, epochs=3, callbacks=acting)
    assert [file.relative_to(tmp_path) for file in saving.files()] == [
        Path("runs/epoch-000003-batch-0000000.safetensors")
    ]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_rate_that_would_become_zero_stays() -> None:
    run = trainer(rate=1e-300)
    never = callbacks.ReduceOnPlateau(factor=1e-4, patience=1, monitor="loss", min_delta=1e9)
    assert run.fit(X, Y, epochs=12, callbacks=[never]).learning_rate[-1] == pytest.approx(1e-320, rel=1e-3)


@pytest.mark.parametrize(("restore_best", "epochs"), [(True, 1), (False, 3)])
def test_early_stopping_restores_the_best_weights_only_if_asked(restore_best: bool, epochs: int) -> None:
    run, alone = trainer(), trainer()
    watcher = EarlyStopping(2, restore_best=restore_best)
    run.fit(X, Y, epochs=9, validation=(X, Y), callbacks=[Scripted([1.0, 2.0, 3.0]), watcher])
    alone.fit(X, Y, epochs=epochs)
    assert len(run.history) == 3
    assert run.model.predict(X).tobytes() == alone.model.predict(X).tobytes()


def test_early_stopping_of_a_new_fit_forgets_the_weights_of_the_one_before() -> None:
    watcher, diverges = EarlyStopping(2, "loss"), trainer(seed=1)
    trainer().fit(X, Y, epochs=3, callbacks=[watcher])
    first = diverges.model.predict(X)
    with pytest.raises(DivergenceError):
        diverges.fit(X, Y * 1e300, epochs=1, batch_size=40, callbacks=[watcher])
    assert watcher.state()["best_state"] is None
    assert diverges.model.predict(X).tobytes() == first.tobytes()
