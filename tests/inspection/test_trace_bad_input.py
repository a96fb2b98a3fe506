"""`trace` of what is large, broken or wrong."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    L2,
    SGD,
    Adam,
    Add,
    Array,
    BatchNorm,
    ClipGlobalNorm,
    CrossEntropy,
    Dense,
    Dropout,
    Embedding,
    Graph,
    HalfSquaredError,
    Layer,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
    schedules,
)
from minidl.errors import ArgumentError, CallOrderError, DataError, DTypeError, ShapeError, StructureError
from minidl.inspection import summary, trace

X, Y = np.linspace(-1, 1, 12).reshape(4, 3), np.linspace(0, 1, 4)[:, None]


def model() -> Sequential:
    return Sequential(Dense(3, 4), Residual(Sequential(Dense(4, 4), Tanh())), Dense(4, 1)).initialize(0)


@pytest.mark.parametrize("deep", [False, True], ids=["chain", "graph"])
def test_a_model_of_two_thousand_layers_can_be_traced(deep: bool) -> None:
    layers = [Dense(2, 2) if place % 2 else Tanh() for place in range(2000)]
    large: Layer = Sequential(*layers)
    if deep:
        nodes: Any = {f"n{place}": (layer, f"n{place - 1}" if place else "x") for place, layer in enumerate(layers)}
        large = Graph(nodes, output="n1999")
    t = trace(large.initialize(0), HalfSquaredError(), X[:, :2], X[:, :2])
    assert len(t.steps) == 1 + 2000 + 2 + 2000
    assert len(str(t).split("\n")) == 1 + len(t.steps) + 2000
    assert t.is_chain
    assert sorted(t.dW) == list(range(1, 1001))


def test_of_ten_thousand_rows_eight_are_kept_and_all_count() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10_000, 50)), rng.normal(size=(10_000, 1))
    network = mlp([50, 20, 1], activation=Tanh, rng=0)
    trace(network, HalfSquaredError(), x[:9], y[:9])  # What is read once, such as source code, does not count.
    gc.collect()
    gc.disable()  # The memory is free at once, without a search for cycles.
    tracemalloc.start()
    try:
        t = trace(network, HalfSquaredError(), x, y, optimizer=Adam(network.parameters(), 0.1))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < 1e6 < x.nbytes
    assert t.rows == 10_000
    assert [array.shape for array in (t.I[2], t.O[3], t.E[2], np.array(t["1"].slope))] == [
        (8, 20), (8, 1), (8, 20), (8, 20),
    ]  # fmt: skip
    hidden = np.tanh(x @ t.W[1].T + t.b[1])
    difference = hidden @ t.W[2].T + t.b[2] - y
    np.testing.assert_allclose(t.error, np.mean(0.5 * difference**2), rtol=1e-12)
    np.testing.assert_allclose(t.dW[2], difference.T @ hidden / 10_000, rtol=1e-10)
    np.testing.assert_allclose(t.E[3], difference[:8] / 10_000, rtol=1e-12)


def test_a_row_that_is_not_kept_is_still_checked() -> None:
    x = np.ones((100, 1))
    x[50] = 1e200
    t = trace(Sequential(Dense(1, 1).initialize(0)), HalfSquaredError(), x, np.zeros((100, 1)))
    step = t.first_not_finite()
    assert step is not None
    assert (step.phase, step.path) == ("loss", "loss")
    assert np.isfinite(step.inputs[0]).all()


def test_the_first_step_that_is_not_finite_is_named() -> None:
    broken = model()
    broken[1].parameters()[0].value[0, 0] = np.nan
    optimizer = SGD(broken.parameters(), 0.1)
    t = trace(broken, HalfSquaredError(), X, Y, optimizer=optimizer, clip=ClipGlobalNorm(1))
    assert repr(t.first_not_finite()) == "Step(2, forward, 1.layer.0: Dense(4 -> 4))"
    for other in (t, trace(broken, HalfSquaredError(), X, Y, optimizer=optimizer)):
        assert [step.phase for step in other.steps].count("update") == 0  # As in training, which makes no step.
    assert np.isnan(t["0"].gradients["weight"]).any()
    assert trace(model(), HalfSquaredError(), X, Y).first_not_finite() is None


class Spoils(Layer):
    """Give gradients that are not finite."""

    def __init__(self) -> None:
        self.w = Parameter(1.0)

    @override
    def forward(self, x: Array) -> Array:
        return x * self.w.value

    @override
    def backward(self, grad: Array) -> Array:
        self.w.grad += np.inf
        return grad


def test_a_gradient_that_cannot_be_clipped_makes_no_update() -> None:
    spoiled = Sequential(Dense(3, 1), Spoils()).initialize(0)
    optimizer = SGD(spoiled.parameters(), 0.1)
    t = trace(spoiled, HalfSquaredError(), X, Y, optimizer=optimizer, clip=ClipGlobalNorm(1))
    assert repr(t.first_not_finite()).startswith("Step(5, backward, 1: Spoils()")
    assert t.steps[-1].phase == "backward"
    assert np.isinf(t.gradients["1.w"])


def test_an_update_that_is_not_finite_is_named() -> None:
    network = mlp([3, 1], rng=0)
    t = trace(network, HalfSquaredError(), X * 1e10, Y, optimizer=SGD(network.parameters(), 1e300))
    step = t.first_not_finite()
    assert step is not None
    assert (step.phase, step.path) == ("update", "0.weight")


def test_what_training_refuses_is_refused_with_the_same_words() -> None:
    mistakes: list[tuple[Callable[[], Sequential], Any, tuple[Any, ...], type[Exception]]] = [
        (model, HalfSquaredError(), (X[:, :2], Y), ShapeError), (model, HalfSquaredError(), (X[0], Y), ShapeError),
        (model, HalfSquaredError(), (X, Y[:3]), ShapeError), (model, HalfSquaredError(), (X, X), ShapeError),
        (model, HalfSquaredError(), (X[:0], Y[:0]), DataError),
        (model, HalfSquaredError(), (np.full((4, 3), np.nan), Y), DataError),
        (model, HalfSquaredError(), (X.astype(str), Y), DTypeError),
        (model, SoftmaxCrossEntropy(), (X, np.array([0, 1, 2, 0])), ShapeError),
        (lambda: Sequential(Dense(3, 2), Softmax()), SoftmaxCrossEntropy(), (X, [0, 1, 1, 0]), StructureError),
        (lambda: Sequential(Dense(3, 2)), CrossEntropy(), (X, np.eye(2)[[0, 1, 1, 0]]), StructureError),
        (lambda: Sequential(Dense(3, 1), BatchNorm(1)), HalfSquaredError(), (X[:1], Y[:1]), ShapeError),
        (lambda: Sequential(Embedding(3, 1), Dense(1, 1)), HalfSquaredError(), (X[:, :1] - 7, Y), DataError),
        (lambda: Sequential(Dense(3, 4), Faulty()), HalfSquaredError(), (X, np.ones((4, 4))), ValueError),
    ]  # fmt: skip
    for make, loss, data, kind in mistakes:
        network = make()
        with pytest.raises(kind) as wanted:
            Trainer(network, loss, SGD(network.parameters(), 0.1), engine="numpy").fit(*data, epochs=1, shuffle=False)
        with pytest.raises(kind) as found:
            trace(network, loss, *data)
        assert str(found.value).replace("trace", "Trainer") == str(wanted.value)
        assert getattr(found.value, "__notes__", []) == getattr(wanted.value, "__notes__", [])


class Faulty(Layer):
    """Multiply arrays whose shapes do not fit, but predict."""

    def compute(self, x: Array) -> Array:
        return x

    @override
    def forward(self, x: Array) -> Array:
        return x @ np.ones((3, 3))

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def test_a_part_of_another_model_is_refused() -> None:
    other = mlp([3, 1], rng=0)
    with pytest.raises(ArgumentError, match=r"trace\(optimizer\): expected parameters of this model, got only others"):
        trace(model(), HalfSquaredError(), X, Y, optimizer=SGD(other.parameters(), 0.1))
    with pytest.raises(ArgumentError, match=r"trace\(penalties\): expected parameters of this model"):
        trace(model(), HalfSquaredError(), X, Y, penalties=[L2(0.1, other.parameters())])
    with pytest.raises(DTypeError, match=r"trace\(clip\): expected a Clip such as ClipGlobalNorm\(1\.0\), got 1"):
        trace(model(), HalfSquaredError(), X, Y, clip=1)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"trace\(model\): expected a Layer, got .*forget the parentheses of Tanh\(\)"):
        trace(Tanh, HalfSquaredError(), X, Y)  # type: ignore[arg-type]


def test_a_schedule_in_epochs_needs_a_trainer_and_says_so() -> None:
    network = model()
    optimizer = SGD(network.parameters(), schedules.Cosine(0.1, epochs=5))
    with pytest.raises(CallOrderError, match="which a Trainer tells its optimizer"):
        trace(network, HalfSquaredError(), X, Y, optimizer=optimizer)


def test_a_frozen_layer_has_gradients_and_no_update() -> None:
    network = Sequential(Dense(3, 4).freeze(), ReLU(), Dense(4, 1)).initialize(0)
    t = trace(network, HalfSquaredError(), X, Y, optimizer=SGD(network.parameters(), 0.1))
    assert [step.path for step in t.steps if step.phase == "update"] == ["2.weight", "2.bias"]
    assert np.array_equal(t["0"].gradients["weight"], t["0"].error.T @ X)


class AddsToOne(Layer):
    """Add to one number of a gradient, which leaves no mark."""

    def __init__(self) -> None:
        self.w = Parameter(np.ones(3))

    @override
    def forward(self, x: Array) -> Array:
        return x * self.w.value

    @override
    def backward(self, grad: Array) -> Array:
        self.w.grad[0] += np.sum(grad)
        return grad


def test_gradients_that_are_all_zero_make_a_step_as_in_training() -> None:
    layer = AddsToOne()
    t = trace(layer, HalfSquaredError(), X, X, optimizer=SGD(layer.parameters(), 0.1))
    (step,) = [step for step in t.steps if step.phase == "update"]
    assert np.array_equal(step.outputs[0], step.inputs[0])


class Skips(Layer):
    """Use one of two layers only."""

    def __init__(self) -> None:
        self.used, self.unused = Dense(3, 1).initialize(0), Dense(3, 1).initialize(1)

    @override
    def forward(self, x: Array) -> Array:
        return self.used.forward(x)

    @override
    def backward(self, grad: Array) -> Array:
        self.used.backward_parameters(grad)
        return np.zeros((len(grad), 3))


def test_a_part_that_does_not_run_says_so() -> None:
    t = trace(Skips(), HalfSquaredError(), X, Y)
    with pytest.raises(StructureError, match=r'PartTrace\("unused", Dense\(3 -> 1\)\) took no part in this pass'):
        _ = t["unused"].y
    assert t["used"].input_error is None
    assert not t["used"].slope
    assert not t.gradients["unused.weight"].any()


class Own(Dense):
    """Add gradients by its own ``backward``."""

    @override
    def backward_parameters(self, grad: Array) -> None:
        self.backward(grad)


def test_a_method_that_calls_another_of_its_layer_is_one_step() -> None:
    t = trace(Starts(Own(3, 1).initialize(0)), HalfSquaredError(), X, Y)
    assert [step.path for step in t.steps if step.phase == "backward"] == ["loss", "inner", ""]
    assert np.array_equal(t["inner"].gradients["weight"], t["inner"].error.T @ X)
    assert t["inner"].input_error is None


class Starts(Layer):
    """Need no error of the input."""

    def __init__(self, inner: Layer) -> None:
        self.inner = inner

    @override
    def forward(self, x: Array) -> Array:
        return self.inner.forward(x)

    @override
    def backward(self, grad: Array) -> Array:
        self.inner.backward_parameters(grad)
        return np.zeros((len(grad), 3))


class Twice(Layer):
    """Call one layer two times: its second pass counts."""

    def __init__(self) -> None:
        self.inner = Dropout(0.5).initialize(0)

    @override
    def forward(self, x: Array) -> Array:
        return self.inner.forward(self.inner.forward(x))

    @override
    def backward(self, grad: Array) -> Array:
        return self.inner.backward(grad)


def test_a_part_that_runs_twice_has_two_steps() -> None:
    t = trace(Twice(), HalfSquaredError(), X, X)
    assert [step.path for step in t.steps if step.phase == "forward"] == ["inner", "inner"]
    assert np.array_equal(t["inner"].y, t.prediction)
    assert np.array_equal(t["inner"].x, t.steps[1].outputs[0])


class Forgetful(Layer):
    """Return None from one method."""

    def __init__(self, method: str = "backward") -> None:
        self.method = method

    @override
    def forward(self, x: Array) -> Array:
        return None if self.method == "forward" else x  # type: ignore[return-value]

    @override
    def backward(self, grad: Array) -> Array:
        return None if self.method == "backward" else grad  # type: ignore[return-value]


def around(part: Layer) -> list[tuple[str, Layer]]:
    """Return models with a part in different containers, and its path."""
    graph = Graph({"a": (Dense(2, 2), "x"), "b": (part, "a"), "c": (Add(), "a", "b")}, output="c")
    return [("1", Sequential(Dense(2, 2), part, Dense(2, 2))), ("1", Sequential(Dense(2, 2), part)),
            ("1.layer", Sequential(Dense(2, 2), Residual(part))), ("b", graph),
            ("layer.1", Residual(Sequential(Dense(2, 2), part, Dense(2, 2))))]  # fmt: skip


@pytest.mark.parametrize(("path", "model"), around(Forgetful()))
def test_a_backward_without_return_is_named(path: str, model: Layer) -> None:
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, engine="numpy")
    x = np.ones((4, 2))
    for run in (lambda: trace(model, HalfSquaredError(), x, x), lambda: trainer.fit(x, x, epochs=1, progress=False)):
        with pytest.raises(DTypeError) as caught:
            run()
        assert str(caught.value) == "Forgetful.backward: expected an array, got None; did you forget return?"
        assert caught.value.__notes__[0].startswith(f'at layer "{path}": Forgetful(')


def test_a_forward_without_return_is_named() -> None:
    with pytest.raises(DTypeError, match=r"Forgetful.forward: expected an array, got None; did you forget return\?"):
        Sequential(Dense(2, 2), Forgetful("forward"))
    part = Forgetful()
    model = Sequential(Dense(2, 2), part, Dense(2, 2)).initialize(0)
    part.method = "forward"
    with pytest.raises(DTypeError, match=r"Forgetful\.forward: expected an array") as caught:
        model.forward(np.ones((4, 2)))
    assert caught.value.__notes__[0].startswith('at layer "1": Forgetful(')


def test_a_number_that_no_layer_has_is_refused() -> None:
    t = trace(mlp([2, 3, 1], rng=0), HalfSquaredError(), np.ones((1, 2)), np.ones((1, 1)))
    for arrays, number in ((t.I, 1), (t.E, 9), (t.W, 3), (t.O, "1")):
        with pytest.raises(ArgumentError, match=rf"expected one of the numbers \[.*\], got {number!r}"):
            arrays[number]  # type: ignore[index]


def test_a_trainer_in_place_of_its_optimizer_gets_a_hint() -> None:
    model = mlp([2, 3, 1], rng=0)
    trainer: Any = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1))
    with pytest.raises(DTypeError, match=r"trace\(optimizer\): expected an Optimizer, got .*; give its \.optimizer"):
        trace(model, HalfSquaredError(), np.ones((1, 2)), np.ones((1, 1)), optimizer=trainer)


@pytest.mark.parametrize("look", [lambda model: trace(model, HalfSquaredError(), np.ones((1, 2)), np.ones((1, 2))),
                                  summary])
def test_containers_that_are_nested_too_deeply_are_refused(look: Any) -> None:
    model: Layer = Dense(2, 2)
    for _ in range(300):
        model = Sequential(model)
    with pytest.raises(StructureError, match="containers are nested too deeply for Python's limit"):
        look(model)
