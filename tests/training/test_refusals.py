"""What a fit refuses, it refuses before anything has changed; an interrupted run goes on as if nothing had been."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    ClipGlobalNorm,
    Dense,
    HalfSquaredError,
    Layer,
    Parameter,
    Sequential,
    Sigmoid,
    Tanh,
    Trainer,
    metrics,
    mlp,
)
from minidl._training import sources
from minidl.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from minidl.errors import ArgumentError, CallOrderError, CompileError, DataError, MinidlError, StructureError
from minidl.schedules import Cosine
from tests.campaigns.resume_points import BATCH, EPOCHS, X, Y, bits, build, kept
from tests.support.refusal import refused

ENGINES = ["numpy", "compiled"]


class StopAt(Callback):
    """Stop the run once, after a batch; save it there."""

    every_batches = 1

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (2, 5):
            if self.path is not None:
                trainer.save(self.path)
            trainer.stop("enough")


class Refuses(Callback):
    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        trainer.optimizer.learning_rate = 7.0
        for parameter in trainer.model.parameters():
            parameter.value = np.zeros(parameter.shape)
        trainer.stop("never")
        raise ArgumentError("no")


def watchers() -> list[Callback]:
    return [EarlyStopping(patience=3), ReduceOnPlateau(0.5, patience=1), StopAt()]


def fit(trainer: Trainer, *callbacks: Callback) -> None:
    trainer.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, validation=0.2, callbacks=callbacks)


def own(trainer: Trainer) -> list[Any]:
    return list(trainer._run.callbacks)


WRONG: dict[str, Callable[[Trainer], object]] = {
    "no validation data": lambda t: t.resume(X, Y, callbacks=None),
    "another fraction": lambda t: t.resume(X, Y, validation=0.3),
    "other callbacks": lambda t: t.resume(X, Y, validation=0.2, callbacks=[Refuses()]),
    "a fit with an unknown figure": lambda t: t.fit(X, Y, epochs=2, callbacks=[EarlyStopping(3, "nothing")]),
    "a fit with its own callbacks": lambda t: t.fit(X, Y, epochs=2, callbacks=[*own(t), EarlyStopping(3)]),
    "a fit refused by a callback": lambda t: t.fit(X, Y, epochs=2, callbacks=[*own(t), Refuses()]),
    "a stream": lambda t: t.fit_batches([(X, Y)], epochs=2, callbacks=[Refuses()]),
    "a bad stream": lambda t: t.fit_batches([(X, Y[:3])], epochs=2),
}


HELD_OUT = X[:20] + 1, Y[:20], np.linspace(0, 1, 20)
GIVEN: dict[str, Any] = {"validation": HELD_OUT, "metrics": [metrics.r2]}
OTHER: dict[str, tuple[dict[str, Any], type[MinidlError], str]] = {
    "no validation": ({"validation": None}, DataError, "got (90, 3), (90, 1) with hash "),
    "another x": ({"validation": (X[:20], *HELD_OUT[1:])}, DataError, "and validation data with hash "),
    "other weights": ({"validation": HELD_OUT[:2]}, DataError, "give x, y, sample_weight and validation as the fit"),
    "no metrics": ({"metrics": []}, ArgumentError, "'r2': 'max'}, got {'loss': 'min', 'validation_loss': 'min'}; give"),
    "another name": ({"metrics": {"R2": metrics.r2}}, ArgumentError, "'min', 'R2': 'max'}; give"),
    "another metric": ({"metrics": {"r2": metrics.mean_squared_error}}, ArgumentError, "min', 'r2': 'min'}; give"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("wrong", OTHER)
def test_other_validation_data_or_metrics_are_refused_and_change_nothing(
    wrong: str, restored: bool, engine: Any, tmp_path: Path
) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")

    def make() -> Trainer:
        model = mlp([3, 4, 1], rng=0)
        return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1, momentum=0.9), rng=1, engine=engine)

    whole, run = make(), make()
    whole.fit(X, Y, epochs=4, batch_size=BATCH, **GIVEN)
    run.fit(X, Y, epochs=4, batch_size=BATCH, **GIVEN, callbacks=[StopAt(tmp_path / "run")])
    if restored:
        run = make()
        run.restore(tmp_path / "run")
    callbacks = [StopAt()]
    before = kept(run), bits(run)
    given, error, words = OTHER[wrong]
    with refused(error, "resume: expected the ", words):
        run.resume(X, Y, **{**GIVEN, **given}, callbacks=callbacks)
    assert (kept(run), bits(run)) == before
    assert run.figures == {"loss": "min", "validation_loss": "min", "r2": "max"}
    run.resume(X, Y, **GIVEN, callbacks=callbacks)
    assert {**bits(run), "callbacks": []} == {**bits(whole), "callbacks": []}


def test_a_stream_is_resumed_with_the_validation_data_it_had() -> None:
    stream, run = [(X[k : k + 10], Y[k : k + 10]) for k in range(0, 90, 10)], build("sgd", "plain")
    run.fit_batches(stream, epochs=3, **GIVEN, callbacks=[StopAt()])
    with refused(DataError, "expected the data of the fit, a stream with hash ", "and no validation data; give x, y"):
        run.resume_batches(stream, callbacks=[])
    with refused(ArgumentError, "'r2': 'max'}, got {'loss': 'min', 'validation_loss': 'min'}; give validation and"):
        run.resume_batches(stream, validation=HELD_OUT, callbacks=[])
    run.resume_batches(stream, **GIVEN, callbacks=[])
    assert (run.history.stopped_by, len(run.history.metrics["r2"])) == ("epochs", 3)


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_an_interrupted_run_goes_on_after_a_refusal(wrong: str, restored: bool, tmp_path: Path) -> None:
    whole, run = build("momentum", "both"), build("momentum", "both")
    fit(whole, *watchers())
    whole.resume(X, Y, validation=0.2)
    fit(run, *watchers()[:2], StopAt(tmp_path / "run"))
    assert run.history.stopped_by == "enough"
    given: list[Callback] | None = None
    if restored:
        run = build("momentum", "both")
        run.restore(tmp_path / "run")
        given = watchers()
    before = kept(run), bits(run), run.history.stopped_by, run.interrupted, run.figures, run.last_engine
    with pytest.raises(ValueError, match=r"expected|no"):
        WRONG[wrong](run)
    assert (kept(run), bits(run), run.history.stopped_by, run.interrupted, run.figures, run.last_engine) == before
    run.resume(X, Y, validation=0.2, callbacks=given)
    after, expected = bits(run), bits(whole)
    assert after["callbacks"][:2] == expected["callbacks"][:2]
    assert {**after, "callbacks": []} == {**expected, "callbacks": []}


def test_an_engine_that_cannot_run_leaves_an_interrupted_run() -> None:
    run = build("momentum", "both")
    fit(run, StopAt())
    before = kept(run)
    run.engine = "compiled"
    run._run.loss = type("Own", (HalfSquaredError,), {})()
    with pytest.raises(CompileError):
        run.fit(X, Y, epochs=1)
    assert kept(run) == before


class Late(Layer):
    """A layer that makes its parameter in the first pass."""

    def __init__(self, frozen: bool = False) -> None:
        self.gain: Parameter | None = None
        self.frozen = frozen

    @override
    def forward(self, x: Array) -> Array:
        if self.gain is None:
            self.gain = Parameter(np.ones(x.shape[1]))
            if self.frozen:
                self.gain.freeze()
        self._x = x
        return x * self.gain.value

    @override
    def backward(self, grad: Array) -> Array:
        assert self.gain is not None
        self.gain.grad += (grad * self._x).sum(axis=0)
        return grad * self.gain.value


def test_a_parameter_made_in_the_first_batch_is_refused() -> None:
    model = Sequential(Dense(3, 4), Late(), Dense(4, 1)).initialize(0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1, momentum=0.9), rng=0)
    before = trainer.optimizer.vector.values.tobytes(), trainer.optimizer.numbers()
    with refused(StructureError, "forward made 1.gain in the first batch", "run the model once before making"):
        trainer.fit(X, Y, epochs=2, batch_size=4)
    assert (trainer.optimizer.vector.values.tobytes(), trainer.optimizer.numbers()) == before
    assert (len(trainer.history), trainer.position.batch, trainer.optimizer.steps) == (0, 0, 0)
    late = model[1]
    assert isinstance(late, Late)
    assert late.gain is not None
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    trainer.fit(X, Y, epochs=2, batch_size=4)
    assert not np.array_equal(late.gain.value, np.ones(4))


def test_a_frozen_parameter_made_in_the_first_batch_is_none_to_learn() -> None:
    model = Sequential(Dense(3, 4), Late(frozen=True), Dense(4, 1)).initialize(0)
    Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0).fit(X, Y, epochs=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_optimizer_that_can_move_nothing_of_the_model_is_refused(engine: Any) -> None:
    shared, other = Dense(3, 4).initialize(0), Dense(3, 2)
    model = Sequential(shared, Tanh(), Dense(4, 1)).initialize(0)
    optimizer = SGD([*shared.parameters(), *other.parameters()], 0.1)
    trainer = Trainer(model, HalfSquaredError(), optimizer, rng=0, engine=engine)
    shared.freeze()
    with refused(ArgumentError, "fit: the optimizer holds no parameter of this model that learns; make it from model."):
        trainer.fit(X, Y, epochs=1)
    with pytest.raises(CallOrderError, match="expected an interrupted fit"):
        trainer.resume(X, Y)
    shared.unfreeze()
    model[2].freeze()
    trainer.engine = "numpy"
    assert len(trainer.fit(X, Y, epochs=1)) == 1


class Rows(Layer):
    """Scale each row by the number of its code; add to the gradient in place."""

    def __init__(self) -> None:
        self.scale = Parameter(np.ones(4))

    @override
    def forward(self, x: Array) -> Array:
        self._rows = x[:, 0].astype(int)
        y: Array = self.scale.value[self._rows][:, None]
        return y

    @override
    def backward(self, grad: Array) -> Array:
        np.add.at(self.scale.grad, self._rows, grad[:, 0])
        return np.zeros_like(grad)


class Forgets(Rows):
    @override
    def backward(self, grad: Array) -> Array:
        return np.zeros_like(grad)


@pytest.mark.parametrize("clip", [None, ClipGlobalNorm(1.0)])
@pytest.mark.parametrize("micro", [None, 2])
def test_a_gradient_of_zero_written_in_place_is_a_gradient(clip: Any, micro: int | None) -> None:
    model = Sequential(Rows())
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.5), clip=clip, rng=0)
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    target = np.array([[1.0], [1.0], [1.0], [5.0]])
    trainer.fit(x, target, epochs=2, batch_size=2, shuffle=False, micro_batch_size=micro)
    scale = model.parameters()[0].value
    assert scale[:3].tolist() == [1.0, 1.0, 1.0]
    assert 1.0 < scale[3] < 5.0
    assert trainer.optimizer.steps == 4


def test_a_layer_that_adds_no_gradient_is_still_found() -> None:
    model = Sequential(Forgets())
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.5), rng=0)
    with pytest.raises(CallOrderError, match="no parameter has a gradient"):
        trainer.fit(np.zeros((4, 1)), np.zeros((4, 1)), epochs=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_schedule_in_epochs_is_unknown_again_after_a_fit(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = mlp([3, 4, 1], rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), Cosine(0.1, epochs=9)), rng=0, engine=engine)
    trainer.fit(X, Y, epochs=2)
    assert trainer.optimizer.epochs is None
    trainer.loss.forward(model.forward(X), Y)
    model.backward(trainer.loss.backward())
    with pytest.raises(CallOrderError, match="how many steps an epoch has"):
        trainer.optimizer.step()
    with refused(ArgumentError, "no"):
        trainer.fit(X, Y, epochs=1, callbacks=[Refuses()])
    assert trainer.optimizer.epochs is None


def test_the_data_is_hashed_when_a_run_is_saved_or_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hashed: list[object] = []
    digest = sources._hash

    def noted(arrays: sources.Batch) -> str:
        hashed.extend([1] * bool(arrays))  # There is no validation data to hash here.
        return digest(arrays)

    monkeypatch.setattr(sources, "_hash", noted)
    run = build("sgd", "plain")
    run.fit(X, Y, epochs=2, batch_size=BATCH)
    run.fit_batches([(X, Y)], epochs=1)
    run.save(tmp_path / "run")
    assert hashed == []
    run.fit(X, Y, epochs=3, batch_size=BATCH, callbacks=[StopAt(tmp_path / "run")])
    run.fit(X, Y, epochs=3, batch_size=BATCH, callbacks=[Stops()])
    assert hashed == [1]
    run.save(tmp_path / "run")
    assert hashed == [1]
    run.resume(X, Y)
    assert hashed == [1, 1]


class Stops(Callback):
    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.stop("enough")


def test_a_trainer_keeps_no_data_after_a_fit() -> None:
    run = build("sgd", "plain")
    run.fit(X, Y, epochs=1, callbacks=[Stops()])
    run.fit_batches([(X, Y)], epochs=2, callbacks=[Stops()])
    assert run._run.source is None


def test_a_short_fit_makes_few_calls() -> None:
    model = Sequential(Dense(1, 4), Sigmoid(), Dense(4, 1)).initialize(0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01), rng=0)
    calls: list[str] = []

    def note(frame: Any, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and "minidl" in code.co_filename.split("/") and code.co_name[0] != "<":
            calls.append(code.co_qualname)

    for _ in range(3):
        trainer.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=1, batch_size=1)
    sys.setprofile(note)
    try:
        trainer.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=1, batch_size=1)
    finally:
        sys.setprofile(None)
    assert 50 < len(calls) <= 170


def test_a_warning_that_is_an_error_leaves_an_interrupted_run() -> None:
    run = build("momentum", "plain")
    fit(run, StopAt())
    before = kept(run)
    run.model.extra = Dense(2, 2)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="does not hold"):
            run.fit(X, Y, epochs=1)
    assert kept(run) == before


def test_a_run_ends_for_its_callbacks_even_if_its_data_can_no_longer_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ends(StopAt):
        ended = 0

        @override
        def on_train_end(self, trainer: Trainer) -> None:
            self.ended += 1

    def unreadable(*_: object) -> None:
        raise OSError("gone")

    model, ends = mlp([1, 2, 1], rng=0), Ends()
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    x = np.linspace(-1, 1, 40)[:, None]
    monkeypatch.setattr(sources.ArraySource, "fingerprint", unreadable)
    with pytest.raises(OSError, match="gone"):
        trainer.fit(x, x, epochs=9, batch_size=4, callbacks=[ends])
    assert ends.ended == 1
    assert trainer.optimizer.epochs is None
