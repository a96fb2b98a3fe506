"""What is not finite during training: it is named, and the last finite state stands."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Array,
    BatchNorm,
    Buffer,
    Dense,
    HalfSquaredError,
    Identity,
    Layer,
    NAdam,
    Parameter,
    RMSProp,
    Sequential,
    Sigmoid,
    Tanh,
    Trainer,
)
from minidl._training.snapshot import Snapshot
from minidl.callbacks import Callback
from minidl.errors import DivergenceError
from minidl.initializers import Constant
from minidl.inspection import trace
from minidl.layers._parts import named, walk
from minidl.optimizers import Optimizer
from tests.support.whole_state import whole

MARK = 50.0
ROWS = 200


class StopAt(Callback):
    """Stop a run just before a batch."""

    every_batches = 1

    def __init__(self, batch: int) -> None:
        self.batch = batch

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        if self.batch == 0:
            trainer.stop("before the first batch")

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if trainer.position.batch == self.batch:
            trainer.stop("before the mark")


class StoppedError(Exception):
    """The row with the mark came by where it should not."""


class Trap(Layer):
    """Compute y = s x, but when a row with the mark comes by do harm in one phase, or stop the run."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.scale = Parameter(1.0)

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        self._harm: float = np.nan if np.any(x == MARK) else 1.0
        if self._harm != 1.0 and self.phase == "stop":
            raise StoppedError
        return self.scale.value * x * (self._harm if self.phase == "forward" else 1.0)

    @override
    def backward(self, grad: Array) -> Array:
        grad = grad * (self._harm if self.phase == "backward" else 1.0)
        self.scale.grad += np.sum(grad * self._x)
        return grad * self.scale.value


class SpoiledSquaredError(HalfSquaredError):
    """Do harm for targets that are the mark."""

    def __init__(self, phase: str, harm: float = np.nan) -> None:
        self.phase, self.harm = phase, harm

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._harm = self.harm if np.any(target == MARK) else 1.0
        if self._harm != 1.0 and self.phase == "stop":
            raise StoppedError
        return super().forward_rows(prediction, target) * (self._harm if self.phase == "value" else 1.0)

    @override
    def backward_rows(self) -> Array:
        return super().backward_rows() * (self._harm if self.phase == "gradient" else 1.0)


