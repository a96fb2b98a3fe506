"""The contract, on a layer that a user wrote."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import Array, Columns, Dense, Identity, Layer, Parameter, Residual, Sequential, Tanh
from minidl.errors import CallOrderError
from minidl.layers.base import trait
from tests.support.derivatives import complex_step, relative_error
from tests.support.refusal import refused


class ScaledTanh(Layer):
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = Parameter(scale)

    @override
    def forward(self, x: Array) -> Array:
        self._tanh: Array = np.tanh(x)
        return self.scale.value * self._tanh

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._tanh)
        return grad * self.scale.value * (1.0 - self._tanh**2)


class Twice(Layer):
    """Hold two layers, without being a container."""

    def __init__(self) -> None:
        self.first = Dense(2, 2).initialize(0)
        self.rest = [ScaledTanh(0.5)]

    @override
    def forward(self, x: Array) -> Array:
        return self.rest[0].forward(self.first.forward(x))

    @override
    def backward(self, grad: Array) -> Array:
        return self.first.backward(self.rest[0].backward(grad))


X = np.random.default_rng(0).normal(size=(4, 2))


def test_a_layer_of_ones_own_needs_forward_and_backward_only() -> None:
    layer = ScaledTanh(1.5)
    assert (layer(X) == 1.5 * np.tanh(X)).all()
    assert list(layer.named_parameters()) == ["scale"]
    assert layer.output_features(7) == 7
    assert trait(layer, "in_features") is None
    assert repr(layer) == "ScaledTanh()"


def test_its_gradients_are_those_of_the_complex_step() -> None:
    layer = ScaledTanh(1.5)
    weights = np.random.default_rng(1).normal(size=X.shape)
    layer.forward(X)
    dx = layer.backward(weights)
    assert relative_error(dx, complex_step(lambda x: np.sum(weights * 1.5 * np.tanh(x)), X)) < 1e-10
    assert float(layer.scale.grad) == np.sum(weights * np.tanh(X))


def test_predict_changes_nothing_on_the_layer_in_the_middle_of_a_pass() -> None:
    layer, undisturbed = Twice(), Twice()
    layer.forward(X)
    undisturbed.forward(X)
    before = {name: id(value) for name, value in vars(layer).items()}
    kept = {name: value.tobytes() for name, value in vars(layer.rest[0]).items() if isinstance(value, np.ndarray)}
    layer.predict(10 * X[:1])
    layer(X - 5)
    assert {name: id(value) for name, value in vars(layer).items()} == before
    assert {n: v.tobytes() for n, v in vars(layer.rest[0]).items() if isinstance(v, np.ndarray)} == kept
    assert (layer.backward(np.ones_like(X)) == undisturbed.backward(np.ones_like(X))).all()
    for ours, theirs in zip(layer.parameters(), undisturbed.parameters(), strict=True):
        assert (ours.grad == theirs.grad).all()


def test_inference_shares_the_parameters_and_has_a_memory_of_its_own() -> None:
    layer = Twice()
    frozen = layer.inference()
    assert frozen is not layer
    assert frozen.parameters() == layer.parameters()
    frozen.forward(X)
    assert "_x" not in vars(layer.first)
    assert "_tanh" not in vars(layer.rest[0])
    layer.first.weight.value = np.zeros((2, 2))
    assert (frozen.predict(X) == layer.predict(X)).all()
    weights = np.random.default_rng(1).normal(size=X.shape)
    assert (frozen.backward(weights) == 0).all()


def test_backward_parameters_of_a_plain_layer_is_backward_without_the_result() -> None:
    whole, short = Twice(), Twice()
    for layer in (whole, short):
        layer.forward(X)
    whole.backward(X)
    short.backward_parameters(X)
    for ours, theirs in zip(short.parameters(), whole.parameters(), strict=True):
        assert (ours.grad == theirs.grad).all()


def test_backward_differentiates_the_last_forward() -> None:
    layer, fresh = ScaledTanh(2.0), ScaledTanh(2.0)
    layer.forward(X + 1)
    layer.forward(X)
    fresh.forward(X)
    assert (layer.backward(X) == fresh.backward(X)).all()
    assert float(layer.scale.grad) == float(fresh.scale.grad)


def test_a_second_backward_adds_the_same_gradients_again() -> None:
    layer = Twice()
    layer.forward(X)
    layer.backward(X)
    once = [p.grad.copy() for p in layer.parameters()]
    layer.backward(X)
    for parameter, first in zip(layer.parameters(), once, strict=True):
        assert (parameter.grad == 2 * first).all()


def test_backward_before_forward_is_an_error_that_says_so() -> None:
    with refused(CallOrderError, "ScaledTanh: expected forward before backward"):
        Residual(ScaledTanh()).backward(X)


def test_threads_may_predict_at_once() -> None:
    model = Sequential(Dense(2, 64), ScaledTanh(), Dense(64, 1)).initialize(rng=0)
    inputs = [np.random.default_rng(i).normal(size=(50, 2)) for i in range(8)]
    expected = [model.predict(x) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        wrong.extend(i for _ in range(50) if not np.array_equal(model.predict(inputs[i]), expected[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Doubled:
    """Mix into a layer: twice its output, and so twice its gradients."""

    def forward(self, x: Array) -> Array:
        y: Array = 2.0 * super().forward(x)  # type: ignore[misc]
        return y

    def backward(self, grad: Array) -> Array:
        dx: Array = super().backward(2.0 * grad)  # type: ignore[misc]
        return dx


class DoubledDense(Doubled, Dense):
    pass


class DoubledTanh(Doubled, Tanh):
    pass


class DoubledColumns(Doubled, Columns):
    pass


class DoubledAgain(DoubledDense):
    pass


@pytest.mark.parametrize(
    "make", [lambda: DoubledDense(2, 2).initialize(0), DoubledTanh, lambda: DoubledColumns([1, 0]),
             lambda: DoubledAgain(2, 2).initialize(0)]
)
def test_no_short_cut_of_a_layer_goes_past_what_is_mixed_into_it(make: Callable[[], Layer]) -> None:
    layer, short = make(), make()
    assert (layer.predict(X) == layer.forward(X)).all()
    short.forward(X)
    layer.backward(X)
    short.backward_parameters(X)
    for ours, theirs in zip(short.parameters(), layer.parameters(), strict=True):
        assert (ours.grad == theirs.grad).all()


def test_a_short_cut_that_is_mixed_in_stays() -> None:
    class Shown:
        def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
            return x + 100.0

    class ShownDense(Shown, DoubledDense):
        pass

    assert (ShownDense(2, 2).predict(X) == X + 100.0).all()


def test_the_repr_of_a_subclass_has_its_own_name() -> None:
    class Own(Dense):
        pass

    assert repr(Own(2, 3)) == "Own(2 -> 3)"
    assert repr(Own(2, 3).freeze()) == "Own(2 -> 3, frozen)"


class Shifted(Layer):
    """Adds 1 in training; for predictions another layer takes its place."""

    @override
    def forward(self, x: Array) -> Array:
        return x + 1.0

    @override
    def backward(self, grad: Array) -> Array:
        return grad

    @override
    def inference(self) -> Any:
        return Identity()


def test_predict_calls_the_layer_that_inference_returns() -> None:
    x = np.ones((2, 3))
    assert (Shifted().predict(x) == x).all()
    assert (Sequential(Shifted()).predict(x) == x).all()
