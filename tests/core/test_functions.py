"""The special functions against mpmath at 50 digits, at the places where naive formulas fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from minidl import SoftmaxCrossEntropy
from minidl._core.functions import SMALL, normal_distribution, sigmoid, softmax, softplus

mpmath.mp.dps = 50

MAGNITUDES = [0.0, 1e-300, 1e-7, 0.5, 1.0, 20.0, 36.8, 80.5, 88.0, 104.0, 700.5, 709.0, 745.0, 1e4]
SIZES = [1, SMALL + 1]
DTYPES = [np.float64, np.float32]


def log_softmax(x: Any) -> Any:
    """Return the logarithm of each share: SoftmaxCrossEntropy of each label in turn."""
    labels = [np.full(len(x), label) for label in range(x.shape[1])]
    with np.errstate(over="ignore"):
        return -np.stack([SoftmaxCrossEntropy().forward_rows(x, label) for label in labels], axis=1).astype(x.dtype)


def points(dtype: Any) -> npt.NDArray[Any]:
    largest = float(np.finfo(dtype).max)
    both = [sign * size for size in (*MAGNITUDES, largest) for sign in (1.0, -1.0)]
    between = np.random.default_rng(0).uniform(-750, 750, 50).tolist()
    return np.array(both + between, dtype)


def exact_sigmoid(x: float) -> Any:
    x = max(min(x, 1e5), -1e5)  # beyond that the result is 1, or below every float
    return 1 / (1 + mpmath.exp(-mpmath.mpf(x)))


def exact_softplus(x: float) -> Any:
    return mpmath.mpf(x) if x > 1e5 else mpmath.log1p(mpmath.exp(mpmath.mpf(max(x, -1e5))))


def lost(found: Any, exact: Any, dtype: Any) -> bool:
    """Say whether a number that is too small for all its digits became 0, as in SciPy's loops over few numbers."""
    return float(found) == 0.0 and exact < float(np.finfo(dtype).tiny)


def units(found: Any, exact: Any, dtype: Any) -> float:
    """Return the error in units in the last place of the exact result."""
    nearest = np.abs(np.asarray(float(exact), dtype))
    unit = np.spacing(np.nextafter(nearest, nearest.dtype.type(0)))
    return float(abs(mpmath.mpf(float(found)) - exact) / mpmath.mpf(float(unit)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "exact"), [(sigmoid, exact_sigmoid), (softplus, exact_softplus)])
def test_within_four_units_in_the_last_place_at_the_extremes(
    function: Callable[[Any], Any], exact: Callable[[float], Any], dtype: Any, size: int
) -> None:
    for x in points(dtype):
        y = function(np.full((1, size), x, dtype))
        assert y.dtype == dtype
        for found in np.unique(y):
            wanted = exact(float(x))
            assert units(found, wanted, dtype) <= 4 or (size == 1 and lost(found, wanted, dtype)), (x, found)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "below", "above"), [(sigmoid, 0.0, 1.0), (softplus, 0.0, np.inf), (normal_distribution, 0.0, 1.0)]
)
def test_infinities_go_to_the_limits_and_nan_stays_nan(
    function: Callable[[Any], Any], below: float, above: float, dtype: Any, size: int
) -> None:
    x = np.tile(np.array([[-np.inf, np.inf, np.nan]], dtype), (1, size))
    y = function(x)
    assert y.dtype == dtype
    assert (y[:, 0::3] == below).all()
    assert (y[:, 1::3] == above).all()
    assert np.isnan(y[:, 2::3]).all()


@pytest.mark.parametrize("function", [sigmoid, softplus])
def test_one_extreme_number_leaves_its_neighbours_alone(function: Callable[[Any], Any]) -> None:
    ordinary = np.linspace(-5, 5, SMALL + 44)[None, :]
    crowd = ordinary.copy()
    crowd[0, 7] = -720.0
    same = np.arange(crowd.size) != 7
    assert (function(crowd)[0, same] == function(ordinary)[0, same]).all()


@pytest.mark.parametrize("function", [sigmoid, softplus, softmax, log_softmax, normal_distribution])
@pytest.mark.parametrize("size", [3, SMALL])
def test_the_input_is_left_alone_and_the_result_is_fresh(function: Callable[[Any], Any], size: int) -> None:
    x = np.random.default_rng(0).normal(0, 400, (4, size))
    before = x.tobytes()
    assert not np.shares_memory(function(x), x)
    assert x.tobytes() == before


