"""The full-batch solvers against closed forms, SciPy and one another; and all the ways in which they stop."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from typing_extensions import override

from minidl import (
    L2,
    SGD,
    Activation,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Loss,
    MeanSquaredError,
    Parallel,
    Parameter,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    mlp,
)
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError, StructureError
from minidl.initializers import Normal
from minidl.solvers import SolverResult, _marquardt, lbfgs, levenberg_marquardt, parameter_jacobian
from minidl.solvers._marquardt import DampedStep
from minidl.solvers._solver_run import SolverRun
from tests.support.refusal import refused

Solver = Callable[..., SolverResult]


both = pytest.mark.parametrize("solver", [lbfgs, levenberg_marquardt])

LINE_X = np.random.default_rng(3).normal(size=(40, 3))
LINE_Y = LINE_X @ np.array([[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]]) + 0.7
SINE_X = np.linspace(0.0, 6.0, 60)[:, None]
SINE_Y = np.sin(SINE_X)
TRIED = np.linspace(-3.0, 3.0, 100_001)


class Decay(Layer):
    """y = a e^(−b x), two learned numbers."""

    def __init__(self) -> None:
        self.height = Parameter(1.0)
        self.rate = Parameter(1.0)

    @override
    def forward(self, x: Array) -> Array:
        self._x, self._fall = x, np.exp(-self.rate.value * x)
        y: Array = self.height.value * self._fall
        return y

    @override
    def backward(self, grad: Array) -> Array:
        y = self.height.value * self._fall
        self.height.grad += np.sum(grad * self._fall)
        self.rate.grad -= np.sum(grad * y * self._x)
        dx: Array = -self.rate.value * grad * y
        return dx


class Stopped(Layer):
    """The identity, which raises an exception at a given pass in training."""

    def __init__(self, at: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.left, self.error = at, error

    def __deepcopy__(self, memory: object) -> Stopped:
        return Stopped(10**9)  # The check at the door uses a copy, which is not part of the run.

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return x.copy()

    @override
    def output_features(self, input_features: int) -> int:
        return input_features

    @override
    def forward(self, x: Array) -> Array:
        self.left -= 1
        if self.left == 0:
            raise self.error("stop")
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def values(model: Layer) -> Array:
    return np.concatenate([p.value.ravel() for p in model.parameters()])


def error(model: Layer, x: Array, y: Array) -> float:
    return float(np.mean((model.predict(x) - y) ** 2))


# Closed forms and SciPy


@both
def test_a_linear_model_reaches_the_least_squares_solution(solver: Solver) -> None:
    noisy = LINE_Y + np.random.default_rng(0).normal(size=LINE_Y.shape)
    model = Dense(3, 2).initialize(0)
    result = solver(model, LINE_X, noisy, tolerance=0.0)
    design = np.hstack([LINE_X, np.ones((40, 1))])
    expected = np.linalg.lstsq(design, noisy)[0]
    np.testing.assert_allclose(np.vstack([model.weight.value.T, model.bias.value]), expected, rtol=1e-6)
    assert result.reason in ("converged", "stalled")


@both
@pytest.mark.parametrize("rows", [40, 2])
def test_the_l2_term_is_that_of_ridge_regression(solver: Solver, rows: int) -> None:
    # e = (1/n) ‖X W + b − Y‖² + ½ λ ‖W‖² has its minimum at (XᵀX + ½ n λ I₀) B = Xᵀ Y, I₀ sparing the bias. With two
    # rows there are more parameters than residuals, so that Levenberg–Marquardt takes its other form.
    x, y, l2 = LINE_X[:rows], LINE_Y[:rows], 0.3
    model = Dense(3, 2).initialize(0)
    result = solver(model, x, y, penalties=[L2(l2, [model.weight])], tolerance=0.0)
    design = np.hstack([x, np.ones((rows, 1))])
    penalty = 0.5 * y.size * l2 * np.diag([1.0, 1.0, 1.0, 0.0])
    expected = np.linalg.solve(design.T @ design + penalty, design.T @ y)
    found = np.vstack([model.weight.value.T, model.bias.value])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert result.loss[-1] == pytest.approx(error(model, x, y) + 0.5 * l2 * float(np.sum(expected[:3] ** 2)), rel=1e-6)


@both
def test_l2_applies_to_the_parameters_named(solver: Solver) -> None:
    model = Dense(1, 1).initialize(0)
    solver(model, [[-1.0], [1.0]], [[2.0], [4.0]], penalties=[L2(2.0, [model.bias])], tolerance=0.0)
    # e = (w − 1)² + (b − 3)² + b² here: w = 1, b = 3/2.
    np.testing.assert_allclose(values(model), [1.0, 1.5], atol=1e-6)


def test_levenberg_marquardt_ends_where_scipy_does() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(0.0, 4.0, 50)[:, None]
    y = 2.5 * np.exp(-0.8 * x) + 0.01 * rng.normal(size=x.shape)

    def residual(w: Array) -> Array:
        difference: Array = w[0] * np.exp(-w[1] * x) - y
        return difference.ravel()

    expected = least_squares(residual, [1.0, 1.0], xtol=1e-15, ftol=1e-15)
    for solver in (lbfgs, levenberg_marquardt):
        model = Decay()
        result = solver(model, x, y, tolerance=0.0)
        np.testing.assert_allclose(values(model), expected.x, rtol=1e-6)
        assert result.loss[-1] == pytest.approx(2.0 * expected.cost / len(x), rel=1e-12)


@pytest.mark.parametrize("damping", [1.0, 1e-9])
def test_each_damping_of_levenberg_marquardt_is_that_of_the_page(damping: float) -> None:
    x, w = np.linspace(-2.0, 3.0, 30), np.array([0.7, -0.4, 1.5, 0.2])
    model = Sequential(Dense(1, 1), Tanh(), Dense(1, 1)).initialize(rng=0)
    for parameter, number in zip(model.parameters(), w, strict=True):
        parameter.value[...] = number
    found = levenberg_marquardt(model, x[:, None], np.sin(2 * x)[:, None], damping=damping, max_iterations=12)

    def residual(w: Array) -> Array:
        difference: Array = w[2] * np.tanh(w[0] * x + w[1]) + w[3] - np.sin(2 * x)
        return difference

    mu, scale, r, trials = damping, None, residual(w), []
    wanted = [np.mean(r**2)]
    for _ in range(12):
        t = np.tanh(w[0] * x + w[1])
        jacobian = np.stack([w[2] * (1 - t**2) * x, w[2] * (1 - t**2), t, np.ones(30)], axis=1)
        product = jacobian.T @ jacobian
        scale = np.diag(np.diag(product)) if scale is None else scale
        for trial in range(40):
            step = -np.linalg.solve(product + mu * scale, jacobian.T @ r)
            new = residual(w + step)
            if new @ new < r @ r:
                break
            mu *= 2.0 ** (trial + 1)
        trials.append(trial)
        rho = (r @ r - new @ new) / (r @ r - np.sum((r + jacobian @ step) ** 2))
        mu *= max(1 / 3, 1 - (2 * rho - 1) ** 3)
        w, r = w + step, new
        wanted.append(np.mean(r**2))
    assert max(trials) >= (1 if damping == 1.0 else 2)
    np.testing.assert_allclose(found.loss, wanted, rtol=1e-9)


@pytest.mark.parametrize(("count", "size"), [(5, 9), (9, 5), (6, 6)])
@pytest.mark.parametrize("strength", [0.0, 0.7])
def test_a_damped_step_minimises_what_it_says_and_predicts_its_fall(count: int, size: int, strength: float) -> None:
    rng = np.random.default_rng(2)
    j, r, w = rng.normal(size=(count, size)), rng.normal(size=count), rng.normal(size=size)
    d, scale = strength * (np.arange(size) % 2), rng.uniform(0.1, 10.0, size)
    step = DampedStep(j.copy(), r, w, d, scale)
    for mu, solution in itertools.product((0.01, 3.0), (step.solve, step.solve_exactly)):
        # The three terms, stacked as one least-squares problem in δ.
        stacked = np.vstack([j, np.diag(np.sqrt(d)), np.sqrt(mu) * np.diag(scale)])
        against = -np.concatenate([r, np.sqrt(d) * w, np.zeros(size)])
        expected = np.linalg.lstsq(stacked, against)[0]
        change, promised = solution(mu)
        np.testing.assert_allclose(change, expected, atol=1e-11)
        before = np.sum(r**2) + np.sum(d * w**2)
        after = np.sum((r + j @ change) ** 2) + np.sum(d * (w + change) ** 2)
        assert promised == pytest.approx(before - after)
    alone = [np.min(np.sum((r[:, None] + j[:, [k]] * TRIED) ** 2, axis=0) + d[k] * TRIED * (2.0 * w[k] + TRIED))
             for k in range(size)]
    assert step.steepness() == pytest.approx(np.sum(r**2) - min(alone), rel=1e-6)


def test_the_sine_experiment_is_learned_to_one_millionth() -> None:
    x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
    for seed in range(3):
        model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(),
                    rng=seed)
        result = levenberg_marquardt(model, x, np.sin(x), goal=1e-6, max_iterations=400)
        assert result.reason == "goal"
        assert error(model, x, np.sin(x)) <= 1e-6


# Every kind of model


MODELS: dict[str, Callable[[], Layer]] = {
    "chain": lambda: mlp([1, 8, 1], activation=Sigmoid, rng=0),
    "float32": lambda: mlp([1, 8, 1], activation=Tanh, rng=0, dtype=np.float32),
    "residual": lambda: Sequential(Dense(1, 8).initialize(0), Residual(Sequential(Dense(8, 8).initialize(1), Tanh())),
                                   Dense(8, 1).initialize(2)),
    "parallel": lambda: Sequential(Parallel(mlp([1, 5], output=Tanh, rng=0), mlp([1, 5], output=Sigmoid, rng=1)),
                                   Dense(10, 1).initialize(2)),
    "pair of functions": lambda: Sequential(Dense(1, 8), Activation(np.sin, np.cos), Dense(8, 1)).initialize(1),
}


@both
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_models_of_every_kind_learn_the_sine(solver: Solver, make: Callable[[], Layer]) -> None:
    model = make()
    result = solver(model, SINE_X, SINE_Y, goal=1e-4)
    assert result.reason == "goal"
    assert error(model, SINE_X, SINE_Y) == pytest.approx(result.loss[-1], rel=1e-4)
    assert model.predict(SINE_X.astype(model.dtype or float)).dtype == model.dtype


def test_a_classifier_learns_from_labels_by_lbfgs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 2)) + 4.0 * np.repeat([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.5]], 30, axis=0)
    labels = np.repeat([0, 1, 2], 30)
    model = mlp([2, 6, 3], activation=Tanh, rng=0)
    result = lbfgs(model, x, labels, loss=SoftmaxCrossEntropy(), penalties=[L2(1e-3, model.parameters())])
    assert result.reason == "converged"
    assert np.mean(model.predict(x).argmax(axis=1) == labels) > 0.97


def test_the_result_of_lbfgs_is_a_stationary_point() -> None:
    model, loss = mlp([1, 4, 1], activation=Tanh, rng=0), HalfSquaredError()
    weights = [parameter for parameter in model.parameters() if len(parameter.shape) == 2]
    lbfgs(model, SINE_X, SINE_Y, loss=loss, penalties=[L2(0.01, weights)], tolerance=0.0)
    loss.forward(model.forward(SINE_X), SINE_Y)
    model.backward(loss.backward())
    for parameter in model.parameters():
        decay = 0.01 if len(parameter.shape) == 2 else 0.0
        np.testing.assert_allclose(parameter.grad + decay * parameter.value, 0.0, atol=1e-6)


@both
def test_parameters_that_are_not_given_stay_as_they_are(solver: Solver) -> None:
    model = mlp([1, 3, 1], activation=Tanh, rng=0)
    first, last = model[0].parameters(), model[2].parameters()
    before = [p.value.copy() for p in first]
    result = solver(model, SINE_X, SINE_Y, parameters=last, tolerance=0.0)
    for parameter, kept in zip(first, before, strict=True):
        np.testing.assert_array_equal(parameter.value, kept)
    hidden = np.hstack([model[:-1].predict(SINE_X), np.ones((60, 1))])
    best = hidden @ np.linalg.lstsq(hidden, SINE_Y)[0]
    assert result.loss[-1] == pytest.approx(np.mean((best - SINE_Y) ** 2), rel=1e-4)


def test_lbfgs_leaves_batch_norm_with_the_statistics_of_all_rows() -> None:
    norm = BatchNorm(8)
    model = Sequential(Dense(1, 8).initialize(0), norm, Tanh(), Dense(8, 1).initialize(1))
    result = lbfgs(model, SINE_X, SINE_Y, max_iterations=30)
    inner = model[:1].predict(SINE_X)
    np.testing.assert_allclose(norm.running_mean.value, inner.mean(axis=0))
    np.testing.assert_allclose(norm.running_var.value, inner.var(axis=0, ddof=1))
    assert norm.momentum == 0.1
    assert error(model, SINE_X, SINE_Y) == pytest.approx(result.loss[-1], rel=0.2)


@both
def test_a_solver_goes_on_from_an_optimizer_and_an_optimizer_from_a_solver(solver: Solver) -> None:
    model, loss = mlp([1, 8, 1], activation=Tanh, rng=0), MeanSquaredError()
    optimizer = SGD(model.parameters(), learning_rate=1e-3)
    first = solver(model, SINE_X, SINE_Y, max_iterations=5).loss[-1]
    for _ in range(3):
        loss.forward(model.forward(SINE_X), SINE_Y)
        model.backward(loss.backward())
        optimizer.step()
    assert 0.5 * first < error(model, SINE_X, SINE_Y) != first
    assert solver(model, SINE_X, SINE_Y, max_iterations=5).loss[-1] < first


@both
def test_the_same_run_twice_gives_the_same_bits_and_leaves_the_data_alone(solver: Solver) -> None:
    x, y = SINE_X.copy(), SINE_Y.copy()
    x.flags.writeable = y.flags.writeable = False
    first, second = mlp([1, 6, 1], activation=Tanh, rng=1), mlp([1, 6, 1], activation=Tanh, rng=1)
    assert solver(first, x, y, max_iterations=20).loss == solver(second, x, y, max_iterations=20).loss
    np.testing.assert_array_equal(values(first), values(second))


# How a run ends


@both
def test_the_curve_starts_at_the_first_parameters_and_falls_at_each_step(solver: Solver) -> None:
    model = mlp([1, 6, 1], activation=Tanh, rng=0)
    before = error(model, SINE_X, SINE_Y)
    result = solver(model, SINE_X, SINE_Y, max_iterations=15)
    assert result.reason == "max_iterations"
    assert result.iterations == 15
    assert len(result.loss) == 16
    assert result.loss[0] == pytest.approx(before)
    assert np.all(np.diff(result.loss) < 0)
    assert result.evaluations >= 16
    assert result.seconds > 0
    assert result.loss[-1] == pytest.approx(error(model, SINE_X, SINE_Y))
    assert repr(result).startswith("SolverResult('max_iterations' after 15 iterations")


def cosines(model: Layer, x: Array, y: Array) -> Array:
    """Return the cosines between the residuals and the columns of the Jacobian: 0 where one parameter cannot help."""
    residual = (model.predict(x) - y).ravel()
    columns = parameter_jacobian(model, x).reshape(residual.size, -1)
    found: Array = residual @ columns / (np.linalg.norm(columns, axis=0) * np.linalg.norm(residual))
    return found


@both
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_a_run_has_converged_where_the_loss_and_the_gradient_say_so(solver: Solver, tolerance: float) -> None:
    model = mlp([1, 2, 1], activation=Tanh, rng=0)
    result = solver(model, SINE_X, SINE_Y, tolerance=tolerance)
    assert result.reason == "converged"
    assert result.loss[-11] - result.loss[-1] <= tolerance * result.loss[-11]
    assert np.abs(cosines(model, SINE_X, SINE_Y)).max() <= 1.01 * tolerance**0.5


@both
@pytest.mark.parametrize(
    ("x", "noise"),
    [(np.linspace(380e-9, 750e-9, 60)[:, None], 0.0), (np.linspace(380e-9, 750e-9, 60)[:, None], 0.1),
     (np.linspace(-1.0, 1.0, 60)[:, None] + 1e4, 0.1),
     (np.random.default_rng(1).normal(size=(60, 3)) * [1e6, 1.0, 1e-7], 0.1)],
    ids=["wavelengths", "wavelengths and noise", "far from 0", "three units"],
)
def test_a_line_is_found_whatever_the_units_of_x(solver: Solver, x: Array, noise: float) -> None:
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    y = 1.0 + standard.sum(axis=1, keepdims=True) + noise * np.random.default_rng(2).normal(size=(60, 1))
    design = np.hstack([standard, np.ones((60, 1))])
    best = float(np.mean((design @ np.linalg.lstsq(design, y)[0] - y) ** 2))
    model = Dense(x.shape[1], 1).initialize(0)
    result = solver(model, x, y)
    assert error(model, x, y) == pytest.approx(best, rel=1e-6, abs=1e-20)
    assert result.reason == "converged" or best < 1e-20  # an exact fit may end as rounding
    assert result.iterations < 100


def test_levenberg_marquardt_tells_columns_apart_that_their_products_do_not() -> None:
    # 10⁹ spreads from 0: what tells x from the bias is the eighteenth digit of JᵀJ.
    x = np.linspace(-1.0, 1.0, 60)[:, None] + 1e9
    model = Dense(1, 1).initialize(0)
    result = levenberg_marquardt(model, x, 3.0 * (x - 1e9) + 0.1 * np.cos(9.0 * x))
    line = np.polynomial.Polynomial.fit(x[:, 0] - 1e9, 3.0 * (x - 1e9)[:, 0] + 0.1 * np.cos(9.0 * x[:, 0]), 1)
    assert model.weight.value[0, 0] == pytest.approx(line.convert().coef[1], rel=1e-4)
    assert result.reason == "converged"


def test_levenberg_marquardt_has_converged_where_all_that_is_left_is_rounding() -> None:
    # In float32 the gradient of this line stays above 10⁻⁴ of what it can be, but the loss is the least there is.
    x = (np.random.default_rng(11).normal(size=(80, 3)) * [1e3, 1.0, 1e-3]).astype(np.float32)
    y = (x @ [[1e-3], [-2.0], [500.0]] + 0.7 + 0.1 * np.random.default_rng(12).normal(size=(80, 1))).astype(np.float32)
    design = np.hstack([x.astype(np.float64), np.ones((80, 1))])
    best = np.mean((design @ np.linalg.lstsq(design, y)[0] - y) ** 2)
    model = Dense(3, 1, dtype=np.float32).initialize(0)
    result = levenberg_marquardt(model, x, y)
    assert result.loss[-1] == pytest.approx(float(best), rel=1e-5)
    assert np.abs(cosines(model, x, y)).max() > 1e-4
    assert result.reason == "converged"


def test_scales_are_computed_once_where_every_parameter_has_an_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    sensitivities = _marquardt.sensitivities

    def noted(*given: Any) -> Array:
        made.append(1)
        return sensitivities(*given)

    monkeypatch.setattr(_marquardt, "sensitivities", noted)
    levenberg_marquardt(mlp([1, 4, 1], activation=Tanh, rng=0), SINE_X, SINE_Y, max_iterations=20)
    assert made == [1]


@pytest.mark.parametrize("seed", [7, 9, 10])
def test_lbfgs_learns_the_scale_of_a_parameter_from_the_first_point(seed: int) -> None:
    # The first gradient is the largest by far.
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 1)) + 100.0
    y = x + 0.1 * rng.normal(size=(20, 1))
    columns = np.hstack([x, np.ones((20, 1))])
    best = float(np.mean((columns @ np.linalg.lstsq(columns, y, rcond=None)[0] - y) ** 2))
    result = lbfgs(Dense(1, 1).initialize(seed), 1e4 * x, y)
    assert result.reason == "converged"
    assert result.loss[-1] == pytest.approx(best, rel=1e-6)


class Wall(Loss):
    """e = 1 + |p| + e^(80 (p − 0.3)): a kink at the foot of a wall."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._p = prediction
        rows: Array = 1.0 + np.abs(prediction[:, 0]) + np.exp(80.0 * (prediction[:, 0] - 0.3))
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = np.sign(self._p) + 80.0 * np.exp(80.0 * (self._p - 0.3))
        return gradient


