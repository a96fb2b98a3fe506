"""Callbacks that watch a figure know which value is best, and act on it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, SoftmaxCrossEntropy, Trainer, metrics, mlp
from minidl.callbacks import Callback, Checkpoint, EarlyStopping, Monitor, ReduceOnPlateau
from minidl.errors import ArgumentError, DTypeError
from tests.support.refusal import refused

X = np.random.default_rng(0).normal(size=(40, 2))
Y = (X[:, 0] > 0).astype(int)
RISING = [0.5, 0.9, 0.7, 0.6, 0.8, 0.4]


def trainer(rate: Any = 0.1) -> Trainer:
    model = mlp([2, 4, 2], rng=0)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), rate), rng=0)


class Scripted(Callback):
    """Put given numbers in the place of a figure, and note the weights of each epoch."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name, self.values = name, values
        self.weights: list[bytes] = []

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.history.series()[self.name][-1] = self.values[len(trainer.history) - 1]
        self.weights.append(trainer.optimizer.vector.values.tobytes())


WATCHED: list[tuple[dict[str, Any], str, Any, int]] = [
    ({"metrics": [metrics.accuracy]}, "accuracy", None, 1),
    ({"metrics": [partial(metrics.accuracy)]}, "accuracy", None, 1),
    ({"metrics": {"right": metrics.f1}}, "right", None, 1),
    ({"metrics": {"right": partial(metrics.recall)}}, "right", None, 1),
    ({"metrics": {"own": metrics.metric("max", takes="classes")(lambda p, t: 0.0)}}, "own", None, 1),
    ({"metrics": {"own": metrics.metric("min", "values")(partial(lambda p, t: 0.0))}, "validation": (X, np.eye(2)[Y])},
     "own", None, 5),
    ({"metrics": {"own": lambda p, t: 0.0}}, "own", "max", 1),
    ({"metrics": [metrics.accuracy]}, "accuracy", "min", 5),
    ({}, "loss", None, 5),
    ({"validation": (X, Y)}, "validation_loss", None, 5),
]


@pytest.mark.parametrize(("given", "name", "mode", "best"), WATCHED)
def test_the_best_epoch_is_that_of_the_known_direction(given: dict[str, Any], name: str, mode: Any, best: int) -> None:
    run, script, watcher = trainer(), Scripted(name, RISING), EarlyStopping(9, name, mode=mode)
    run.fit(X, Y, epochs=6, callbacks=[script, watcher], **given)
    assert (watcher.best, watcher.waited) == (RISING[best], 5 - best)
    assert run.optimizer.vector.values.tobytes() == script.weights[best]


@pytest.mark.parametrize("watcher", [Monitor, partial(EarlyStopping, 10), partial(ReduceOnPlateau, 0.1, 10),
                                     lambda name: Checkpoint("nowhere", monitor=name)], ids=range(4))
@pytest.mark.parametrize("metric", [lambda p, t: 0.0, partial(lambda p, t: 0.0)])
def test_a_figure_without_a_direction_is_refused_before_training(watcher: Any, metric: Any) -> None:
    run = trainer()
    before = run.optimizer.vector.values.tobytes()
    with refused(ArgumentError, "(monitor): ", "got 'own'", 'give mode="min" or mode="max"', "minidl.metrics.metric"):
        run.fit(X, Y, epochs=1, metrics={"own": metric}, callbacks=[watcher("own")])
    assert (run.optimizer.vector.values.tobytes(), len(run.history)) == (before, 0)
    assert not Path("nowhere").exists()


def test_what_is_no_mode_and_no_smallest_change_is_refused() -> None:
    for mode in ("maximum", True, ""):
        with refused(ArgumentError, f'EarlyStopping(mode): expected "min", "max" or None, got {mode!r}'):
            EarlyStopping(mode=mode)  # type: ignore[arg-type]
    with refused(ArgumentError, "ReduceOnPlateau(min_delta): expected a finite number and at least 0, got -1"):
        ReduceOnPlateau(min_delta=-1)
    with refused(ArgumentError, "ReduceOnPlateau(min_learning_rate): expected", "got -1"):
        ReduceOnPlateau(min_learning_rate=-1)


def test_a_figure_that_is_not_there_is_named_with_those_that_are() -> None:
    with refused(ArgumentError, "EarlyStopping(monitor): expected one of ['loss'], got 'validation_loss'; give fit("):
        trainer().fit(X, Y, epochs=2, callbacks=[EarlyStopping(2)])
    with refused(DTypeError, "EarlyStopping(monitor): expected the name of a figure", 'write monitor="accuracy"'):
        EarlyStopping(2, metrics.accuracy)  # type: ignore[arg-type]
    with refused(ArgumentError, "expected one of ['loss', 'accuracy'], got 'seconds'"):
        trainer().fit(X, Y, epochs=2, metrics=[metrics.accuracy], callbacks=[EarlyStopping(2, "seconds")])