class Noise(Layer):
    """Add noise from a generator of its own, and count its passes in a buffer."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.passes = Buffer(0)

    @override
    def forward(self, x: Array) -> Array:
        self.passes.value = self.passes.value + 1
        return x + 0.01 * self.rng.normal(size=x.shape)

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def trapped(phase: str) -> Trainer:
    """Make a trainer whose frozen first layer passes the input unchanged to the trap at "1"."""
    same = Dense(1, 1, weight_initializer=Constant(1)).freeze()
    model = Sequential(same, Trap(phase), Noise(), Dense(1, 3).initialize(0), Tanh(), Dense(3, 1).initialize(1))
    return Trainer(model, HalfSquaredError(), SGD(model[1:].parameters(), 0.05, momentum=0.9), rng=0)


def marked(row: int) -> tuple[Any, Any]:
    x = np.linspace(-1, 1, ROWS)[:, None]
    y = np.cos(x)
    x[row] = MARK
    return x, y


def state(trainer: Trainer) -> list[Any]:
    model, optimizer = trainer.model, trainer.optimizer
    return [
        [p.value.tolist() for p in model.parameters()],
        {name: slot.tolist() for name, slot in optimizer.slots().items()},
        optimizer.steps,
        {name: buffer.value.tolist() for name, buffer in named(model, Buffer).items()},
        {name: repr(rng.bit_generator.state) for name, rng in named(model, np.random.Generator).items()},
        trainer.history.loss,
        trainer.position,
    ]


@pytest.mark.parametrize("phase", ["forward", "backward"])
@pytest.mark.parametrize("batch", [0, 1, 40, 63, 64, 65, 130, 199])
def test_the_layer_is_named_and_the_state_is_that_of_a_run_stopped_just_before(phase: str, batch: int) -> None:
    x, y = marked(batch)
    diverged, stopped = trapped(phase), trapped("stop")
    with pytest.raises(DivergenceError) as caught:
        diverged.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    stopped.fit(x, y, epochs=1, batch_size=1, shuffle=False, callbacks=[StopAt(caught.value.batch)])
    error = caught.value
    assert (error.epoch, error.batch, error.learning_rate) == (0, batch, 0.05)
    assert (error.layer, error.phase) == ("1", phase)
    for words in ("epoch 0", f"batch {batch}", "learning rate 0.05", f"in the {phase} of", '"1"', "Trap"):
        assert words in str(error)
    assert [array.tolist() for array in error.data] == [[x[batch].tolist()], [y[batch].tolist()]]
    assert state(diverged) == state(stopped)


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_the_batch_of_the_error_can_be_traced(phase: str) -> None:
    trainer = trapped(phase)
    x, y = marked(70)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(x, y, epochs=1, batch_size=4, sample_weight=np.arange(1.0, ROWS + 1))
    before = state(trainer)
    t = trace(trainer.model, trainer.loss, *caught.value.data, optimizer=trainer.optimizer)
    assert state(trainer) == before
    assert [len(array) for array in caught.value.data] == [4, 4, 4]
    step = t.first_not_finite()
    assert step is not None
    assert (step.path, step.phase) == (caught.value.layer, caught.value.phase) == ("1", phase)
    assert np.isfinite(t.error) == (phase == "backward")


def test_the_batch_of_the_error_is_a_copy() -> None:
    x, y = marked(3)
    with pytest.raises(DivergenceError) as caught:
        trapped("forward").fit(x, y, epochs=1, batch_size=1, shuffle=False)
    x[:] = 0.0
    assert caught.value.data[0].tolist() == [[MARK]]


def test_the_error_can_be_pickled_and_copied() -> None:
    x, y = marked(3)
    with pytest.raises(DivergenceError) as caught:
        trapped("forward").fit(x, y, epochs=1, batch_size=1, shuffle=False)
    caught.value.add_note("a note")
    for other in (pickle.loads(pickle.dumps(caught.value)), copy.deepcopy(caught.value)):
        assert str(other) == str(caught.value)
        assert whole({**vars(other)}) == whole({**vars(caught.value)})
        assert vars(other)["__notes__"] == ["a note"]


class Predicts(Layer):
    """Compute a(x), and its prediction in between, which is no part of the pass."""

    def __init__(self, a: Layer) -> None:
        self.a = a

    @override
    def forward(self, x: Array) -> Array:
        y = self.a.forward(x)
        self.a.inference().forward(np.full((3, x.shape[1]), np.inf))
        return y

    @override
    def backward(self, grad: Array) -> Array:
        return self.a.backward(grad)


def test_a_prediction_within_the_pass_is_not_watched() -> None:
    model = Sequential(Predicts(Dense(1, 1, weight_initializer=Constant(1)).freeze()), Trap("forward"))
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.05), rng=0)
    x, y = marked(3)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    assert (caught.value.layer, caught.value.batch) == ("1", 3)
    assert "inference" not in vars(model[0])


def test_in_a_later_epoch_the_earlier_ones_stand_in_the_history() -> None:
    x, y = marked(120)
    clean = x.copy()
    clean[120] = 0.0
    diverged, stopped = trapped("backward"), trapped("stop")
    for trainer in (diverged, stopped):
        trainer.fit(clean, y, epochs=2, batch_size=1)
    with pytest.raises(DivergenceError) as caught:
        diverged.fit(x, y, epochs=1, batch_size=1)
    stopped.fit(x, y, epochs=1, batch_size=1, callbacks=[StopAt(caught.value.batch)])
    assert caught.value.epoch == 2
    assert len(diverged.history) == 2
    assert state(diverged) == state(stopped)


@pytest.mark.parametrize("phase", ["value", "gradient"])
@pytest.mark.parametrize("batch", [3, 70])
def test_a_loss_or_a_gradient_that_is_not_finite_is_found(phase: str, batch: int) -> None:
    x = np.linspace(-1, 1, ROWS)[:, None]
    y = np.cos(x)
    y[batch] = MARK

    def trainer(phase: str) -> Trainer:
        model = Sequential(Dense(1, 3), Tanh(), Dense(3, 1)).initialize(rng=0)
        return Trainer(model, SpoiledSquaredError(phase), SGD(model.parameters(), 0.05), rng=0)

    diverged, stopped = trainer(phase), trainer("stop")
    with pytest.raises(DivergenceError) as caught:
        diverged.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    stopped.fit(x, y, epochs=1, batch_size=1, shuffle=False, callbacks=[StopAt(caught.value.batch)])
    error = caught.value
    assert (error.epoch, error.batch, error.layer, error.phase) == (0, batch, "", "loss")
    assert "in the loss of SpoiledSquaredError()" in str(error)
    assert state(diverged) == state(stopped)


@pytest.mark.parametrize("batch", [10, 63, 64, 100])
def test_infinite_weights_are_found_even_where_the_loss_is_finite(batch: int) -> None:
    x = np.linspace(0.5, 1, ROWS)[:, None]
    y = np.full((ROWS, 1), 0.5)
    y[batch] = MARK

    def trainer(phase: str) -> Trainer:
        model = Sequential(Dense(1, 1), Sigmoid()).initialize(rng=0)
        return Trainer(model, SpoiledSquaredError(phase, harm=np.inf), SGD(model.parameters(), 0.05), rng=0)

    diverged, stopped = trainer("gradient"), trainer("stop")
    with pytest.raises(DivergenceError) as caught:
        diverged.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    stopped.fit(x, y, epochs=1, batch_size=1, shuffle=False, callbacks=[StopAt(caught.value.batch)])
    assert (caught.value.batch, caught.value.phase) == (batch, "loss")
    assert state(diverged) == state(stopped)


def fit_one(model: Sequential, rate: Any, x: float = 1.0, y: float = 0.0) -> DivergenceError:
    before = [p.value.tolist() for p in model.parameters()]
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), rate), rng=0)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit([[x]], [[y]], epochs=5, batch_size=1)
    if caught.value.epoch == 0:
        assert [p.value.tolist() for p in model.parameters()] == before
    assert all(np.isfinite(p.value).all() for p in model.parameters())
    return caught.value


def test_an_overflow_in_forward_names_the_nested_layer() -> None:
    first, last = (Dense(1, 1, weight_initializer=Constant(1e200)) for _ in range(2))
    error = fit_one(Sequential(first, Sequential(Identity(), last)), 0.1)
    assert (error.layer, error.phase) == ("1.1", "forward")
    assert '"1.1"' in str(error)
    assert "Dense" in str(error)


def test_an_overflow_in_the_loss_is_the_losss() -> None:
    error = fit_one(Sequential(Dense(1, 1, weight_initializer=Constant(1e200))), 0.1)
    assert (error.layer, error.phase) == ("", "loss")
    assert "in the loss of HalfSquaredError()" in str(error)


def test_an_overflow_in_backward_names_the_layer_that_it_came_up_in() -> None:
    small, huge = Constant(1e-200), Constant(1e200)
    model = Sequential(Dense(1, 1, weight_initializer=small), Dense(1, 1, weight_initializer=huge))
    error = fit_one(model, 0.1, y=1e150)
    assert (error.layer, error.phase) == ("1", "backward")
    assert "in the backward of" in str(error)
    assert '"1"' in str(error)


def test_an_overflow_in_the_update_names_the_parameter_and_the_rate() -> None:
    error = fit_one(Sequential(Tanh(), Dense(1, 1, weight_initializer=Constant(1))), lambda step: 1e300, y=1e100)
    assert (error.layer, error.phase, error.learning_rate) == ("1.weight", "update", 1e300)
    assert "in the update of" in str(error)
    assert '"1.weight"' in str(error)
    assert "learning rate 1e+300" in str(error)


def test_too_large_a_learning_rate_on_an_ordinary_problem_leaves_finite_weights() -> None:
    x = np.linspace(-2, 2, 60)[:, None]
    model = Sequential(Dense(1, 8), Tanh(), Dense(8, 1)).initialize(rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 50.0), rng=0)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(x, np.sin(x), epochs=500, batch_size=4)
    assert caught.value.learning_rate == 50.0
    assert caught.value.epoch == len(trainer.history)
    assert all(np.isfinite(p.value).all() for p in model.parameters())


def test_after_a_divergence_the_layers_are_as_before_and_training_may_go_on() -> None:
    trainer = trapped("forward")
    x, y = marked(100)
    with pytest.raises(DivergenceError):
        trainer.fit(x, y, epochs=1, batch_size=1)
    assert not {"forward", "backward", "backward_parameters"} & set(vars(trainer.model))
    for _, part in walk(trainer.model):
        assert not {"forward", "backward", "backward_parameters"} & set(getattr(part, "__dict__", {}))
    x[100] = 0.0
    assert trainer.fit(x, y, epochs=20, batch_size=10).loss[-1] < 0.01


class Forgetful(Optimizer):
    """Put NaN into one weight at its seventh step, whatever the gradients are."""

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        values -= learning_rate * gradients
        if self.steps == 6:
            values[0] = np.nan


def test_an_optimizer_that_spoils_the_weights_is_caught_at_its_step() -> None:
    x = np.linspace(-1, 1, 10)[:, None]
    model = Sequential(Dense(1, 2), Tanh(), Dense(2, 1)).initialize(rng=0)
    trainer = Trainer(model, HalfSquaredError(), Forgetful(model.parameters(), 0.1), rng=0)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(x, x, epochs=1, batch_size=1)
    assert (caught.value.batch, caught.value.layer, caught.value.phase) == (6, "0.weight", "update")
    assert trainer.optimizer.steps == 6


def test_a_snapshot_returns_everything_that_a_step_changes() -> None:
    trainer = trapped("none")
    x, y = marked(0)
    trainer.fit(x[1:], y[1:], epochs=1)
    snapshot = Snapshot(trainer.model, trainer.optimizer)
    before = state(trainer)[:5]
    trainer.fit(x[1:], y[1:], epochs=1)
    assert state(trainer)[:5] != before
    trainer.model[3].weight.grad += 1.0  # type: ignore[index]
    snapshot.restore()
    assert state(trainer)[:5] == before
    assert all(not p.grad.any() for p in trainer.model.parameters())


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("kind", [Adam, AdamW, NAdam, RMSProp, Adagrad])
def test_a_moment_that_overflows_is_a_divergence(engine: Any, kind: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Sequential(Dense(1, 1, weight_initializer=Constant(0.0), dtype=np.float32))
    trainer = Trainer(model, HalfSquaredError(), kind(model.parameters(), 0.001), engine=engine)
    x = np.full((4, 1), 1e10, np.float32)  # ∂e/∂w = −10²⁰, whose square float32 does not have
    with pytest.raises(DivergenceError, match=f"in the update of {kind.__name__}") as caught:
        trainer.fit(x, x, epochs=1)
    assert caught.value.phase == "update"
    assert (trainer.optimizer.vector.values == 0).all()
    assert all((slot == 0).all() for slot in trainer.optimizer.slots().values())


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_running_variance_that_overflows_is_a_divergence(engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Sequential(BatchNorm(1), Dense(1, 1)).initialize(0).astype(np.float32)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.001), engine=engine)
    x = np.tile(np.array([[3e19], [-3e19]], np.float32), (8, 1))
    with pytest.raises(DivergenceError, match=r'in the update of Buffer\(1,\) at "0.running_var"'):
        trainer.fit(x, np.ones(16), epochs=1)
    assert named(model, Buffer)["0.running_var"].value == 1.0
