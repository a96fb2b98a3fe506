"""The lines of code of a trace: their last number is that of the step, and they disturb nothing."""

from __future__ import annotations

import sys
from collections import ChainMap
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Adam,
    Array,
    Dense,
    HalfSquaredError,
    Layer,
    Loss,
    MeanSquaredError,
    Parameter,
    Sequential,
    Sigmoid,
    mlp,
    optimizers,
)
from minidl.inspection import Step, Trace, trace
from minidl.layers import Merge
from minidl.layers._structure import one_line
from minidl.layers.base import Component
from minidl.testing.losses import LossSubject
from tests.campaigns.traces import shows, shows_last, unlike
from tests.support.conformance_table import TABLE, layers

X, Y = np.linspace(-1, 1, 8).reshape(4, 2), np.linspace(0, 1, 4)[:, None]
LAYERS = layers()
OPTIMIZERS = [name for name in optimizers.__all__ if "update" in dir(getattr(optimizers, name)) and name != "Optimizer"]


def losses() -> dict[str, tuple[Loss, Array, Any]]:
    """Map the names of the table to each loss, a prediction and a target."""
    runs: dict[str, Any] = {name: checks()[0]._run for name, checks in TABLE.items()}
    found: dict[str, tuple[Loss, Array, Any]] = {}
    for name, run in runs.items():
        subject = run.args[0] if getattr(run, "args", ()) else None
        if isinstance(subject, LossSubject):
            prediction, target = subject.sample(5, np.random.default_rng(0))
            found[name] = subject.original(), prediction, target
    return found


class Given(Layer):
    """Return the input plus a parameter that is 0."""

    def __init__(self) -> None:
        self.zero = Parameter(0.0)

    @override
    def forward(self, x: Array) -> Array:
        return x + self.zero.value

    @override
    def backward(self, grad: Array) -> Array:
        self.zero.grad += np.sum(grad)
        return grad


def with_lines(t: Trace) -> list[Step]:
    """Return the steps in which code of layers, merges, losses and optimizers ran."""
    return [step for step in t.steps if step.phase != "data"]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rows", [2, 5, 20, 200])
def test_the_last_number_of_the_code_is_that_of_the_step(name: str, rows: int) -> None:
    layer, x = LAYERS[name]
    x = np.resize(x, (rows, *x.shape[1:]))
    t = trace(layer, MeanSquaredError(), x, np.zeros_like(layer.astype(np.float64).forward(x)))
    assert unlike(t) == []
    assert [step for step in with_lines(t) if not step.lines] == []


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", losses())
def test_the_last_number_of_a_loss_is_that_of_the_step(name: str, rows: int) -> None:
    loss, prediction, target = losses()[name]
    for weight in (None, np.arange(1.0, rows + 1)):
        t = trace(Given(), loss, prediction[:rows], target[:rows], weight)
        steps = [step for step in t.steps if step.path == "loss"]
        assert [step.phase for step in steps] == ["loss", "backward"]
        assert all(step.lines and shows_last(step) for step in steps)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1}])
def test_the_last_number_of_an_optimizer_is_that_of_the_step(name: str, settings: dict[str, Any]) -> None:
    model = mlp([2, 3, 1], rng=0)
    optimizer = getattr(optimizers, name)(model.parameters(), learning_rate=0.1, **settings)
    t = trace(model, HalfSquaredError(), X, Y, optimizer=optimizer)
    steps = [step for step in t.steps if step.phase == "update"]
    assert [step.path for step in steps] == list(model.named_parameters())
    assert all(step.lines and shows_last(step) for step in steps)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("group", [{"rate_factor": 0.25}, {"weight_decay": 0.3}, {"rate_factor": 4, "weight_decay": 0}])
