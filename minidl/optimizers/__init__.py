"""Optimizers: one vector equation each. With them, what changes a gradient: clipping and penalties."""

from .._core.vector import ParameterVector
from .adam import Adam, AdamW, NAdam
from .adaptive import Adagrad, RMSProp
from .clipping import Clip, ClipGlobalNorm, ClipNorm, ClipValue
from .optimizer import Optimizer
from .penalties import L1, L2, Penalty
from .sgd import SGD

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Clip",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "NAdam",
    "Optimizer",
    "ParameterVector",
    "Penalty",
    "RMSProp",
]
