"""Penalties: values and gradients, their place in a training by hand and in the Trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import L1, L2, SGD, Array, Dense, HalfSquaredError, Parameter, Sequential, Trainer, mlp
from minidl.errors import ArgumentError, DivergenceError, DTypeError
from minidl.optimizers import Penalty


def test_l2_is_half_the_sum_of_squares() -> None:
    penalty = L2(0.1, [Parameter([[1.0, -2.0]]), Parameter([3.0])])
    assert penalty.value() == pytest.approx(0.1 * (1 + 4 + 9) / 2, rel=1e-15)


@pytest.mark.parametrize(("make", "power"), [(L1, 1), (L2, 2)])
def test_the_penalty_of_many_numbers_in_float32_is_exact(make: type[Penalty], power: int) -> None:
    weight = Parameter(np.full((3000, 1000), 0.1), dtype="float32")
    assert make(1.0, [weight]).value() == pytest.approx(3e6 * float(np.float32(0.1)) ** power / power, rel=2e-6)


def test_l1_is_the_sum_of_sizes() -> None:
    penalty = L1(0.1, [Parameter([[1.0, -2.0]]), Parameter([3.0])])
    assert penalty.value() == pytest.approx(0.1 * 6, rel=1e-15)


@pytest.mark.parametrize("make", [L1, L2])
def test_the_gradient_is_that_of_the_value(make: type[Penalty]) -> None:
    rng = np.random.default_rng(0)
    found = [Parameter(rng.normal(size=(3, 2))), Parameter(rng.normal(size=2))]
    penalty = make(0.3, found)
    penalty.backward()
    for parameter in found:
        for index in np.ndindex(parameter.shape):
            middle, ends = parameter.value[index], []
            for shift in (1e-6, -1e-6):
                parameter.value[index] = middle + shift
                ends.append(penalty.value())
            parameter.value[index] = middle
            assert parameter.grad[index] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-7)


def test_l1_leaves_zeros_in_peace() -> None:
    parameter = Parameter([0.0, -0.0, 2.0])
    L1(0.5, [parameter]).backward()
    assert parameter.grad.tolist() == [0.0, 0.0, 0.5]


@pytest.mark.parametrize("make", [L1, L2])
def test_adds_to_the_gradient_in_its_dtype(make: type[Penalty]) -> None:
    parameter = Parameter([2.0], dtype="float32")
    parameter.grad += np.float32(10.0)
    make(1.0, [parameter]).backward()
    assert parameter.grad == {L1: 11.0, L2: 12.0}[make]
    assert parameter.grad.dtype == np.float32


def test_a_shared_parameter_counts_once() -> None:
    parameter = Parameter([2.0])
    penalty = L2(1.0, [parameter, parameter])
    penalty.backward()
    assert penalty.value() == 2.0
    assert parameter.grad == 2.0


def data() -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3))
    return x, x @ np.array([[1.0], [-2.0], [0.0]]) + 0.1 * rng.normal(size=(60, 1))


def weights(model: Sequential) -> list[Parameter]:
    return [parameter for name, parameter in model.named_parameters().items() if name.endswith("weight")]


def test_l2_trains_as_weight_decay_does() -> None:
    x, y = data()
    results = []
    for decay in (True, False):
        model = mlp([3, 5, 1], rng=0)
        optimizer = SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.02 if decay else 0.0)
        Trainer(model, HalfSquaredError(), optimizer, rng=0,
                penalties=[] if decay else [L2(0.02, weights(model))]).fit(x, y, epochs=10)
        results.append(optimizer.vector.values.copy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-10)


def test_l2_on_a_linear_model_is_ridge_regression() -> None:
    x, y = data()
    model = Sequential(Dense(3, 1).initialize(0))
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.3), rng=0,
                      penalties=[L2(0.5, weights(model))])
    trainer.fit(x, y, epochs=300, batch_size=60)
    centred_x, centred_y = x - x.mean(axis=0), y - y.mean(axis=0)
    ridge = np.linalg.solve(centred_x.T @ centred_x / 60 + 0.5 * np.eye(3), centred_x.T @ centred_y / 60)
    np.testing.assert_allclose(weights(model)[0].value, ridge.T, rtol=1e-10)


def test_l1_on_a_linear_model_meets_the_conditions_of_the_lasso() -> None:
    x, y = data()
    model = Sequential(Dense(3, 1).initialize(0))
    optimizer = SGD(model.parameters(), lambda n: 0.3 * 0.99**n)
    Trainer(model, HalfSquaredError(), optimizer, rng=0,
            penalties=[L1(0.2, weights(model))]).fit(x, y, epochs=2000, batch_size=60)
    weight = weights(model)[0].value[0]
    slope = x.T @ (y - model.predict(x)) / 60  # of the error alone: λ sign(w) where w ≠ 0, inside ±λ where w = 0
    np.testing.assert_allclose(slope[:2, 0], [0.2, -0.2], atol=1e-3)
    assert abs(weight[2]) < 1e-4
    assert abs(slope[2, 0]) < 0.2


def test_the_loss_in_the_history_contains_the_penalty_and_evaluate_does_not() -> None:
    x, y = data()
    model = mlp([3, 4, 1], rng=0)
    penalty = L2(0.7, weights(model))
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e-12), rng=0, penalties=[penalty])
    history = trainer.fit(x, y, epochs=1, batch_size=20, validation=(x, y))
    alone = float(((model.predict(x) - y) ** 2).sum() / 2 / 60)
    term = 0.35 * sum(float((parameter.value**2).sum()) for parameter in weights(model))
    assert history.loss[0] == pytest.approx(alone + term, rel=1e-9)
    assert history.validation_loss[0] == pytest.approx(alone, rel=1e-9)
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(alone, rel=1e-9)


def test_a_penalty_on_a_frozen_layer_changes_no_weight() -> None:
    x, y = data()
    model = mlp([3, 4, 1], rng=0)
    frozen = model.parameters()[0].freeze()
    before = frozen.value.tobytes()
    optimizer = SGD(model.parameters(), 0.1)
    Trainer(model, HalfSquaredError(), optimizer, rng=0, penalties=[L2(1.0, [frozen])]).fit(x, y, epochs=2)
    assert frozen.value.tobytes() == before
    assert not frozen.grad.any()


class Cubes(Penalty):
    """λ Σ |w|³."""

    @override
    def value(self) -> float:
        return self.strength * sum(float((np.abs(parameter.value) ** 3).sum()) for parameter in self.parameters)

    @override
    def backward(self) -> None:
        for parameter in self.parameters:
            parameter.grad += 3 * self.strength * parameter.value * np.abs(parameter.value)


def test_a_penalty_of_ones_own_is_two_methods() -> None:
    model = Sequential(Dense(1, 1).initialize(0))
    own = [Cubes(2.0, weights(model))]
    x = np.zeros((4, 1))
    Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0, penalties=own).fit(
        x, x, epochs=1, batch_size=4, shuffle=False)
    first = float(Dense(1, 1).initialize(0).weight.value[0, 0])
    assert weights(model)[0].value == pytest.approx(first - 0.1 * 6 * first * abs(first), rel=1e-14)


class Blown(Penalty):
    """Push the weight up, and be infinite above 1.5."""

    @override
    def value(self) -> float:
        return float(np.inf) if self.parameters[0].value[0, 0] > 1.5 else 0.0

    @override
    def backward(self) -> None:
        self.parameters[0].grad -= 1.0


def test_a_penalty_that_is_not_finite_is_named() -> None:
    model = Sequential(Dense(1, 1).initialize(0))
    weights(model)[0].value = [[1.0]]
    x = np.zeros((8, 1))
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.2), rng=0,
                      penalties=[Blown(1.0, weights(model))])
    with pytest.raises(DivergenceError, match=r"epoch 0, batch 3.*loss of Blown\(1, 1 parameters\)") as caught:
        trainer.fit(x, x, epochs=10, batch_size=1)
    assert caught.value.phase == "loss"
    np.testing.assert_allclose(weights(model)[0].value, 1.6)


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda m: L2(-1.0, m.parameters()), ArgumentError, r"L2\(strength\).*at least 0"),
    (lambda m: L1("much", m.parameters()), DTypeError, r"L1\(strength\)"),  # type: ignore[arg-type]
    (lambda m: L1(0.1, []), ArgumentError, "at least one parameter"),
    (lambda m: L1(0.1, [m]), DTypeError, "expected Parameter objects"),
])
def test_wrong_arguments_are_named(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(mlp([2, 1], rng=0))


def test_the_trainer_refuses_what_is_no_penalty_of_its_model() -> None:
    model, other = mlp([2, 1], rng=0), mlp([2, 1], rng=0)
    for wrong, error, words in (
        ([L2(0.1, other.parameters())], ArgumentError, "parameters of this model"),
        (L2(0.1, model.parameters()), DTypeError, r"a list of penalties, got one; write \[L2"),
        ([0.1], DTypeError, r"penalties such as L2\(.*got 0.1"),
    ):
        with pytest.raises(error, match=words):
            Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), penalties=wrong)  # type: ignore[arg-type]
