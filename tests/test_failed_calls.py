"""A call that fails changes nothing: every public call with every kind of bad argument, the state before and after."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize  # noqa: F401 - SciPy adds filters of warnings when it is imported.
from typing_extensions import override

from minidl import (
    L2,
    SGD,
    Activation,
    Array,
    BatchNorm,
    ClipGlobalNorm,
    Dense,
    HalfSquaredError,
    Layer,
    MeanSquaredError,
    Parameter,
    Residual,
    Sequential,
    Tanh,
    Trainer,
    load,
    load_weights,
    mlp,
    save,
    save_weights,
)
from minidl._files.statefile import read, write
from minidl.callbacks import Callback, Checkpoint, EarlyStopping, LogFile
from minidl.errors import (
    ArgumentError,
    CallOrderError,
    DataError,
    DTypeError,
    FileFormatError,
    GradientError,
    MinidlError,
    ShapeError,
    StructureError,
)
from minidl.optimizers import ParameterVector
from minidl.solvers import lbfgs, levenberg_marquardt
from tests.support.public_calls import (
    EXCEPTIONS,
    X,
    Y,
    a_model,
    a_stream,
    a_trainer,
    an_optimizer,
    bad_values,
    boom,
    calls,
    files,
    public_names,
    watchers,
)
from tests.support.refusal import refused
from tests.support.whole_state import around, whole

NOT_SWEPT = [name for names in EXCEPTIONS.values() for name in names]
SWEPT = [name for name in public_names() if name not in NOT_SWEPT]

ANYTHING = " ".join(name.replace(" ", "_") for name in bad_values())
ARRAYS = "array row no_rows nans"
NO_ARRAYS = " ".join(set(ANYTHING.split()) - set(ARRAYS.split()))

VALID: dict[str, str] = {
    # arguments that mean the same in every call
    "*.dtype": "none", "*.rng": "none zero huge", "*.sample_weight": "none", "*.weight_initializer": "none",
    "*.bias_initializer": "none", "*.learning_rate": "half boom", "*.learning_rate=.value": "half boom",
    "*.weight_decay": "zero half", "*.weight_decay=.value": "zero half", "*.decayed": "none empty no_rows",
    "*.momentum": "zero half", "*.momentum_decay": "zero half", "*.rho": "zero half", "*.beta?": "zero half",
    "*.epsilon": "half", "*.limit": "half", "*.strength": "zero half", "*.penalties": "empty no_rows", "*.clip": "none",
    "*.steps": "none huge", "*.epochs": "none huge", "*.batch_size": "huge", "*.micro_batch_size": "none huge",
    "*.validation": "none half", "*.metrics": "empty no_rows", "*.callbacks": "none empty no_rows",
    "*.progress": "none true", "*.shuffle": "true", "*.patience": "huge", "*.min_delta": "zero half",
    "*.mode": "none", "*.path": "word", "*.goal": "none zero minus half", "*.tolerance": "zero half",
    "solvers.*.loss": "none", "solvers.*.parameters": "none", "solvers.*.memory": "huge", "*.damping": "half",
    # one call or a few
    "Parameter.value": "array row no_rows nans zero minus half nan inf true empty single", "Parameter.shape": "none",
    "batches.[xy]": "nans objects words complexes", "load.custom": "empty boom no_rows", "load.allow_nonfinite": "true",
    "load_weights.source": "word", "load_weights.strict": "true", "load_weights.cast": "true",
    "load_weights.allow_nonfinite": "true", "layers.mlp.activation": "none", "layers.mlp.output": "none",
    "layers.mlp.normalization": "none", "layers.mlp.dropout": "zero half", "layers.Layer.predict.batch_size": "none",
    "layers.Dense.bias": "true", "layers.PReLU.features": "none", "layers.Embedding.codes": "generator",
    "layers.*.data": "array row",
    "layers.Parallel.merge": "none", "layers.Dropout.rate": "zero half", "layers.LeakyReLU.slope": "zero half",
    "layers.PReLU.slope": "zero half minus", "layers.ELU.alpha": "zero half", "losses.Huber.delta": "half",
    "losses.*.label_smoothing": "zero half", "losses.ElementwiseLoss.*": "boom class", "*.class_weight": "none",
    "*.rate_factor": "none half", "optimizers.Optimizer.set_group.weight_decay": "none zero half",
    "schedules.CosineRestarts.growth": "huge", "schedules.MultiStep.milestones": "generator",
    "solvers.value_and_grad.x": "row",
    "layers.Activation.*": "boom class", "layers.Sequential.__getitem__.index": "zero minus true",
    "optimizers.SGD.nesterov": "", "trainer.Trainer.stop.why": "word",
    "trainer.Trainer.ranks": "none", "initializers.Constant.value": "zero half minus",
    "initializers.*.mean": "zero half minus", "initializers.*.deviation": "zero half",
    "initializers.TruncatedNormal.cut": "half", "initializers.Uniform.*": "zero half minus",
    "initializers.Orthogonal.gain": "half", "callbacks.EarlyStopping.restore_best": "true",
    "callbacks.ReduceOnPlateau.factor": "half", "callbacks.*.min_learning_rate": "zero half",
    "callbacks.Checkpoint.folder": "word path", "callbacks.Checkpoint.every_*": "none huge half",
    "callbacks.Checkpoint.keep_last": "huge", "callbacks.StopAfter.seconds": "half",
    "metrics.*.prediction": "nans", "metrics.labels.values": "array no_rows nans",
    "metrics.*.threshold": "none half zero minus", "schedules.*.rate": "zero half", "schedules.*.initial": "zero half",
    "schedules.*.factor": "zero half", "schedules.*.final": "zero half", "schedules.Warmup.schedule": "zero half boom",
    "schedules.OneCycle.*": "zero half", "schedules.Schedule.in_steps.steps_per_epoch": "huge",
    "Predictor.__call__.x": "nans no_rows", "export.*.name": "word", "export.*.features": "none",
    "search.fit_all.trainers": "empty no_rows", "search.*.executor": "none",
    "solvers.lbfgs.gradient_tolerance": "zero half",
    "search.compare_rates.rates": "none row generator", "search.find_settings.seconds": "half",
    "search.find_settings.monitor": "none", "inspection.trace.optimizer": "none", "inspection.trace.lines": "true",
    "inspection.summary.x": "none no_rows", "inspection.*.depth": "none huge", "inspection.diagram.weights": "true",
    "inspection.diagram.most_neurons": "huge", "inspection.Watch.[xy]": "nans objects words complexes",
    "inspection.Watch.rows": "huge", "inspection.Watch.looks": "huge",
    "inspection.Watch.plot.path": "none", "inspection.plot_*.path": "none", "inspection.plot_*.loss": "none",
    "inspection.plot_decision.y": "none", "inspection.plot_confusion.names": "none",
    # a buffer holds any array; a file refuses what is not made of numbers
    "Buffer*.value": " ".join(set(ANYTHING.split()) - {"ragged", "masked"}),
    # a figure is looked up when a run begins
    "callbacks.*.monitor": ANYTHING,
    # a schedule such as Constant reads neither
    "schedules.Schedule.__call__.*": ANYTHING,
    # an activation alone takes any array; a container, a Trainer and a loss check it
    "layers.Layer.*.x": ANYTHING, "layers.Layer.*.grad": ANYTHING, "layers.Merge.*": ANYTHING,
    "losses.Loss.probabilities.output": ANYTHING, "layers.Layer.output_features.*": ANYTHING,
    # a check is made when it is called
    "testing.*": ANYTHING,
}  # fmt: skip
"""Which of the values are no mistakes, by call and argument."""

PLAIN: dict[str, str] = {
    # What is no array, in the place of an array, in a plain layer, merge or loss. Each update calls them; users call a
    # container or a Trainer, which check it.
    "layers.Layer.__call__.x": NO_ARRAYS, "layers.Layer.forward.x": NO_ARRAYS, "layers.Layer.predict.x": NO_ARRAYS,
    "layers.Layer.*.grad": NO_ARRAYS, "layers.Merge.*": ANYTHING, "losses.Loss.*.prediction": NO_ARRAYS,
    "losses.Loss.probabilities.output": ANYTHING, "layers.Layer.output_features.*": ANYTHING,
    # An optimizer calls a schedule in each update.
    "schedules.Schedule.__call__.*": ANYTHING,
    "optimizers.ParameterVector.split.vector": ANYTHING,
    # As of a tuple.
    "layers.Sequential.__getitem__.index": ANYTHING,
    # The kit runs in tests.
    "testing.*": ANYTHING,
    # A class of the user that does not take the settings.
    "search.find_settings.build": "class",
}  # fmt: skip
"""Where an error of Python or NumPy is enough; the state is compared all the same."""

HALF_DONE = [("layers.Layer.forward", "Parallel of columns", "nans")]
"""A forward pass in which an inner layer refuses its numbers: the layers before it keep theirs for backward."""

ENDLESS = [(name, "huge") for name in ("epochs", "max_iterations", "updates", "candidates")]
ENDLESS.append(("rungs", "none"))  # Then the search takes as long as it is told.


def listed(table: dict[str, str], what: str, kind: str) -> bool:
    return any(fnmatch(what, pattern) and kind.replace(" ", "_") in kinds.split() for pattern, kinds in table.items())


def is_right_error(error: Exception, what: str, kind: str) -> bool:
    """Whether an error is one of minidl, of the file system, or of the user's own function."""
    own = kind == "boom" and str(error) == "boom"
    return own or isinstance(error, (MinidlError, OSError)) or listed(PLAIN, what, kind)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SWEPT)