def test_lbfgs_does_not_measure_the_gradient_by_a_point_that_was_too_far() -> None:
    model = Dense(1, 1)
    model.weight.value, model.bias.value = [[0.0]], [-0.5]
    result = lbfgs(model, np.ones((1, 1)), np.zeros((1, 1)), loss=Wall(), parameters=[model.bias])
    assert result.reason == "stalled"
    assert result.loss[-1] == pytest.approx(1.0, abs=1e-6)


def test_steps_before_lbfgs_starts_again_do_not_count_as_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    settled = SolverRun.settled

    def noted(run: SolverRun, since: int = 0) -> bool:
        asked.append((since, len(run.loss) - 1))
        return settled(run, since)

    monkeypatch.setattr(SolverRun, "settled", noted)
    lbfgs(Dense(1, 1).initialize(0), 1e-6 * LINE_X[:, :1], LINE_Y[:, :1])
    starts = sorted({since for since, _ in asked})
    assert len(starts) > 1
    for since, step in asked:
        assert since == max(start for start in starts if start < step)


@both
def test_a_larger_tolerance_ends_a_run_earlier(solver: Solver) -> None:
    steps = [solver(mlp([1, 8, 1], activation=Tanh, rng=0), SINE_X, SINE_Y + np.round(SINE_X) / 9.0,
                    tolerance=tolerance).iterations for tolerance in (0.3, 1e-2, 1e-6)]
    assert steps[0] < steps[1] < steps[2]


