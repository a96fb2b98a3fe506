"""Batches that come from elsewhere."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from minidl import SGD, HalfSquaredError, Trainer, mlp
from minidl._training import sources
from minidl.errors import DTypeError
from tests.support.refusal import refused

ROW = np.ones((1, 2))
GOOD = ROW, ROW[:, :1]

WRONG: list[tuple[Any, str]] = [
    ((ROW,), "got a tuple of length 1"), ((*GOOD, [1.0], [1.0]), "got a tuple of length 4"), (None, "got None"),
    (np.ones((2, 3)), "got ndarray of shape (2, 3)"), (np.ones((3, 3)), "got ndarray"), ("xy", "got 'xy'"),
]  # fmt: skip


@pytest.mark.parametrize(("batch", "found"), WRONG, ids=[found for _, found in WRONG])
@pytest.mark.parametrize("place", [0, 2])
def test_a_batch_that_is_no_pair_is_refused_in_one_line(batch: Any, found: str, place: int) -> None:
    model = mlp([2, 1], rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    stream: list[Any] = [GOOD, GOOD, GOOD]
    stream[place] = batch
    message = f"fit_batches: expected batches (x, y) or (x, y, sample_weight), {found}"
    with refused(DTypeError, message, f"in batch {place}"):
        trainer.fit_batches(stream, epochs=1)
    with pytest.raises(DTypeError) as caught:
        trainer.fit_batches(stream, epochs=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("limit", "step"), [(320, 1), (319, 1), (160, 2), (107, 2), (106, 3), (10, 32)])
def test_a_fingerprint_covers_all_rows_of_small_data_and_even_rows_of_large(
    monkeypatch: pytest.MonkeyPatch, limit: int, step: int
) -> None:
    x, y = np.arange(40.0).reshape(8, 5), np.arange(8.0)
    monkeypatch.setattr(sources, "HASHED", limit)
    y_step = max(64 // limit, 1)
    assert sources._hash((x, y)) == sha256(x[::step].tobytes() + y[::y_step].tobytes()).hexdigest()


def test_a_fingerprint_covers_every_row_of_16_megabytes() -> None:
    x = np.arange(2e6).reshape(2000, 1000)
    assert sources._hash((x,)) == sha256(x.tobytes()).hexdigest()
