"""Which rows a fraction as validation holds out."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    Huber,
    Loss,
    MeanSquaredError,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Trainer,
    mlp,
)
from minidl._training.splitting import class_shares, split_rows
from minidl._training.validation import Validation
from minidl.errors import ArgumentError, ShapeError
from tests.support.refusal import refused

SIZES = [
    [50, 50], [95, 5], [90, 10], [7, 7, 7], [1, 9, 30], [2, 2, 2, 2], [1, 1, 5], [3, 4, 5, 1], [2, 3, 11], [4], [1, 1],
]  # fmt: skip


def held_out(loss: Loss, y: Any, seed: int = 0, fraction: float = 0.1) -> list[int]:
    """Return the numbers of the rows that a Trainer holds out."""
    rows = len(y)
    x = np.arange(float(rows))[:, None]
    width = y.shape[1] if y.ndim == 2 else int(y.max()) + 1
    model = mlp([1, width], rng=0)
    if loss.from_probabilities:
        model = Sequential(*model, Softmax() if isinstance(loss, CrossEntropy) else Sigmoid())
    trainer = Trainer(model, loss, SGD(model.parameters(), 1e-9), rng=seed)
    data = Validation(model, loss, {})
    kept, *_ = data.split(x, y, None, fraction, trainer._run.generator(0))
    out = [int(row) for row in data.arrays[0][:, 0]]
    assert sorted(out) == out
    assert kept[:, 0].tolist() == [row for row in range(rows) if row not in out]
    return out


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_shares_are_the_nearest_to_proportional_ones_within_the_limits(sizes: list[int]) -> None:
    limits = [range(1, size) if size > 1 else range(1) for size in sizes]
    large = sum(size for size in sizes if size > 1)
    for count in range(1, sum(sizes)):
        shares = class_shares(sizes, count)
        allowed = [choice for choice in product(*limits) if sum(choice) == sum(shares)]
        total = min(max(count, sum(limit[0] for limit in limits)), sum(limit[-1] for limit in limits))
        assert sum(shares) == total
        assert tuple(shares) in allowed

        def distance(choice: Any, total: int = total) -> int:
            return sum((share * large - total * size) ** 2 for share, size in zip(choice, sizes, strict=True))

        assert distance(shares) == min(map(distance, allowed))


def test_many_small_classes_beside_a_large_one_are_shared_out_quickly() -> None:
    shares = class_shares([2] * 100_000 + [300_000], 350_000)
    assert shares == [1] * 100_000 + [250_000]


@pytest.mark.parametrize("sizes", SIZES[:-1], ids=str)
def test_rows_of_each_class_are_drawn_at_random(sizes: list[int]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)) * 3 - 2, sizes))
    count = max(len(labels) // 4, 1)
    seen = set()
    for seed in range(60):
        kept, out = split_rows(len(labels), count, labels, np.random.default_rng(seed))
        assert sorted([*kept, *out]) == list(range(len(labels)))
        assert np.bincount((labels[out] + 2) // 3, minlength=len(sizes)).tolist() == class_shares(sizes, count)
        seen |= set(out.tolist())
    assert seen == {row for row, label in enumerate(labels) if (labels == label).sum() > 1}


@pytest.mark.parametrize("seed", range(20))
def test_five_rows_of_a_hundred_are_on_both_sides(seed: int) -> None:
    labels = np.zeros(100, int)
    labels[np.random.default_rng(seed).choice(100, 5, replace=False)] = 1
    out = held_out(SoftmaxCrossEntropy(), labels, seed)
    assert len(out) == 10
    assert 1 <= labels[out].sum() <= 4


LABELS = np.arange(30) % 3 // 2
SOFT = np.full((30, 2), 0.5)
CLASSES: list[tuple[Loss, Any, Any]] = [
    (SoftmaxCrossEntropy(), LABELS, LABELS), (SoftmaxCrossEntropy(), np.eye(2)[LABELS], LABELS),
    (SoftmaxCrossEntropy(), SOFT, None), (CrossEntropy(), np.eye(2)[LABELS], LABELS), (CrossEntropy(), SOFT, None),
    (SigmoidCrossEntropy(), LABELS[:, None] * 1.0, LABELS), (SigmoidCrossEntropy(), LABELS[:, None] * 0.9, None),
    (SigmoidCrossEntropy(), np.eye(2)[LABELS], None), (BinaryCrossEntropy(), LABELS[:, None] * 1.0, LABELS),
    (BinaryCrossEntropy(), SOFT[:, :1], None), (BinaryCrossEntropy(), np.eye(2)[LABELS], None),
    (HalfSquaredError(), LABELS[:, None] * 1.0, None), (MeanSquaredError(), np.eye(2)[LABELS], None),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "y", "wanted"), CLASSES)
def test_a_loss_says_which_classes_its_targets_are(loss: Loss, y: Any, wanted: Any) -> None:
    found = loss.classes(y)
    assert (found is None) == (wanted is None)
    assert found is None or (found.shape == (30,) and (found == wanted).all())


@pytest.mark.parametrize(("loss", "y", "wanted"), CLASSES)
def test_the_split_of_a_trainer_follows_the_classes_of_the_loss(loss: Loss, y: Any, wanted: Any) -> None:
    counts = {LABELS[held_out(loss, y, seed)].tolist().count(1) for seed in range(20)}
    assert len(held_out(loss, y)) == 3
    assert (counts == {1}) == (wanted is not None)


@pytest.mark.parametrize("row", [[1.0, 1.0], [0.0, 0.0], [-1.0, 0.0], [0.5, 0.5], [2.0, 0.0]])
def test_targets_of_which_one_row_is_not_one_hot_are_no_classes(row: list[float]) -> None:
    for loss in (SoftmaxCrossEntropy(), CrossEntropy()):
        assert loss.classes(np.array([[1.0, 0.0], row])) is None


class Recorded(Huber):
    """Write down which targets come in training."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[float] = set()

    @override
    def forward(self, prediction: Array, target: Any, sample_weight: Any = None) -> float:
        self.seen |= set(np.ravel(target).tolist())
        return super().forward(prediction, target, sample_weight)

    @override
    def __call__(self, prediction: Array, target: Any, sample_weight: Any = None) -> float:
        return Huber().forward(prediction, target, sample_weight)