def test_a_group_shows_its_own_rate_and_decay(name: str, group: dict[str, float]) -> None:
    model = mlp([2, 3, 1], rng=0)
    own = model.named_parameters()
    made: optimizers.Optimizer = getattr(optimizers, name)(model.parameters(), learning_rate=0.1, weight_decay=0.1)
    made.set_group([own["2.weight"]], **group)
    steps = {step.path: step for step in trace(model, HalfSquaredError(), X, Y, optimizer=made).steps if step.rate}
    assert list(steps) == list(own)
    assert all(shows_last(step) for step in steps.values())
    factor, decay = group.get("rate_factor", 1), group.get("weight_decay", 0.1)
    for path, rate, strength in (("0.weight", 0.1, 0.1), ("0.bias", 0.1, 0.0), ("2.weight", 0.1 * factor, decay)):
        assert steps[path].rate == rate
        read = ChainMap(*[line.read for line in steps[path].lines])
        strengths = next(read[name].numbers for name in ("strengths", "strength") if name in read)
        assert (strengths == strength).all()
        if "rate_factor" in group:
            last = steps[path].lines[-1]
            assert np.array_equal(last.read["before"].numbers, steps[path].inputs[0])
            assert (last.read["part"].numbers == 1 - rate / 0.1).all()
    alone = getattr(optimizers, name)([own["2.weight"]], learning_rate=0.1 * factor, weight_decay=decay)
    (wanted,) = [step for step in trace(model, HalfSquaredError(), X, Y, optimizer=alone).steps if step.rate]
    np.testing.assert_allclose(steps["2.weight"].outputs[0], wanted.outputs[0], rtol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_changes_nothing_ends_with_the_same_weight(name: str) -> None:
    model = mlp([2, 3, 1])
    for parameter in model.parameters():
        parameter.value = np.zeros(parameter.shape)
    optimizer = getattr(optimizers, name)(model.parameters(), learning_rate=0.1)
    optimizer.set_group(model.parameters()[:1], rate_factor=2.0)
    optimizer._scratch[...] = 1.0  # What a step leaves in it is not a result.
    steps = trace(model, HalfSquaredError(), X, np.zeros((4, 1)), optimizer=optimizer).steps
    updates = [step for step in steps if step.phase == "update"]
    assert [step.outputs[0].any() for step in updates] == [False] * 4
    assert all(step.lines[-1].text.startswith("w -= ") for step in updates)
    assert all(shows_last(step) for step in updates)


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_sgd_with_momentum_shows_its_last_number(settings: dict[str, Any]) -> None:
    model = mlp([2, 3, 1], rng=0)
    optimizer = SGD(model.parameters(), 0.1, **settings)
    steps = trace(model, HalfSquaredError(), X, Y, optimizer=optimizer).steps
    assert all(step.lines and shows_last(step) for step in steps if step.phase == "update")


def test_a_line_has_the_numbers_that_it_read_and_made() -> None:
    model = Sequential(Dense(2, 3), Sigmoid(), Dense(3, 1)).initialize(0)
    t = trace(model, HalfSquaredError(), X, Y)
    product, bias = t.steps[1].lines
    assert (product.function, product.text) == ("Dense.compute", "y: Array = x.dot(self.weight.value.T)")
    assert list(product.read) == ["x", "self.weight.value.T"]
    assert np.array_equal(product.read["x"].numbers, X)
    assert np.array_equal(product.made["y"].numbers, X @ t.W[1].T)
    assert np.array_equal(bias.made["y"].numbers, t.I[2])
    source = Path(sys.modules[Dense.__module__].__file__ or "").read_text("utf-8").split("\n")
    assert source[product.number - 1].strip() == product.text
    weight, bias, error = t["2"].backward.lines  # type: ignore[union-attr]
    assert np.array_equal(weight.made["self.weight.grad"].numbers, t.dW[2])
    assert np.array_equal(bias.made["self.bias.grad"].numbers, t.db[2])
    assert np.array_equal(error.made["dx"].numbers, t["2"].input_error)


def test_of_a_large_array_a_line_keeps_the_corner() -> None:
    t = trace(mlp([60, 30, 1], rng=0), HalfSquaredError(), np.ones((9, 60)), np.ones((9, 1)))
    value = t.steps[1].lines[0].read["self.weight.value.T"]
    assert (value.shape, value.numbers.shape) == ((60, 30), (8, 8))
    assert np.array_equal(value.numbers, t.W[1].T[:8, :8])


class Busy(Layer):
    """Compute by a loop, a condition, a helper with ``with``, a function in a method, and in place."""

    def __init__(self) -> None:
        self.factors = [1.0, 2.0, 3.0]
        self.scale = Parameter(np.ones(2))

    @property
    def harmful(self) -> float:
        raise AssertionError("a property is not read")

    @override
    def forward(self, x: Array) -> Array:
        def add(total: Array, factor: float) -> None:
            total += factor * x

        y = np.zeros_like(x)
        for factor in self.factors:
            add(y, factor)
        if len(x) > 0:
            y[0] = 7.0
        if len(x) > 100:
            return y * self.harmful
        self._x = x
        return self._scaled(y)

    def _scaled(self, y: Array) -> Array:
        with np.errstate(all="ignore"):
            return (
                y
                * self.scale.value
            )  # fmt: skip

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad, axis=0)
        dx = grad * 6.0
        return dx