@both
def test_a_loss_that_rests_on_a_slope_has_not_converged(solver: Solver) -> None:
    # A staircase whose derivative is said to be 1: on a stair no small step lowers the loss.
    stairs = Activation(np.round, np.ones_like)
    model = Sequential(Dense(1, 1).initialize(0), stairs)
    result = solver(model, SINE_X, SINE_Y + 0.4)
    assert result.reason == "stalled"
    assert np.abs(cosines(model, SINE_X, SINE_Y + 0.4)).max() > 0.01


@both
def test_parameters_that_are_perfect_already_need_no_step(solver: Solver) -> None:
    model = Dense(3, 2).initialize(0)
    model.weight.value = [[1.0, -2.0, 0.5], [0.0, 1.0, 4.0]]
    x = np.arange(12.0).reshape(4, 3)
    assert solver(model, x, model.predict(x)).reason == "converged"
    assert solver(model, x, model.predict(x), goal=0.0).iterations == 0


@both
def test_validation_stops_the_run_and_its_best_parameters_stand(solver: Solver) -> None:
    rng = np.random.default_rng(5)
    x, held_x = rng.uniform(0, 6, (15, 1)), rng.uniform(0, 6, (40, 1))
    y, held_y = np.sin(x) + 0.4 * rng.normal(size=x.shape), np.sin(held_x)
    model = mlp([1, 20, 1], activation=Tanh, rng=0)
    result = solver(model, x, y, validation=(held_x, held_y), patience=12)
    assert result.reason == "validation"
    best = int(np.argmin(result.validation_loss))
    assert best == result.iterations - 12 < len(result.validation_loss) - 1
    assert error(model, held_x, held_y) == pytest.approx(result.validation_loss[best])
    assert error(model, x, y) == pytest.approx(result.loss[best])


