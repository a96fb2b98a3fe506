"""Prediction in pieces: `layer.predict(x, batch_size=…)`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import Array, BatchNorm, Dense, Dropout, Embedding, Flatten, Layer, Sequential, Tanh, mlp
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError
from tests.support.conformance_table import layers
from tests.support.refusal import refused

X = np.random.default_rng(0).normal(size=(23, 3))
LAYERS = layers()


class Watched(Layer):
    """Note the rows of each piece."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    @override
    def forward(self, x: Array) -> Array:
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        return grad

    def compute(self, x: Array) -> Array:
        self.seen.append((len(x), x.dtype.name))
        return x.copy()


@pytest.mark.parametrize("name", LAYERS)
def test_pieces_of_every_built_in_layer_make_the_whole(name: str) -> None:
    layer, x = copy.deepcopy(LAYERS[name])
    wanted = layer.predict(x)
    for batch_size in (1, 2, len(x), len(x) + 1):
        found = layer.predict(x, batch_size=batch_size)
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        assert np.allclose(found, wanted, rtol=1e-13, atol=1e-14)
        assert (layer.predict(x, batch_size=batch_size) == found).all()


def test_layers_without_matrix_products_give_the_same_bits() -> None:
    model = Sequential(BatchNorm(3), Tanh(), Dropout(0.5))
    model.forward(X)
    for batch_size in (1, 4, 22):
        assert (model.predict(X, batch_size=batch_size) == model.predict(X)).all()


def test_a_mapped_file_goes_through_piece_by_piece_and_is_cast_so(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    watched = Watched()
    model = Sequential(watched, Dense(3, 2).initialize(0))
    watched.seen.clear()
    found = model.predict(mapped, batch_size=10)
    assert watched.seen == [(10, "float64"), (10, "float64"), (3, "float64")]
    assert np.allclose(found, model.predict(mapped), rtol=1e-14)


@pytest.mark.parametrize("x", [X.tolist(), X[:0], X[:1], np.asfortranarray(X), X[::-1]])
def test_any_rows_may_come_in_pieces(x: Any) -> None:
    model = mlp([3, 5, 2], rng=0)
    assert np.allclose(model.predict(x, batch_size=4), model.predict(x), rtol=1e-13)


def test_images_may_come_in_pieces() -> None:
    model, x = Sequential(Flatten(), Dense(6, 2).initialize(0)), np.arange(42.0).reshape(7, 2, 3)
    assert np.allclose(model.predict(x, batch_size=3), model.predict(x), rtol=1e-13)


@pytest.mark.parametrize(
    ("x", "batch_size", "error", "words"),
    [
        (X, 0, ArgumentError, "Sequential.predict(batch_size): expected at least 1, got 0"),
        (X, 2.0, DTypeError, "Sequential.predict(batch_size): expected a whole number of at least 1, got 2.0"),
        (X[:, :2], 4, ShapeError, "Sequential: expected x of shape (batch, 3), got (4, 2)"),
        (3.0, 4, ShapeError, "Sequential: expected x of shape (batch, 3), got ()"),
        ([[1.0], [2.0, 3.0]], 1, ShapeError, "Sequential.predict: x: expected rows of equal length"),
    ],
)
def test_what_cannot_be_predicted_is_refused(x: Any, batch_size: Any, error: Any, words: str) -> None:
    with refused(error, words):
        mlp([3, 2], rng=0).predict(x, batch_size=batch_size)


def test_an_error_names_the_rows_of_its_piece() -> None:
    codes = np.array([[0.0], [1.0], [2.0], [1.0], [3.0]])
    with refused(DataError, "got 3.0 at row 0", "in the rows from 4 on, counted from 4 as row 0"):
        Embedding(3, 2).predict(codes, batch_size=2)
