"""Batches that come from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import SGD, HalfSquaredError, Trainer, mlp
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
