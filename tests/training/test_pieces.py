"""What large data makes run in pieces: with small pieces the result is still that of the formula."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Dense, Dropout, Layer, MeanSquaredError, Sequential, Tanh, Trainer
from minidl._files import atomic, read, write
from minidl._training import sources, validation
from minidl._training.sources import ArraySource, StreamSource
from minidl.callbacks import Callback

RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(23, 2)), RNG.normal(size=(23, 1)), RNG.uniform(0.5, 2.0, 23)


def network() -> Sequential:
    return Sequential(Dense(2, 4), Tanh(), Dropout(0.3), Dense(4, 1)).initialize(rng=0)


def trainer(model: Layer) -> Trainer:
    return Trainer(model, MeanSquaredError(), SGD(model.parameters(), 1e-9), rng=0)


def mean_error(prediction: Any, target: Any) -> float:
    return float(np.mean(np.abs(prediction - target)))


def test_figures_are_those_of_all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    p = model.predict(X)
    monkeypatch.setattr(validation, "ROWS_AT_ONCE", 7)
    found = trainer(model).evaluate(X, Y, sample_weight=WEIGHT, metrics=[mean_error])
    assert found["loss"] == pytest.approx(float(WEIGHT @ np.square(p - Y)[:, 0]) / 23, rel=1e-12)
    assert found["mean_error"] == pytest.approx(float(np.abs(p - Y).sum()) / 23, rel=1e-12)
    after_an_epoch = trainer(model).fit(X, Y, epochs=1, metrics=[mean_error]).metrics["mean_error"]
    assert after_an_epoch == [pytest.approx(found["mean_error"], rel=1e-6)]


def test_metrics_are_tried_on_as_many_predictions_as_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "ROWS_TO_TRY", 5)
    given: list[Any] = []

    def noted(prediction: Any, target: Any) -> float:
        given.append(prediction)
        return 0.0

    model = network()
    p = model.predict(X)
    trainer(model).fit(X, Y, epochs=1, metrics=[noted])
    assert np.array_equal(given[0], np.concatenate([p[:5]] * 5)[:23])
    np.testing.assert_allclose(given[1], p, atol=1e-6)


def test_a_fingerprint_of_large_data_covers_rows_in_even_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((100, 2))
    monkeypatch.setattr(sources, "HASHED", 16 * 25)  # the bytes of 25 rows
    before, seen = ArraySource((rows,), 10, False).fingerprint().sha256, []
    for row in range(100):
        rows[row, 1] = 1.0
        if ArraySource((rows,), 10, False).fingerprint().sha256 != before:
            seen.append(row)
        rows[row, 1] = 0.0
    assert seen == list(range(0, 100, 4))
    monkeypatch.setattr(sources, "HASHED", 16 * 100)
    rows[1, 0] = 1.0
    assert ArraySource((rows,), 10, False).fingerprint().sha256 != before


def test_a_stream_keeps_as_many_batches_as_fit_into_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(X[k : k + 5], Y[k : k + 5]) for k in (0, 5, 10)]  # 5 · 3 numbers of 8 bytes
    monkeypatch.setattr(sources, "REPLAYED", 5 * 3 * 8 * 6 + 50)
    source = StreamSource(batches, network(), MeanSquaredError(), 0.1)
    assert source.mark() == 6
    monkeypatch.setattr(sources, "REPLAYED", 10)
    assert source.mark() == 1
    assert ArraySource((X, Y), 5, False).mark() == sys.maxsize


class Places(Callback):
    """Note where the run stands each time that it is asked."""

    def __init__(self) -> None:
        self.places: list[int] = []

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        self.places.append(trainer.position.batch)


def test_callbacks_come_every_64_batches() -> None:
    x, places = np.linspace(-1, 1, 150)[:, None], Places()
    trainer(Dense(1, 1).initialize(0)).fit(x, x, epochs=1, batch_size=1, callbacks=[places])
    assert places.places == [64, 128]


def test_a_file_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "CHUNK", 7)
    write(tmp_path / "file", {"x": X, "y": Y}, {})
    tensors = read(tmp_path / "file").tensors
    assert tensors["x"].tobytes() == X.tobytes()
    assert tensors["y"].tobytes() == Y.tobytes()