def test_a_public_call_that_fails_changes_nothing(name: str, tmp_path: Path) -> None:
    wrong = []
    for variant, prepare in calls(name).items():
        call = prepare()
        before = whole(call.receiver, call.given), around(tmp_path)
        for argument in call.given:
            for kind, bad in bad_values().items():
                if (argument, kind) in ENDLESS:
                    continue
                what, given = f"{name}.{argument}", whole(bad)
                try:
                    with np.errstate(all="ignore"):
                        call.make(**{argument: bad})
                except Exception as error:
                    if not is_right_error(error, what, kind):
                        wrong.append(f"{what} of {variant!r}, {kind}: {error!r}")
                    if (name, variant, kind) in HALF_DONE:
                        call = prepare()
                        continue
                    if (whole(call.receiver, call.given), around(tmp_path)) == before and whole(bad) == given:
                        continue
                    wrong.append(f"{what} of {variant!r}, {kind}: changed something, then {error!r}")
                else:
                    if not listed(VALID, what, kind):
                        wrong.append(f"{what} of {variant!r}, {kind}: accepted")
                call = prepare()
                before = whole(call.receiver, call.given), around(tmp_path)
    assert wrong == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SWEPT)
def test_the_right_arguments_of_the_sweep_are_right(name: str) -> None:
    for prepare in calls(name).values():
        try:
            prepare().make()
        except StructureError as error:
            assert "gives no probabilities" in str(error)  # noqa: PT017 - losses without probabilities


