"""The check of data at the door of a run: once, before anything is changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import features, finite
from ..layers.layer import Layer
from ..losses import Loss, check_weights
from .batches import Rows, check_lengths


def checked(
    model: Layer, loss: Loss, x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Rows, ...]:
    """Return (x, y) or (x, y, weights), cast to the dtype of the model; what already fits is not copied.

    Raises:
        ShapeError: a width that the model does not take or give, or different numbers of rows.
        DTypeError: data that is not made of real numbers.
        DataError: no rows, NaN or infinity, labels outside of the classes.
    """
    inputs = features(x, "x", model.input_features(), model.dtype, model.takes_any_rank)
    finite(inputs, "x")
    outputs = model.output_features(int(np.prod(inputs.shape[1:])))
    targets = loss.check_data(y, outputs, inputs.dtype)
    rows = check_lengths(x=inputs, y=targets)
    if weights is None:
        return inputs, targets
    return inputs, targets, check_weights(weights, rows, inputs.dtype)
