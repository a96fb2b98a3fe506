"""Weights of the rows by their class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import check_weights, real
from .._data import described
from ..errors import ArgumentError, DTypeError
from ..losses import Loss
from .sources import Batch

ClassWeight: TypeAlias = Mapping[int, float] | Literal["balanced"]
"""The argument of `fit`."""

PlannedWeight: TypeAlias = str | dict[str, float]
"""The same in a plan, which is saved as JSON: ``"balanced"``, or a dict with labels as text."""

WHERE = "fit(class_weight)"


def planned_weight(given: ClassWeight) -> PlannedWeight:
    """Check the argument of `fit`, and return it in the form of a plan.

    Raises:
        ArgumentError, DTypeError: a word other than "balanced", no mapping from labels to weights, a negative weight.
    """
    if isinstance(given, str) and given == "balanced":
        return given
    if not isinstance(given, Mapping) or not given:
        kind = ArgumentError if isinstance(given, (str, Mapping)) else DTypeError
        raise kind(f'{WHERE}: expected "balanced" or a mapping such as {{0: 1.0, 1: 5.0}}, got {described(given)}')
    for label in given:
        if not isinstance(label, (int, np.integer)):
            raise DTypeError(f"{WHERE}: expected the number of a class as each key, got {described(label)}")
    return {str(int(label)): real(weight, f"{WHERE}: class {label}", least=0) for label, weight in given.items()}


def class_weighted(loss: Loss, arrays: Batch, weight: PlannedWeight, dtype: npt.DTypeLike) -> Batch:
    """Return (x, y, sample_weight), in which the weight of a row is multiplied by that of its class.

    The balanced weight of class c is n / (k n꜀), with n rows, k classes and n꜀ rows of class c; rows are counted by
    their sample_weight.

    Raises:
        ArgumentError: the targets are not classes, or there is a weight for a class without rows.
        DataError: the weights of all rows are 0.
    """
    classes = loss.classes(arrays[1])
    if classes is None:
        raise ArgumentError(
            f"{WHERE}: expected targets that are classes, and a loss that knows them, such as SoftmaxCrossEntropy with "
            f"labels or one-hot rows, or SigmoidCrossEntropy with one column of 0 and 1, got {loss!r} with y of shape "
            f"{arrays[1].shape}; use sample_weight"
        )
    labels = classes.astype(np.intp)
    rows = arrays[2] if len(arrays) == 3 else np.ones(len(labels))
    counts = np.bincount(labels)
    of_class = np.ones(len(counts))
    if isinstance(weight, dict):
        present = np.flatnonzero(counts).tolist()
        for label, number in weight.items():
            if int(label) not in present:
                raise ArgumentError(f"{WHERE}: expected classes of the training data, {present}, got {label}")
            of_class[int(label)] = number
    else:
        sums = np.bincount(labels, rows)
        counted = sums > 0
        of_class[counted] = sums.sum() / (np.count_nonzero(counted) * sums[counted])
    weights = check_weights(rows * of_class[labels], len(labels), dtype, f"{WHERE}: weights of the rows", zeros=False)
    return (*arrays[:2], weights)