def test_the_sweep_sees_a_change_and_a_wrong_error(tmp_path: Path) -> None:
    trainer = a_trainer()
    before = whole(trainer)
    trainer._run.position.batch += 1
    assert whole(trainer) != before
    trainer._run.position.batch -= 1
    assert whole(trainer) == before
    trainer.model.parameters()[0].value[0, 0] += 1e-16
    assert whole(trainer) != before
    outside = around(tmp_path)
    (tmp_path / "new").touch()
    assert around(tmp_path) != outside
    assert not is_right_error(AttributeError("x"), "trainer.Trainer.fit.x", "list")


def test_every_public_name_is_swept_or_an_exception() -> None:
    names = public_names()
    assert len(SWEPT) > 150
    assert [name for name in NOT_SWEPT if name not in names] == []


class Raises(Callback):
    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        trainer.model.parameters()[0].value = np.zeros((4, 3))
        boom()


class UnableError(MeanSquaredError):
    """A loss that fails."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        boom()
        return super().forward_rows(prediction, target)


def holes(array: Array) -> Array:
    array = array.copy()
    array[-1, -1] = np.nan
    return array


def huge(model: Sequential) -> Sequential:
    model[-1].weight.value = np.full(model[-1].weight.shape, 1e200)  # type: ignore[attr-defined]
    return model


def unsaveable() -> Trainer:
    model = Sequential(Dense(3, 2), Activation(lambda x: x, np.ones_like))
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)


def file_with(name: str, **metadata: Any) -> Path:
    """Write a file like one of `files`, with other metadata."""
    tensors, kept, _ = read(files()[name])
    write("other", tensors, {**(kept or {}), **metadata})
    return Path("other")


def log() -> LogFile:
    Path("log.csv").write_text("epoch,loss\n0,0.5\n", encoding="utf-8")
    return LogFile("log.csv")


def mixed() -> list[Parameter]:
    return [*an_optimizer().vector.parameters, Parameter(np.ones(2, np.float32))]


def changed(made: Any, change: Callable[[Any], object]) -> Any:
    """Return an object after a change."""
    change(made)
    return made


def norm_model() -> Sequential:
    return Sequential(Dense(3, 4), BatchNorm(4), Tanh(), Dense(4, 2)).initialize(0)


Mistake = tuple[Callable[[], Any], Callable[[Any], Any], type[Exception]]

MISTAKES: dict[str, Mistake] = {
    "a callback that raises": (a_trainer, lambda t: t.fit(X, Y, epochs=1, callbacks=[Raises()]), RuntimeError),
    "a metric that raises": (a_trainer, lambda t: t.fit(X, Y, epochs=1, metrics=[boom]), RuntimeError),
    "two metrics with one name": (a_trainer, lambda t: t.fit(X, Y, epochs=1, metrics=[boom, boom]), ArgumentError),
    "a metric named loss": (a_trainer, lambda t: t.fit(X, Y, epochs=1, metrics={"loss": abs}), ArgumentError),
    "NaN in x": (a_trainer, lambda t: t.fit(holes(X), Y, epochs=1), DataError),
    "NaN in y": (a_trainer, lambda t: t.fit(X, holes(Y), epochs=1), DataError),
    "NaN in validation": (a_trainer, lambda t: t.fit(X, Y, epochs=1, validation=(holes(X), Y)), DataError),
    "a negative weight": (a_trainer, lambda t: t.fit(X, Y, epochs=1, sample_weight=-np.ones(8)), DataError),
    "labels for values": (a_trainer, lambda t: t.fit(X, np.zeros(8, int), epochs=1), ShapeError),
    "a log, and an unknown figure": (
        lambda: (a_trainer(), log()),
        lambda t: t[0].fit(X, Y, epochs=1, callbacks=[t[1], EarlyStopping(1, "nothing")]), ArgumentError),
    "a log in a missing folder": (
        a_trainer, lambda t: t.fit(X, Y, epochs=1, callbacks=[LogFile("no/log.csv")]), FileNotFoundError),
    "other callbacks": (a_trainer, lambda t: t.resume(X, Y, callbacks=[Raises()]), RuntimeError),
    "other data": (a_trainer, lambda t: t.resume(X + 1, Y), DataError),
    "other rows": (a_trainer, lambda t: t.resume(X[1:], Y[1:]), DataError),
    "a stream that raises": (a_trainer, lambda t: t.fit_batches(boom, epochs=1), RuntimeError),
    "an empty stream": (a_trainer, lambda t: t.fit_batches([], epochs=1), DataError),
    "a stream of other batches": (
        lambda: a_trainer(streamed=True), lambda t: t.resume_batches(a_stream()[::-1]), DataError),
    "all frozen": (
        lambda: changed(a_trainer(), lambda t: t.model.freeze()), lambda t: t.fit(X, Y, epochs=1), ArgumentError),
    "a word as the engine": (
        lambda: changed(a_trainer(), lambda t: setattr(t, "engine", "gpu")), lambda t: t.fit(X, Y, epochs=1),
        ArgumentError),
    "a folder as the path": (a_trainer, lambda t: t.save("."), OSError),
    "a model that no file can hold": (unsaveable, lambda t: t.save("run"), ArgumentError),
    "a checkpoint of such a model": (
        unsaveable, lambda t: t.fit(X, Y, epochs=1, callbacks=[Checkpoint(".")]), ArgumentError),
    "a model as a run": (a_trainer, lambda t: t.restore(files()["model"]), FileFormatError),
    "no file of minidl": (lambda: (Path("x").write_text("text"), a_trainer())[1], lambda t: t.restore("x"),
                          FileFormatError),
    "a run of another optimizer": (
        lambda: Trainer(model := a_model(), HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0),
        lambda t: t.restore(files()["run"]), ArgumentError),
    "a run that freezes what is not there": (
        lambda: (file_with("run", frozen=["7.weight"]), changed(a_trainer(), lambda t: t.fit(X, Y, epochs=1)))[1],
        lambda t: t.restore("other"), FileFormatError),
    "a model that freezes what is not there": (
        lambda: file_with("model", frozen=["7.weight"]), load, FileFormatError),
    "weights of another model": (lambda: mlp([3, 5, 2], rng=0), lambda m: load_weights(m, files()["model"]),
                                 FileFormatError),
    "one weight that is NaN": (
        a_model, lambda m: load_weights(m, {"0.weight": holes(np.ones((4, 3)))}, strict=False), FileFormatError),
    "a weight of another shape": (
        a_model, lambda m: load_weights(m, {"0.bias": np.ones(4), "0.weight": np.ones((3, 4))}, strict=False),
        FileFormatError),
    "saving over a folder": (a_model, lambda m: save(m, "."), OSError),
    "saving weights over a folder": (a_model, lambda m: save_weights(m, "."), OSError),
    "no finite loss": (lambda: huge(norm_model()), lambda m: lbfgs(m, X, 1e200 * Y), DataError),
    "no finite loss of squares": (
        lambda: huge(mlp([3, 4, 2], activation=Tanh, rng=0)), lambda m: levenberg_marquardt(m, X, 1e200 * Y),
        DataError),
    "a loss that fails in a solver": (norm_model, lambda m: lbfgs(m, X, Y, loss=UnableError()), RuntimeError),
    "a clip of NaN": (
        lambda: changed(an_optimizer(), lambda o: o.vector.parameters[1].grad.fill(np.nan)),
        lambda o: ClipGlobalNorm(0.1)(o.vector), GradientError),
    "a step without gradients": (
        lambda: changed(an_optimizer(), lambda o: o.vector.use_up()), lambda o: o.step(), CallOrderError),
    "both dtypes in a vector": (mixed, ParameterVector, DTypeError),
    "both dtypes in an optimizer": (mixed, lambda p: SGD(p, 0.1), DTypeError),
    "a decayed parameter of another": (mixed, lambda p: SGD(p[:2], 0.1, decayed=p[2:]), ArgumentError),
    "nesterov without momentum": (mixed, lambda p: SGD(p[:2], 0.1, nesterov=True), ArgumentError),
    "a penalty of another model": (
        lambda: (model := a_model(), SGD(model.parameters(), 0.1), np.random.default_rng(0)),
        lambda p: Trainer(p[0], HalfSquaredError(), p[1], rng=p[2], penalties=[L2(0.1, [Parameter(1.0)])]),
        ArgumentError),
    "another array as the gradient": (
        an_optimizer, lambda o: setattr(o.vector.parameters[0], "grad", np.ones((2, 3))), CallOrderError),
    "a momentum that it was made without": (
        lambda: SGD([Parameter(1.0)], 0.1), lambda o: setattr(o, "momentum", 0.9), ArgumentError),
}  # fmt: skip
"""Maps a mistake to what makes the state, the call, and its error."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_nothing(mistake: str, tmp_path: Path) -> None:
    make, call, error = MISTAKES[mistake]
    files()
    state = make()
    before = whole(state), around(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error) as caught:
            call(state)
    assert (whole(state), around(tmp_path)) == before
    assert isinstance(caught.value, (MinidlError, OSError)) or str(caught.value) == "boom"


