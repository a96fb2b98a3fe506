"""The kit itself: its derivatives, its reports, and what it must not take for wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from minidl import SGD, BatchNorm, Concat, Dense, Embedding, HalfSquaredError, Layer, Sequential, Tanh, mlp
from minidl.errors import DTypeError
from minidl.testing import (
    Check,
    ConformanceError,
    check_activation,
    check_layer,
    check_loss,
    check_merge,
    check_optimizer,
    common,
    layer_checks,
    loss_checks,
    losses,
    merge_checks,
    optimizer_checks,
    optimizers,
    passes,
    persistence,
    shapes,
)
from minidl.testing.comparison import compare
from minidl.testing.derivatives import Derivative, Differentiator, Point
from minidl.testing.gradients import gradient_rules
from minidl.testing.report import CheckError, Rule
from minidl.testing.state import difference, fingerprint
from minidl.testing.subject import ComponentSubject
from tests.support.conformance_table import codes
from tests.support.planted.layers import WrongSign
from tests.support.planted.right import RIGHT, hides_its_mask

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

CHECK = layer_checks(Dense(3, 2).initialize(0))


@pytest.mark.parametrize("check", CHECK, ids=str)
def test_the_checks_of_a_layer_run_one_by_one(check: Check) -> None:
    check()
    assert check.outcome().passed


# What is right is not taken for wrong.


@pytest.mark.parametrize("name", RIGHT)
def test_an_unusual_layer_that_is_right_passes(name: str) -> None:
    report = check_layer(RIGHT[name], 3)
    assert report.not_run == ()


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_false_alarm_with_another_seed(seed: int) -> None:
    check_layer(mlp([4, 6, 6, 2], rng=seed), seed=seed)
    check_layer(Sequential(Dense(3, 4).initialize(seed), BatchNorm(4), Tanh()), seed=seed)
    check_loss(HalfSquaredError(), seed=seed)
    check_optimizer(lambda p: SGD(p, learning_rate=0.1, momentum=0.5), seed=seed)


@pytest.mark.parametrize("seed", range(10))
def test_no_false_alarm_where_the_output_hides_the_mask(seed: int) -> None:
    check_layer(hides_its_mask(), seed=seed)


def test_a_class_defined_in_a_function_passes() -> None:
    class Half(Layer):
        def forward(self, x: Array) -> Array:
            self._rows = len(x)
            return x / 2

        def backward(self, grad: Array) -> Array:
            self._rows  # noqa: B018
            return grad / 2

    check_layer(Half(), 3)


def test_a_large_layer_is_checked_in_a_moment() -> None:
    report = check_layer(Dense(300, 100).initialize(0))
    assert report.worst("complex step") is not None


def test_the_layer_that_is_handed_in_is_left_alone() -> None:
    layer = Sequential(Dense(3, 4).initialize(0), BatchNorm(4), Tanh())
    layer.forward(np.ones((5, 3)))
    before = fingerprint(layer)
    check_layer(layer)
    assert difference(before, fingerprint(layer)) == ""


# Reports.


def test_a_report_lists_what_the_layer_declares_and_the_worst_errors() -> None:
    report = check_layer(BatchNorm(3))
    text = str(report)
    assert text.startswith(f"BatchNorm(3): all {len(report.outcomes)} checks passed")
    assert "declared: couples_rows = True" in text
    assert "declared: smallest_batch = 2" in text
    assert "declared: rows are coupled in training" in report.passed
    assert "rows are alone in training" not in report.passed
    assert "worst relative error against complex step" in text


def test_codes_are_declared_to_have_no_gradient() -> None:
    report = check_layer(Embedding(4, 2).initialize(0), sample=codes)
    assert "gradient of x" not in report.passed
    assert "gradient of weight" in report.passed
    assert "declared: no gradient of the input" in report.passed
    assert "declared: has_input_gradient = False" in str(report)


def test_an_error_lists_what_failed_and_what_was_not_run() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_layer(WrongSign())
    report = caught.value.report
    assert isinstance(caught.value, AssertionError)
    assert report.failed == ("gradient of bias",)
    assert report.not_run == ("total gradient", "gradient of inference()", "float32 gradients")
    assert str(caught.value).split("\n")[:5] == [
        f"WrongSign(): 1 of {len(report.outcomes)} checks failed, {len(report.passed)} passed",
        "",
        "  failed: gradient of bias",
        "      Backward gives the derivative of forward.",
        "    -> gradient of bias[2]: expected -3.89869, got 3.89869 (relative error 2 by complex step, at most 1e-10)",
    ]
    assert "  not run until 'gradient of bias' holds: 3 (total gradient, " in str(report)


def test_a_single_check_raises_its_own_report() -> None:
    checks = {check.name: check for check in layer_checks(WrongSign())}
    with pytest.raises(ConformanceError, match="only its sign is wrong"):
        checks["gradient of bias"]()
    with pytest.raises(ConformanceError, match="not run until 'gradient of bias' holds"):
        checks["total gradient"]()
    checks["gradient of weight"]()


def test_each_kind_of_checks_has_the_names_of_its_report() -> None:
    def sgd(parameters: Any) -> SGD:
        return SGD(parameters, learning_rate=0.1)

    assert tuple(map(str, merge_checks(Concat()))) == check_merge(Concat()).passed
    assert tuple(map(str, loss_checks(HalfSquaredError()))) == check_loss(HalfSquaredError()).passed
    assert tuple(map(str, optimizer_checks(sgd))) == check_optimizer(sgd).passed
    assert tuple(map(str, layer_checks(Tanh()))) == check_layer(Tanh()).passed
    assert set(check_layer(Tanh()).passed) < set(check_activation(Tanh()).passed)


def test_each_check_needs_only_checks_that_exist() -> None:
    gradients = gradient_rules(ComponentSubject(Tanh(), ones_of_x, 3, 0))
    parts: list[Rule[Any]] = [*passes.CHECKS, *common.CHECKS, *persistence.CHECKS, *shapes.CHECKS, *gradients]
    names = {rule.name for rule in parts}
    assert {need for rule in parts for need in rule.needs} <= names
    assert {need for rule in losses.CHECKS for need in rule.needs} <= names | {rule.name for rule in losses.CHECKS}
    assert {need for rule in optimizers.CHECKS for need in rule.needs} <= {rule.name for rule in optimizers.CHECKS}


def test_something_of_another_kind_is_refused() -> None:
    with pytest.raises(DTypeError, match="did you forget the parentheses of Tanh"):
        check_layer(Tanh)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="expected a Loss"):
        check_loss(Tanh())  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="expected a Merge"):
        check_merge(Tanh())  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="expected it to return an Optimizer"):
        check_optimizer(lambda parameters: parameters)  # type: ignore[arg-type, return-value]


# Derivatives.


def ones_of_x(rows: int, rng: np.random.Generator) -> tuple[Array, ...]:
    return (np.ones((rows, 3)),)


def ones(shape: tuple[int, ...]) -> Array:
    return np.ones(shape)


def test_derivatives_are_those_of_the_closed_form() -> None:
    def function(point: Point) -> Array:
        y: Array = np.sin(point[0]) * point[1]
        return y

    x, a = np.linspace(-2, 2, 6).reshape(2, 3), np.array([0.5, -1.0, 2.0])
    found = Differentiator(function, [True, True], ones).at_a_smooth_point(lambda number: [x, a])
    dx, da = found.arrays
    assert dx is not None
    assert da is not None
    np.testing.assert_allclose(dx.values, (np.cos(x) * a).ravel(), rtol=1e-13)
    np.testing.assert_allclose(da.values, np.sin(x).sum(axis=0), rtol=1e-13, atol=1e-14)
    assert dx.method == da.method == "complex step"
    total = np.sum(np.cos(x) * a * found.direction[0]) + np.sum(np.sin(x).sum(axis=0) * found.direction[1])
    np.testing.assert_allclose(found.total.values, [total], rtol=1e-12)


def test_differences_alone_are_exact_to_a_millionth() -> None:
    x = np.linspace(-2, 2, 7)
    differentiator = Differentiator(lambda point: np.tanh(point[0].real), [True], ones)
    (dx,) = differentiator.at_a_smooth_point(lambda number: [x]).arrays
    assert dx is not None
    assert dx.method == "central differences"
    np.testing.assert_allclose(dx.values, 1 - np.tanh(x) ** 2, atol=1e-10)


def test_code_that_is_not_for_complex_numbers_is_judged_by_differences() -> None:
    x = np.array([-1.5, 0.5, 2.0])
    for function in (np.abs, lambda x: np.asarray(x, float) ** 2, lambda x: np.where(x.real > 0, x.real, 0.0)):
        differentiator = Differentiator(lambda point, f=function: f(point[0]), [True], ones)  # type: ignore[misc]
        (dx,) = differentiator.at_a_smooth_point(lambda number: [x]).arrays
        assert dx is not None
        assert dx.method == "central differences"


@pytest.mark.parametrize("offset", [0.0, 1e-4, -4e-4, 7e-4])
def test_a_point_with_a_kink_nearby_is_drawn_again(offset: float) -> None:
    points = [np.array([1.0, offset, -1.0]), np.array([1.0, 0.5, -1.0])]
    differentiator = Differentiator(lambda point: np.maximum(point[0], 0.0), [True], ones)
    found = differentiator.at_a_smooth_point(lambda number: [points[min(number, 1)]])
    assert found.point[0] is points[1]


def test_where_kinks_are_everywhere_the_smoothest_point_is_taken() -> None:
    rough, less = np.array([0.0, 0.0]), np.array([0.0, 1.0])
    differentiator = Differentiator(lambda point: np.abs(point[0]), [True], ones)
    found = differentiator.at_a_smooth_point(lambda number: [less if number == 7 else rough])
    assert found.point[0] is less


def test_only_what_is_varied_is_differentiated() -> None:
    def function(point: Point) -> Array:
        return point[0] * np.floor(point[1])  # floor refuses complex numbers

    found = Differentiator(function, [True, False], ones).at_a_smooth_point(lambda n: [np.ones(2), np.full(2, 3.0)])
    dx, da = found.arrays
    assert dx is not None
    assert da is None
    assert dx.method == "complex step"
    np.testing.assert_allclose(dx.values, 3.0)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([[1.0, 2.0], [3.0, np.nan]], r"expected a finite number, got nan"),
        ([[1.0, 2.0], [3.0, 4.5]], r"gradient of w\[1, 1\]: expected 4, got 4.5"),
        ([[-1.0, -2.0], [-3.0, -4.0]], "only its sign is wrong"),
        ([[0.0, 0.0], [0.0, 0.0]], "zero everywhere"),
        ([[1.0, 3.0], [2.0, 4.0]], "the transpose"),
        ([[0.1, 0.2], [0.3, 0.4]], "a factor 1/10, the number of rows: the mean"),
        ([[10.0, 20.0], [30.0, 40.0]], "a factor 10, the number of rows"),
        ([[3.0, 6.0], [9.0, 12.0]], "3 times what is expected"),
        ([[1.0, 2.0], [3.0, 4.00001]], "right to a few digits"),
    ],
)
def test_a_wrong_gradient_is_described(found: list[list[float]], says: str) -> None:
    wanted = Derivative(np.arange(4), np.arange(1.0, 5.0), "complex step", 4.0)
    with pytest.raises(CheckError, match=says):
        compare("w", np.array(found), wanted, rows=10)


# What it costs.


def test_the_kit_is_not_imported_by_minidl_and_imports_nothing_heavy() -> None:
    program = (
        "import sys, minidl; assert 'minidl.testing' not in sys.modules; import minidl.testing; "
        "print([name for name in ('pytest', 'hypothesis', 'scipy', 'torch', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
