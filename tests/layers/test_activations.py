from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.special import expit

from minidl import (
    ELU,
    GELU,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    PReLU,
    ReLU,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    layers,
)
from minidl._core.functions import SMALL
from minidl.errors import ArgumentError, DTypeError, ShapeError, StructureError
from minidl.layers.activations import Pointwise
from minidl.layers.base import trait
from tests.support.derivatives import central, complex_step, relative_error
from tests.support.refusal import refused

Make = Callable[[], Layer]
Scalar = Callable[[Any], Any]

EQUATIONS: list[tuple[Make, Scalar]] = [
    (lambda: Activation(np.sin, np.cos), mpmath.sin),
    (Identity, lambda x: x),
    (Sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    (Tanh, mpmath.tanh),
    (ReLU, lambda x: max(x, mpmath.mpf(0))),
    (LeakyReLU, lambda x: x if x > 0 else mpmath.mpf("0.01") * x),
    (lambda: LeakyReLU(0.3), lambda x: x if x > 0 else mpmath.mpf("0.3") * x),
    (ELU, lambda x: x if x > 0 else mpmath.expm1(x)),
    (lambda: ELU(1.7), lambda x: x if x > 0 else mpmath.mpf("1.7") * mpmath.expm1(x)),
    (GELU, lambda x: x * mpmath.ncdf(x)),
    (SiLU, lambda x: x / (1 + mpmath.exp(-x))),
    (Softplus, lambda x: mpmath.log1p(mpmath.exp(x))),
]
ELEMENTWISE: list[Make] = [make for make, _ in EQUATIONS]
ALL: list[Make] = [*ELEMENTWISE, Softmax]
NORMS: list[Make] = [lambda: BatchNorm(3), lambda: BatchNorm(3).inference(), lambda: LayerNorm(3), lambda: RMSNorm(3)]
SMALL_SHAPE, LARGE_SHAPE = (3, 5), (SMALL // 4 + 1, 4)


def name(make: Make) -> str:
    return repr(make())


def inputs(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Draw numbers on both sides of zero, none near the kink there."""
    x = np.random.default_rng(seed).normal(0, 2, shape)
    return np.where(np.abs(x) < 0.05, x + 0.1, x)


@pytest.mark.parametrize(("make", "equation"), EQUATIONS, ids=[name(make) for make in ELEMENTWISE])
@pytest.mark.parametrize("shape", [SMALL_SHAPE, LARGE_SHAPE])
def test_each_number_is_what_the_equation_says(make: Make, equation: Scalar, shape: tuple[int, int]) -> None:
    x = inputs(shape)
    expected = np.array([[float(equation(mpmath.mpf(float(v)))) for v in row] for row in x])
    assert np.allclose(make().forward(x), expected, rtol=1e-14, atol=0)
    assert (make().predict(x) == make().forward(x)).all()


@pytest.mark.parametrize("shape", [SMALL_SHAPE, LARGE_SHAPE])
def test_softmax_is_what_its_equation_says(shape: tuple[int, int]) -> None:
    x = inputs(shape)
    expected = [[float(mpmath.exp(v) / mpmath.fsum(mpmath.exp(u) for u in row)) for v in row] for row in x.tolist()]
    assert np.allclose(Softmax().forward(x), expected, rtol=1e-14, atol=0)
    assert (Softmax().predict(x) == Softmax().forward(x)).all()


@pytest.mark.parametrize("make", ALL, ids=name)
@pytest.mark.parametrize("shape", [SMALL_SHAPE, LARGE_SHAPE])
def test_the_gradient_is_that_of_the_complex_step(make: Make, shape: tuple[int, int]) -> None:
    x, upstream = inputs(shape), inputs(shape, seed=1)
    layer = make()
    layer.forward(x)
    found = layer.backward(upstream)
    assert found.shape == x.shape
    assert relative_error(found, complex_step(lambda v: np.sum(upstream * make().predict(v)), x)) <= 1e-10


@pytest.mark.parametrize("make", ALL, ids=name)
def test_the_gradient_is_that_of_central_differences(make: Make) -> None:
    x, upstream = inputs(SMALL_SHAPE), inputs(SMALL_SHAPE, seed=1)
    layer = make()
    layer.forward(x)
    found = layer.backward(upstream)
    assert relative_error(found, central(lambda v: np.sum(upstream * make().predict(v)), x)) <= 1e-6


@pytest.mark.parametrize("make", ALL, ids=name)
def test_float32_stays_float32_and_agrees_to_two_parts_in_a_thousand(make: Make) -> None:
    x, upstream = inputs(SMALL_SHAPE), inputs(SMALL_SHAPE, seed=1)
    exact, single = make(), make()
    y, y32 = exact.forward(x), single.forward(x.astype(np.float32))
    dx, dx32 = exact.backward(upstream), single.backward(upstream.astype(np.float32))
    assert y32.dtype == dx32.dtype == single.predict(x.astype(np.float32)).dtype == np.float32
    assert relative_error(y32, y) <= 2e-3
    assert relative_error(dx32, dx) <= 2e-3


@pytest.mark.parametrize("make", ALL, ids=name)
@pytest.mark.parametrize("shape", [SMALL_SHAPE, LARGE_SHAPE])
def test_no_array_of_the_caller_is_written_to_or_shared_with_an_output(make: Make, shape: tuple[int, int]) -> None:
    layer = make()
    x, upstream = inputs(shape), inputs(shape, seed=1)
    before = x.tobytes(), upstream.tobytes()
    x.flags.writeable = upstream.flags.writeable = False
    y = layer.forward(x)
    predicted = layer.predict(x)
    dx = layer.backward(upstream)
    assert (x.tobytes(), upstream.tobytes()) == before
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(predicted, x)
    assert not np.shares_memory(predicted, y)
    assert not np.shares_memory(dx, x)
    assert not np.shares_memory(dx, y)


@pytest.mark.parametrize("make", ALL, ids=name)
@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_single_batches(make: Make, rows: int) -> None:
    layer = make()
    x = inputs((4, 3))
    whole = layer.predict(x)[:rows]
    assert np.allclose(layer.forward(x[:rows]), whole, rtol=1e-14)
    assert layer.backward(np.ones((rows, 3))).shape == (rows, 3)


@pytest.mark.parametrize("make", ALL, ids=name)
@pytest.mark.parametrize("order", ["F", "strided", "reversed", "broadcast"])
def test_every_layout_gives_the_same_numbers(make: Make, order: str) -> None:
    x = inputs((4, 3))
    if order == "broadcast":
        x = np.repeat(x[:1], 4, axis=0)
    laid = {
        "F": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": x[::-1].copy()[::-1],
        "broadcast": np.broadcast_to(x[:1], (4, 3)),
    }[order]
    one, other = make(), make()
    assert np.allclose(one.forward(laid), other.forward(x), rtol=1e-14)
    assert np.allclose(one.backward(laid), other.backward(x), rtol=1e-14)


@pytest.mark.parametrize("make", ALL, ids=name)
def test_predict_leaves_the_memory_of_the_pass_alone(make: Make) -> None:
    layer, undisturbed = make(), make()
    x, upstream = inputs(SMALL_SHAPE), inputs(SMALL_SHAPE, seed=1)
    layer.forward(x)
    undisturbed.forward(x)
    before = dict(vars(layer))
    layer.predict(x * 3 + 1)
    assert {key: id(value) for key, value in vars(layer).items()} == {key: id(value) for key, value in before.items()}
    assert (layer.backward(upstream) == undisturbed.backward(upstream)).all()


@pytest.mark.parametrize("make", ALL, ids=name)
def test_permuting_the_rows_permutes_the_outputs(make: Make) -> None:
    x, upstream = inputs((6, 4)), inputs((6, 4), seed=1)
    order = np.array([3, 0, 5, 1, 4, 2])
    one, other = make(), make()
    assert (one.forward(x)[order] == other.forward(x[order])).all()
    assert (one.backward(upstream)[order] == other.backward(upstream[order])).all()


@pytest.mark.parametrize("make", ALL, ids=name)
def test_as_many_features_come_out_as_go_in(make: Make) -> None:
    assert make().output_features(7) == 7
    assert trait(make(), "in_features") is None


LEFT_AND_RIGHT: dict[str, tuple[float, float, float, float]] = {
    # y and y′ far to the left, then y − x (or y where it is bounded) and y′ far to the right
    "Sigmoid()": (0.0, 0.0, 1.0, 0.0),
    "Tanh()": (-1.0, 0.0, 1.0, 0.0),
    "ReLU()": (0.0, 0.0, np.inf, 1.0),
    "ELU(1.0)": (-1.0, 0.0, np.inf, 1.0),
    "GELU()": (0.0, 0.0, np.inf, 1.0),
    "SiLU()": (0.0, 0.0, np.inf, 1.0),
    "Softplus()": (0.0, 0.0, np.inf, 1.0),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1, SMALL + 1])
@pytest.mark.parametrize("make", [make for make in ELEMENTWISE if name(make) in LEFT_AND_RIGHT], ids=name)
def test_far_away_value_and_slope_reach_their_limits_in_silence(make: Make, size: int, dtype: Any) -> None:
    left, slope_left, right, slope_right = LEFT_AND_RIGHT[repr(make())]
    for x in (1e4, float(np.finfo(dtype).max), np.inf):
        layer = make()
        below = layer.forward(np.full((1, size), -x, dtype))
        assert (below == left).all()
        assert (layer.backward(np.ones((1, size), dtype)) == slope_left).all()
        above = layer.forward(np.full((1, size), x, dtype))
        assert (above == (x if right == np.inf else right)).all()
        assert (layer.backward(np.ones((1, size), dtype)) == slope_right).all()


def test_each_activation_has_an_equation_and_its_limits_at_infinity() -> None:
    public = [getattr(layers, kind) for kind in layers.__all__]
    built_in = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Pointwise)}
    assert {type(make()) for make in ELEMENTWISE} == built_in - {PReLU, Softmax}
    without_limits = {"Activation", "Identity", "LeakyReLU", "PReLU", "Softmax"}
    with_limits = {text.partition("(")[0] for text in LEFT_AND_RIGHT}
    assert with_limits == {kind.__name__ for kind in built_in} - without_limits


@pytest.mark.parametrize("make", ALL, ids=name)
@pytest.mark.parametrize("size", [3, SMALL + 2])
def test_nan_goes_through_and_stays_in_its_row(make: Make, size: int) -> None:
    x = np.ones((2, size))
    x[1, 0] = np.nan
    y = make().predict(x)
    assert np.isnan(y[1, 0])
    assert np.isfinite(y[0]).all()


def test_at_zero_the_kinks_take_the_left_slope() -> None:
    for layer, slope in ((ReLU(), 0.0), (LeakyReLU(0.2), 0.2), (ELU(0.5), 0.5)):
        layer.forward(np.zeros((1, 1)))
        assert layer.backward(np.ones((1, 1))).item() == slope


def test_a_pair_of_functions_is_the_built_in_of_the_same_name() -> None:
    pair, built_in = Activation(expit, lambda x: expit(x) * (1 - expit(x))), Sigmoid()
    x, upstream = inputs(SMALL_SHAPE), inputs(SMALL_SHAPE, seed=1)
    assert np.allclose(pair.forward(x), built_in.forward(x), rtol=1e-15)
    assert np.allclose(pair.backward(upstream), built_in.backward(upstream), rtol=1e-13)
    assert repr(pair) == "Activation(expit)"


@pytest.mark.parametrize("make", [*ALL, PReLU, lambda: Dropout(0.3).initialize(0), *NORMS], ids=name)
@pytest.mark.parametrize("shape", [(1, 3), (6, 1), (3,), (2, 6, 3)])
def test_a_gradient_of_another_shape_than_the_output_is_refused(make: Make, shape: tuple[int, ...]) -> None:
    layer = make()
    layer.forward(inputs((6, 3)))
    with refused(ShapeError, repr(layer), "expected a gradient of shape (6, 3), got", str(shape)):
        layer.backward(np.ones(shape))


def test_repr_shows_the_argument() -> None:
    assert [repr(layer) for layer in (LeakyReLU(0.2), ELU(), ELU(0.7))] == ["LeakyReLU(0.2)", "ELU(1.0)", "ELU(0.7)"]


def test_prelu_may_learn_a_slope_for_each_feature() -> None:
    layer = PReLU(0.5, features=3)
    layer.weight.value = [0.1, 0.2, 0.3]
    x = np.array([[1.0, -2.0, 3.0], [-4.0, -5.0, 0.0]])
    assert np.allclose(layer.forward(x), [[1.0, -0.4, 3.0], [-0.4, -1.0, 0.0]], rtol=1e-15)
    assert np.allclose(layer.backward(2.0 + np.zeros((2, 3))), [[2.0, 0.4, 2.0], [0.2, 0.4, 0.6]], rtol=1e-15)
    assert np.allclose(layer.weight.grad, [-8.0, -14.0, 0.0], rtol=1e-15)
    assert repr(layer) == "PReLU(0.5, features=3)"
    with refused(ShapeError, "PReLU(0.5, features=3): expected x of shape (batch, 3), got (2, 2)"):
        layer.predict(x[:, :2])
    with refused(StructureError, "expected 3 features", "gives 4"):
        Sequential(Dense(2, 4), PReLU(features=3))


def test_a_function_that_returns_a_view_of_its_input_gives_a_fresh_array() -> None:
    layer = Activation(lambda x: x[:, ::-1], np.ones_like)
    x = inputs((2, 3))
    for y in (layer.predict(x), layer.forward(x)):
        assert not np.shares_memory(x, y)
        assert (y == x[:, ::-1]).all()


def test_a_function_that_returns_its_input_gives_a_fresh_array_all_the_same() -> None:
    x = inputs(SMALL_SHAPE)
    assert not np.shares_memory(Activation(lambda v: v, np.ones_like).forward(x), x)


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        (Activation, (np.sin, 3), DTypeError, "Activation(derivative): expected a function of an array, got 3"),
        (Activation, ("sin", np.cos), DTypeError, "Activation(function): expected a function of an array"),
        (LeakyReLU, (-0.1,), ArgumentError, "at least 0, got -0.1"),
        (ELU, (np.nan,), ArgumentError, "ELU(alpha): expected a finite number"),
        (ELU, ("1",), DTypeError, "ELU(alpha): expected a number, got '1'"),
    ],
)
def test_arguments_are_checked(kind: Any, arguments: Any, error: Any, words: str) -> None:
    with refused(error, words):
        kind(*arguments)