def test_each_line_that_changes_a_number_is_there() -> None:
    t = trace(Sequential(Busy()), HalfSquaredError(), X, X)
    assert [(line.function, line.text, list(line.made)) for line in t.steps[1].lines] == [
        ("Busy.forward", "y = np.zeros_like(x)", ["y"]),
        ("Busy.forward", "total += factor * x", ["total"]),
        ("Busy.forward", "total += factor * x", ["total"]),
        ("Busy.forward", "total += factor * x", ["total"]),
        ("Busy.forward", "y[0] = 7.0", ["y"]),
        ("Busy._scaled", "return y * self.scale.value", ["return"]),
    ]
    assert [line.text for line in t["0"].backward.lines] == [  # type: ignore[union-attr]
        "self.scale.grad += np.sum(grad, axis=0)", "dx = grad * 6.0",
    ]  # fmt: skip
    assert unlike(t) == []


class Slotted(Layer):
    """Keep an array in a slot."""

    __slots__ = ("_double",)

    @override
    def forward(self, x: Array) -> Array:
        self._double = 2 * x
        return self._double

    @override
    def backward(self, grad: Array) -> Array:
        return 2 * grad


def test_an_attribute_in_a_slot_is_a_number_too() -> None:
    (line,) = trace(Slotted(), HalfSquaredError(), X, X).steps[1].lines
    assert np.array_equal(line.made["self._double"].numbers, 2 * X)


def test_another_tracer_is_put_back() -> None:
    seen: list[str] = []

    def other(frame: FrameType, event: str, arg: Any) -> None:
        seen.append(frame.f_code.co_name)

    earlier = sys.gettrace()
    sys.settrace(other)
    try:
        trace(mlp([2, 3, 1], rng=0), HalfSquaredError(), X, Y)
        after = sys.gettrace()
    finally:
        sys.settrace(earlier)
    assert after is other
    assert "pass_methods" in seen
    assert "compute" not in seen


class Broken(Busy):
    """Refuse every pass, but predict."""

    def compute(self, x: Array) -> Array:
        return x

    @override
    def forward(self, x: Array) -> Array:
        raise RuntimeError("broken")


def test_after_an_error_the_tracer_is_put_back_and_nothing_is_shadowed() -> None:
    model, earlier = Sequential(Broken()), sys.gettrace()
    with pytest.raises(RuntimeError, match="broken") as caught:
        trace(model, HalfSquaredError(), X, X)
    assert caught.value.__notes__ == ['at layer "0": Broken() with x of shape (4, 2)']
    assert sys.gettrace() is earlier
    assert "forward" not in vars(model) | vars(model[0])


SOURCE = """
class Doubled(Layer):
    def forward(self, x):
        return 2 * x
    def backward(self, grad):
        return 2 * grad
"""


def test_a_class_made_by_exec_has_no_lines() -> None:
    names: dict[str, Any] = {"Layer": Layer}
    exec(SOURCE, names)
    t = trace(Sequential(Dense(2, 2), names["Doubled"]()).initialize(0), HalfSquaredError(), X, X)
    assert [bool(step.lines) for step in t.steps] == [False, True, False, True, True, False, True]
    assert np.array_equal(t["1"].y, 2 * t["0"].y)


