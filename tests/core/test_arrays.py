from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from minidl._core.arrays import dense, features, finite, floating, positive_int, real
from minidl._core.generators import child_generator, generator
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError

FLOAT64 = np.dtype(np.float64)
FLOAT32 = np.dtype(np.float32)


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32])
def test_an_array_that_fits_is_let_in_as_it_is(dtype: np.dtype[Any]) -> None:
    x = np.ones((3, 2), dtype)
    assert features(x, "here", 2, dtype) is x
    assert features(x, "here", None, None) is x


@pytest.mark.parametrize("given", ["?", "i1", "u8", "i4", "f2", "f4", "g", ">f8", ">f4", ">i2"])
@pytest.mark.parametrize("wanted", [FLOAT64, FLOAT32])
def test_every_real_kind_is_cast_with_its_numbers_kept(given: str, wanted: np.dtype[Any]) -> None:
    x = np.array([[0, 1], [1, 0]], given)
    y = features(x, "here", 2, wanted)
    assert y.dtype == wanted
    assert y.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(("given", "kept"), [("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("f2", "f8"), (">f4", "f8")])
def test_without_a_wanted_dtype_float32_stays_and_the_rest_becomes_float64(given: str, kept: str) -> None:
    assert floating(np.ones(2, given), "here").dtype == np.dtype(kept)


def test_nested_lists_are_rows() -> None:
    assert features([[1, 2], [3, 4]], "here", 2, FLOAT64).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("shape", "width", "remedy"),
    [
        ((3,), 1, "x[:, None]"),
        ((3,), None, "x[:, None]"),
        ((3,), 3, "x[None, :]"),
        ((2, 3, 4), 12, "x.reshape(len(x), -1)"),
        ((3, 2), 4, "(batch, 4)"),
        ((), 1, "got ()"),
    ],
)
def test_a_wrong_shape_is_refused_with_what_to_do(shape: tuple[int, ...], width: int | None, remedy: str) -> None:
    with pytest.raises(ShapeError) as caught:
        features(np.ones(shape), "the place", width, FLOAT64)
    message = str(caught.value)
    assert message.startswith("the place: expected x of shape (batch, ")
    assert str(shape) in message
    assert remedy in message


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones(2, complex), "complex128"),
        (np.array(["a", "b"]), "<U1"),
        (np.array([1.0, "b", None], object), "'b'"),
        (np.array([1.0, 2.0], object), "x.astype(float)"),
        (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
        (np.zeros(2, [("a", "f8")]), "[('a', '<f8')]"),
        (sparse.csr_matrix(np.eye(2)), ".toarray()"),
        (sparse.coo_array(np.eye(2)), ".toarray()"),
    ],
)
def test_what_is_not_a_dense_array_of_real_numbers_is_refused(x: Any, words: str) -> None:
    with pytest.raises(DTypeError) as caught:
        floating(x, "the place")
    assert str(caught.value).startswith("the place: expected")
    assert words in str(caught.value)


def test_masked_entries_are_refused_and_an_unmasked_array_passes() -> None:
    with pytest.raises(DataError, match="the place: expected complete data, got a masked array"):
        dense(np.ma.masked_array([1.0, 2.0], [False, True]), "the place")
    assert dense(np.ma.masked_array([1.0, 2.0]), "the place").tolist() == [1.0, 2.0]


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="the place: expected rows of equal length"):
        floating([[1, 2], [3]], "the place")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_number_that_is_not_finite_is_named_with_its_index(bad: float) -> None:
    x = np.zeros((5, 3))
    x[2, 1] = x[4, 0] = bad
    with pytest.raises(DataError) as caught:
        finite(x, "the place")
    assert f"got {bad} at index (2, 1) (2 in all)" in str(caught.value)


def test_opposite_infinities_do_not_hide_one_another() -> None:
    with pytest.raises(DataError, match="at index"):
        finite(np.array([np.inf, -np.inf]), "the place")


def test_a_sum_that_overflows_is_not_taken_for_an_infinity() -> None:
    finite(np.full((2, 2), np.finfo(np.float64).max), "the place")
    finite(np.full(4, np.finfo(np.float32).max, np.float32), "the place")


@pytest.mark.parametrize("value", [1, np.int64(1), np.uint8(1)])
def test_whole_numbers_of_any_kind_are_sizes(value: Any) -> None:
    size = positive_int(value, "size")
    assert size == 1
    assert type(size) is int


@pytest.mark.parametrize("value", [0, -1, np.int8(-3)])
def test_sizes_below_one_are_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"size: expected at least 1, got {value}"):
        positive_int(value, "size")


@pytest.mark.parametrize("value", [1.0, "1", True, np.True_, None, np.float64(2)])
def test_sizes_of_another_type_are_refused(value: Any) -> None:
    with pytest.raises(DTypeError, match="size: expected a whole number of at least 1"):
        positive_int(value, "size")


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int8(1)])
def test_real_returns_a_float(value: Any) -> None:
    assert type(real(value, "rate", above=0)) is float


@pytest.mark.parametrize(
    ("value", "bounds", "wanted"),
    [
        (0.0, {"above": 0}, "above 0"),
        (-0.1, {"least": 0}, "at least 0"),
        (1.0, {"least": 0, "below": 1}, "at least 0 and below 1"),
        (np.nan, {}, "finite number"),
        (np.inf, {"above": 0}, "finite number"),
    ],
)
def test_real_refuses_what_is_outside_of_its_bounds(value: float, bounds: dict[str, float], wanted: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        real(value, "rate", **bounds)
    assert str(caught.value).startswith("rate: expected a finite number")
    assert wanted in str(caught.value)


@pytest.mark.parametrize("value", ["0.1", True, None, 1j, [0.1]])
def test_real_refuses_other_types(value: Any) -> None:
    with pytest.raises(DTypeError, match="rate: expected a number, got"):
        real(value, "rate")


def test_a_generator_is_used_as_it_is() -> None:
    own = np.random.default_rng(3)
    assert generator(own, "anything") is own


def test_a_seed_gives_one_stream_for_each_purpose() -> None:
    first = generator(7, "model").random(4)
    assert (generator(7, "model").random(4) == first).all()
    assert not np.isin(generator(7, "trainer").random(4), first).any()
    assert not np.isin(generator(8, "model").random(4), first).any()


def test_without_a_seed_two_generators_differ() -> None:
    assert generator(None, "model").random() != generator(None, "model").random()


@pytest.mark.parametrize("seed", ["0", 1.5, True, np.random.RandomState(0)])
def test_a_seed_of_another_type_is_refused(seed: Any) -> None:
    with pytest.raises(DTypeError, match=r"expected a numpy\.random\.Generator, an integer or None"):
        generator(seed, "model")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected a seed of at least 0, got -1"):
        generator(-1, "model")


def test_the_global_random_state_is_never_touched() -> None:
    before = np.random.get_state(legacy=False)
    generator(None, "model").random()
    generator(0, "model").random()
    after = np.random.get_state(legacy=False)
    assert repr(before) == repr(after)


def test_a_restored_generator_draws_the_same_children() -> None:
    parent = np.random.default_rng(0)
    state = parent.bit_generator.state
    child = child_generator(parent).random(3)
    parent.bit_generator.state = state
    assert (child_generator(parent).random(3) == child).all()