def test_validation_of_lbfgs_sees_batch_norm_as_prediction_will() -> None:
    model = Sequential(Dense(1, 8).initialize(0), BatchNorm(8), Tanh(), Dense(8, 1).initialize(1))
    held = (SINE_X[::3] + 0.05, np.sin(SINE_X[::3] + 0.05))
    result = lbfgs(model, SINE_X, SINE_Y, validation=held, patience=5, max_iterations=60)
    assert error(model, *held) == pytest.approx(min(result.validation_loss))


@both
@pytest.mark.parametrize("at", [1, 2, 9, 26])
def test_after_an_interrupt_the_best_parameters_stand(solver: Solver, at: int) -> None:
    stop = Stopped(10**9)
    model = Sequential(mlp([1, 6], rng=0), Tanh(), Dense(6, 1).initialize(1), stop)
    start = values(model).copy()
    stop.left = at
    result = solver(model, SINE_X, SINE_Y)
    assert result.reason == "interrupted"
    if result.loss:
        assert error(model, SINE_X, SINE_Y) == pytest.approx(min(result.loss))
    if at == 1:
        assert result.loss == []
        np.testing.assert_array_equal(values(model), start)
    if at == 26:
        assert result.iterations > 5


@both
def test_after_any_other_exception_the_best_parameters_stand_as_well(solver: Solver) -> None:
    stop = Stopped(26, MemoryError)
    model = Sequential(mlp([1, 6], rng=0), Tanh(), Dense(6, 1).initialize(1), stop)
    before = error(model, SINE_X, SINE_Y)
    with pytest.raises(MemoryError):
        solver(model, SINE_X, SINE_Y)
    assert error(model, SINE_X, SINE_Y) < 0.5 * before


