"""Watch: the order and weights of rows, and the best constant output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import (
    SGD,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    HalfSquaredError,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
)
from minidl.inspection import Watch
from minidl.inspection._rows import constant_loss
from minidl.losses import GaussianNLL, Huber, PoissonLoss

RNG = np.random.default_rng(2)
X = RNG.normal(size=(320, 3))
Y = RNG.normal(size=(320, 1))
LABELS = np.repeat(np.arange(4), 80)
SHARES = np.array([0.1, 0.2, 0.7])


def watched(loss: Loss, y: Any, *, width: int = 1, **fit: Any) -> Watch:
    model, watch = Sequential(Dense(3, width)).initialize(rng=0), Watch(X, y, rows=320)
    Trainer(model, loss, SGD(model.parameters(), 1e-3), rng=0).fit(X, y, epochs=1, callbacks=[watch], **fit)
    return watch


THREE = np.repeat([0, 1, 2], [32, 64, 224])
COUNTS = RNG.poisson(0.4, size=(320, 1)).astype(float)


@pytest.mark.parametrize(
    ("loss", "width", "y", "best"),
    [
        (MeanSquaredError(), 1, 1e4 + Y, np.var(Y)),
        (MeanAbsoluteError(), 1, Y, np.mean(np.abs(Y - np.median(Y)))),
        (SoftmaxCrossEntropy(), 3, THREE, -np.sum(SHARES * np.log(SHARES))),
        (CrossEntropy(), 3, np.eye(3)[THREE], -np.sum(SHARES * np.log(SHARES))),
        (SigmoidCrossEntropy(), 1, (THREE == 0)[:, None] * 1.0, -0.1 * np.log(0.1) - 0.9 * np.log(0.9)),
        (BinaryCrossEntropy(), 1, (THREE == 0)[:, None] * 1.0, -0.1 * np.log(0.1) - 0.9 * np.log(0.9)),
        (GaussianNLL(), 2, Y, GaussianNLL()(np.tile([Y.mean(), np.log(Y.var())], (320, 1)), Y)),
        (PoissonLoss(), 1, COUNTS, PoissonLoss()(np.full((320, 1), np.log(COUNTS.mean())), COUNTS)),
    ],
)
def test_the_best_constant_has_the_loss_of_the_closed_form(loss: Loss, width: int, y: Any, best: float) -> None:
    prediction = np.full((320, width), 0.5)
    assert constant_loss(loss, prediction, y) == pytest.approx(float(best), rel=1e-3)


def test_rows_in_order_differ_between_batches() -> None:
    loss = SoftmaxCrossEntropy()
    assert watched(loss, LABELS, width=4, shuffle=False, batch_size=40).looks[0].grouped == pytest.approx(1.0)
    assert watched(loss, LABELS, width=4, shuffle=True, batch_size=40).looks[0].grouped == 0.0
    assert watched(loss, LABELS, width=4, shuffle=False, batch_size=320).looks[0].grouped == 0.0
    means = Y.reshape(10, 32).mean(axis=1)
    grouped = watched(MeanSquaredError(), Y, shuffle=False, batch_size=32).looks[0].grouped
    assert grouped == pytest.approx(float(means.var() / Y.var()))


def test_the_weight_of_a_rare_class_is_that_over_the_mean() -> None:
    y = (np.arange(320) < 32)[:, None] * 1.0
    watch = watched(SigmoidCrossEntropy(), y, class_weight={0: 50, 1: 1})
    assert watch.looks[0].rare_weight == pytest.approx(1 / (0.9 * 50 + 0.1))
    assert watched(SigmoidCrossEntropy(), y).looks[0].rare_weight == 1.0
    assert watched(SigmoidCrossEntropy(), y, class_weight={0: 1, 1: 50}).looks[0].rare_weight == 1.0


def test_an_outlier_in_targets_counts_by_the_gradient_of_the_loss() -> None:
    y = Y.copy()
    y[5] = 500.0
    low, middle, high = np.quantile(y, [0.25, 0.5, 0.75])
    targets = [watched(loss, y).looks[0].targets for loss in (HalfSquaredError(), Huber(1.0))]
    assert targets[0] is not None
    assert targets[1] is not None
    assert targets[0].far == pytest.approx([(500 - middle) / (high - low)], rel=1e-6)
    assert targets[1].far[0] < 2.0


def test_a_run_with_different_weights_is_not_compared_with_a_constant() -> None:
    for weights, known in ((np.full(320, 2.0), True), (np.arange(1.0, 321.0), False)):
        watch = watched(MeanSquaredError(), Y, sample_weight=weights)
        assert watch._end is not None
        assert np.isfinite(watch._end.constant) == known