def test_a_loss_that_refuses_weights_still_knows_its_last_forward() -> None:
    loss = HalfSquaredError()
    loss.forward(Y, 2 * Y)
    with refused(DataError, "sample_weight"):
        loss.forward(3 * Y, Y, -np.ones(8))
    np.testing.assert_array_equal(loss.backward(), -Y / 8)


def test_a_refused_fit_keeps_the_log_of_the_last_one() -> None:
    trainer = a_trainer()
    trainer.fit(X, Y, epochs=2, callbacks=[LogFile("log.csv")])
    text = Path("log.csv").read_text(encoding="utf-8")
    assert len(text.splitlines()) == 4
    with refused(ArgumentError, "nothing"):
        trainer.fit(X, Y, epochs=1, callbacks=[LogFile("log.csv"), EarlyStopping(1, "nothing")])
    assert Path("log.csv").read_text(encoding="utf-8") == text


class Narrow(Layer):
    """A layer of three columns that does not say so."""

    def __init__(self) -> None:
        self.scale = Parameter(np.ones(3))

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * self.scale.value

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += (grad * self._x).sum(axis=0)
        return grad * self.scale.value


@pytest.mark.parametrize("call", ["forward", "predict"])
def test_an_error_of_numpy_names_the_layer_and_the_shape_of_its_input(call: str) -> None:
    model = Sequential(Tanh(), Residual(Sequential(Tanh(), Narrow())))
    with pytest.raises(ValueError, match="broadcast") as caught:
        getattr(model, call)(np.ones((2, 4)))
    assert caught.value.__notes__ == ['at layer "1.layer.1": Narrow() with x of shape (2, 4)']
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    with pytest.raises(ValueError, match="broadcast") as caught:
        trainer.fit(np.ones((2, 4)), np.ones((2, 4)), epochs=1)
    assert 'found with rows of 4 features at layer "1"' in "\n".join(caught.value.__notes__)


