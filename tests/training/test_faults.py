"""What runs did wrong once: each test has the right value from the rule itself."""

from __future__ import annotations

import builtins
import io
import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Adam,
    Array,
    BatchNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Sequential,
    Trainer,
    metrics,
    mlp,
)
from minidl._files.model import RUN_PREFIX
from minidl._files.statefile import read, write
from minidl._training import compiled_engine
from minidl._training.checkpoint import SavedHistory, describe
from minidl._training.history import History
from minidl._training.numpy_engine import NumpyEngine
from minidl._training.run import Plan
from minidl._training.sources import ArraySource
from minidl.callbacks import Callback, Checkpoint, EarlyStopping, ReduceOnPlateau
from minidl.errors import ArgumentError, DivergenceError, DTypeError, FileFormatError
from minidl.solvers import lbfgs
from tests.support.refusal import refused

X = np.linspace(-1, 1, 12)[:, None]
Y = X**2
NAME = f"{RUN_PREFIX.rstrip(':')}:run.environment.numpy"
ENGINES = ["numpy", "compiled"]


def trainer(model: Layer | None = None, rate: Any = 0.1, engine: Any = "auto") -> Trainer:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = mlp([1, 3, 1], rng=0) if model is None else model
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), rate), rng=0, engine=engine)


class Scripted(Callback):
    """Put given numbers in the place of the training loss, and note the weights of each epoch."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.weights = values, [b""] * 0

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.history.loss[-1] = self.values[len(trainer.history) - 1]
        self.weights.append(trainer.optimizer.vector.values.tobytes())


def test_auto_counts_the_epochs_of_this_fit_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled_engine, "UPDATES", 20)
    first = trainer()
    first.fit(X, Y, epochs=19, batch_size=12)
    assert first.last_engine == "numpy"
    first.fit(X, Y, epochs=2, batch_size=12)  # 21 updates in all
    assert first.last_engine == "numpy"

    class Stop(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            if len(trainer.history) == 39:
                trainer.stop("enough")

    first.fit(X, Y, epochs=20, batch_size=12, callbacks=[Stop()])
    assert (first.last_engine, len(first.history)) == ("compiled", 39)
    first.save(tmp_path / "run.safetensors")
    other = trainer()
    other.restore(tmp_path / "run.safetensors")
    other.resume(X, Y, callbacks=[Stop()])  # two epochs are left of a fit of 20: the same engine, for the same bits
    first.resume(X, Y)
    assert other.last_engine == first.last_engine == "compiled"
    assert other.optimizer.vector.values.tobytes() == first.optimizer.vector.values.tobytes()


def test_a_plan_that_begins_after_its_history_is_refused(tmp_path: Path) -> None:
    run = trainer()
    run.fit(X, Y, epochs=2)
    run.save(tmp_path / "run.safetensors")
    tensors, metadata, _ = read(tmp_path / "run.safetensors")
    assert metadata is not None
    metadata["training"]["items"]["run"]["items"]["plan"]["items"]["start"] = 3
    write(tmp_path / "run.safetensors", tensors, metadata)
    with refused(FileFormatError, "no plan for 2 epochs"):
        run.restore(tmp_path / "run.safetensors")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("mode", "sign"), [("max", 1.0), ("min", -1.0)])
def test_infinity_is_a_best_and_waits_are_counted(mode: Any, sign: float, engine: Any) -> None:
    values = [sign * value for value in (30.0, np.inf, 20.0, 10.0, np.inf)]
    run, script, watcher = trainer(engine=engine), Scripted(values), EarlyStopping(3, "loss", mode=mode)
    run.fit(X, Y, epochs=9, callbacks=[script, watcher])
    assert (watcher.best, watcher.waited, len(run.history)) == (sign * np.inf, 3, 5)
    assert run.optimizer.vector.values.tobytes() == script.weights[1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_figure_that_is_always_infinite_ends_the_waiting(mode: Any) -> None:
    run, plateau = trainer(), ReduceOnPlateau(0.5, 2, "loss", mode=mode)
    run.fit(X, Y, epochs=9, callbacks=[Scripted([np.inf] * 9), plateau, EarlyStopping(4, "loss", mode=mode)])
    assert (len(run.history), run.optimizer.learning_rate) == (5, 0.1 * 0.5**2)


def test_a_worse_second_fit_leaves_the_best_checkpoint(tmp_path: Path) -> None:
    best, keeper = tmp_path / "best.safetensors", Checkpoint(tmp_path, monitor="loss")
    first = trainer()
    first.fit(X, Y, epochs=3, callbacks=[Scripted([3.0, 1.0, 2.0]), keeper])
    before = best.read_bytes()
    for run in (first, trainer()):
        run.fit(X, Y, epochs=3, callbacks=[Scripted([9.0, 8.0, 7.0, 6.0, 5.0, 4.0]), keeper])
        assert best.read_bytes() == before
    run.fit(X, Y, epochs=1, callbacks=[Scripted([0.5] * 9), keeper])
    assert best.read_bytes() != before
    assert keeper.best == 0.5


class Explode(Callback):
    """Set a learning rate that no weights survive after some epochs."""

    def __init__(self, after: int) -> None:
        self.after = after

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == self.after:
            trainer.optimizer.learning_rate = 1e308


@pytest.mark.parametrize("engine", ENGINES)
def test_early_stopping_restores_the_best_weights_after_a_divergence(engine: Any) -> None:
    script, whole = (Scripted([3.0, 1.0, 2.0, *[9.0] * 3]) for _ in range(2))
    run, other = (trainer(rate=1e-4, engine=engine) for _ in range(2))
    with pytest.raises(DivergenceError):
        run.fit(X, 100 * Y, epochs=6, callbacks=[script, EarlyStopping(99, "loss"), Explode(3)])
    assert run.optimizer.vector.values.tobytes() == script.weights[1]
    assert (run.history.stopped_by, len(run.history)) == ("divergence", 3)
    run.optimizer.learning_rate = 1e-4
    run.resume(X, 100 * Y)  # from the last weights
    other.fit(X, 100 * Y, epochs=6, callbacks=[whole])
    assert script.weights == whole.weights
    assert run.optimizer.vector.values.tobytes() == script.weights[1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_divergence_in_the_very_last_update_is_one(engine: Any, rows: int) -> None:
    model = Sequential(Dense(1, 1)).initialize(rng=0)
    run = trainer(model, 1e308, engine)
    x, y = np.zeros((rows, 1)), np.zeros((rows, 1))
    x[-1] = y[-1] = 10.0  # only the last batch moves anything
    model.parameters()[1].value = np.zeros(1)
    with pytest.raises(DivergenceError) as caught:
        run.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    assert (caught.value.phase, caught.value.batch) == ("update", rows - 1)
    assert np.isfinite(run.optimizer.vector.values).all()
    assert str(caught.value).count("before that update. Try") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_divergence_says_where_its_weights_have_no_finite_loss(engine: Any) -> None:
    model = Sequential(Dense(1, 1)).initialize(rng=0)
    run = trainer(model, 1e200, engine)
    with pytest.raises(DivergenceError, match="with them the loss of that batch is not finite") as caught:
        run.fit(X, Y, epochs=9)
    assert caught.value.phase in ("forward", "loss")
    assert np.isfinite(run.optimizer.vector.values).all()
    with np.errstate(all="ignore"):
        assert not np.isfinite(np.square(model.predict(X) - Y)).all()


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


class OnlyWrites:
    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("stream", [None, closed(), OnlyWrites()], ids=["none", "closed", "no isatty"])
@pytest.mark.parametrize("wanted", [None, True, False])
def test_a_run_without_an_error_stream_trains(
    stream: Any, wanted: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minidl._core.progress.Progress.patience", 0.0)
    monkeypatch.setattr(sys, "stderr", stream)
    assert len(trainer().fit(X, Y, epochs=2, progress=wanted)) == 2
    assert lbfgs(mlp([1, 3, 1], rng=0), X, Y, max_iterations=2, progress=wanted).iterations


def test_a_plot_without_matplotlib_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return known(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'history.plot needs Matplotlib: pip install "minidl\[plot\]"'):
        History().plot()


@pytest.mark.parametrize("late", [False, True])
def test_a_history_is_a_table_with_a_row_for_each_epoch(late: bool) -> None:
    run = trainer()
    run.fit(X, Y, epochs=2)
    if late:
        run.fit(X, Y, epochs=2, validation=(X, Y), metrics=[metrics.r2])
    history = run.history
    table = json.loads(json.dumps(history.to_dict()))
    assert table.pop("stopped_by") == "epochs"
    assert {len(column) for column in table.values()} == {len(history)}
    assert repr(table) == repr({name: table[name] for name in table} | history.series())
    assert ("r2" in table, "validation_loss" in table) == (late, late)
    assert history.to_dict()["loss"] is not history.loss
    assert set(History().to_dict()) == {"stopped_by", "loss", "learning_rate", "seconds"}


class Reseed(Callback):
    """Put a new generator on each Dropout after some epochs, and fail some batches later if asked to."""

    every_batches = 2

    def __init__(self, after: int, fail: bool = False) -> None:
        self.after, self.fail = after, fail

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        self.on_epoch_end(trainer)

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == self.after:
            part: Any = trainer.model
            self.layer = part[1]
            self.layer.rng = np.random.default_rng(7)

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if self.fail and len(trainer.history) == self.after and trainer.position.batch == 4:
            trainer.optimizer.learning_rate = 1e308


@pytest.mark.parametrize("after", [0, 1])
def test_a_generator_that_a_callback_puts_in_is_drawn_from(after: int) -> None:
    found: list[Array] = []
    for engine in ENGINES:
        model = Sequential(Dense(1, 8), Dropout(0.5), Dense(8, 1)).initialize(rng=0)
        callback = Reseed(after)
        trainer(model, engine=engine).fit(X, Y, epochs=3, batch_size=2, callbacks=[callback])
        draws = 12 * 8 * (3 - after)  # one number for each hidden value of each row
        expected = np.random.default_rng(7)
        expected.random(draws)
        assert callback.layer.rng.bit_generator.state == expected.bit_generator.state
        found.append(model.parameters()[0].value)
    assert np.allclose(found[0], found[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_divergence_takes_back_what_a_new_generator_gave(engine: Any) -> None:
    model = Sequential(Dense(1, 8), Dropout(0.5), Dense(8, 1)).initialize(rng=0)
    callback = Reseed(1, fail=True)
    with pytest.raises(DivergenceError) as caught:
        trainer(model, engine=engine).fit(X, Y, epochs=3, batch_size=2, callbacks=[callback])
    expected = np.random.default_rng(7)
    expected.random(2 * 8 * caught.value.batch)  # up to the batch that failed
    assert callback.layer.rng.bit_generator.state == expected.bit_generator.state


@pytest.mark.parametrize("value", [np.ones(3), 1.5, [1], None, {"a": 1}])
def test_an_environment_of_another_kind_is_refused_or_said(value: Any, tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "run.safetensors"
    run.save(path)
    tensors, metadata, _ = read(path)
    assert metadata is not None
    environment = metadata["training"]["items"]["environment"]["items"]
    if isinstance(value, np.ndarray):
        tensors[NAME] = value
        value = {"tensor": NAME}
    environment["numpy"] = {"items": value} if isinstance(value, dict) and "a" in value else value
    write(path, tensors, metadata)
    if value is None:
        with pytest.warns(UserWarning, match="another environment"):
            run.restore(path)
    else:
        with warnings.catch_warnings(), refused(FileFormatError, "the state of a run", "environment.numpy"):
            run.restore(path)


def test_a_setting_that_is_a_number_of_numpy_is_compared_by_its_value() -> None:
    class Stiff(Dropout):
        def __init__(self, stiffness: Any) -> None:
            self.stiffness = stiffness

    found = [describe(Stiff(value), {}) for value in (3, np.int64(3), np.float32(0.5), np.float64(0.5), 0.5)]
    assert found == [f"Stiff(stiffness={value})" for value in ("3", "3", "0.5", "0.5", "0.5")]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupt_before_the_last_batch_does_not_end_the_epoch(engine: Any) -> None:
    run, source = trainer(engine=engine)._run, ArraySource((X[:9], Y[:9]), 4, shuffle=False)  # batches of 4 and 5 rows
    made = compiled_engine.make_engine(engine, NumpyEngine(run, ()), Plan(1, 4, False, None), source)
    received: Any = SimpleNamespace(received="SIGINT")
    made.enter(source, 0)
    for rows, batches in [(4, 1), (5, 1)] if engine == "numpy" else [(9, 2)]:
        assert made.run(99, 0.0, received)[1:] == (rows, batches, True, False)
    assert made.run(99, 0.0, SimpleNamespace(received=None))[1:] == (0, 0, True, True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["loss", "validation_loss", "learning_rate", "seconds", "metric_values"])
def test_a_history_in_float32_is_refused(name: str) -> None:
    series = {key: np.zeros(2) for key in ("loss", "validation_loss", "learning_rate", "seconds")}
    parts: dict[str, Any] = {**series, "metrics": ["r2"], "metric_values": np.zeros((1, 2)), "stopped_by": ""}
    assert len(SavedHistory(**parts).unpacked()) == 2
    parts[name] = parts[name].astype(np.float32)
    with pytest.raises(ValueError, match="no 2 numbers"):
        SavedHistory(**parts)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["running_var", "second_moment"])
def test_infinity_that_was_put_into_the_state_is_a_divergence(name: str, engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Sequential(Dense(1, 3), BatchNorm(3), Dense(3, 1)).initialize(rng=0)
    run = Trainer(model, HalfSquaredError(), Adam(model.parameters()), rng=0, engine=engine)
    state: Any = model[1].running_var.value if name == "running_var" else vars(run.optimizer)[name]  # type: ignore[attr-defined]
    state[...] = np.inf
    state[0] = 1.0
    with refused(DivergenceError, "in epoch 0, batch 0", name if name == "running_var" else "in the update of Adam"):
        run.fit(X, Y, epochs=2)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_constant_infinity_is_none(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Sequential(Dense(1, 3), BatchNorm(3), Dense(3, 1)).initialize(rng=0)
    norm: Any = model[1]
    norm.freeze()
    norm.running_var.value[0] = np.inf
    run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine=engine)
    run.fit(X, Y, epochs=2)
    assert run.history.stopped_by == "epochs"


class Remembering(Callback):
    """Has a state of any kind."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    @override
    def on_epoch_end(self, trainer: Trainer) -> None: ...

    @override
    def state(self) -> Any:
        return self.kept