@pytest.mark.parametrize(("monitor", "validation", "hint"), [
    ("val_loss", 0.5, "got 'val_loss'; did you mean 'validation_loss'?"),
    ("val_loss", None, "; did you mean 'validation_loss'?; give fit(..., validation=...)"),
    ("validation_accuracy", 0.5, "; accuracy is of the validation data already"),
    ("val_accuracy", 0.5, "; accuracy is of the validation data already"),
    ("val_accuracy", None, "got 'val_accuracy'; give fit(..., validation=...)"),
    ("accurracy", 0.5, "got 'accurracy'; did you mean accuracy?"),
    ("f1", 0.5, "got 'f1'; if it is a metric, give fit(..., metrics=[...])"),
    ("val_f1", 0.5, "; if it is a metric, give fit(..., metrics=[...])"),
])
def test_an_unknown_monitor_gives_a_hint(monitor: str, validation: float | None, hint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        trainer().fit(X, Y, epochs=1, validation=validation, metrics=[metrics.accuracy],
                      callbacks=[EarlyStopping(2, monitor)])
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_an_improvement_is_larger_than_the_smallest_change(mode: Any) -> None:
    sign = 1.0 if mode == "max" else -1.0
    watcher = EarlyStopping(9, "loss", mode=mode, min_delta=0.5)
    values = [sign * value for value in [1.0, 1.5, 1.25, 2.0, 2.5]]
    trainer().fit(X, Y, epochs=5, callbacks=[Scripted("loss", values), watcher])
    assert (watcher.best, watcher.waited) == (sign * 2.0, 1)


def test_the_direction_is_known_after_a_restore_and_after_a_stop(tmp_path: Path) -> None:
    class StopOnce(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            if len(trainer.history) == 3:
                trainer.save(tmp_path / "run.safetensors")
                trainer.stop("once")

    def callbacks() -> list[Any]:
        return [Scripted("accuracy", RISING), EarlyStopping(3, "accuracy"), StopOnce()]

    def best(run: Trainer) -> tuple[Any, ...]:
        watcher = run._run.callbacks[1]
        assert isinstance(watcher, EarlyStopping)
        return watcher.best, watcher.waited, len(run.history), run.optimizer.vector.values.tobytes()

    whole, stopped, restored = trainer(), trainer(), trainer()
    whole.fit(X, Y, epochs=6, metrics=[metrics.accuracy], callbacks=callbacks()[:2])
    stopped.fit(X, Y, epochs=6, metrics=[metrics.accuracy], callbacks=callbacks())
    stopped.resume(X, Y, metrics=[metrics.accuracy])
    restored.restore(tmp_path / "run.safetensors")
    restored.resume(X, Y, metrics=[metrics.accuracy], callbacks=callbacks())
    assert best(whole) == best(stopped) == best(restored)
    assert best(whole)[:3] == (0.9, 3, 5)


@pytest.mark.parametrize(("mode", "best_epochs"), [(None, [0.5, 0.9]), ("min", RISING)])
def test_the_best_checkpoint_is_that_of_the_direction(tmp_path: Path, mode: Any, best_epochs: list[float]) -> None:
    keeper = Checkpoint(tmp_path, every_epochs=None, monitor="accuracy", mode=mode)
    # A Checkpoint acts after the other callbacks.
    trainer().fit(X, Y, epochs=6, metrics=[metrics.accuracy], callbacks=[keeper, Scripted("accuracy", RISING)])
    best = trainer()
    best.restore(tmp_path / "best.safetensors")
    assert best.history.metrics["accuracy"] == best_epochs


def test_the_learning_rate_is_lowered_on_a_plateau_but_not_below_its_limit() -> None:
    plateau = ReduceOnPlateau(0.5, 2, "loss", min_learning_rate=0.3)
    history = trainer(0.8).fit(X, Y, epochs=7, callbacks=[Scripted("loss", [1.0] * 7), plateau])
    assert history.learning_rate == [0.8, 0.8, 0.8, 0.4, 0.4, 0.3, 0.3]


def test_a_learning_rate_below_the_limit_is_not_raised() -> None:
    plateau = ReduceOnPlateau(0.5, 1, "loss", min_learning_rate=1e-3)
    run = trainer(1e-4)
    run.fit(X, Y, epochs=4, callbacks=[Scripted("loss", [1.0] * 4), plateau])
    assert run.history.learning_rate == [1e-4] * 4
    assert run.optimizer.learning_rate == 1e-4


@pytest.mark.parametrize(("mode", "rates"), [(None, [0.8, 0.8, 0.8, 0.8]), ("min", [0.8, 0.8, 0.4, 0.2])])
def test_a_plateau_is_where_a_figure_does_not_improve_in_its_direction(mode: Any, rates: list[float]) -> None:
    plateau, script = ReduceOnPlateau(0.5, 1, "accuracy", mode=mode), Scripted("accuracy", [0.1, 0.2, 0.3, 0.3])
    history = trainer(0.8).fit(X, Y, epochs=4, metrics=[metrics.accuracy], callbacks=[script, plateau])
    assert history.learning_rate == rates


def test_a_plateau_callback_refuses_a_schedule() -> None:
    with refused(ArgumentError, "work against each other"):
        trainer(lambda step: 0.1).fit(X, Y, epochs=2, callbacks=[ReduceOnPlateau(monitor="loss")])