def test_a_file_that_changed_after_the_import_gives_no_wrong_lines(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(SOURCE, "utf-8")
    names: dict[str, Any] = {"Layer": Layer}
    exec(compile(SOURCE, str(path), "exec"), names)
    path.write_text("\n".join(["# other"] * 3 + ["x = 1"]), "utf-8")
    t = trace(names["Doubled"](), HalfSquaredError(), X, X)
    assert not any(step.lines for step in t.steps if isinstance(step.part, Component))


def test_a_lambda_as_a_method_has_no_lines() -> None:
    made = type("Made", (Layer,), {"forward": lambda self, x: 3 * x, "backward": lambda self, grad: 3 * grad})
    t = trace(made(), HalfSquaredError(), X, X)
    assert np.array_equal(t.prediction, 3 * X)
    assert not t.steps[1].lines


class Long(Busy):
    """Halve many times."""

    @override
    def forward(self, x: Array) -> Array:
        y = x.copy()
        for _ in range(3000):
            y = y * 1.001
        return y


def test_of_a_long_loop_the_first_and_last_lines_are_kept() -> None:
    step = trace(Long(), HalfSquaredError(), X, X).steps[1]
    assert len(step.lines) == 400
    assert shows_last(step)
    assert step.lines[0].text == "y = x.copy()"


def test_without_lines_the_numbers_are_the_same() -> None:
    model = mlp([2, 3, 1], rng=0)
    optimizer = Adam(model.parameters(), 0.1)
    one, other = (trace(model, HalfSquaredError(), X, Y, optimizer=optimizer, lines=lines) for lines in (True, False))
    assert str(one) == str(other)
    assert not any(step.lines for step in other.steps)


def test_a_check_that_hides_a_line_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    t = trace(mlp([2, 3, 1], rng=0), HalfSquaredError(), X, Y)
    step = next(step for step in t.steps if step.path == "loss")
    assert shows_last(step)
    step.lines.pop()
    assert not shows_last(step)
    weight = next(step for step in t.steps if step.gradients)
    assert shows(weight, "weight")
    weight.lines[:1] = []
    assert not shows(weight, "weight")


def test_every_built_in_is_among_the_layers() -> None:
    parts = [layer for layer, _ in LAYERS.values()]
    assert len(parts) > 30
    assert any(isinstance(getattr(part, "merge", None), Merge) for part in parts)
    assert one_line(parts[0]) == "Dense(4 -> 3)"
    assert len(losses()) == 16
    assert len(OPTIMIZERS) >= 6


def test_memory_that_is_only_written_to_is_not_read() -> None:
    model = mlp([2, 3, 1], rng=0)
    t = trace(model, HalfSquaredError(), X, Y, optimizer=SGD(model.parameters(), 0.1))
    lines = [line for step in t.steps if step.phase == "update" for line in step.lines]
    assert any("out=work" in line.text for line in lines)
    assert not any("work" in line.read for line in lines)


class Summed(Given):
    """Add in place, and choose by a constant."""

    @override
    def forward(self, x: Array) -> Array:
        y = 2 * x
        y += self.zero.value
        return y if len(y) < MANY else -y


MANY = 99


def test_a_line_that_adds_in_place_reads_what_was_there() -> None:
    lines = trace(Summed(), HalfSquaredError(), X, X).steps[1].lines
    added = next(line for line in lines if "+=" in line.text)
    assert list(added.read) == ["y", "self.zero.value"]
    assert np.array_equal(added.read["y"].numbers, 2 * X)
    gradient = trace(Summed(), HalfSquaredError(), X, X).steps[-1].lines[0]
    assert "self.zero.grad" not in gradient.read


def test_the_constant_of_a_condition_is_not_among_the_numbers() -> None:
    step = trace(mlp([2, 3, 1], rng=0), HalfSquaredError(), X, Y).steps[-1]
    assert not any("MANY" in line.read for one in (step, *trace(Summed(), HalfSquaredError(), X, X).steps)
                   for line in one.lines)