def test_an_interrupt_in_the_loss_ends_lbfgs_too() -> None:
    class InterruptingError(MeanSquaredError):
        calls = 0

        @override
        def forward_rows(self, prediction: Array, target: Array) -> Array:
            self.calls += 1
            if self.calls == 7:
                raise KeyboardInterrupt
            return super().forward_rows(prediction, target)

    model = mlp([1, 6, 1], activation=Tanh, rng=0)
    result = lbfgs(model, SINE_X, SINE_Y, loss=InterruptingError())
    assert (result.reason, result.evaluations) == ("interrupted", 6)


@both
def test_a_wrong_backward_stalls_and_does_no_harm(solver: Solver) -> None:
    class Wrong(Tanh):
        @override
        def backward(self, grad: Array) -> Array:
            return -super().backward(grad)

    model = Sequential(Dense(1, 4).initialize(0), Wrong(), Dense(4, 1).initialize(1))
    for parameter in model[2].parameters():
        parameter.value = 0.0 * parameter.value + 1.0
    before = error(model, SINE_X, SINE_Y)
    result = solver(model, SINE_X, SINE_Y, parameters=model[0].parameters())
    assert result.reason == "stalled"
    assert error(model, SINE_X, SINE_Y) <= before


@both
def test_no_gradient_is_left_behind(solver: Solver) -> None:
    model = mlp([1, 4, 1], activation=Tanh, rng=0)
    for parameter in model.parameters():
        parameter.grad += 5.0
    twin = mlp([1, 4, 1], activation=Tanh, rng=0)
    assert solver(model, SINE_X, SINE_Y, max_iterations=3).loss == solver(twin, SINE_X, SINE_Y, max_iterations=3).loss
    assert all(np.all(parameter.grad == 0.0) for parameter in model.parameters())


