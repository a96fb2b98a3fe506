"""Jacobians against complex step, central differences and loops written from the equations."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    GELU,
    Activation,
    Add,
    Array,
    BatchNorm,
    Columns,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Graph,
    HalfSquaredError,
    Identity,
    Layer,
    LayerNorm,
    MeanSquaredError,
    Parallel,
    Parameter,
    PReLU,
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    mlp,
)
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError, StructureError
from minidl.layers import Merge
from minidl.solvers import jacobian, levenberg_marquardt, parameter_jacobian, value_and_grad
from minidl.solvers._jacobians import RULES, RowGradients


class ScaledTanh(Layer):
    """y = s tanh(x), with one learned scale s."""

    def __init__(self) -> None:
        self.scale = Parameter(0.7)

    @override
    def forward(self, x: Array) -> Array:
        self._tanh: Array = np.tanh(x)
        return self.scale.value * self._tanh

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._tanh)
        return grad * self.scale.value * (1.0 - self._tanh**2)


class Tied(Layer):
    """y = W tanh(Wᵀ x): it uses the weight of a layer that it holds without calling that layer the second time."""

    def __init__(self) -> None:
        self.encoder = Dense(3, 2).initialize(4)

    @override
    def forward(self, x: Array) -> Array:
        self._h = np.tanh(self.encoder.forward(x))
        return self._h @ self.encoder.weight.value

    @override
    def backward(self, grad: Array) -> Array:
        dh = grad @ self.encoder.weight.value.T * (1.0 - self._h**2)
        self.encoder.weight.grad += self._h.T @ grad
        return self.encoder.backward(dh)


class WeightedSum(Merge):
    """y = a x₁ + b x₂ with learned a and b."""

    def __init__(self) -> None:
        self.factors = Parameter([0.3, -1.2])

    @override
    def forward(self, *xs: Array) -> Array:
        self._xs = xs
        a, b = self.factors.value
        return np.asarray(a * xs[0] + b * xs[1])

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        self.factors.grad += np.array([np.sum(grad * x) for x in self._xs])
        return self.factors.value[0] * grad, self.factors.value[1] * grad


class Spoiling(Layer):
    """y = x², with a backward that can only be called once after a forward: it uses up what was kept."""

    @override
    def forward(self, x: Array) -> Array:
        self._slope = 2.0 * x
        return x * x

    @override
    def backward(self, grad: Array) -> Array:
        self._slope *= grad
        return self._slope


class Centred(Layer):
    """y = x − mean of the batch, and nothing that declares so."""

    @override
    def forward(self, x: Array) -> Array:
        y: Array = x - np.add.reduce(x, axis=0) / max(len(x), 1)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        return self.forward(grad)


class Weakly(Layer):
    """y = x + 0.01 · mean of the batch, and nothing that declares so."""

    @override
    def forward(self, x: Array) -> Array:
        y: Array = x + 0.01 * x.mean(axis=0)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        return self.forward(grad)


class Noise(Layer):
    """Adds noise even in prediction, since it gives no inference of its own."""

    def __init__(self) -> None:
        self.sources = [np.random.default_rng(0)]

    @override
    def forward(self, x: Array) -> Array:
        return x + self.sources[0].normal(size=x.shape)

    @override
    def backward(self, grad: Array) -> Array:
        return grad


class SquareDense(Dense):
    """A subclass of a built-in layer that computes something else: y = (x Wᵀ + b)²."""

    @override
    def forward(self, x: Array) -> Array:
        self._z = super().forward(x)
        return self._z**2

    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(2.0 * self._z * grad)


def shared() -> Sequential:
    first, second = Dense(3, 3).initialize(1), Dense(3, 3).initialize(2)
    second.weight = first.weight
    return Sequential(first, Tanh(), second)


def used_batch_norm() -> Sequential:
    model = Sequential(Dense(3, 4).initialize(1), BatchNorm(4), Tanh(), Dense(4, 2).initialize(2))
    for seed in range(5):
        model.forward(np.random.default_rng(seed).normal(size=(9, 3)))
    return model


def norms() -> Sequential:
    model = Sequential(Dense(3, 4).initialize(1), LayerNorm(4), Tanh(), Dense(4, 5).initialize(2), RMSNorm(5))
    for parameter in model.parameters():
        parameter.value = parameter.value + np.random.default_rng(parameter.size).normal(size=parameter.shape)
    return model


MODELS: dict[str, Callable[[], Layer]] = {
    "dense": lambda: Dense(3, 2).initialize(0),
    "chain": lambda: mlp([3, 5, 4, 2], activation=Sigmoid, rng=0),
    "nested chain": lambda: Sequential(mlp([3, 5], rng=0), GELU(), Sequential(Dense(5, 2).initialize(1), Softmax())),
    "norms": norms,
    "slopes and no bias": lambda: Sequential(
        Dense(3, 4, bias=False).initialize(1), PReLU(features=4), Dense(4, 2).initialize(2)
    ),
    "prelu": lambda: Sequential(Dense(3, 4).initialize(1), PReLU(), Dense(4, 2).initialize(2)),
    "batch norm": used_batch_norm,
    "dropout": lambda: Sequential(Dense(3, 4), Dropout(0.5), Tanh(), Dense(4, 2)).initialize(1),
    "residual": lambda: Sequential(Residual(Sequential(Dense(3, 3).initialize(1), Tanh())), Dense(3, 2).initialize(2)),
    "parallel": lambda: Parallel(Dense(3, 2).initialize(1), Sequential(Dense(3, 2).initialize(2), Tanh()), merge=Add()),
    "graph": lambda: Graph(
        {"h": (Dense(3, 4).initialize(1), "x"), "t": (Tanh(), "h"), "j": (Concat(), "x", "t", "h"),
         "y": (Dense(11, 2).initialize(2), "j")}, output="y"),
    "learned merge": lambda: Parallel(Dense(3, 2).initialize(1), Dense(3, 2).initialize(2), merge=WeightedSum()),
    "custom": lambda: Sequential(Dense(3, 4).initialize(1), ScaledTanh(), Dense(4, 2).initialize(2)),
    "custom alone": ScaledTanh,
    "custom container": lambda: Sequential(Tied(), Tanh(), Dense(3, 2).initialize(2)),
    "custom without parameters": lambda: Sequential(Dense(3, 4).initialize(1), Spoiling(), Dense(4, 2).initialize(2)),
    "subclass": lambda: Sequential(SquareDense(3, 4).initialize(1), Tanh(), Dense(4, 2).initialize(2)),
    "shared parameter": shared,
}
X = np.random.default_rng(7).normal(size=(6, 3))


@pytest.fixture(params=MODELS, ids=str)
def model(request: pytest.FixtureRequest) -> Layer:
    return MODELS[request.param]()


def by_differences(function: Callable[[Array], Array], at: Array, step: float = 1e-5) -> Array:
    """Central differences of an array function by each number of ``at``, as the last axis."""
    columns = []
    for index in np.ndindex(at.shape):
        change = np.zeros_like(at)
        change[index] = step
        columns.append((function(at + change) - function(at - change)) / (2.0 * step))
    return np.stack(columns, axis=-1)


def test_the_jacobian_is_the_limit_of_differences_of_predictions(model: Layer) -> None:
    expected = np.stack([by_differences(lambda row: model.predict(row)[0], x[None, :]) for x in X])
    np.testing.assert_allclose(jacobian(model, X), expected, atol=1e-8)


def test_the_parameter_jacobian_is_the_limit_of_differences_of_predictions(model: Layer) -> None:
    blocks = []
    for parameter in model.parameters():
        start = parameter.value.copy()

        def outputs(value: Array, parameter: Parameter = parameter) -> Array:
            parameter.value = value
            return model.predict(X)

        blocks.append(by_differences(outputs, start))
        parameter.value = start
    expected = np.concatenate(blocks, axis=-1)
    np.testing.assert_allclose(parameter_jacobian(model, X), expected, atol=1e-8)


@pytest.mark.parametrize("activation", [Sigmoid, Tanh, GELU])
def test_the_jacobian_agrees_with_complex_step_to_rounding(activation: Callable[[], Layer]) -> None:
    model = mlp([3, 6, 4], activation=activation, output=Softmax, rng=3)
    for column in range(3):
        y = X.astype(complex)
        y[:, column] += 1e-30j
        for layer in model:
            y = layer.predict(y)
        np.testing.assert_allclose(jacobian(model, X)[:, :, column], y.imag / 1e-30, rtol=1e-12, atol=1e-15)


def test_the_parameter_jacobian_agrees_with_a_loop_from_the_equations() -> None:
    model = mlp([3, 4, 2], activation=Sigmoid, rng=5)
    w1, b1, w2, _ = (p.value for p in model.parameters())
    expected = np.zeros((len(X), 2, 12 + 4 + 8 + 2))
    for r, x in enumerate(X):
        o = 1.0 / (1.0 + np.exp(-(w1 @ x + b1)))
        for j in range(2):
            for h in range(4):
                error = w2[j, h] * o[h] * (1.0 - o[h])
                expected[r, j, 3 * h:3 * h + 3] = error * x
                expected[r, j, 12 + h] = error
                expected[r, j, 16 + 4 * j + h] = o[h]
            expected[r, j, 24 + j] = 1.0
    np.testing.assert_allclose(parameter_jacobian(model, X), expected, rtol=1e-13, atol=1e-15)


def test_every_rule_equals_the_layer_run_on_single_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.array([[0.0], [2.0], [1.0], [2.0]])
    cases: list[tuple[Layer, Array]] = [
        (Dense(3, 2), X), (LayerNorm(3), X), (RMSNorm(3), X), (PReLU(), X), (PReLU(features=3), X),
        (Dense(3, 2, bias=False), X),
        (Embedding(3, 2), codes), (Embedding([3, 4], 2), np.repeat(codes, 2, axis=1))
    ]
    assert {type(layer) for layer, _ in cases} == set(RULES)
    fast = [parameter_jacobian(layer, x) for layer, x in cases]
    monkeypatch.setattr("minidl.solvers._jacobians.RULES", {})
    for (layer, x), found in zip(cases, fast, strict=True):
        np.testing.assert_allclose(found, parameter_jacobian(layer, x), atol=1e-15, err_msg=repr(layer))


def test_an_embedding_has_the_derivative_one_at_its_code_and_none_by_the_code() -> None:
    model = Graph({"c": (Columns([0]), "x"), "e": (Embedding(3, 2).initialize(0), "c"), "n": (Columns([1]), "x"),
                   "j": (Concat(), "e", "n"), "y": (Dense(3, 1).initialize(1), "j")}, output="y")
    x = np.array([[2.0, 0.4], [0.0, -1.0]])
    embedding, dense = model.nodes["e"][0], model.nodes["y"][0]
    assert isinstance(embedding, Embedding)
    assert isinstance(dense, Dense)
    w = dense.weight.value[0]
    np.testing.assert_allclose(jacobian(model, x), [[[0.0, w[2]]], [[0.0, w[2]]]])
    expected = np.zeros((2, 1, 3, 2))
    expected[0, 0, 2] = expected[1, 0, 0] = w[:2]
    np.testing.assert_allclose(parameter_jacobian(model, x, [embedding.weight]), expected.reshape(2, 1, 6))


def test_the_sum_of_the_row_gradients_is_what_backward_gives(model: Layer) -> None:
    y = model.predict(X)
    grad = np.random.default_rng(1).normal(size=y.shape)
    expected = np.einsum("rj,rjp->p", grad, parameter_jacobian(model, X))
    alone = model.inference()
    for parameter in alone.parameters():
        parameter.zero_grad()
    alone.forward(X)
    alone.backward_parameters(grad)
    found = np.concatenate([p.grad.ravel() for p in alone.parameters()])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_nothing_of_the_model_is_changed(model: Layer) -> None:
    for parameter in model.parameters():
        parameter.grad += 3.0
    before = {name: (p.value.tobytes(), p.grad.tobytes()) for name, p in model.named_parameters().items()}
    loss, y = HalfSquaredError(), model.predict(X) + 1.0
    loss.forward(model.forward(X), y)
    untouched = copy.deepcopy(model)
    jacobian(model, X)
    parameter_jacobian(model, X)
    value_and_grad(model, X, np.ones(y.shape[1]))
    value_and_grad(model, X[0], np.ones(y.shape[1]))
    assert before == {name: (p.value.tobytes(), p.grad.tobytes()) for name, p in model.named_parameters().items()}
    # A pass under way is not disturbed: its backward gives what it would have given.
    np.testing.assert_array_equal(model.backward(loss.backward()), untouched.backward(loss.backward()))


def test_columns_come_in_the_order_of_the_parameters_asked_for() -> None:
    model = mlp([3, 4, 2], activation=Tanh, rng=0)
    everything = parameter_jacobian(model, X)
    w1, b1, w2, b2 = model.parameters()
    found = parameter_jacobian(model, X, [b2, w1])
    np.testing.assert_array_equal(found, np.concatenate([everything[:, :, 24:26], everything[:, :, :12]], axis=2))
    assert (w2.size, b1.size) == (8, 4)


def test_float32_models_give_float32_jacobians_near_those_of_float64() -> None:
    model = mlp([3, 4, 2], activation=Tanh, rng=0)
    for function in (jacobian, parameter_jacobian):
        single, double = function(model.astype(np.float32), X), function(model, X)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, atol=2e-6)


def test_the_inputs_of_an_image_are_flattened_in_its_jacobian() -> None:
    model = Sequential(Flatten(), Dense(6, 2).initialize(0))
    dense = model[1]
    assert isinstance(dense, Dense)
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    found = jacobian(model, x)
    assert found.shape == (4, 2, 6)
    np.testing.assert_allclose(found, np.broadcast_to(dense.weight.value, (4, 2, 6)))


def test_a_wrapped_model_sees_each_pass_through_a_layer_that_is_used_twice() -> None:
    class Twice(Layer):
        """y = f(x) + f(2x) with one f; backward runs it again before each half."""

        def __init__(self) -> None:
            self.inner = Dense(3, 2).initialize(0)

        @override
        def forward(self, x: Array) -> Array:
            self._x = x
            return self.inner.forward(x) + self.inner.forward(2.0 * x)

        @override
        def backward(self, grad: Array) -> Array:
            second = 2.0 * self.inner.backward(grad)
            self.inner.forward(self._x)
            return second + self.inner.backward(grad)

    model = Twice()
    expected = np.zeros((len(X), 2, 8))
    for row, x in enumerate(X):
        for output in range(2):
            expected[row, output, 3 * output:3 * output + 3] = 3.0 * x
            expected[row, output, 6 + output] = 2.0
    np.testing.assert_allclose(parameter_jacobian(model, X), expected)


def test_random_layers_are_refused_where_they_draw_in_prediction() -> None:
    with pytest.raises(StructureError, match=r'Noise\(\) at "1" draws random numbers'):
        jacobian(Sequential(Dense(3, 2), Noise()), X)
    with pytest.raises(StructureError, match=r"but Noise\(\) draws random numbers"):
        jacobian(Noise(), X)


def test_coupled_rows_are_refused_even_where_nothing_declares_them() -> None:
    with pytest.raises(StructureError, match="half of the rows gave other outputs"):
        parameter_jacobian(Sequential(Dense(3, 2).initialize(0), Centred()), X)

    class Declared(Identity):
        couples_rows = True

    with pytest.raises(StructureError, match=r'Declared\(\) at "1" couples the rows'):
        jacobian(Sequential(Dense(3, 2), Declared()), X)


def test_weakly_coupled_rows_are_refused() -> None:
    model = Sequential(Dense(3, 2).initialize(rng=0), Weakly())
    with pytest.raises(StructureError, match=r"parameter_jacobian: .* half of the rows gave other outputs"):
        parameter_jacobian(model, X)
    with pytest.raises(StructureError, match=r"levenberg_marquardt: .* half of the rows gave other outputs"):
        levenberg_marquardt(model, X, np.zeros((len(X), 2)))


def test_what_does_not_fit_is_named() -> None:
    model = mlp([3, 4, 2], rng=0)
    with pytest.raises(ShapeError, match=r"expected x of shape \(batch, 3\), got \(5, 2\)"):
        jacobian(model, np.zeros((5, 2)))
    with pytest.raises(DataError, match="at least one row"):
        jacobian(model, np.zeros((0, 3)))
    with pytest.raises(DataError, match="expected finite numbers, got nan"):
        parameter_jacobian(model, [[np.nan, 0.0, 0.0]])
    with pytest.raises(DTypeError, match="expected a Layer"):
        jacobian(MeanSquaredError(), X)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"parameter_jacobian\(model\): expected a Layer, got 3$"):
        parameter_jacobian(3, X)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="expected parameters of the model"):
        parameter_jacobian(model, X, [Parameter(1.0)])
    with pytest.raises(ArgumentError, match="at least one parameter"):
        parameter_jacobian(Activation(np.sin, np.cos), X)


def test_many_rows_go_through_a_built_in_model_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    forward = Dense.forward

    def counted(layer: Dense, x: Array) -> Array:
        passes.append(len(x))
        return forward(layer, x)

    model = mlp([3, 4, 2], activation=Tanh, rng=0)
    gradients = RowGradients(model, model.parameters())
    monkeypatch.setattr(Dense, "forward", counted)
    gradients.evaluate(X, np.empty((len(X), 2, gradients.size)))
    assert passes == [len(X)] * 4  # two layers, once for each output
