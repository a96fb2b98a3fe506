"""Layers at the entrance: what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import Columns, Embedding, Parallel, Sequential
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError
from minidl.initializers import Constant, Zeros
from tests.support.refusal import refused

X = np.arange(12.0).reshape(4, 3)


def test_columns_refuse_a_gradient_that_numpy_would_broadcast() -> None:
    layer = Columns([0, 2])
    layer.forward(X)
    for shape in ((4, 1), (1, 2), (4, 3)):
        with refused(ShapeError, "Columns([0, 2]): expected a gradient of shape (4, 2)", f"got {shape}"):
            layer.backward(np.ones(shape))


def test_an_embedding_refuses_a_gradient_that_numpy_would_broadcast() -> None:
    layer = Embedding(12, 2).initialize(0)
    layer.forward(X[:, :1])
    for shape in ((4, 1), (1, 2), (4, 3)):
        with refused(ShapeError, "Embedding(12 -> 2): expected a gradient of shape (4, 2)", f"got {shape}"):
            layer.backward_parameters(np.ones(shape))
    assert (layer.weight.grad == 0).all()


@pytest.mark.parametrize("rows", [128, 129, 100_000])
def test_a_code_of_many_float32_rows_has_a_sum_as_good_as_a_bias(rows: int) -> None:
    layer = Embedding(4, 2, dtype=np.float32).initialize(0)
    codes = np.where(np.arange(rows) % 5 == 0, 2.0, 3.0)
    layer.forward(codes.astype(np.float32)[:, None])
    grad = np.full((rows, 2), 0.1, np.float32)
    for times in (1, 2):  # gradients add up
        layer.add_gradients(grad)
        exact = [times * float(grad[0, 0]) * float((codes == code).sum()) for code in range(4)]
        assert np.allclose(layer.weight.grad.T, exact, rtol=3e-6 if rows <= 128 else 2e-7, atol=0)


@pytest.mark.parametrize("indices", [[0.7], [0, 1.0], 3, None, [True, False, True], np.array([True, False]), "01"])
def test_columns_refuse_what_is_no_list_of_whole_numbers(indices: Any) -> None:
    with refused(DTypeError, "Columns(indices): expected a list of whole numbers such as [0, 2], got"):
        Columns(indices)


def test_columns_refuse_no_column_and_negative_ones() -> None:
    for indices in ([], [0, -1]):
        with refused(ArgumentError, "Columns(indices): expected at least one column, from 0"):
            Columns(indices)


@pytest.mark.parametrize("indices", [(2, 0), range(2, -1, -2), np.array([2, 0])])
def test_columns_take_any_sequence_of_whole_numbers(indices: Any) -> None:
    assert (Columns(indices).predict(X) == X[:, [2, 0]]).all()


def test_float32_cannot_tell_more_than_2_to_the_24_codes_apart() -> None:
    def predicted(codes: int, dtype: Any, x: Any) -> Any:
        layer = Embedding(codes, 1, weight_initializer=Zeros(), dtype=dtype)
        layer.weight.value[-1] = 7.0
        return Sequential(layer).predict(x)

    last = 2**24
    assert predicted(last, np.float32, [[last - 1]]) == 7.0
    assert predicted(last + 1, np.float64, [[last]]) == 7.0
    with refused(DTypeError, f"Embedding({last + 1} -> 1): expected at most {last} codes in float32", "use float64"):
        predicted(last + 1, np.float32, [[last]])


def test_an_embedding_begins_with_the_numbers_of_its_initializer() -> None:
    layer = Embedding(2, 3, weight_initializer=Constant(5.0))
    assert (layer.weight.value == 5.0).all()
    layer.weight.value[:] = 0.0
    assert (layer.initialize(0).weight.value == 5.0).all()


def test_the_gradient_of_a_code_in_many_rows_of_float32_is_exact() -> None:
    layer, rows, share = Embedding(3, 2, dtype="f4"), 300_000, float(np.float32(0.1))
    codes = np.where(np.arange(rows) % 3 == 0, 2.0, 0.0)[:, None].astype(np.float32)
    for times in (1, 2):
        layer.forward(codes)
        layer.backward_parameters(np.full((rows, 2), 0.1, np.float32))
        wanted = times * share * np.array([[200_000], [0], [100_000]])
        assert np.allclose(layer.weight.grad, wanted, rtol=1e-7, atol=0)


def test_columns_of_codes_have_vectors_of_their_own_side_by_side() -> None:
    layer = Embedding([3, 2], 2).initialize(0)
    x, upstream = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]), np.random.default_rng(0).normal(size=(3, 4))
    first, second = layer.weight.value[:3], layer.weight.value[3:]
    y = [[*first[int(code)], *second[int(other)]] for code, other in x]
    assert (layer.forward(x) == y).all()
    assert (layer.predict(x) == y).all()
    assert (layer.backward(upstream) == np.zeros((3, 2))).all()
    wanted = np.zeros((5, 2))
    for row, codes in enumerate(x):
        wanted[int(codes[0])] += upstream[row, :2]
        wanted[3 + int(codes[1])] += upstream[row, 2:]
    assert np.allclose(layer.weight.grad, wanted, rtol=1e-15)
    assert repr(layer) == "Embedding([3, 2] -> 4)"
    assert layer.output_features(2) == 4


def test_columns_of_codes_are_branches_of_one_column() -> None:
    both = Embedding([3, 2], 2).initialize(0)
    one, other = Embedding(3, 2), Embedding(2, 2)
    one.weight.value, other.weight.value = both.weight.value[:3], both.weight.value[3:]
    apart = Parallel(Sequential(Columns([0]), one), Sequential(Columns([1]), other))
    x = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    assert (apart.predict(x) == both.predict(x)).all()


def test_an_embedding_names_the_row_and_the_column_of_what_is_no_code() -> None:
    layer = Embedding([3, 2], 4)
    with refused(DataError, "Embedding([3, 2] -> 8): expected whole codes in 0 … 1 of column 1, got 2.0 at row 1"):
        layer.predict(np.array([[2.0, 1.0], [2.0, 2.0]]))
    with refused(ShapeError, "Embedding([3, 2] -> 8): expected x of shape (batch, 2), got (4, 3)"):
        layer.predict(X)


@pytest.mark.parametrize("codes", [(3, 2), np.array([3, 2]), iter([3, 2])])
def test_the_numbers_of_codes_may_be_any_list(codes: Any) -> None:
    assert Embedding(codes, 4).config()["codes"] == [3, 2]


@pytest.mark.parametrize("codes", [[], [3, 0], [3, 2.0], [3, True], "32", {"a": 3}, None])
def test_what_is_no_number_of_codes_is_refused(codes: Any) -> None:
    with refused(ArgumentError if codes in ([], [3, 0]) else DTypeError, "Embedding(codes): expected"):
        Embedding(codes, 4)


@pytest.mark.parametrize("shape", [(4, 2), (4, 1), (4, 0), (3,), (4, 3, 3)])
def test_columns_that_x_does_not_have_are_refused(shape: tuple[int, ...]) -> None:
    layer = Columns([0, 2])
    for call in (layer.forward, layer.predict):
        with refused(ShapeError, "Columns([0, 2]): expected x with at least 3 columns", f"got {shape}"):
            call(np.zeros(shape))