@both
def test_a_region_without_numbers_is_stepped_back_from(solver: Solver) -> None:
    root = Activation(np.sqrt, lambda z: 0.5 / np.sqrt(z))
    model = Sequential(Dense(1, 1).initialize(0), root)
    dense = model[0]
    assert isinstance(dense, Dense)
    dense.weight.value, dense.bias.value = np.array([[1.0]]), np.array([1.01])
    x = np.linspace(-1.0, 1.0, 30)[:, None]
    # On the way from 1.01 + x to 0.3 + 0.2 x the first step goes too far: the root of a negative number.
    result = solver(model, x, np.sqrt(0.2 * x + 0.3))
    assert result.loss[-1] < 1e-8
    np.testing.assert_allclose(values(model), [0.2, 0.3], atol=1e-2)


# Refusals


@both
def test_layers_that_draw_are_refused(solver: Solver) -> None:
    model = Sequential(Dense(1, 4), Residual(Sequential(Dense(4, 4), Dropout(0.1))), Dense(4, 1))
    before = values(model).copy()
    with pytest.raises(StructureError, match=r'Dropout\(0.1\) at "1.layer.1" draws random numbers'):
        solver(model, SINE_X, SINE_Y)
    np.testing.assert_array_equal(values(model), before)


def test_levenberg_marquardt_refuses_coupled_rows() -> None:
    model = Sequential(Dense(1, 4), BatchNorm(4), Dense(4, 1))
    norm = model[1]
    assert isinstance(norm, BatchNorm)
    with pytest.raises(StructureError, match=r'BatchNorm\(4\) at "1" couples the rows of a batch; use LayerNorm '
                       r'or RMSNorm, or freeze\(\) it where it is a BatchNorm, or use lbfgs'):
        levenberg_marquardt(model, SINE_X, SINE_Y)
    assert norm.num_batches_tracked.value == 0
    norm.freeze()
    levenberg_marquardt(model, SINE_X, SINE_Y, max_iterations=2)


