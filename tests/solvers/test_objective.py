"""What the solvers minimise: the loss, sample weights and penalties, against loops and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from typing_extensions import override

from minidl import (
    L1,
    L2,
    Activation,
    Array,
    Dense,
    HalfSquaredError,
    Huber,
    Layer,
    Loss,
    MeanSquaredError,
    Parameter,
    Sequential,
    Tanh,
    mlp,
)
from minidl.errors import ArgumentError, DTypeError, MinidlError
from minidl.optimizers.penalties import Penalty
from minidl.solvers import SolverResult, lbfgs, levenberg_marquardt

Solver = Callable[..., SolverResult]
SOLVERS: list[Solver] = [lbfgs, levenberg_marquardt]
both = pytest.mark.parametrize("solver", SOLVERS)
squared = pytest.mark.parametrize("loss", [MeanSquaredError(), HalfSquaredError()], ids=repr)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 2))
Y = np.hstack([np.sin(X[:, :1]), X[:, 1:] ** 2, X.sum(axis=1, keepdims=True)]) + 0.1 * RNG.normal(size=(20, 3))
WEIGHTS = np.concatenate([[0.0], RNG.uniform(0.1, 3.0, 19)])


class Quartic(Penalty):
    """λ Σ w⁴."""

    @override
    def value(self) -> float:
        return self.strength * sum(float((parameter.value**4).sum()) for parameter in self.parameters)

    @override
    def backward(self) -> None:
        for parameter in self.parameters:
            parameter.grad += 4.0 * self.strength * parameter.value**3


class Quadratic(L2):
    """L2 under another name."""


class OtherValue(L2):
    """Not what L2 reports."""

    @override
    def value(self) -> float:
        return 0.5 * super().value()


class OtherGradient(L2):
    """Not what L2 adds to the gradients."""

    @override
    def backward(self) -> None:
        pass


def equation(model: Layer, y: Array, loss: Loss, terms: list[L2] | tuple[()] = (), weights: Array = WEIGHTS) -> float:
    """Compute (1/N) Σᵢ sᵢ eᵢ + ½ Σ λ w² number by number."""
    total = 0.0
    for x_row, y_row, weight in zip(X, y, weights, strict=True):
        squares = [float(p - t) ** 2 for p, t in zip(model.predict(x_row[None])[0], y_row, strict=True)]
        total += weight * sum(squares) / (len(squares) if isinstance(loss, MeanSquaredError) else 2)
    total /= len(X)
    for term in terms:
        for parameter in term.parameters:
            total += sum(0.5 * term.strength * float(number) ** 2 for number in parameter.value.flat)
    return total


def values(model: Layer) -> Array:
    return np.concatenate([parameter.value.ravel() for parameter in model.parameters()])


# The objective


@both
@squared
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_loss_is_that_of_the_equation(solver: Solver, loss: Loss, outputs: int, dtype: Any) -> None:
    model, y = mlp([2, 4, outputs], activation=Tanh, rng=0, dtype=dtype), Y[:, :outputs]
    first, second = model[0].parameters(), model[2].parameters()
    # The second layer is not learned; its first parameter is in two penalties.
    terms = [L2(0.3, [first[0], second[0]]), L2(0.2, [*first, *second])]
    before = equation(model, y, loss, terms)
    result = solver(model, X, y, loss=loss, sample_weight=WEIGHTS, penalties=terms, parameters=first, max_iterations=5)
    rounding = 1e-12 if dtype == np.float64 else 1e-5
    assert result.loss[0] == pytest.approx(before, rel=rounding)
    assert result.loss[-1] == pytest.approx(equation(model, y, loss, terms), rel=rounding)
    assert result.loss[-1] < result.loss[0]


@squared
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_solvers_can_be_swapped(loss: Loss, outputs: int) -> None:
    results, ends = [], []
    for solver in SOLVERS:
        model = mlp([2, 3, outputs], activation=Tanh, rng=1)
        results.append(solver(model, X, Y[:, :outputs], loss=loss, sample_weight=WEIGHTS,
                              penalties=[L2(0.5, model.parameters())], tolerance=1e-14))
        ends.append(values(model))
    assert results[0].loss[0] == pytest.approx(results[1].loss[0], rel=1e-14)
    assert results[0].loss[-1] == pytest.approx(results[1].loss[-1], rel=1e-10)
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)


@both
@squared
@pytest.mark.parametrize("rows", [20, 2])
def test_a_linear_model_reaches_weighted_ridge_regression(solver: Solver, loss: Loss, rows: int) -> None:
    # Each column of B solves (XᵀSX + c λ I₀) B = Xᵀ S Y; I₀ spares the bias. With two rows there are fewer residuals
    # than parameters, and Levenberg–Marquardt takes its other form.
    x, y, weights = X[-rows:], Y[-rows:], WEIGHTS[-rows:]
    factor = y.size / 2 if isinstance(loss, MeanSquaredError) else rows
    model = Dense(2, 3).initialize(rng=0)
    solver(model, x, y, loss=loss, sample_weight=weights, penalties=[L2(0.3, [model.weight])], tolerance=0.0)
    design = np.hstack([x, np.ones((rows, 1))])
    normal = design.T @ (weights[:, None] * design) + 0.3 * factor * np.diag([1.0, 1.0, 0.0])
    expected = np.linalg.solve(normal, design.T @ (weights[:, None] * y))
    np.testing.assert_allclose(np.vstack([model.weight.value.T, model.bias.value]), expected, atol=2e-6)


@both
def test_a_weight_is_a_number_of_equal_rows(solver: Solver) -> None:
    counts = np.arange(20) % 4
    one, many = Dense(2, 3).initialize(rng=0), Dense(2, 3).initialize(rng=0)
    scale = len(X) / counts.sum()  # A row of weight 0 counts in N, and one of weight 2 counts once.
    weighted = solver(one, X, Y, sample_weight=counts, penalties=[L2(0.1, [one.weight])], tolerance=0.0)
    repeated = solver(many, np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0),
                      penalties=[L2(0.1 * scale, [many.weight])], tolerance=0.0)
    assert weighted.loss[0] * scale == pytest.approx(repeated.loss[0], rel=1e-13)
    np.testing.assert_allclose(values(one), values(many), atol=1e-6)


@both
def test_a_weighted_nonlinear_fit_with_l2_ends_where_scipy_does(solver: Solver) -> None:
    # y = exp(−0.8 x + 0.9)
    rng = np.random.default_rng(1)
    x = np.linspace(0.0, 4.0, 50)[:, None]
    y, weights = np.exp(0.9 - 0.8 * x) + 0.01 * rng.normal(size=x.shape), rng.uniform(0.0, 2.0, 50)
    slope, offset = 0.02, 0.03

    def residual(w: Array) -> Array:
        differences = np.sqrt(weights) * (np.exp(w[0] * x + w[1]) - y)[:, 0]
        return np.concatenate([differences, np.sqrt(0.5 * len(x) * np.array([slope, offset])) * w])

    expected = least_squares(residual, [0.1, 0.2], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    dense = Dense(1, 1)
    dense.weight.value, dense.bias.value = np.array([[0.1]]), np.array([0.2])
    penalties = [L2(slope, [dense.weight]), L2(offset, [dense.bias])]
    model = Sequential(dense, Activation(np.exp, np.exp))
    result = solver(model, x, y, sample_weight=weights, penalties=penalties, tolerance=0.0)
    np.testing.assert_allclose(values(model), expected.x, rtol=1e-6)
    assert result.loss[-1] == pytest.approx(2.0 * expected.cost / len(x), rel=1e-12)


@both
def test_a_penalty_on_what_is_not_learned_is_a_constant(solver: Solver) -> None:
    ends, curves = [], []
    for strength in (0.0, 2.0):
        model = mlp([2, 3, 3], activation=Tanh, rng=0)
        fixed = model[2].parameters()[0]
        result = solver(model, X, Y, parameters=model[0].parameters(), penalties=[L2(strength, [fixed])],
                        max_iterations=8)
        ends.append(values(model))
        curves.append(np.array(result.loss))
    term = float(np.sum(fixed.value**2))
    np.testing.assert_allclose(curves[1] - curves[0], term, rtol=1e-9)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)
    goal = solver(model, X, Y, parameters=model[0].parameters(), penalties=[L2(2.0, [fixed])], goal=curves[1][-1])
    assert (goal.reason, goal.iterations) == ("goal", 0)


@both
def test_validation_takes_weights_and_no_penalties(solver: Solver) -> None:
    model = mlp([2, 3, 3], activation=Tanh, rng=0)
    before = equation(model, Y, MeanSquaredError())
    result = solver(model, X[:5], Y[:5], penalties=[L2(1.0, model.parameters())], validation=(X, Y, WEIGHTS),
                    max_iterations=3)
    assert result.validation_loss[0] == pytest.approx(before, rel=1e-12)


@both
def test_the_loss_is_the_mean_squared_error_unless_given(solver: Solver) -> None:
    curves = []
    for options in ({}, {"loss": MeanSquaredError()}):
        model = mlp([2, 3, 3], activation=Tanh, rng=0)
        curves.append(solver(model, X, Y, max_iterations=3, **options).loss)
    assert curves[0] == curves[1]
    assert curves[0][0] == pytest.approx(equation(mlp([2, 3, 3], activation=Tanh, rng=0), Y, MeanSquaredError(),
                                                  weights=np.ones(20)))


# Kinds of penalties and losses


def test_lbfgs_takes_a_smooth_penalty_of_ones_own() -> None:
    model = Dense(1, 1).initialize(rng=0)
    result = lbfgs(model, [[-1.0], [1.0]], [[2.0], [4.0]], penalties=[Quartic(1.0, [model.bias])], tolerance=0.0)
    # e = (w − 1)² + (b − 3)² + b⁴ here, least at w = b = 1.
    np.testing.assert_allclose(values(model), [1.0, 1.0], atol=1e-6)
    assert result.loss[-1] == pytest.approx(5.0)


def test_levenberg_marquardt_takes_what_computes_as_l2_does() -> None:
    curves = []
    for kind in (L2, Quadratic):
        model = mlp([2, 3, 3], activation=Tanh, rng=0)
        curves.append(levenberg_marquardt(model, X, Y, penalties=(kind(0.1, [p]) for p in model.parameters()),
                                          max_iterations=3).loss)
    assert curves[0] == curves[1]


def refused(solver: Solver, error: type[MinidlError], message: str, **options: Any) -> None:
    """Solve a model with options made from its parameters; the error must come, and the model stay as it is."""
    model = mlp([2, 3, 3], activation=Tanh, rng=0)
    for parameter in model.parameters():
        parameter.grad += 1.0
    before = values(model)
    with pytest.raises(error, match=message):
        solver(model, X, Y, **{name: make(model.parameters()) for name, make in options.items()})
    np.testing.assert_array_equal(values(model), before)
    assert all((parameter.grad == 1.0).all() for parameter in model.parameters())


@both
def test_l1_is_refused_with_the_remedy(solver: Solver) -> None:
    class Lasso(L1):
        pass

    for kind in (L1, Lasso):
        message = rf"\(penalties\): .* got {kind.__name__}\(0.1, .* none at 0; train with an optimizer, or use L2"
        refused(solver, ArgumentError, solver.__name__ + message, penalties=lambda own, kind=kind: [kind(0.1, own)])


@pytest.mark.parametrize("kind", [Quartic, OtherValue, OtherGradient])
def test_levenberg_marquardt_refuses_penalties_other_than_l2(kind: type[Penalty]) -> None:
    message = rf"levenberg_marquardt\(penalties\): expected L2 penalties, .* got {kind.__name__}\(0.1, .*; use lbfgs"
    refused(levenberg_marquardt, ArgumentError, message, penalties=lambda own: [L2(0.1, own), kind(0.1, own)])


@both
def test_what_is_no_penalty_of_the_model_is_refused_by_name(solver: Solver) -> None:
    message = rf"{solver.__name__}\(penalties\): expected "
    refused(solver, DTypeError, message + "a list of penalties, got one", penalties=lambda own: L2(0.1, own))
    foreign = [L2(0.1, [Parameter(1.0)])]
    refused(solver, ArgumentError, message + "parameters of this model", penalties=lambda _: foreign)


def test_levenberg_marquardt_refuses_losses_other_than_squared_errors() -> None:
    class ScaledError(MeanSquaredError):
        @override
        def forward_rows(self, prediction: Array, target: Array) -> Array:
            return 2.0 * super().forward_rows(prediction, target)

    message = r"\(loss\): expected MeanSquaredError\(\) or HalfSquaredError\(\), got "
    refused(levenberg_marquardt, ArgumentError, message + r"Huber\(1.0\); use lbfgs", loss=lambda _: Huber())
    refused(levenberg_marquardt, ArgumentError, message + r"ScaledError\(\)", loss=lambda _: ScaledError())
    refused(levenberg_marquardt, DTypeError, "did you forget the parentheses", loss=lambda _: MeanSquaredError)


@both
def test_a_loss_in_the_place_of_x_is_told_where_to_go(solver: Solver) -> None:
    model, loss = mlp([2, 3, 3], activation=Tanh, rng=0), Huber(0.5)
    name = solver.__name__
    message = rf"{name}\(x\): expected the input, got Huber\(0.5\); write {name}\(model, x, y, loss=Huber\(0.5\)\)"
    for arguments, options in (((model, loss, X, Y), {}), ((model, loss), {"y": Y}), ((model,), {"x": loss, "y": Y})):
        with pytest.raises(DTypeError, match=message):
            solver(*arguments, **options)
