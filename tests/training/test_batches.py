from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from minidl import batches
from minidl._data import batch_count, check_lengths
from minidl._training.batches import GATHERED, slices
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError
from tests.support.refusal import refused


def sizes(rows: int, size: int, **options: Any) -> list[int]:
    x = np.arange(float(rows))[:, None]
    return [len(batch) for batch, _ in batches(x, x, batch_size=size, rng=0, **options)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        (1, 1, [1]), (3, 1, [1, 1, 1]), (4, 2, [2, 2]), (5, 2, [2, 3]), (5, 3, [3, 2]), (7, 3, [3, 4]),
        (3, 5, [3]), (1, 5, [1]), (6, 5, [6]), (5, 5, [5]),
    ],
)
def test_the_last_batch_is_smaller_but_a_single_row_joins_the_one_before(
    rows: int, size: int, expected: list[int], shuffle: bool
) -> None:
    assert sizes(rows, size, shuffle=shuffle) == expected
    assert batch_count(rows, size) == len(expected)


def test_without_shuffling_the_rows_come_in_order() -> None:
    x, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    given = list(batches(x, y, batch_size=2, shuffle=False))
    assert np.concatenate([rows for rows, _ in given]).tolist() == x.tolist()
    assert np.concatenate([labels for _, labels in given]).tolist() == y.tolist()


@pytest.mark.parametrize("rows", [2, 7, 50, 3000])
@pytest.mark.parametrize("size", [1, 4, 33])
def test_shuffled_every_row_comes_once_with_its_own_target(rows: int, size: int) -> None:
    x = np.random.default_rng(1).normal(size=(rows, 9))
    y = np.arange(rows)
    given = list(batches(x, y, batch_size=size, rng=0))
    order = np.concatenate([labels for _, labels in given])
    assert sorted(order.tolist()) == list(range(rows))
    assert (np.concatenate([part for part, _ in given]) == x[order]).all()
    assert rows < 50 or order.tolist() != list(range(rows))


def test_one_seed_gives_one_order_and_a_generator_goes_on() -> None:
    x = np.arange(30.0)[:, None]

    def order(rng: Any) -> list[float]:
        return [row for part, _ in batches(x, x, batch_size=4, rng=rng) for row in part[:, 0].tolist()]

    assert order(3) == order(3)
    assert order(3) != order(4)
    rng = np.random.default_rng(3)
    assert order(rng) != order(rng)


@pytest.mark.parametrize("width", [1, GATHERED // 64, GATHERED // 8])
@pytest.mark.parametrize("shuffled", [True, False])
def test_a_pass_may_start_at_any_batch_and_gives_the_same_batches(width: int, shuffled: bool) -> None:
    x = np.random.default_rng(0).normal(size=(11, width))
    order = np.random.default_rng(1).permutation(11) if shuffled else None
    whole = [batch[0] for batch in slices((x,), order, 2)]
    assert len(whole) == 5
    for start in range(5):
        rest = [batch[0] for batch in slices((x,), order, 2, start)]
        assert [part.tobytes() for part in rest] == [part.tobytes() for part in whole[start:]]


def test_data_of_any_kind_passes_as_it_is() -> None:
    words, _ = next(batches(np.array([["a"], ["b"]]), [0, 1], batch_size=2, shuffle=False))
    assert words.tolist() == [["a"], ["b"]]


def test_the_data_is_not_written_to() -> None:
    x = np.arange(6.0)[:, None]
    x.flags.writeable = False
    list(batches(x, x, batch_size=2, rng=0))
    assert x.ravel().tolist() == list(range(6))


@pytest.mark.parametrize(
    ("x", "y", "size", "error", "words"),
    [
        (np.ones((3, 1)), np.ones(2), 1, ShapeError, "same number of rows in x and y, got x 3, y 2"),
        (np.ones((0, 1)), np.ones(0), 1, DataError, "x and y: expected at least one row, got none"),
        (3.0, 4.0, 1, ShapeError, "x: expected an array with one row for each sample"),
        (np.ones((3, 1)), np.ones(3), 0, ArgumentError, "batches(batch_size): expected at least 1, got 0"),
        (np.ones((3, 1)), np.ones(3), -2, ArgumentError, "batches(batch_size): expected at least 1, got -2"),
        (np.ones((3, 1)), np.ones(3), 1.5, DTypeError, "batches(batch_size): expected a whole number"),
        (sparse.eye_array(3), np.ones(3), 1, DTypeError, "batches(x): expected a dense array"),
        (np.ones((3, 1)), np.ma.masked_array([1, 2, 3], [False, False, True]), 1, DataError, "batches(y)"),
    ],
)
def test_bad_data_is_refused_at_the_call_and_not_at_the_first_batch(
    x: Any, y: Any, size: Any, error: Any, words: str
) -> None:
    with refused(error, words):
        batches(x, y, batch_size=size)


def test_lengths_are_compared() -> None:
    assert check_lengths(x=np.ones((3, 2)), weights=np.ones(3)) == 3
    with refused(ShapeError, "x and weights, got x 3, weights 4"):
        check_lengths(x=np.ones((3, 2)), weights=np.ones(4))