@both
def test_a_model_and_data_in_another_order_are_named_by_type_and_shape(solver: Solver) -> None:
    with pytest.raises(DTypeError, match=r"\(model\): expected a Layer, got ndarray of shape \(\d+, 1\)$"):
        solver(SINE_X, SINE_Y, mlp([1, 2, 1]))


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_iterations": 0}, ArgumentError, r"\(max_iterations\): expected at least 1, got 0"),
    ({"goal": "low"}, DTypeError, r"\(goal\): expected a number"),
    ({"tolerance": -1.0}, ArgumentError, r"\(tolerance\): expected a finite number and at least 0"),
    ({"patience": 0}, ArgumentError, r"\(patience\): expected at least 1"),
    ({"parameters": [Parameter(1.0)]}, ArgumentError, "expected parameters of the model"),
    ({"parameters": []}, ArgumentError, "at least one parameter"),
    ({"penalties": [L2(0.1, [Parameter(1.0)])]}, ArgumentError, r"\(penalties\): expected parameters of this model"),
    ({"penalties": [0.1]}, DTypeError, r"\(penalties\): expected penalties such as L2\(1e-4, weights\), got 0.1"),
    ({"x": SINE_X[:5]}, ShapeError, "expected the same number of rows in x and y, got x 5, y 60"),
    ({"x": np.zeros((0, 1)), "y": np.zeros((0, 1))}, DataError, "expected at least one row"),
    ({"y": SINE_Y[:, [0, 0]]}, ShapeError, r"expected a target of shape \(60, 1\)"),
    ({"y": SINE_Y * np.nan}, DataError, "expected finite numbers"),
    ({"x": np.zeros((60, 2))}, ShapeError, r"expected x of shape \(batch, 1\)"),
    ({"validation": (SINE_X, SINE_Y[:3])}, ShapeError, "expected the same number of rows"),
    ({"validation": (SINE_X, SINE_Y, np.ones(3))}, ShapeError, r"sample_weight: expected shape \(60,\)"),
    ({"validation": 0.2}, DTypeError, r"\(validation\): expected \(x, y\) or \(x, y, sample_weight\), got 0.2"),
    ({"sample_weight": np.ones(59)}, ShapeError, r"sample_weight: expected shape \(60,\)"),
    ({"sample_weight": np.full(60, -1.0)}, DataError, "expected finite numbers of at least 0, got -1"),
]


@both
@pytest.mark.parametrize(("options", "kind", "message"), REFUSED, ids=[next(iter(o)) for o, *_ in REFUSED])
def test_what_does_not_fit_is_named_before_anything_changes(
    solver: Solver, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    model = mlp([1, 4, 1], rng=0)
    before, arrays = values(model).copy(), [parameter.value for parameter in model.parameters()]
    with pytest.raises(kind, match=message):
        solver(model, **{"x": SINE_X, "y": SINE_Y, **options})
    np.testing.assert_array_equal(values(model), before)
    assert all(new.value is old for new, old in zip(model.parameters(), arrays, strict=True))


def test_arguments_of_one_solver_alone_are_checked_as_well() -> None:
    model = mlp([1, 4, 1], rng=0)
    with pytest.raises(ArgumentError, match=r"levenberg_marquardt\(damping\): expected a finite number and above 0"):
        levenberg_marquardt(model, SINE_X, SINE_Y, damping=0.0)
    with pytest.raises(ArgumentError, match=r"lbfgs\(memory\): expected at least 1"):
        lbfgs(model, SINE_X, SINE_Y, memory=0)
    with pytest.raises(DTypeError, match=r"lbfgs\(loss\): expected a Loss, got <class"):
        lbfgs(model, SINE_X, SINE_Y, loss=MeanSquaredError)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match="expects logits, but the model ends in Softmax"):
        lbfgs(Sequential(Dense(1, 2), Softmax()), SINE_X, np.zeros(60, int), loss=SoftmaxCrossEntropy())


