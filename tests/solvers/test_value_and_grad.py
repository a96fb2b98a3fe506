"""value_and_grad against Jacobians, complex step and scipy.optimize."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

from minidl import Array, Dense, Embedding, Flatten, Identity, Layer, Parallel, Sequential, Softmax, Tanh, mlp
from minidl.errors import DataError, DTypeError, ShapeError, StructureError
from minidl.solvers import jacobian, value_and_grad
from tests.solvers.test_jacobians import MODELS, Centred, Noise, X
from tests.support.refusal import refused

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_direction_times_output_and_jacobian(name: str) -> None:
    model = MODELS[name]()
    y = model.predict(X)
    for direction in RNG.normal(size=y.shape[1]), RNG.normal(size=y.shape):
        c = np.broadcast_to(direction, y.shape)
        values, gradients = value_and_grad(model, X, direction)
        np.testing.assert_allclose(values, (c * y).sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(gradients, np.einsum("rj,rji->ri", c, jacobian(model, X)), rtol=1e-10, atol=1e-13)
        value, gradient = value_and_grad(model, X[2], c[2])
        assert isinstance(value, float)
        assert value == pytest.approx(values[2], rel=1e-12)
        np.testing.assert_allclose(gradient, gradients[2], rtol=1e-10, atol=1e-13)


def test_the_gradient_agrees_with_complex_step() -> None:
    model, c = mlp([3, 6, 4], activation=Tanh, output=Softmax, rng=3), RNG.normal(size=4)
    expected = []
    for column in range(3):
        y = X[:1].astype(complex)
        y[:, column] += 1e-30j
        for layer in model:
            y = layer.predict(y)
        expected.append((y @ c).imag.item() / 1e-30)
    np.testing.assert_allclose(value_and_grad(model, X[0], c)[1], expected, rtol=1e-12)


def test_scipy_takes_value_and_gradient_at_once() -> None:
    model = mlp([3, 8, 2], activation=Tanh, rng=1)

    def value(x: Array) -> float:
        found: float = value_and_grad(model, x, [1.0, -2.0])[0]
        return found

    def both(x: Array) -> Any:
        return value_and_grad(model, x, [1.0, -2.0])

    def gradient(x: Array) -> Any:
        return both(x)[1]

    assert check_grad(value, gradient, X[0]) < 1e-6
    result = minimize(both, X[0], jac=True, bounds=[(-1.0, 1.0)] * 3)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 21)] * 3), axis=-1).reshape(-1, 3)
    assert result.fun <= (model.predict(grid) @ [1.0, -2.0]).min() + 1e-9


def test_a_row_takes_one_pass_forward_and_one_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[str, int]] = []
    forward, backward = Dense.forward, Dense.backward

    def counted_forward(layer: Dense, x: Array) -> Array:
        passes.append(("forward", len(x)))
        return forward(layer, x)

    def counted_backward(layer: Dense, grad: Array) -> Array:
        passes.append(("backward", len(grad)))
        return backward(layer, grad)

    model = mlp([3, 4, 5], activation=Tanh, rng=0)
    monkeypatch.setattr(Dense, "forward", counted_forward)
    monkeypatch.setattr(Dense, "backward", counted_backward)
    value_and_grad(model, X[0], np.ones(5))
    assert passes == [("forward", 1)] * 2 + [("backward", 1)] * 2


def test_float32_stays_float32() -> None:
    model = mlp([3, 4, 2], activation=Tanh, rng=0)
    value, gradient = value_and_grad(model.astype(np.float32), X[0], [1, 2])
    assert type(value) is float
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, value_and_grad(model, X[0], [1, 2])[1], rtol=1e-5)


def test_the_gradient_of_images_has_their_shape() -> None:
    model = Sequential(Flatten(), Dense(6, 2).initialize(0))
    images = RNG.normal(size=(4, 2, 3))
    values, gradients = value_and_grad(model, images, [0.0, 1.0])
    assert (values.shape, gradients.shape) == ((4,), (4, 2, 3))
    assert np.allclose(gradients.reshape(4, 6), model[1].weight.value[1])  # type: ignore[attr-defined]


def test_a_code_has_the_gradient_zero() -> None:
    assert value_and_grad(Embedding(4, 2).initialize(0), [3.0], [1.0, 1.0])[1].tolist() == [0.0]


def test_a_shared_parameter_and_the_result_belong_to_nobody_else() -> None:
    first = Dense(3, 3).initialize(0)
    second = Dense(3, 3)
    second.weight = first.weight
    model = Parallel(first, second)
    _, one = value_and_grad(model, X, np.ones(6))
    kept = one.copy()
    value_and_grad(model, X + 1, np.ones(6))
    assert (one == kept).all()
    x = X[:1].copy()
    _, same = value_and_grad(Identity(), x, np.ones(3))
    assert not np.shares_memory(same, x)


@pytest.mark.parametrize(
    ("model", "x", "direction", "error", "words"),
    [
        (mlp([3, 2], rng=0), X[0, :2], [1, 1], ShapeError, "expected x of shape (batch, 3), got (1, 2)"),
        (mlp([3, 2], rng=0), X, [1, 1, 1], ShapeError, "value_and_grad(direction): expected a number for each output"),
        (mlp([3, 2], rng=0), X[0], 1.0, ShapeError, "value_and_grad(direction): expected a number for each output"),
        (mlp([3, 2], rng=0), X[0], [1, np.nan], DataError, "value_and_grad(direction): expected finite numbers"),
        (mlp([3, 2], rng=0), X[0], ["a", "b"], DTypeError, "value_and_grad(direction)"),
        (mlp([3, 2], rng=0), [np.nan] * 3, [1, 1], DataError, "value_and_grad(x): expected finite numbers"),
        (mlp([3, 2], rng=0), X[:0], [1, 1], DataError, "expected at least one row"),
        (mlp([3, 2], rng=0), 1.0, [1, 1], ShapeError, "value_and_grad(x)"),
        (3, X, [1, 1], DTypeError, "value_and_grad(model): expected a Layer, got 3"),
        (Noise(), X, [1, 1, 1], StructureError, "Noise() draws random numbers"),
        (Centred(), X, [1, 1, 1], StructureError, "half of the rows gave other outputs"),
    ],
)
def test_what_does_not_fit_is_named(model: Layer, x: Any, direction: Any, error: Any, words: str) -> None:
    with refused(error, words):
        value_and_grad(model, x, direction)
