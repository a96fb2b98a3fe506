"""Memory-mapped data beyond a size is read by pieces: each row once in an epoch, and the results of data in memory."""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from minidl import SGD, Dense, Dropout, HalfSquaredError, Sequential, SoftmaxCrossEntropy, Tanh, Trainer, metrics
from minidl import _data as data
from minidl._training import sources
from minidl._training.compiled_engine import EngineName
from minidl._training.sources import ArraySource
from minidl.errors import DataError, ShapeError
from tests.campaigns import big_files
from tests.support.refusal import refused

ROWS, ENGINES = 203, ["numpy", "compiled"]
RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(ROWS, 3)), RNG.normal(size=(ROWS, 1)), RNG.uniform(0.5, 2.0, ROWS)
Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pieces of some 40 rows from blocks of some 10 rows."""
    monkeypatch.setattr(data, "LARGE", 100)
    monkeypatch.setattr(sources, "PIECE", 40 * 32)
    monkeypatch.setattr(data, "PIECE", 40 * 32)
    monkeypatch.setattr(sources, "BLOCK", 10 * 32)


def mapped(folder: Path, array: Array) -> Array:
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, array)
    found: Array = np.load(path, mmap_mode="r")
    return found


def network(outputs: int = 1, dtype: npt.DTypeLike = np.float64) -> Sequential:
    return Sequential(Dense(3, 4), Tanh(), Dropout(0.2), Dense(4, outputs)).initialize(rng=0).astype(dtype)


def make(engine: EngineName = "numpy", dtype: npt.DTypeLike = np.float64) -> Trainer:
    model = network(dtype=dtype)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=1, engine=engine)


def bits(trainer: Trainer) -> bytes:
    return b"".join(parameter.value.tobytes() for parameter in trainer.model.parameters())


def rows_of_epoch(source: ArraySource, seed: int = 0, start: int = 0) -> list[Array]:
    source.begin_epoch(np.random.default_rng(seed))
    return [batch[0][:, 0] for batch in source.batches(start)]


@pytest.mark.parametrize("size", [1, 7, 8, 50, 101, 202, 203, 500])
@pytest.mark.parametrize("rows", [5, 40, 41, 81, 200, 201, 203])
def test_an_epoch_has_each_row_once_in_the_batches_of_small_data(tmp_path: Path, rows: int, size: int) -> None:
    x = np.repeat(np.arange(float(rows))[:, None], 3, axis=1)  # with y 32 bytes a row
    source = ArraySource((mapped(tmp_path, x), x[:, :1]), size, True)
    assert source.is_large
    source.begin_epoch(np.random.default_rng(0))
    batches = list(source.batches(0))
    assert all(np.array_equal(x[:, :1], y) for x, y in batches)
    small = ArraySource((x, x), size, False)
    assert [len(batch[0]) for batch in batches] == [len(batch[0]) for batch in small.batches(0)]
    order = np.concatenate([x[:, 0] for x, _ in batches])
    assert np.array_equal(np.sort(order), np.arange(rows))
    for start in range(source.count + 1):
        rest = rows_of_epoch(source, start=start)
        assert np.array_equal(np.concatenate([*rest, []]), order[source.first_row(start) :])


def test_the_rows_of_a_piece_are_a_few_blocks_in_random_order(tmp_path: Path) -> None:
    x = np.repeat(np.arange(1000.0)[:, None], 4, axis=1)  # 32 bytes a row
    source = ArraySource((mapped(tmp_path, x),), 8, True)
    order = np.concatenate(rows_of_epoch(source)).astype(int)
    assert np.array_equal(np.sort(order), np.arange(1000))
    blocks = -(-1000 // source._block)
    assert source._block in (9, 10)
    assert source.piece == 4
    for begin in range(0, 1000, 32):
        piece = order[begin : begin + 32]
        assert len(set(piece // source._block)) <= 32 // source._block + 2
        assert not np.array_equal(piece, np.sort(piece))
    shuffles = [source.read(number)[1] for number in range(31)]  # of the full pieces
    assert len({tuple(shuffle.tolist()) for shuffle in shuffles if shuffle is not None}) == 31
    first = [order[begin] // source._block for begin in range(0, 1000, 32)]
    assert len(set(first)) > 20
    assert first != sorted(first)
    assert max(first) < blocks
    other = np.concatenate(rows_of_epoch(source, seed=1))
    assert not np.array_equal(order, other)
    assert np.array_equal(order, np.concatenate(rows_of_epoch(source)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["float64", "float32", "int16", "big-endian", "columns", "transposed", "backwards"])
def test_training_is_that_on_the_same_rows_in_memory(tmp_path: Path, engine: EngineName, kind: str) -> None:
    values = np.round(100 * X) if kind == "int16" else X.astype(np.float32)
    kinds: dict[str, Any] = {"float64": float, "float32": np.float32, "int16": np.int16, "big-endian": ">f8"}
    x = mapped(tmp_path, values.astype(kinds.get(kind, float)))
    if kind == "columns":
        x = mapped(tmp_path, np.hstack([values, values]))[:, 2:5]
        values = np.array(x)
    elif kind == "transposed":
        x = mapped(tmp_path, np.ascontiguousarray(values.T)).T
    elif kind == "backwards":
        x, values = x[::-1], values[::-1]
    assert data.is_large((x,))
    plan: dict[str, Any] = {"epochs": 2, "batch_size": 8, "metrics": [metrics.r2]}
    for dtype in (np.float64, np.float32):
        for target in (Y, mapped(tmp_path, Y[:, 0].astype(np.float32))):
            expected, found = make(engine, dtype), make(engine, dtype)
            expected.fit(np.array(values, dtype), np.array(target), shuffle=False, sample_weight=WEIGHT, **plan)
            found.fit(x, target, shuffle=False, sample_weight=WEIGHT, **plan)
            assert bits(found) == bits(expected)
            assert found.history.loss == expected.history.loss
            assert found.history.metrics["r2"] == pytest.approx(expected.history.metrics["r2"], rel=1e-5)
    source = ArraySource((np.asarray(x), Y), 8, True, partial(data.checked, network(), HalfSquaredError()))
    source.begin_epoch(make()._run.generator(1))
    batches = [(np.array(a), np.array(b)) for a, b in source.batches(0)]
    expected, found = make(engine), make(engine)
    expected.fit(np.concatenate([a for a, _ in batches]), np.concatenate([b for _, b in batches]), epochs=1,
                 batch_size=8, shuffle=False)
    found.fit(x, Y, epochs=1, batch_size=8)
    assert bits(found) == bits(expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_labels_of_a_file_are_read_by_pieces(tmp_path: Path, engine: EngineName) -> None:
    labels = RNG.integers(0, 3, ROWS).astype(np.int32)
    found = []
    for x, y in ((X, labels), (mapped(tmp_path, X), mapped(tmp_path, labels))):
        model = network(3)
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), rng=0, engine=engine)
        trainer.fit(x, y, epochs=2, batch_size=8, shuffle=False, validation=0.2, metrics=[metrics.accuracy])
        result = trainer.evaluate(x, y, metrics=[metrics.accuracy])
        found.append((bits(trainer), trainer.history.metrics, trainer.history.validation_loss, result["accuracy"]))
    assert found[0] == found[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_epoch_goes_on_with_the_same_bits(tmp_path: Path, engine: EngineName) -> None:
    from minidl.callbacks import Callback

    class Stop(Callback):
        every_batches = 3

        def on_batches_end(self, trainer: Trainer) -> None:
            if trainer.position.batch == 9:
                trainer.stop("here")

    x, path = mapped(tmp_path, X), tmp_path / "run.safetensors"
    whole, first, second = make(engine), make(engine), make(engine)
    whole.fit(x, Y, epochs=2, batch_size=8)
    first.fit(x, Y, epochs=2, batch_size=8, callbacks=[Stop()])
    assert first.position.batch == 9
    first.save(path)
    second.restore(path)
    with pytest.raises(DataError, match="resume: expected the data of the fit"):
        second.resume(X, Y, callbacks=[Stop()])  # Data in memory would have another order.
    first.resume(x, Y, callbacks=[])
    second.resume(x, Y, callbacks=[Stop()])
    assert second.position.batch == 9
    second.resume(x, Y, callbacks=[])
    assert bits(first) == bits(second) == bits(whole)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_fraction_of_a_file_is_held_out_as_of_data_in_memory(tmp_path: Path, shuffle: bool) -> None:
    x, found = mapped(tmp_path, X.astype(np.float32)), []
    for rows in (X.astype(np.float32), x):
        trainer = make()
        trainer.fit(rows, Y[:, 0], epochs=1, batch_size=8, shuffle=shuffle, validation=0.3, sample_weight=WEIGHT)
        found.append((bits(trainer), trainer.history.validation_loss))
    assert found[0] == found[1]


def test_bad_data_in_a_later_piece_is_refused_with_its_place(tmp_path: Path) -> None:
    x = X.copy()
    x[150, 2] = np.nan
    with refused(DataError, "x: expected finite numbers, got nan at index", "in the rows from "):
        make().fit(mapped(tmp_path, x), Y, epochs=1)
    with refused(ShapeError, "expected x of shape (batch, 3)"):
        make().fit(mapped(tmp_path, X[:, :2]), Y, epochs=1)
    with refused(ShapeError, "expected the same number of rows in x and y, got x 203, y 7"):
        make().fit(mapped(tmp_path, X), Y[:7], epochs=1)
    with refused(DataError, "validation: sample_weight: expected a weight above 0"):
        make().fit(X, Y, epochs=1, validation=(mapped(tmp_path, X), Y, np.zeros(ROWS)))


def test_arrays_in_memory_and_small_files_are_not_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mapped(tmp_path, X)
    assert data.is_large((file, Y))
    assert data.is_large((np.asarray(file[::2])[:, 1:],))
    assert not data.is_large((X, Y))
    assert not data.is_large((file * 2, file[::2].copy(), None, [1.0]))
    monkeypatch.setattr(data, "LARGE", X.nbytes)
    assert not data.is_large((file, Y))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_fit_never_has_the_file_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineName, shuffle: bool
) -> None:
    for module in (data, sources):
        monkeypatch.setattr(module, "PIECE", 1 << 17)
    monkeypatch.setattr(sources, "BLOCK", 1 << 14)
    x = mapped(tmp_path, np.ones((200_000, 3)))  # 4.8 MB
    y = mapped(tmp_path, np.ones((200_000, 1)))
    trainer = make(engine, np.float32)
    trainer.fit(x, y, epochs=1, batch_size=256, shuffle=shuffle, validation=(x, y))  # compiles
    tracemalloc.start()
    try:
        trainer.fit(x, y, epochs=1, batch_size=256, shuffle=shuffle, validation=(x, y))
        trainer._run.source = source = ArraySource((x, y), 256, shuffle)
        source.fingerprint()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        trainer._run.source = None
    assert peak < 2e6


@pytest.mark.skipif(not hasattr(__import__("os"), "posix_fadvise"), reason="drops a file from the cache of Linux")
def test_the_campaign_prints_a_line_for_each_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert big_files.main(["--gigabytes", "0.005", "--engines", "numpy", "--goal", "1"]) == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["| numpy", "| numpy"]
