"""Figures of the rows of a run: their order, their weights, and the best prediction that is the same for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._training.run import Run
from .._training.sources import ArraySource
from ..losses import Loss


def grouped(run: Run) -> float:
    """Return what share of the variance of the targets lies between the batches of a run that does not shuffle.

    It takes up to 200 batches, with 16 rows at least.
    """
    if not isinstance(run.source, ArraySource) or run.source.shuffle:
        return 0.0
    size, y = max(run.source.batch_rows, 16), run.source.arrays[1]
    count = min(len(y) // size, 200)
    if count < 3:
        return 0.0
    y = np.concatenate([y[start : start + size] for start in np.linspace(0, len(y) - size, count).astype(int)])
    labels = run.loss.classes(y)
    columns = y.reshape(len(y), -1) if labels is None else labels[:, None] == np.unique(labels)
    total, between = columns.var(axis=0), columns.reshape(count, size, -1).mean(axis=1).var(axis=0)
    return float(np.mean(between[total > 0] / total[total > 0])) if total.any() else 0.0


def rare_weight(run: Run) -> float:
    """Return the smallest mean weight of a class with fewer rows than an average one, over the mean of all; or 1."""
    arrays = run.source.arrays if isinstance(run.source, ArraySource) else ()
    labels = run.loss.classes(np.asarray(arrays[1])) if len(arrays) == 3 else None
    if labels is None:
        return 1.0
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.bincount(codes.ravel(), arrays[2]) / counts / arrays[2].mean()
    return float(np.min(means[counts < counts.mean()], initial=1.0))


def constant_loss(loss: Loss, prediction: Array, y: npt.NDArray[Any]) -> float:
    """Return the loss of the best output that is the same for all rows; the loss is used, so give a copy.

    Probabilities are the means of the targets. Other outputs are found in steps along the sign of the gradient, which
    grow while it stays and shrink when it turns (Riedmiller and Braun 1993).
    """
    if loss.from_probabilities:
        return loss(np.broadcast_to(y.mean(axis=0), prediction.shape).astype(prediction.dtype), y)
    best, output = np.inf, prediction.mean(axis=0)
    step, last = np.full_like(output, 0.1 + 0.1 * np.abs(output).max()), np.zeros_like(output)
    for _ in range(100):
        best = min(best, loss.forward(np.tile(output, (len(y), 1)), y))
        slope = loss.backward().sum(axis=0)
        step *= np.where(slope * last < 0, 0.5, 1.3)
        output, last = output - np.sign(slope) * step, slope
    return best
