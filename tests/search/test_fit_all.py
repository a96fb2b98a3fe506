"""`fit_all`: every model is trained as alone, wherever that happens; refused calls change nothing."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Activation, Array, Dense, HalfSquaredError, Sequential, Trainer
from minidl.errors import ArgumentError, CompileError, DataError, DTypeError, ShapeError
from minidl.search import _many, fit_all
from tests.search.common import X, Y, build, interrupting, weights

RATES = [0.3, 0.01, 0.1, 0.03, 0.2]


def alone(rate: float, epochs: int = 3) -> Trainer:
    trainer = build(rate)
    trainer.fit(X, Y, epochs=epochs, batch_size=5)
    return trainer


@pytest.mark.parametrize("kind", ["threads", "one thread", "processes"])
def test_each_model_has_the_bits_of_a_fit_alone_in_the_given_order(
    kind: str, processes: ProcessPoolExecutor
) -> None:
    given = [build(rate) for rate in RATES]
    first = weights(given[0])
    with ThreadPoolExecutor(1) as one_thread:
        executors: dict[str, Executor | None] = {"threads": None, "one thread": one_thread, "processes": processes}
        trained = fit_all(given, X, Y, epochs=3, batch_size=5, executor=executors[kind])
    for rate, trainer in zip(RATES, trained, strict=True):
        assert trainer.history.loss == alone(rate).history.loss
        np.testing.assert_array_equal(weights(trainer), weights(alone(rate)))
    if kind == "processes":
        np.testing.assert_array_equal(weights(given[0]), first)
        assert len(given[0].history) == 0
    else:
        assert trained == given


def test_the_returned_models_go_on_as_after_a_fit(processes: ProcessPoolExecutor) -> None:
    (trainer,) = fit_all([build(0.1)], X, Y, epochs=3, batch_size=5, executor=processes)
    trainer.fit(X, Y, epochs=2, batch_size=5)
    assert trainer.history.loss == alone(0.1, epochs=5).history.loss


@pytest.mark.parametrize("validation", [0.25, (X[:5], Y[:5])])
def test_validation_is_that_of_fit(validation: Any) -> None:
    trainer = build(0.1)
    trainer.fit(X, Y, epochs=2, validation=validation)
    (found,) = fit_all([build(0.1)], X, Y, epochs=2, validation=validation)
    assert found.history.validation_loss == trainer.history.validation_loss
    assert len(found.history.validation_loss) == 2


def test_no_trainers_are_no_error() -> None:
    assert fit_all([], X, Y, epochs=1) == []


def test_a_model_that_diverges_is_warned_of_and_the_others_go_on(processes: ProcessPoolExecutor) -> None:
    for executor in (None, processes):
        with pytest.warns(UserWarning, match="1 of 3 models diverged, numbers 1; .*The first: .*epoch 0"):
            trained = fit_all([build(0.1), build(1e200), build(0.2)], X, Y, epochs=3, batch_size=5, executor=executor)
        assert trained[0].history.loss == alone(0.1).history.loss
        assert trained[1].history.stopped_by == "divergence"
        assert trained[2].history.loss == alone(0.2).history.loss


def wide() -> Trainer:
    model = Sequential(Dense(2, 1)).initialize(rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1))


ONE = build(0.1)


@pytest.mark.parametrize(
    ("others", "changed", "error", "text"),
    [
        ([wide()], {}, ShapeError, "expected x of shape"),
        ([None], {}, DTypeError, "fit_all: expected Trainers, got None as number 1"),
        ([ONE, ONE], {}, ArgumentError, "same parameters in number 1 and number 2"),
        ([], {"epochs": 0}, ArgumentError, r"fit_all\(epochs\): expected at least 1, got 0"),
        ([], {"batch_size": 2.5}, DTypeError, r"fit_all\(batch_size\)"),
        ([], {"x": X[:3]}, ShapeError, "same number of rows"),
        ([], {"y": np.where(Y > 0.9, np.nan, Y)}, DataError, "expected finite numbers"),
        ([], {"validation": 1.5}, ArgumentError, "fraction between 0 and 1"),
        ([], {"validation": (X, Y[:2])}, ShapeError, "same number of rows"),
        ([], {"executor": 4}, DTypeError, r"fit_all\(executor\): expected a concurrent.futures.Executor.*got 4"),
    ],
)
def test_a_refused_call_changes_nothing(others: list[Any], changed: Any, error: type[Exception], text: str) -> None:
    trainer = build(0.1)
    first = weights(trainer)
    with pytest.raises(error, match=text):
        fit_all([trainer, *others], **{"x": X, "y": Y, "epochs": 1, **changed})
    np.testing.assert_array_equal(weights(trainer), first)
    assert len(trainer.history) == 0


def test_one_trainer_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"fit_all\(trainers\): expected a list of Trainers"):
        fit_all(build(0.1), X, Y, epochs=1)  # type: ignore[arg-type]


def test_an_error_says_which_trainer_it_was() -> None:
    with pytest.raises(ShapeError) as caught:
        fit_all([build(0.1), wide()], X, Y, epochs=1)
    assert caught.value.__notes__ == ["in fit_all, Trainer number 1"]


def test_an_executor_of_processes_explains_what_it_cannot_pickle(processes: ProcessPoolExecutor) -> None:
    model = Sequential(Dense(1, 1), Activation(lambda x: x, np.ones_like)).initialize(rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1))
    with pytest.raises(DTypeError, match=r"fit_all\(executor\): expected Trainers and data that can be pickled"):
        fit_all([trainer], X, Y, epochs=1, executor=processes)
    fit_all([trainer], X, Y, epochs=1)
    assert len(trainer.history) == 1


def line() -> Trainer:
    model = Sequential(Dense(1, 1)).initialize(rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01), rng=0)


def test_many_short_fits_are_compiled_and_few_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr("minidl.search._many.UPDATES", 10 * 24)
    few = fit_all([line()], X, Y, epochs=9, batch_size=1)
    many = fit_all([line(), line()], X, Y, epochs=9, batch_size=1)
    assert [trainer.last_engine for trainer in (*few, *many)] == ["numpy", "compiled", "compiled"]
    assert {trainer.engine for trainer in many} == {"auto"}
    np.testing.assert_allclose(weights(few[0]), weights(many[0]), rtol=1e-9)


def test_programs_are_compiled_before_the_threads_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    from minidl import mlp
    from minidl._compiled.cache import _compiled

    known: list[int] = []

    def counted(self: _many.Team, *arguments: Any) -> Any:
        known.append(len(_compiled))
        return train(self, *arguments)

    train = _many.Team.train
    monkeypatch.setattr(_many.Team, "train", counted)
    # 16 rows of 192 parameters are small enough for vectors, 200 rows are not: two rows would say nothing about them.
    for size in (16, 200):
        models = [mlp([1, 8, 16, 1], rng=seed) for seed in range(2)]
        trainers = [Trainer(m, HalfSquaredError(), SGD(m.parameters(), 0.01), engine="compiled") for m in models]
        x = np.linspace(0, 1, 200)[:, None]
        fit_all(trainers, x, x, epochs=1, batch_size=size)
        assert len(_compiled) == known[-1]


def test_even_a_short_fit_is_compiled_where_that_was_asked_for() -> None:
    pytest.importorskip("numba")
    asked = line()
    asked.engine = "compiled"
    assert fit_all([asked], X, Y, epochs=1)[0].last_engine == "compiled"


def test_what_cannot_be_compiled_is_refused_only_where_that_was_asked_for() -> None:
    asked, other = interrupting(10**9), interrupting(10**9)
    asked.engine = "compiled"
    first = weights(other)
    with pytest.raises(CompileError):
        fit_all([other, asked], X, Y, epochs=2000, batch_size=1)
    np.testing.assert_array_equal(weights(other), first)
    assert fit_all([other], X, Y, epochs=1)[0].last_engine == "numpy"


def test_ctrl_c_ends_the_fits_that_run_and_lets_no_other_begin() -> None:
    trainers = [interrupting(50), build(0.1)]
    with ThreadPoolExecutor(1) as executor:
        assert fit_all(trainers, X, Y, epochs=10_000, batch_size=1, executor=executor) == trainers
    assert trainers[0].history.stopped_by == "SIGINT"
    assert 50 <= trainers[0].optimizer.steps < 5000
    assert trainers[1].optimizer.steps == 0


def test_after_ctrl_c_a_fit_is_resumed_with_the_same_bits() -> None:
    whole, (stopped,) = interrupting(10**9), fit_all([interrupting(50)], X, Y, epochs=40, batch_size=1)
    assert len(stopped.history) < 40
    whole.fit(X, Y, epochs=40, batch_size=1)
    layer = stopped.model[0]  # type: ignore[index]
    layer.at = 10**9
    stopped.resume(X, Y)
    assert stopped.history.loss == whole.history.loss


def test_a_process_that_gets_ctrl_c_begins_no_other_fit_of_the_call(processes: ProcessPoolExecutor) -> None:
    given = [interrupting(50) for _ in range(6)]
    trained = fit_all(given, X, Y, epochs=10_000, batch_size=1, executor=processes)
    assert sorted(trainer.history.stopped_by for trainer in trained)[:4] == [""] * 4
    assert "SIGINT" in {trainer.history.stopped_by for trainer in trained}
    (after,) = fit_all([build(0.1)], X, Y, epochs=1, executor=processes)
    assert after.history.stopped_by == "epochs"


class TwoCtrlC(Dense):
    """Send Ctrl-C in the first forward pass, and again once the first was noted: two at once arrive as one."""

    first = True

    @override
    def forward(self, x: Array) -> Array:
        if self.first:
            self.first = False
            noted: Any = signal.getsignal(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            while noted.__self__.received is None:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(x)


def test_a_second_ctrl_c_stops_at_once() -> None:
    model = Sequential(TwoCtrlC(1, 1)).initialize(rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    with pytest.raises(KeyboardInterrupt):
        fit_all([trainer, build(0.1)], X, Y, epochs=10_000, batch_size=1)
