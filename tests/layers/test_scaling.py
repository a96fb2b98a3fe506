"""Standardize and Rescale: their numbers against NumPy and loops, and what keeps them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import SGD, Array, Dense, HalfSquaredError, Sequential, Tanh, Trainer, load, mlp, save
from minidl._core import arrays
from minidl.errors import DataError, DTypeError, ShapeError, StructureError
from minidl.layers import Rescale, Standardize, scaling
from minidl.solvers import jacobian, lbfgs
from tests.support.refusal import refused

RNG = np.random.default_rng(0)
X = RNG.normal([3.0, -40.0, 1e6], [2.0, 0.01, 500.0], (50, 3))


def test_standardized_columns_have_mean_0_and_deviation_1() -> None:
    layer = Standardize.of(X)
    assert np.allclose(layer.mean.value, X.mean(axis=0), rtol=1e-15)
    assert np.allclose(layer.deviation.value, X.std(axis=0), rtol=1e-13)
    y = layer.predict(X)
    assert np.allclose(y, (X - X.mean(axis=0)) / X.std(axis=0), rtol=0, atol=1e-10)
    assert np.allclose([y.mean(axis=0), y.std(axis=0)], [[0] * 3, [1] * 3], rtol=0, atol=1e-12)


def test_rescale_undoes_standardize() -> None:
    forth, back = Standardize.of(X), Rescale.of(X)
    assert np.allclose(back.predict(forth.predict(X)), X, rtol=1e-14)
    assert (back.inverse(X) == forth.predict(X)).all()


def test_a_weight_counts_as_so_many_rows() -> None:
    weight = RNG.integers(0, 4, 50)
    found, wanted = Standardize.of(X, weight), Standardize.of(np.repeat(X, weight, axis=0))
    assert np.allclose(found.mean.value, wanted.mean.value, rtol=1e-14)
    assert np.allclose(found.deviation.value, wanted.deviation.value, rtol=1e-12)


@pytest.mark.parametrize("rows_of_a_piece", [1, 7, 50])
@pytest.mark.parametrize("weight", [None, np.r_[np.zeros(20), np.ones(30)]])
def test_pieces_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch, rows_of_a_piece: int, weight: Any) -> None:
    rows = X if weight is None else X[20:]
    monkeypatch.setattr(scaling, "PIECE", 3 * rows_of_a_piece)
    layer = Standardize.of(X, weight)
    assert np.allclose(layer.mean.value, rows.mean(axis=0), rtol=1e-15)
    assert np.allclose(layer.deviation.value, rows.std(axis=0), rtol=1e-10)


def test_a_memory_mapped_file_is_read_by_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    seen: list[int] = []
    whole = arrays.floating

    def noted(x: Any, *others: Any) -> Array:
        seen.append(len(x))
        return whole(x, *others)

    monkeypatch.setattr("minidl.layers.scaling.floating", noted)
    monkeypatch.setattr(scaling, "PIECE", 60)
    layer = Standardize.of(mapped)
    assert seen == [20, 20, 10]
    assert np.allclose(layer.mean.value, mapped.mean(axis=0, dtype=np.float64), rtol=1e-15)


@pytest.mark.parametrize("constant", [0.0, 500.0, 0.1, 1 / 3, -1e-7, 12345.678])
@pytest.mark.parametrize("rows", [1, 3, 9_999])
def test_a_constant_column_becomes_exactly_0(constant: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "PIECE", 1_000)
    x = np.column_stack([np.full(rows, constant), np.arange(rows)])
    layer = Standardize.of(x, np.linspace(0.1, 0.7, rows))
    assert layer.deviation.value[0] == 1.0
    assert layer.mean.value[0] == constant
    assert (layer.predict(x)[:, 0] == 0.0).all()


def test_rounding_errors_of_a_constant_are_not_blown_up() -> None:
    x = np.where(np.arange(100) % 2, 0.1 + 0.2, 0.3)[:, None]
    assert x.std() > 0
    assert np.abs(Standardize.of(x).predict(x)).max() < 1e-15


def test_numbers_far_from_0_lose_no_digits() -> None:
    x = 2.0**40 + np.arange(8.0)[:, None]  # exact in float64; Σ x² − N μ² is not
    assert Standardize.of(x).deviation.value[0] == pytest.approx(np.sqrt(5.25), rel=1e-15)


@pytest.mark.parametrize("kind", [Standardize, Rescale])
@pytest.mark.parametrize(
    ("data", "weight", "error", "words"),
    [
        (np.array([[1.0], [np.nan]]), None, DataError, "expected finite numbers, got nan at index (1, 0)"),
        (np.array([[1.0], [np.inf]]), None, DataError, "expected finite numbers, got inf at index (1, 0)"),
        (np.ones((0, 3)), None, DataError, "expected at least one row, got none"),
        (np.ones((2, 3, 4)), None, ShapeError, "expected x of shape (batch, features), got (2, 3, 4)"),
        (3.0, None, ShapeError, "expected x of shape (batch, features), got ()"),
        ([["a"]], None, DTypeError, "expected real numbers, got dtype <U1"),
        (np.array([[1e200], [2e200]]), None, DataError, "expected numbers with finite squares"),
        (np.ones((2, 1)), [1.0], ShapeError, "sample_weight: expected shape (2,), one for each row, got (1,)"),
        (np.ones((2, 1)), [1.0, -1.0], DataError, "sample_weight: expected finite numbers of at least 0"),
        (np.ones((2, 1)), [0.0, 0.0], DataError, "sample_weight: expected a weight above 0, got zeros"),
    ],
)
def test_what_cannot_be_measured_is_refused(kind: Any, data: Any, weight: Any, error: Any, words: str) -> None:
    with refused(error, f"{kind.__name__}.of: {words}"):
        kind.of(data, weight)


def test_nan_in_a_later_piece_is_found_at_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "PIECE", 30)
    x = X.copy()
    x[23, 2] = np.nan
    with refused(DataError, "got nan at index (3, 2)", "in the rows from 20 to 30, counted from 20 as row 0"):
        Standardize.of(x)


def test_another_width_is_refused() -> None:
    with refused(ShapeError, "Standardize(3): expected x of shape (batch, 3), got (50, 2)"):
        Standardize.of(X).predict(X[:, :2])
    with refused(StructureError, "Dense(2 -> 1)", "expected 2 features"):
        Sequential(Standardize.of(X), Dense(2, 1))
    for y in (X[:, :2], X[:, 0], 1.0):
        with refused(ShapeError, "Rescale.inverse: expected x of shape (batch, 3), got"):
            Rescale.of(X).inverse(y)


def test_targets_keep_their_shape_and_dtype() -> None:
    rescale = Rescale.of(X[:, 0])
    for y in (X[:, 0], X[:, :1], X[:, 0].astype(np.float32)):
        scaled = rescale.inverse(y)
        assert (scaled.shape, scaled.dtype) == (y.shape, y.dtype)
    assert rescale.inverse([3, 5]).dtype == np.float64


@pytest.mark.parametrize("again", ["initialize", "copy", "load", "unfreeze"])
def test_measured_numbers_stay(again: str, tmp_path: Path) -> None:
    model = Sequential(Standardize.of(X), mlp([3, 4, 1], rng=0), Rescale.of(X[:, 0]))
    wanted = model.predict(X)
    save(model, tmp_path / "m")
    loaded = load(tmp_path / "m")
    made: dict[str, Any] = {
        "initialize": model, "copy": copy.deepcopy(model), "load": loaded, "unfreeze": model.freeze().unfreeze(),
    }
    other = made[again].initialize(rng=0)
    for place, name in ((0, "mean"), (0, "deviation"), (2, "scale"), (2, "shift")):
        assert (getattr(other[place], name).value == getattr(model[place], name).value).all()
    assert not (wanted == 0.0).all()


def test_a_layer_in_float64_serves_a_model_in_float32() -> None:
    model = Sequential(Standardize.of(X), mlp([3, 4, 1], dtype=np.float32, rng=0), Rescale.of(X[:, 0]))
    assert model.dtype == np.float32
    assert model.predict(X).dtype == np.float32
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e-3), rng=0, engine="numpy")
    trainer.fit(X, X[:, :1], epochs=2)
    assert [layer.dtype for layer in model] == [np.float64, np.float32, np.float64]
    assert [layer.dtype for layer in model.astype(np.float32)] == [np.float32] * 3


def test_whole_numbers_are_scaled_in_float64() -> None:
    layer = Standardize.of([[0], [4]])
    assert layer.predict(np.array([[1]])).tolist() == [[-0.5]]


def test_the_jacobian_is_in_the_units_of_the_data() -> None:
    inner = Sequential(Dense(3, 2).initialize(1), Tanh())
    forth, back = Standardize.of(X), Rescale.of(X[:, :2])
    found = jacobian(Sequential(forth, inner, back), X[:4])
    scaled = jacobian(inner, forth.predict(X[:4]))
    wanted = scaled * back.scale.value[None, :, None] / forth.deviation.value[None, None, :]
    assert np.allclose(found, wanted, rtol=1e-12)


def test_a_line_in_bad_units_is_learned_and_deployed() -> None:
    y = 1e5 + X @ np.array([300.0, 2e4, 0.7])
    rescale = Rescale.of(y)
    model = Sequential(Standardize.of(X), Dense(3, 1)).initialize(rng=0)
    lbfgs(model, X, rescale.inverse(y), max_iterations=200)
    deployed = Sequential(model, rescale)
    assert np.allclose(deployed.predict(X)[:, 0], y, rtol=1e-6)