def test_every_fit_of_a_trainer_holds_out_the_same_rows() -> None:
    y = np.arange(50.0)[:, None]
    loss = Recorded()
    model = mlp([1, 1], rng=0)
    trainer = Trainer(model, loss, SGD(model.parameters(), 1e-9), rng=0)
    sets = []
    for epochs, batch_size in [(3, 4), (1, 50), (2, 7)]:
        loss.seen = set()
        trainer.fit(y, y, epochs=epochs, batch_size=batch_size, validation=0.2)
        sets.append(loss.seen)
    assert [len(one) for one in sets] == [40, 40, 40]
    assert sets[0] == sets[1] == sets[2]


def test_a_fit_without_a_shuffle_holds_out_the_last_rows() -> None:
    y, loss, model = np.arange(50.0)[:, None], Recorded(), mlp([1, 1], rng=0)
    Trainer(model, loss, SGD(model.parameters(), 1e-9), rng=0).fit(y, y, epochs=1, shuffle=False, validation=0.2)
    assert loss.seen == set(range(40))


def test_the_split_depends_on_the_seed() -> None:
    y = np.arange(50.0)[:, None]
    assert held_out(HalfSquaredError(), y, 3) == held_out(MeanSquaredError(), -2 * y, 3)
    assert held_out(HalfSquaredError(), y, 3) != held_out(HalfSquaredError(), y, 4)


def test_sample_weight_is_split_along() -> None:
    x = np.arange(40.0)[:, None]
    data = Validation(mlp([1, 1]), HalfSquaredError(), {})
    kept = data.split(x, x, x[:, 0], 0.25, np.random.default_rng(0))
    for arrays, rows in ((kept, 30), (data.arrays, 10)):
        assert len(arrays) == 3
        assert (arrays[0] == arrays[2][:, None]).all()
        assert len(arrays[0]) == rows


def test_without_a_shuffle_the_last_rows_are_held_out_whatever_the_classes() -> None:
    labels = np.repeat([0, 1], 10)
    data = Validation(mlp([1, 2]), SoftmaxCrossEntropy(), {})
    data.split(np.ones((20, 1)), labels, None, 0.25, None)
    assert data.arrays[1].tolist() == [1] * 5


@pytest.mark.parametrize(
    ("labels", "fraction"), [([0, 1, 2, 3], 0.5), ([0, 0, 1, 1], 0.1), ([0, 0, 1, 1], 0.9), ([0, 1, 1, 0], 1e-9)]
)
def test_a_side_without_rows_is_refused(labels: list[int], fraction: float) -> None:
    model = mlp([1, 4], rng=0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), rng=0)
    with refused(ArgumentError, f"fit(validation): {fraction:g} of 4 rows leaves nothing on one side"):
        trainer.fit(np.ones((4, 1)), labels, epochs=1, validation=fraction)


def test_classes_of_another_shape_are_refused() -> None:
    class Wrong(Huber):
        @override
        def classes(self, target: Any) -> Any:
            return target

    model = mlp([1, 1], rng=0)
    trainer = Trainer(model, Wrong(), SGD(model.parameters(), 0.1), rng=0)
    with refused(ShapeError, "Huber(1.0).classes: expected one label for each row, shape (9,), got (9, 1)"):
        trainer.fit(np.ones((9, 1)), np.ones((9, 1)), epochs=1, validation=0.5)