@pytest.mark.parametrize("function", [sigmoid, softplus, softmax, log_softmax, normal_distribution])
@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_single_batches(function: Callable[[Any], Any], rows: int) -> None:
    assert function(np.ones((rows, 3))).shape == (rows, 3)


ROWS = [
    [0.0, 0.0],
    [1e-300, -1e-7, 1e-7],
    [88.0, -88.0, 0.0],
    [104.0, 0.0, 103.0],
    [709.0, 710.0, -745.0],
    [1e4, 1e4 - 1.0, -1e4],
    [-1e4, -1e4 - 2.0],
    [3e38, 3e38, 3e38],
    [3e38, -3e38],
    [-3e38, -3e38, -3e38, -3e38],
    [-np.inf, 0.0, 1.0],
]


def exact_softmax(row: npt.NDArray[Any]) -> list[Any]:
    terms = [mpmath.exp(mpmath.mpf(float(v)) - mpmath.mpf(float(row.max()))) if v > -1e30 or row.max() < -1e30
             else mpmath.mpf(0) for v in row]
    return [term / mpmath.fsum(terms) for term in terms]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ROWS)
def test_softmax_of_extreme_rows(row: list[float], dtype: Any) -> None:
    x = np.array([row], dtype)
    y = softmax(x)
    assert y.dtype == dtype
    for found, exact in zip(y[0], exact_softmax(x[0]), strict=True):
        assert units(found, exact, dtype) <= 8 * len(row)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ROWS)
def test_log_softmax_of_extreme_rows(row: list[float], dtype: Any) -> None:
    x = np.array([row], dtype)
    y = log_softmax(x)
    assert y.dtype == dtype
    highest = float(x.max())
    total = mpmath.log(mpmath.fsum(
        mpmath.exp(mpmath.mpf(float(v)) - mpmath.mpf(highest)) for v in x[0] if float(v) - highest > -1e5))
    for found, value in zip(y[0], x[0], strict=True):
        exact = mpmath.mpf(float(value)) - mpmath.mpf(highest) - total
        if -exact > float(np.finfo(dtype).max):
            assert found == -np.inf
        else:
            assert abs(mpmath.mpf(float(found)) - exact) <= 8 * float(np.finfo(dtype).eps) * max(1, abs(float(exact)))


def test_the_largest_numbers_overflow_nowhere() -> None:
    most = np.finfo(np.float64).max
    assert softmax(np.array([[most, -most]])).tolist() == [[1.0, 0.0]]
    assert softmax(np.full((2, 4), most)).tolist() == [[0.25] * 4] * 2
    assert softmax(np.full((2, 4), -most)).tolist() == [[0.25] * 4] * 2
    assert log_softmax(np.array([[most, -most]])).tolist() == [[0.0, -np.inf]]


@pytest.mark.parametrize("row", [[np.inf, 0.0], [-np.inf, -np.inf], [np.nan, 0.0]])
def test_a_row_without_a_softmax_is_nan_and_leaves_other_rows_alone(row: list[float]) -> None:
    x = np.array([[1.0, 2.0], row])
    for function in (softmax, log_softmax):
        y = function(x)
        assert np.isnan(y[1]).all()
        assert (y[:1] == function(x[:1])).all()


@pytest.mark.parametrize("shift", [-700.0, 1.0, 1e6])
def test_softmax_ignores_a_shift(shift: float) -> None:
    x = np.arange(12.0).reshape(3, 4) * 0.25
    assert (softmax(x + shift) == softmax(x)).all()
    assert (log_softmax(x + shift) == log_softmax(x)).all()


def test_normal_distribution_against_the_error_function() -> None:
    for x in (-30.0, -8.0, -1.0, 0.0, 0.3, 5.0):
        assert normal_distribution(np.array([[x]]))[0, 0] == pytest.approx(float(mpmath.ncdf(x)), rel=1e-14)


@pytest.mark.parametrize("function", [sigmoid, softplus, normal_distribution])
@pytest.mark.parametrize("size", [3, SMALL + 1])
def test_complex_input_continues_the_function(function: Callable[[Any], Any], size: int) -> None:
    x = np.tile([-3.0, 0.25, 4.0], size)[None, :]
    assert np.allclose(function(x + 0j).real, function(x), rtol=1e-14, atol=0)
