"""`trace`: the numbers of one training step, for every kind of model, and nothing changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from typing_extensions import override

from minidl import (
    L1,
    L2,
    SGD,
    Adam,
    Add,
    Array,
    BatchNorm,
    ClipGlobalNorm,
    Concat,
    Dense,
    Dropout,
    Graph,
    HalfSquaredError,
    Identity,
    Layer,
    Multiply,
    Parallel,
    Parameter,
    PReLU,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    mlp,
)
from minidl._trace import pass_methods, shadowed
from minidl.errors import ArgumentError, StructureError
from minidl.inspection import Trace, trace
from minidl.layers import Merge
from minidl.layers._parts import named
from minidl.layers.base import Component, forget
from tests.campaigns import traces
from tests.inspection.models import Gated
from tests.support.whole_state import whole

W_1, B_1 = np.array([[0.2, 0.4], [0.3, -0.3]]), np.array([0.1, -0.1])
W_2, B_2 = np.array([[0.3, 0.9]]), np.array([0.05])
X_1, Y_1 = np.array([0.35, 0.7]), np.array([1.0])
ETA = 0.5
X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.random.default_rng(1).normal(size=(6, 1))


def article() -> Sequential:
    """Make the network 2-2-1 with these weights."""
    model = Sequential(Dense(2, 2), Sigmoid(), Dense(2, 1), Sigmoid())
    for parameter, value in zip(model.parameters(), (W_1, B_1, W_2, B_2), strict=True):
        parameter.value = value
    return model


def traced() -> Trace:
    model = article()
    return trace(model, HalfSquaredError(), X_1[None], Y_1[None], optimizer=SGD(model.parameters(), ETA))


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=0)


def test_every_number_of_2_2_1_is_that_of_the_equations() -> None:
    t = traced()
    i_2 = W_1 @ X_1 + B_1  # (1)
    o_2 = expit(i_2)  # (2)
    i_3 = W_2 @ o_2 + B_2
    o_3 = expit(i_3)
    e_3 = o_3 * (1 - o_3) * (o_3 - Y_1)  # (3)
    e_2 = (W_2.T @ e_3) * o_2 * (1 - o_2)  # (4)
    wanted = {"O_1": X_1, "I_2": i_2, "O_2": o_2, "I_3": i_3, "O_3": o_3, "E_3": e_3, "E_2": e_2}
    symbols = t.symbols()
    for name, value in wanted.items():
        close(symbols.pop(name)[0], value)
    weights = {"W_1": W_1, "b_1": B_1, "W_2": W_2, "b_2": B_2}
    gradients = {"dW_2": np.outer(e_3, o_2), "db_2": e_3, "dW_1": np.outer(e_2, X_1), "db_1": e_2}  # (5), (6)
    for name, value in (weights | gradients).items():
        close(symbols.pop(name), value)
    assert not symbols
    close(t.error, 0.5 * np.sum((o_3 - Y_1) ** 2))
    close(t.prediction[0], o_3)
    updates = {step.path: step for step in t.steps if step.phase == "update"}
    for path, name in (("0.weight", "W_1"), ("0.bias", "b_1"), ("2.weight", "W_2"), ("2.bias", "b_2")):
        before, gradient = updates[path].inputs
        assert np.array_equal(before, weights[name])
        close(gradient, gradients[f"d{name}"])
        close(updates[path].outputs[0], weights[name] - ETA * gradients[f"d{name}"])  # (7)


def test_the_article_s_numbers_are_mappings_from_1() -> None:
    t = traced()
    keys = [sorted(numbers) for numbers in (t.I, t.O, t.E, t.W, t.b, t.dW, t.db)]
    assert keys == [[2, 3], [1, 2, 3], [2, 3], [1, 2], [1, 2], [1, 2], [1, 2]]
    assert [(layer.number, layer.affine, layer.after) for layer in t.layers] == [
        (1, None, ()), (2, "0", ("1",)), (3, "2", ("3",)),
    ]  # fmt: skip


def test_a_part_has_its_arrays_under_its_path() -> None:
    t = traced()
    part = t["2"]
    assert np.array_equal(part.x, t.O[2])
    assert np.array_equal(part.y, t.I[3])
    assert np.array_equal(part.error, t.E[3])
    assert np.array_equal(part.gradients["weight"], t.dW[2])
    assert np.array_equal(part.parameters["bias"], B_2)
    close(part.input_error, part.error @ W_2)
    close(t["1"].slope, t.O[2] * (1 - t.O[2]))
    assert t["0"].slope is None
    assert np.array_equal(t[""].y, t.prediction)
    with pytest.raises(ArgumentError, match=r"one of .*'2', '3'.*, got '4'"):
        t["4"]


def test_the_steps_of_a_chain_go_forward_and_back() -> None:
    t = traced()
    assert [(step.phase, step.path, step.sources) for step in t.steps] == [
        ("data", "data", ()),
        ("forward", "0", (0,)), ("forward", "1", (1,)), ("forward", "2", (2,)), ("forward", "3", (3,)),
        ("loss", "loss", (4, 0)), ("backward", "loss", ()),
        ("backward", "3", (6,)), ("backward", "2", (7,)), ("backward", "1", (8,)), ("backward", "0", (9,)),
        ("update", "0.weight", (None, None)), ("update", "0.bias", (None, None)),
        ("update", "2.weight", (None, None)), ("update", "2.bias", (None, None)),
    ]  # fmt: skip
    assert [step.number for step in t.steps] == list(range(15))


def test_a_trace_changes_nothing() -> None:
    model = Sequential(Dense(4, 4), BatchNorm(4), Dropout(0.5), Residual(Dense(4, 4)), Dense(4, 1)).initialize(0)
    loss, optimizer = HalfSquaredError(), Adam(model.parameters(), 0.1)
    loss.forward(model.forward(X), Y)
    model.backward(loss.backward())  # Gradients that wait for a step stay, and do not count in the trace.
    before = whole(model, loss, optimizer)
    t = trace(model, loss, X, Y, optimizer=optimizer, penalties=[L2(0.1, model.parameters())], clip=ClipGlobalNorm(1))
    again = trace(model, loss, X, Y, lines=False)
    assert whole(model, loss, optimizer) == before
    assert again["0"].gradients["weight"].tobytes() == t["0"].gradients["weight"].tobytes()
    for parameter in model.parameters():
        parameter.zero_grad()
    forget([model, *named(model, Component).values()])
    assert whole(t.model) == whole(model)
    clean = trace(model, loss, X, Y)
    assert all(np.array_equal(clean.gradients[path], gradient) for path, gradient in again.gradients.items())


def test_a_method_that_an_object_has_itself_is_used_and_put_back() -> None:
    model = article()

    def doubled(x: Array) -> Array:
        return 2 * Sigmoid.forward(model[1], x)  # type: ignore[arg-type]

    model[1].forward = doubled  # type: ignore[method-assign]
    with shadowed(pass_methods(model), lambda method, *_: lambda *arrays: method(*arrays)):
        y = model.forward(X_1[None])
    assert vars(model[1])["forward"] is doubled
    assert np.array_equal(y, model.forward(X_1[None]))
    assert "inference" not in vars(model[1])


def test_sixty_random_models_have_the_bits_of_training() -> None:
    assert [found for seed in range(60) if (found := traces.broken(seed))] == []


def test_the_campaign_finds_a_gradient_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def shrunk(model: Layer, grad: Array) -> None:
        model.backward(grad * (1 + 1e-15))

    monkeypatch.setattr("minidl._training.numpy_engine.backward_alone", shrunk)
    assert any("gradient of " in str(traces.broken(seed)) for seed in range(4))


def test_a_residual_shows_its_sums() -> None:
    model = Sequential(Residual(Sequential(Dense(4, 8), ReLU(), Dense(8, 4))), Dense(4, 1)).initialize(0)
    t = trace(model, HalfSquaredError(), X, Y)
    forward, backward = [step for step in t.steps if step.is_sum]
    assert [step.path for step in (forward, backward)] == ["0", "0"]
    for step, terms in ((forward, (X, t["0.layer"].y)), (backward, (t["0"].error, t["0.layer"].input_error))):
        assert all(np.array_equal(one, other) for one, other in zip(step.inputs, terms, strict=True))
        assert np.array_equal(step.outputs[0], terms[0] + terms[1])
    assert [line.text for line in forward.lines] == ["return x + y"]
    assert [t.steps[number].path for number in forward.sources if number is not None] == ["data", "0.layer.2"]
    assert np.array_equal(t["0"].input_error, backward.outputs[0])
    assert not t.is_chain


def test_a_value_that_is_used_twice_gets_the_sum_of_its_errors() -> None:
    nodes: dict[str, Any] = {
        "a": (Dense(4, 3), "x"), "b": (Tanh(), "a"), "c": (Sigmoid(), "a"), "d": (Multiply(), "b", "c", "a"),
        "e": (Concat(), "x", "d"), "out": (Dense(7, 1), "e"),
    }  # fmt: skip
    t = trace(Graph(nodes, output="out").initialize(0), HalfSquaredError(), X, Y)
    step, last = [step for step in t.steps if step.is_sum]
    assert np.array_equal(last.outputs[0], t["e"].input_error[0] + t["a"].input_error)
    wanted = t["d"].input_error[2] + t["b"].input_error + t["c"].input_error
    np.testing.assert_allclose(step.outputs[0], wanted, rtol=1e-14)
    assert np.array_equal(t["a"].error, step.outputs[0])
    assert {t.steps[number].path for number in step.sources if number is not None} == {"b", "c", "d"}
    assert t.steps[step.number + 1].path == "a"
    assert t.steps[step.number + 1].sources == (step.number,)


def test_branches_of_one_input_add_their_errors() -> None:
    t = trace(Parallel(Dense(4, 2), Dense(4, 3)).initialize(0), HalfSquaredError(), X, np.ones((6, 5)))
    step = t.steps[-1]
    assert step.is_sum
    assert np.array_equal(step.outputs[0], t["0"].input_error + t["1"].input_error)
    assert [line.text for line in step.lines] == ["return reduce(np.add, found)"]


def test_an_error_that_is_handed_on_unchanged_has_the_right_source() -> None:
    t = trace(Parallel(Identity(), Dense(4, 4), merge=Add()).initialize(0), HalfSquaredError(), X, X)
    merge, same, dense, total = [step for step in t.steps if step.phase == "backward"][1:]
    assert [step.path for step in (merge, same, dense, total)] == ["merge", "0", "1", ""]
    assert same.sources == dense.sources == (merge.number,)
    assert total.sources == (same.number, dense.number)


class Transposed(Layer):
    """y = x W with the weight of another layer."""

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x @ self.weight.value

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += self._x.T @ grad
        return grad @ self.weight.value.T


def test_each_part_of_a_shared_weight_shows_what_it_adds() -> None:
    first = Dense(4, 2).initialize(0)
    model = Sequential(first, Transposed(first.weight))
    t = trace(model, HalfSquaredError(), X, X)
    error = (t.prediction - X) / len(X)
    close(t["1"].gradients["weight"], t["0"].y.T @ error)
    np.testing.assert_allclose(t["0"].gradients["weight"], (error @ first.weight.value.T).T @ X, rtol=1e-12, atol=1e-15)
    loss = HalfSquaredError()
    loss.forward(model.forward(X), X)
    model.backward(loss.backward())
    assert t.gradients["0.weight"].tobytes() == first.weight.grad.tobytes()
    assert sorted(t.gradients) == ["0.bias", "0.weight"]


class Choose(Merge):
    """y = a ∘ b + (1 − a) ∘ c."""

    @override
    def forward(self, *xs: Array) -> Array:
        self._a, self._b, self._c = xs
        return self._a * self._b + (1 - self._a) * self._c

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return grad * (self._b - self._c), grad * self._a, grad * (1 - self._a)


def test_a_merge_of_one_s_own_has_tuples() -> None:
    nodes: dict[str, Any] = {
        "gate": (Sequential(Dense(4, 4), Sigmoid()), "x"), "new": (Dense(4, 4), "x"),
        "chosen": (Choose(), "gate", "new", "x"), "out": (Dense(4, 1), "chosen"),
    }  # fmt: skip
    t = trace(Graph(nodes, output="out").initialize(0), HalfSquaredError(), X, Y)
    a, b, c = t["chosen"].x
    close(t["chosen"].y, a * b + (1 - a) * c)
    assert np.array_equal(t["chosen"].input_error[1], t["chosen"].error * a)
    assert t["new"].error is not t["chosen"].input_error[1]
    assert np.array_equal(t["new"].error, t["chosen"].input_error[1])
    assert {"O_gate.1", "E_gate.1", "d_gate.0.weight", "d_new.bias"} <= set(t.symbols())


class Gate(Layer):
    """y = s a(x) ∘ b(x): a container that computes, holds a parameter, and predicts in its pass."""

    def __init__(self, a: Layer, b: Layer) -> None:
        self.a, self.b, self.scale = a, b, Parameter(2.0)

    @override
    def forward(self, x: Array) -> Array:
        self._a, self._b = self.a.forward(x), self.b.forward(x)
        self.b.predict(100 * x)
        self._product = self._a * self._b
        return self.scale.value * self._product

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._product)
        grad = grad * self.scale.value
        return self.a.backward(grad * self._b) + self.b.backward(grad * self._a)


def test_a_container_of_one_s_own_shows_what_it_computes() -> None:
    model = Sequential(Gate(Dense(4, 1), Sequential(Dense(4, 1), Tanh()))).initialize(0)
    t = trace(model, HalfSquaredError(), X, Y)
    own = [step for step in t.steps if step.path == "0"]
    assert [(step.phase, step.is_sum) for step in own] == [
        ("forward", False), ("backward", False), ("backward", False), ("backward", True),
    ]  # fmt: skip
    assert not t.is_chain
    product = t["0.a"].y * t["0.b"].y
    close(own[0].outputs[0], 2 * product)
    close(own[1].outputs[0], 2 * t["0"].error * t["0.b"].y)
    close(t["0"].gradients["scale"], np.sum(t["0"].error * product))
    assert np.array_equal(own[3].outputs[0], t["0.a"].input_error + t["0.b"].input_error)
    loss = HalfSquaredError()
    loss.forward(model.forward(X), Y)
    model.backward(loss.backward())
    assert all(np.array_equal(t.gradients[path], own.grad) for path, own in model.named_parameters().items())


def test_penalties_and_a_clip_are_steps() -> None:
    model = article()
    weights = [layer.weight for layer in model if isinstance(layer, Dense)]
    given: Any = {"penalties": [L2(0.1, weights)], "clip": ClipGlobalNorm(0.05)}
    t = trace(model, HalfSquaredError(), X_1[None], Y_1[None], **given)
    plain = traced()
    penalty = 0.05 * float(np.sum(W_1**2) + np.sum(W_2**2))
    close(t.error, plain.error + penalty)
    loss, back, clip = [step for step in t.steps if step.path in ("penalties.0", "clip")]
    assert (loss.phase, back.phase, clip.phase) == ("loss", "backward", "update")
    close(loss.outputs[0], penalty)
    close(back.gradients["0.weight"], 0.1 * W_1)
    whole_gradients = {"0.weight": plain.dW[1] + 0.1 * W_1, "0.bias": plain.db[1],
                       "2.weight": plain.dW[2] + 0.1 * W_2, "2.bias": plain.db[2]}  # fmt: skip
    size = np.sqrt(sum(float(np.sum(g**2)) for g in whole_gradients.values()))
    close(clip.outputs[0], size)
    for path, gradient in whole_gradients.items():
        close(t.gradients[path], gradient * 0.05 / size)


def test_several_penalties_are_added_as_in_training() -> None:
    model, loss = mlp([4, 3, 1], rng=0), HalfSquaredError()
    penalties = [L1(strength, model.parameters()) for strength in (0.1, 0.2, 1 / 3)]
    t = trace(model, loss, X, Y, penalties=penalties)
    assert t.error == loss.forward(model.forward(X), Y) + sum(penalty.value() for penalty in penalties)
    own = [step for step in t.steps if step.path.startswith("penalties")]
    assert [(step.phase, step.path) for step in own] == [
        (phase, f"penalties.{place}") for phase in ("loss", "backward") for place in range(3)
    ]  # fmt: skip
    close(t.gradients["0.weight"], t["0"].gradients["weight"] + (0.3 + 1 / 3) * np.sign(model.parameters()[0].value))


def test_weights_of_samples_count_as_in_training() -> None:
    model, weight = mlp([4, 3, 1], activation=Tanh, rng=0), np.array([0.0, 1, 2, 0.5, 1, 1])
    t = trace(model, HalfSquaredError(), X, Y, weight)
    close(t.error, np.mean(weight * 0.5 * np.sum((t.prediction - Y) ** 2, axis=1)))
    close(t.E[3], weight[:, None] * (t.prediction - Y) / len(X))
    assert np.array_equal(t.steps[0].outputs[2], weight)


def test_slopes_are_derivatives_of_each_number_alone() -> None:
    model = Sequential(Dense(4, 4), Tanh(), Dropout(0.5), BatchNorm(4), Dense(4, 4), Softmax()).initialize(0)
    t = trace(model, HalfSquaredError(), X, np.full((6, 4), 0.25))
    close(t["1"].slope, 1 - t["1"].y ** 2)
    assert set(np.ravel(np.asarray(t["2"].slope)).tolist()) == {0.0, 2.0}
    assert [t[path].slope for path in ("", "0", "3", "4", "5")] == [None] * 5


def test_a_slope_is_that_of_the_weights_in_the_pass() -> None:
    model = Sequential(Dense(4, 4), PReLU(0.25)).initialize(0)
    t = trace(model, HalfSquaredError(), X, X, optimizer=SGD(model.parameters(), 10.0))
    assert np.array_equal(np.array(t["1"].slope), np.where(t["1"].x > 0, 1.0, 0.25))


def test_layers_before_the_first_dense_belong_to_layer_1() -> None:
    model = Sequential(Dropout(0.5), Dense(4, 3), BatchNorm(3), Tanh(), Dense(3, 2)).initialize(0)
    t = trace(model, SoftmaxCrossEntropy(), X, np.array([0, 1, 0, 1, 1, 0]))
    assert [(layer.affine, layer.after) for layer in t.layers] == [(None, ("0",)), ("1", ("2", "3")), ("4", ())]
    assert np.array_equal(t.O[1], t["0"].y)
    assert np.array_equal(t.O[3], t.I[3])


def test_the_article_s_numbers_of_another_model_are_refused() -> None:
    t = trace(Residual(Dense(4, 4)), HalfSquaredError(), X, X)
    with pytest.raises(StructureError, match="layers form a chain"):
        _ = t.O


def test_text_is_a_table() -> None:
    lines = str(traced()).split("\n")
    assert lines[0].split() == ["step", "phase", "part", "in", "out"]
    assert "0: Dense(2 -> 2)" in lines[2]
    assert "[[ 0.45 , -0.205]]" in lines[2]
    assert repr(traced()).startswith("Trace(Sequential(…), 1 rows, error 0.0")


def test_json_has_every_step_and_no_nan(tmp_path: Path) -> None:
    model = article()
    model[0].weight.value[0, 0] = np.inf  # type: ignore[attr-defined]
    t = trace(model, HalfSquaredError(), X_1[None], Y_1[None])
    t.save(tmp_path / "step.json")
    text = (tmp_path / "step.json").read_text("utf-8")

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert [step["path"] for step in found["steps"]] == [step.path for step in t.steps]
    assert found["symbols"]["W_1"][0][0] == "Infinity"
    assert found["symbols"]["dW_2"] == t.dW[2].tolist()
    assert found["steps"][1]["lines"][0]["made"]["y"]["shape"] == [1, 2]
    with pytest.raises(ArgumentError, match=r"ends in \.html or \.json"):
        t.save(tmp_path / "step.txt")


class GatedInSteps(Gated):
    """Name the error of each part before it is handed on."""

    @override
    def backward(self, grad: Array) -> Array:
        scaled = grad * self.scale.value
        of_f = scaled * self._g
        of_g = scaled * self._f
        self.scale.grad += np.sum(grad * self._f * self._g, axis=0)
        return self.f.backward(of_f) + self.heads[0].backward(of_g)


def test_no_line_of_a_container_is_shown_twice() -> None:
    model = Sequential(GatedInSteps(), Dense(8, 1)).initialize(0)
    t = trace(model, HalfSquaredError(), np.ones((2, 4)), np.ones((2, 1)))
    lines = [line.text for step in t.steps if step.path == "0" and step.phase == "backward" for line in step.lines]
    assert [text.partition(" ")[0] for text in lines] == ["scaled", "of_f", "of_g", "self.scale.grad", "return"]
