"""Kernels: the equations of layers, losses and optimizers on arrays, and the tables of all that can be compiled."""

from __future__ import annotations

from ...layers.base import Layer
from ...layers.dense import Dense
from ...layers.dropout import Dropout
from ...layers.normalization import BatchNorm, LayerNorm, RMSNorm
from ...layers.scaling import Rescale, Standardize
from .activations import ACTIVATIONS, ELEMENTWISE
from .dense import DENSE, DENSE_NARROW, DENSE_ROW, DENSE_ROW_DESCENT
from .dense_lanes import DENSE_LANES, DENSE_ROW_LANES, DENSE_ROW_LANES_DESCENT
from .dropout import DROPOUT
from .language import Kernels
from .normalization import BATCH_NORM, LAYER_NORM, RMS_NORM
from .scaling import RESCALE, STANDARDIZE

LAYERS: dict[type[Layer], Kernels] = {
    Dense: DENSE,
    Dropout: DROPOUT,
    LayerNorm: LAYER_NORM,
    RMSNorm: RMS_NORM,
    BatchNorm: BATCH_NORM,
    Standardize: STANDARDIZE,
    Rescale: RESCALE,
    **ACTIVATIONS,
}

ONE_ROW = LAYERS | {Dense: DENSE_ROW}
"""For batches of a single row."""

NARROW = LAYERS | {Dense: DENSE_NARROW}
"""For prediction of many rows in small blocks."""

ONE_ROW_DESCENT: dict[type[Layer], Kernels] = {Dense: DENSE_ROW_DESCENT}
"""Layers with backward kernels that also update the parameters: plain SGD on single rows."""

LANES: dict[type[Layer], Kernels] = {Dense: DENSE_LANES, **ELEMENTWISE}
"""For tiny networks, on vectors of 64 bytes."""

ONE_ROW_LANES = LANES | {Dense: DENSE_ROW_LANES}
"""The same for batches of a single row."""

ONE_ROW_LANES_DESCENT: dict[type[Layer], Kernels] = {Dense: DENSE_ROW_LANES_DESCENT}
"""The same for plain SGD on single rows."""
