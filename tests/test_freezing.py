"""What is frozen keeps its bits: in optimizers, on both engines, in solvers, in files."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

import minidl
from minidl import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Array,
    BatchNorm,
    Dense,
    Embedding,
    HalfSquaredError,
    LayerNorm,
    NAdam,
    Parameter,
    PReLU,
    RMSNorm,
    RMSProp,
    Sequential,
    Tanh,
    Trainer,
    mlp,
)
from minidl._core.parameter import Buffer
from minidl._files.statefile import read, write
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, CallOrderError, FileFormatError
from minidl.layers._parts import named
from minidl.layers.base import trait
from minidl.optimizers import Optimizer
from minidl.solvers import jacobian, lbfgs, levenberg_marquardt, parameter_jacobian
from minidl.testing import check_layer

X = np.random.default_rng(0).normal(size=(40, 2))
Y = X[:, :1] * X[:, 1:]


class SignDescent(Optimizer):
    """W ← W − η sign(g), and everything shrinks a little, whether it has a gradient or not."""

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float) -> None:
        super().__init__(parameters, learning_rate)
        self.moves = self.slot()

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self.moves += 1.0
        values *= 0.99
        values -= learning_rate * np.sign(gradients)


OPTIMIZERS: dict[str, Callable[[list[Parameter]], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, 0.1),
    "SGD momentum": lambda parameters: SGD(parameters, 0.01, momentum=0.9, weight_decay=0.1),
    "SGD Nesterov": lambda parameters: SGD(parameters, 0.01, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: Adam(parameters, 0.1, weight_decay=0.1),
    "AdamW": lambda parameters: AdamW(parameters, 0.1, weight_decay=0.1),
    "NAdam": lambda parameters: NAdam(parameters, 0.1),
    "Adagrad": lambda parameters: Adagrad(parameters, 0.1),
    "RMSProp": lambda parameters: RMSProp(parameters, 0.1, momentum=0.5),
    "own": lambda parameters: SignDescent(parameters, 0.1),
}
COMPILED = ["SGD", "SGD momentum", "SGD Nesterov", "Adam", "AdamW"]

each_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def take_steps(model: Sequential, optimizer: Optimizer, count: int) -> None:
    loss = HalfSquaredError()
    for number in range(count):
        batch = slice(5 * number, 5 * number + 5)
        loss.forward(model.forward(X[batch]), Y[batch])
        model.backward(loss.backward())
        optimizer.step()


@each_optimizer
def test_an_optimizer_treats_frozen_parameters_as_if_they_were_not_given(
    make: Callable[[list[Parameter]], Optimizer]
) -> None:
    model, other = mlp([2, 3, 4, 1], rng=0), mlp([2, 3, 4, 1], rng=0)
    model[2].freeze()
    rest = [parameter for path, parameter in other.named_parameters().items() if not path.startswith("2.")]
    take_steps(model, make(model.parameters()), 6)
    take_steps(other, make(rest), 6)
    for found, wanted in zip(model.parameters(), other.parameters(), strict=True):
        assert np.array_equal(found.value, wanted.value)


@each_optimizer
def test_what_an_optimizer_remembers_of_a_frozen_parameter_waits(make: Callable[[list[Parameter]], Optimizer]) -> None:
    model = mlp([2, 3, 1], rng=0)
    optimizer = make(model.parameters())
    take_steps(model, optimizer, 2)
    weight = model.parameters()[0].freeze()
    place = optimizer.vector.slices()[0]
    before = [slot[place].copy() for slot in optimizer.slots().values()]
    value = weight.value.copy()
    take_steps(model, optimizer, 3)
    assert np.array_equal(weight.value, value)
    assert all(np.array_equal(a, b[place]) for a, b in zip(before, optimizer.slots().values(), strict=True))
    weight.unfreeze()
    take_steps(model, optimizer, 1)
    assert not np.array_equal(weight.value, value)


def test_a_step_with_nothing_to_learn_is_refused_and_changes_nothing() -> None:
    model = mlp([2, 3, 1], rng=0)
    optimizer = SGD(model.parameters(), 0.1)
    model.freeze()
    before = optimizer.vector.values.copy()
    with pytest.raises(CallOrderError, match="all of them are frozen"):
        take_steps(model, optimizer, 1)
    assert np.array_equal(optimizer.vector.values, before)
    assert optimizer.steps == 0


class SaveOnce(Callback):
    """Save in the third epoch, and stop; nothing where the file is there."""

    every_batches = 2

    def __init__(self, path: Path) -> None:
        self.path = path

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == 2 and not self.path.exists():
            trainer.save(self.path)
            trainer.stop("saved")


class Unfreeze(Callback):
    """Unfreeze a layer in the middle of the second epoch, and freeze another."""

    every_batches = 4

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (1, 4):
            layers: Any = trainer.model
            layers[0].unfreeze()
            layers[3].freeze()
            layers[1].freeze()


def plain_network() -> Sequential:
    """Return a network of which little has to be compiled for each optimizer."""
    return Sequential(Dense(2, 6), PReLU(), Dense(6, 4), Dense(4, 1)).initialize(3)


def small_network() -> Sequential:
    """Return a network that compiles in half of the time of the other."""
    return Sequential(Dense(2, 6), BatchNorm(6), Tanh(), Dense(6, 1)).initialize(3)


def network() -> Sequential:
    return Sequential(Dense(2, 6), BatchNorm(6), Tanh(), Dense(6, 5), LayerNorm(5), Dense(5, 1)).initialize(3)


@pytest.mark.parametrize(("name", "batch_size"), [("SGD", 1), ("Adam", 1), *((name, 7) for name in COMPILED)])
def test_both_engines_leave_what_is_frozen_alone(name: str, batch_size: int) -> None:
    runs = []
    for engine in ("numpy", "compiled"):
        model = network() if name == "SGD" else plain_network()
        model.forward(X)  # so that the running statistics are not those of the start
        for frozen in (model[1], model[3]):
            frozen.freeze()
        before = [part.value.copy() for layer in (model[1], model[3]) for part in state(layer)]
        run = Trainer(model, HalfSquaredError(), OPTIMIZERS[name](model.parameters()), rng=2, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=batch_size)
        after = [part.value for layer in (model[1], model[3]) for part in state(layer)]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        runs.append(run)
    assert np.isfinite(runs[0].history.loss).all()
    np.testing.assert_allclose(runs[1].history.loss, runs[0].history.loss, rtol=1e-9)
    np.testing.assert_allclose(runs[1].optimizer.vector.values, runs[0].optimizer.vector.values, rtol=1e-7, atol=1e-12)


def state(layer: Any) -> list[Any]:
    return [*layer.parameters(), *named(layer, Buffer).values()]


def test_a_callback_may_freeze_and_unfreeze_and_a_resume_continues(tmp_path: Path) -> None:
    values = []
    for engine in ("numpy", "compiled"):
        path = tmp_path / f"{engine}.safetensors"

        def build(engine: Any = engine) -> Trainer:
            model = small_network()
            model[0].freeze()
            return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.05, momentum=0.9), rng=2, engine=engine)

        whole = build()
        whole.fit(X, Y, epochs=4, batch_size=5, callbacks=[Unfreeze()])
        cut = build()
        cut.fit(X, Y, epochs=4, batch_size=5, callbacks=[Unfreeze(), SaveOnce(path)])
        again = build()
        again.restore(path)
        again.resume(X, Y, callbacks=[Unfreeze(), SaveOnce(path)])
        assert again.history.loss == whole.history.loss
        assert np.array_equal(again.optimizer.vector.values, whole.optimizer.vector.values)
        values.append(whole.optimizer.vector.values)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 6])
def test_frozen_normalization_uses_its_running_statistics_and_leaves_them_alone(rows: int) -> None:
    layer = BatchNorm(2)
    layer.weight.value = [1.5, -2.0]
    layer.bias.value = [0.5, 1.0]
    layer.running_mean.value, layer.running_var.value = np.array([1.0, -1.0]), np.array([4.0, 0.25])
    layer.freeze()
    x = np.random.default_rng(1).normal(size=(rows, 2))
    deviation = np.sqrt(np.array([4.0, 0.25]) + layer.epsilon)
    y = layer.forward(x)
    np.testing.assert_allclose(y, (x - [1.0, -1.0]) / deviation * [1.5, -2.0] + [0.5, 1.0], rtol=1e-14)
    assert np.array_equal(y, layer.predict(x))
    np.testing.assert_allclose(layer.backward(np.ones_like(x)), np.ones_like(x) * [1.5, -2.0] / deviation, rtol=1e-14)
    assert layer.running_mean.value.tolist() == [1.0, -1.0]
    assert layer.running_var.value.tolist() == [4.0, 0.25]
    assert layer.num_batches_tracked.value == 0
    assert (trait(layer, "smallest_batch"), trait(layer, "couples_rows")) == (1, False)


def test_frozen_layers_pass_the_checks_of_layers() -> None:
    norm = BatchNorm(3)
    norm.forward(np.random.default_rng(0).normal(size=(8, 3)))
    check_layer(norm.freeze())
    check_layer(Dense(3, 2).freeze())


def test_initialize_leaves_what_is_frozen() -> None:
    model = network()
    model.forward(X)
    model[0].freeze()
    model[1].freeze()
    before = [part.value.copy() for part in state(model)]
    model.initialize(7)
    kept = [np.array_equal(a, b.value) for a, b in zip(before, state(model), strict=True)]
    frozen = [part.frozen for part in state(model)]
    assert all(same for same, held in zip(kept, frozen, strict=True) if held)
    assert not np.array_equal(before[4], model.parameters()[4].value)


def test_copies_keep_the_mark() -> None:
    model = network().freeze()
    for twin in (copy.deepcopy(model), model.astype(np.float32)):
        assert all(part.frozen for part in state(twin))
    assert not any(part.frozen for part in state(model.unfreeze()))


def test_a_file_keeps_what_is_frozen(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = network()
    model[0].freeze()
    model[1].freeze()
    minidl.save(model, path)
    loaded = minidl.load(path)
    assert [part.frozen for part in state(loaded)] == [part.frozen for part in state(model)]
    assert repr(loaded) == repr(model)
    minidl.load_weights(model.unfreeze(), path)
    assert not any(part.frozen for part in state(model))


@pytest.mark.parametrize("bad", ["0.weight", [["0.weight"]], ["nothing"], [3], {"0.weight": True}])
def test_a_file_that_freezes_what_is_not_there_is_refused(bad: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    minidl.save(mlp([2, 1], rng=0).freeze(), path)
    tensors, metadata, _ = read(path)
    assert metadata is not None
    assert json.loads(json.dumps(metadata))["frozen"] == ["0.weight", "0.bias"]
    write(path, tensors, {**metadata, "frozen": bad})
    with pytest.raises(FileFormatError, match="paths of frozen parameters and buffers"):
        minidl.load(path)


def test_a_model_as_prediction_sees_it_can_be_trained_on_and_saved(tmp_path: Path) -> None:
    base = network()
    base.forward(X)
    model = Sequential(base.inference(), Dense(1, 1).initialize(0))
    path = tmp_path / "model.safetensors"
    minidl.save(model, path)
    assert np.array_equal(minidl.load(path).predict(X), model.predict(X))
    assert np.array_equal(model.forward(X), model.predict(X))


def test_a_repr_shows_what_is_frozen() -> None:
    layers = [Dense(2, 3), Embedding(2, 3), PReLU(), LayerNorm(2), RMSNorm(2), BatchNorm(2)]
    for layer in layers:
        before = repr(layer)
        assert repr(layer.freeze()) == f"{before[:-1]}, frozen)"
        assert repr(layer.parameters()[0]).endswith(", frozen")
    assert repr(BatchNorm(2).inference()) == "BatchNorm(2, fixed statistics)"
    assert "frozen" in repr(Sequential(*layers[:1]))


def test_a_repr_says_partly_frozen_where_something_still_changes() -> None:
    norm, dense = BatchNorm(8), Dense(2, 3)
    for parameter in norm.parameters():
        parameter.freeze()
    norm.forward(np.arange(16.0).reshape(2, 8))
    assert norm.running_mean.value.any()  # The statistics still follow the data.
    dense.weight.freeze()
    assert [repr(norm), repr(dense)] == ["BatchNorm(8, partly frozen)", "Dense(2 -> 3, partly frozen)"]
    assert [repr(norm.freeze()), repr(dense.freeze())] == ["BatchNorm(8, frozen)", "Dense(2 -> 3, frozen)"]
    norm.weight.unfreeze()
    assert repr(norm) == "BatchNorm(8, partly frozen)"


def test_assigning_frozen_is_refused() -> None:
    for part in (Parameter(1.0), Buffer(1.0)):
        with pytest.raises(AttributeError, match=r"frozen cannot be assigned; call freeze\(\) or unfreeze\(\)"):
            part.frozen = True  # type: ignore[misc]
        assert not part.frozen


def test_solvers_skip_what_is_frozen() -> None:
    for solve in (lbfgs_fit, levenberg_marquardt_fit):
        model = Sequential(Dense(2, 6), BatchNorm(6), Tanh(), Dense(6, 1)).initialize(3)
        model.forward(X)
        model[0].freeze()
        model[1].freeze()
        before = [part.value.copy() for part in [*state(model[0]), *state(model[1])]]
        solve(model)
        after = [part.value for part in [*state(model[0]), *state(model[1])]]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        # What is left is linear least squares.
        hidden = np.hstack([model[:3].predict(X), np.ones((len(X), 1))])
        best = np.linalg.lstsq(hidden, Y, rcond=None)[0]
        np.testing.assert_allclose(model.predict(X), hidden @ best, atol=1e-5)
        with pytest.raises(ArgumentError, match="got a frozen one"):
            solve(model, parameters=model.parameters())
        with pytest.raises(ArgumentError, match="got a frozen model"):
            solve(model.freeze())


def lbfgs_fit(model: Any, **arguments: Any) -> None:
    lbfgs(model, X, Y, **arguments)


def levenberg_marquardt_fit(model: Any, **arguments: Any) -> None:
    levenberg_marquardt(model, X, Y, **arguments)


def test_derivatives_do_not_depend_on_what_is_frozen() -> None:
    model = network()
    model.forward(X)
    wanted = jacobian(model, X), parameter_jacobian(model, X)
    model.freeze()
    found = jacobian(model, X), parameter_jacobian(model, X, model.parameters())
    assert all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_a_fit_warns_of_parameters_that_it_does_not_learn() -> None:
    old = mlp([2, 3, 1], rng=0)
    optimizer = SGD(old.parameters(), 0.1)
    model = Sequential(*old[:-1], Dense(3, 1))
    with pytest.warns(UserWarning, match=r"the optimizer does not hold 2.weight, 2.bias, so that they are not learned; "
                      r"freeze\(\) them if that is meant, else make the optimizer from model.parameters\(\)"):
        Trainer(model, HalfSquaredError(), optimizer).fit(X, Y, epochs=1)
    model[2].freeze()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer(model, HalfSquaredError(), optimizer).fit(X, Y, epochs=1)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_fit_with_nothing_to_learn_is_refused_before_anything_changes(engine: Any) -> None:
    model = mlp([2, 3, 1], rng=0).freeze()
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine=engine)
    with pytest.raises(ArgumentError, match=r"no parameter of this model that learns; .* unfreeze\(\)"):
        trainer.fit(X, Y, epochs=2)
    with pytest.raises(ArgumentError, match=r"no parameter of this model that learns; .* unfreeze\(\)"):
        trainer.fit_batches([(X, Y)], epochs=2)
    with pytest.raises(CallOrderError, match="expected an interrupted fit"):
        trainer.resume(X, Y)