def spoil_a_slot(run: Trainer) -> None:
    next(iter(run.optimizer.slots().values()))[0] = np.inf


def spoil_a_statistic(run: Trainer) -> None:
    run.model[1].running_var.value = np.array([1.0, np.nan, 1.0])  # type: ignore[index]


@pytest.mark.parametrize(
    ("kept", "spoil", "words"),
    [
        ({}, spoil_a_slot, 'not finite in "velocity"'),
        ({}, spoil_a_statistic, 'not finite in "1.running_var"'),
        (None, lambda run: None, "no dict as run.run.callbacks.state: None"),
        ([1], lambda run: None, "no dict as run.run.callbacks.state"),
    ],
    ids=["slot", "statistic", "None", "list"],
)
def test_what_could_not_be_restored_is_not_saved(kept: Any, spoil: Any, words: str, tmp_path: Path) -> None:
    def fitted() -> Trainer:
        model = Sequential(Dense(1, 3), BatchNorm(3), Dense(3, 1)).initialize(rng=0)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1, momentum=0.9), rng=0)
        run.fit(X, Y, epochs=1, callbacks=[Remembering(kept)])
        return run

    good, path = trainer(Sequential(Dense(1, 1)).initialize(rng=0)), tmp_path / "run.safetensors"
    good.save(path)
    before, run = path.read_bytes(), fitted()
    spoil(run)
    with refused(ArgumentError, words):
        run.save(path)
    assert path.read_bytes() == before
    kept = {}
    healthy = fitted()
    healthy.save(path)
    run.restore(path)  # a run that is spoiled can go back to its last good file
    assert run.optimizer.vector.values.tobytes() == healthy.optimizer.vector.values.tobytes()
    assert all(np.isfinite(slot).all() for slot in run.optimizer.slots().values())


@pytest.mark.parametrize("why", [3, None, "", b"enough"])
def test_a_reason_to_stop_is_a_text(why: Any) -> None:
    run = trainer()
    with refused(DTypeError, f"Trainer.stop(why): expected a text such as \"loss below 0.1\", got {why!r}"):
        run.stop(why)