class Breaks(Callback):
    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        boom()


def test_an_error_in_a_run_is_why_it_stopped() -> None:
    trainer = a_trainer()
    with pytest.raises(RuntimeError, match="boom"):
        trainer.fit(X, Y, epochs=2, callbacks=[Breaks()])
    assert trainer.history.stopped_by == "RuntimeError"
    assert trainer.interrupted
    trainer.fit(X, Y, epochs=1)
    assert trainer.history.stopped_by == "epochs"


def test_a_restored_trainer_forgets_its_own_last_fit() -> None:
    trainer, fresh = a_trainer(), a_trainer()
    trainer._run.interrupted, trainer._run.why_stop = True, "enough"
    for each in (trainer, fresh):
        each.restore(files()["run"])
    assert (trainer.figures, trainer.last_engine, trainer.interrupted) == ({"loss": "min"}, None, False)
    for each in (trainer, fresh):
        each.resume(X, Y, callbacks=watchers())


@pytest.mark.parametrize("word", ["no", 0, 1, None])
def test_a_flag_is_true_or_false(word: Any) -> None:
    with refused(DTypeError, f"fit(shuffle): expected True or False, got {word!r}"):
        a_trainer().fit(X, Y, epochs=1, shuffle=word)
    with refused(DTypeError, "SGD(nesterov): expected True or False"):
        SGD([Parameter(1.0)], 0.1, momentum=0.9, nesterov=word)


@pytest.mark.parametrize("path", [3, None, ["a"]])
def test_a_path_is_text_or_a_path(path: Any) -> None:
    doors: list[Callable[[], object]] = [
        lambda: save(a_model(), path), lambda: load(path), lambda: a_trainer().save(path), lambda: LogFile(path)
    ]  # fmt: skip
    for door in doors:
        with refused(DTypeError, "path: expected the path of a file", f"got {path!r}"):
            door()


def test_a_number_that_no_float_can_hold_is_refused() -> None:
    with refused(ArgumentError, "SGD(learning_rate): expected a finite number and above 0, got 1000"):
        SGD([Parameter(1.0)], 10**400)