@both
def test_a_first_loss_that_is_not_finite_is_an_error_that_says_so(solver: Solver) -> None:
    model = Sequential(Dense(1, 1).initialize(0), Activation(np.exp, np.exp))
    for parameter in model.parameters():
        parameter.value = parameter.value * 0.0 + 1000.0
    with pytest.raises(DataError, match="expected a finite loss at the first parameters, got inf"):
        solver(model, SINE_X, SINE_Y)


def test_a_loss_of_the_users_own_can_be_negative() -> None:
    class Likelihood(Loss):
        """eᵢ = −p tᵢ + ½ p² summed over outputs: its minimum is −½ t²."""

        @override
        def forward_rows(self, prediction: Array, target: Array) -> Array:
            self._p, self._t = prediction, target
            return np.asarray(np.sum(0.5 * prediction**2 - prediction * target, axis=1))

        @override
        def backward_rows(self) -> Array:
            return self._p - self._t

    model = Dense(3, 2).initialize(0)
    result = lbfgs(model, LINE_X, LINE_Y, loss=Likelihood(), tolerance=1e-12)
    assert result.loss[-1] == pytest.approx(-0.5 * np.mean(np.sum(LINE_Y**2, axis=1)))


def test_probabilities_are_learned_under_their_own_loss() -> None:
    model = mlp([1, 6, 1], activation=Tanh, output=Sigmoid, rng=0)
    result = lbfgs(model, SINE_X, (SINE_Y > 0).astype(float), loss=BinaryCrossEntropy(), goal=0.01)
    assert result.reason == "goal"


def test_a_copied_model_is_solved_apart_from_the_original() -> None:
    model = mlp([1, 6, 1], activation=Tanh, rng=0)
    levenberg_marquardt(model, SINE_X, SINE_Y, max_iterations=3)
    before, twin = values(model).copy(), copy.deepcopy(model)
    levenberg_marquardt(twin, SINE_X, SINE_Y, max_iterations=3)
    np.testing.assert_array_equal(values(model), before)
    assert error(twin, SINE_X, SINE_Y) < error(model, SINE_X, SINE_Y)


def test_levenberg_marquardt_leaves_scipy_unloaded() -> None:
    program = (
        "import sys, numpy as np\n"
        "from minidl import Tanh, mlp\n"
        "from minidl.solvers import levenberg_marquardt\n"
        "x = np.linspace(0, 6, 60)[:, None]\n"
        "levenberg_marquardt(mlp([1, 8, 1], activation=Tanh, rng=0), x, np.sin(x), max_iterations=3)\n"
        "assert not [name for name in sys.modules if name.startswith('scipy')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


class MadeLate(Layer):
    """y = w x, with a Parameter w that the first `forward` makes."""

    @override
    def forward(self, x: Array) -> Array:
        if not hasattr(self, "weight"):
            self.weight = Parameter(np.full(x.shape[1], 0.5))
        self._x = x
        return x * self.weight.value

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.add_grad((grad * self._x).sum(axis=0))
        return grad * self.weight.value


@pytest.mark.parametrize("solver", [lbfgs, levenberg_marquardt])
def test_a_parameter_that_the_first_forward_makes_is_learned_or_refused(solver: Any) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    y = x @ np.array([[2.0], [-3.0]]) + 1.0
    model = Sequential(MadeLate(), Dense(2, 1)).initialize(0)
    before = [parameter.value.copy() for parameter in model[1].parameters()]
    with refused(StructureError, f"{solver.__name__}: expected a model that has all its parameters", "made 0.weight"):
        solver(model, x, y)
    assert all((p.value == kept).all() for p, kept in zip(model[1].parameters(), before, strict=True))
    solver(model, x, y)
    assert (model[0].parameters()[0].value != 0.5).all()
    assert np.allclose(model.predict(x), y, atol=1e-3)


def test_lbfgs_stops_at_the_first_step_with_a_small_gradient() -> None:
    x = np.linspace(-1, 1, 30)[:, None]
    y = np.sin(3 * x)

    def solved(limit: int, gradient_tolerance: float) -> tuple[str, int, float]:
        model = mlp([1, 6, 1], activation=Tanh, rng=0)
        result = lbfgs(model, x, y, max_iterations=limit, gradient_tolerance=gradient_tolerance)
        loss = MeanSquaredError()
        loss.forward(model.forward(x), y)
        model.backward_parameters(loss.backward())
        return result.reason, result.iterations, max(np.abs(p.grad).max() for p in model.parameters())

    reason, steps, largest = solved(500, 0.01)
    assert reason == "converged"
    assert largest < 0.01
    assert all(solved(fewer, 0.0)[2] > 0.01 for fewer in range(1, steps))
