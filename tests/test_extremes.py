"""The special functions and the cross-entropies are exact to a few units in the last place at extremes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
import pytest

from minidl import BinaryCrossEntropy, CrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy
from minidl._core.functions import SMALL, sigmoid, softmax, softplus

DTYPES = [np.float64, np.float32]
NUMBERS = [0.0, 1e-300, 1e-38, 1e-7, 0.5, 1.0, 3.0, 16.6, 17.0, 36.7, 88.0, 104.0, 709.0, 745.0, 1e4]


@pytest.fixture(autouse=True)
def many_digits() -> Any:
    with mpmath.workprec(200):
        yield


def grid(dtype: Any) -> Any:
    """Return the numbers of both signs, and the largest ones, in ``dtype``."""
    with np.errstate(under="ignore"):
        some = np.array(NUMBERS, dtype)
    largest = np.finfo(dtype).max
    return np.unique(np.concatenate([some, -some, [largest, -largest]]).astype(dtype))


def worst(found: Any, exact: Iterable[Any]) -> float:
    """Return the largest distance in units in the last place of the exact value, in the dtype of what was found."""
    found = np.ravel(found)
    largest = 0.0
    for number, value in zip(found, exact, strict=True):
        with np.errstate(over="ignore", under="ignore"):
            rounded = found.dtype.type(float(value))
        if np.isinf(rounded) or np.isinf(number):
            distance = 0.0 if rounded == number else np.inf
        else:
            unit = abs(np.nextafter(rounded, found.dtype.type(0)) - rounded) or np.finfo(found.dtype).smallest_subnormal
            distance = float(abs(mpmath.mpf(float(number)) - value) / mpmath.mpf(float(unit)))
        assert not np.isnan(number), f"NaN where the exact value is {value}"
        largest = max(largest, distance)
    return largest


def exact_sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x)) if x >= 0 else mpmath.exp(x) / (1 + mpmath.exp(x))


def exact_softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(-abs(x))) + max(x, 0)


def exactly(numbers: Any) -> list[Any]:
    return [mpmath.mpf(float(number)) for number in numbers]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "exact"), [(sigmoid, exact_sigmoid), (softplus, exact_softplus)])
@pytest.mark.parametrize("copies", [1, SMALL], ids=["few", "many"])
def test_functions_of_one_number(function: Any, exact: Any, copies: int, dtype: Any) -> None:
    numbers = grid(dtype)
    found = function(np.tile(numbers, copies))[: len(numbers)]
    assert found.dtype == dtype
    assert worst(found, [exact(x) for x in exactly(numbers)]) <= 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [2, 3])
def test_softmax(width: int, dtype: Any) -> None:
    numbers = grid(dtype) if width == 2 else grid(dtype)[::3]
    rows = np.array(list(itertools.product(numbers, repeat=width)), dtype)
    shares = []
    for row in rows:
        shifted = sorted(x - max(exactly(row)) for x in exactly(row))
        others = mpmath.fsum(map(mpmath.exp, shifted[:-1]))
        for x in exactly(row):
            shares.append(mpmath.exp(x - max(exactly(row))) / (1 + others))
    assert worst(softmax(rows), shares) <= 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("t", [0.0, 1.0, 0.25])
def test_sigmoid_cross_entropy(t: float, dtype: Any) -> None:
    numbers = grid(dtype)
    loss = SigmoidCrossEntropy()
    found = loss.forward_rows(numbers[:, None], np.full((len(numbers), 1), t, dtype))
    z = exactly(numbers)
    assert worst(found, [(1 - t) * exact_softplus(x) + t * exact_softplus(-x) for x in z]) <= 4
    assert worst(loss.backward_rows(), [(1 - t) * exact_sigmoid(x) - t * exact_sigmoid(-x) for x in z]) <= 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["labels", "rows"])
def test_softmax_cross_entropy(kind: str, dtype: Any) -> None:
    rows = np.array(list(itertools.product(grid(dtype), repeat=2)), dtype)
    target: Any = np.zeros(len(rows), int) if kind == "labels" else np.tile(np.array([1, 0], dtype), (len(rows), 1))
    loss = SoftmaxCrossEntropy()
    with np.errstate(over="ignore"):
        found = loss.forward_rows(rows, target).astype(dtype)
    differences = [b - a for a, b in map(exactly, rows)]
    assert worst(found, [exact_softplus(d) for d in differences]) <= 4
    if kind == "labels":
        assert worst(loss.backward_rows()[:, 0], [-exact_sigmoid(d) for d in differences]) <= 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("t", [0.0, 1.0, 0.25])
def test_cross_entropies_of_probabilities(t: float, dtype: Any) -> None:
    least = 2.0 / np.finfo(dtype).max
    small = grid(dtype)[(grid(dtype) >= least) & (grid(dtype) < 1)]
    numbers = np.unique(np.concatenate([small, (1 - small)[small > 1e-7]]).astype(dtype))
    target = np.full((len(numbers), 1), t, dtype)
    p = exactly(numbers)
    binary = BinaryCrossEntropy().forward_rows(numbers[:, None], target)
    assert worst(binary, [-(t * mpmath.log(x) + (1 - t) * mpmath.log1p(-x)) for x in p]) <= 4
    assert worst(CrossEntropy().forward_rows(numbers[:, None], target), [-t * mpmath.log(x) for x in p]) <= 4


@pytest.mark.parametrize("function", [sigmoid, softplus, softmax])
@pytest.mark.parametrize("copies", [1, 2 * SMALL], ids=["few", "many"])
def test_nan_stays_nan_and_infinity_has_its_limit(function: Callable[..., Any], copies: int) -> None:
    rows = np.tile(np.array([[np.nan, 0.0], [-np.inf, 0.0], [3.0, 3.0]]), (copies, 1))
    found = function(rows)[:3]
    assert np.isnan(found[0, 0])
    limits = {"sigmoid": [0.0, 0.5], "softplus": [0.0, np.log(2)], "softmax": [0.0, 1.0]}
    np.testing.assert_allclose(found[1], limits[function.__name__])
    assert np.isfinite(found[2]).all()


@pytest.mark.parametrize("value", [1e4, 1e300, -1e300])
def test_a_row_of_equal_huge_numbers_is_shared_equally(value: float) -> None:
    assert softmax(np.full((1, 4), value)).tolist() == [[0.25] * 4]
