"""minidl: the smallest neural-network framework that people use for real work."""

from typing import TYPE_CHECKING, Any

from . import schedules
from .arrays import Array
from .clipping import Clip, ClipGlobalNorm, ClipNorm, ClipValue
from .errors import (
    ArgumentError,
    CallOrderError,
    DataError,
    DivergenceError,
    DTypeError,
    FileFormatError,
    GradientError,
    LoweringError,
    MinidlError,
    ShapeError,
    StructureError,
)
from .initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from .layers.activation import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .layers.dense import Dense
from .layers.dropout import Dropout
from .layers.graph import Graph
from .layers.layer import Layer
from .layers.merge import Add, Concat, Mean, Merge, Multiply
from .layers.normalization import BatchNorm, LayerNorm, RMSNorm
from .layers.parallel import Parallel
from .layers.prelu import PReLU
from .layers.residual import Residual
from .layers.sequential import Sequential, mlp
from .layers.table import Columns, Embedding, Flatten
from .losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from .optimizers import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSProp
from .parameter import Buffer, Parameter, ParameterVector
from .penalties import L1, L2, Penalty
from .training.batches import batches
from .training.history import History
from .training.trainer import Trainer

if TYPE_CHECKING:
    from .storage import load, load_weights, save, save_weights

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "L1",
    "L2",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "ArgumentError",
    "Array",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Buffer",
    "CallOrderError",
    "Clip",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "Columns",
    "Concat",
    "Constant",
    "CrossEntropy",
    "DTypeError",
    "DataError",
    "Dense",
    "DivergenceError",
    "Dropout",
    "Embedding",
    "FileFormatError",
    "Flatten",
    "GlorotNormal",
    "GlorotUniform",
    "GradientError",
    "Graph",
    "HalfSquaredError",
    "HeNormal",
    "HeUniform",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "Layer",
    "LayerNorm",
    "LeCunNormal",
    "LeCunUniform",
    "LeakyReLU",
    "Loss",
    "LoweringError",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Merge",
    "MinidlError",
    "Multiply",
    "NAdam",
    "Normal",
    "Optimizer",
    "Orthogonal",
    "PReLU",
    "Parallel",
    "Parameter",
    "ParameterVector",
    "Penalty",
    "RMSNorm",
    "RMSProp",
    "ReLU",
    "Residual",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "StructureError",
    "Tanh",
    "Trainer",
    "TruncatedNormal",
    "Uniform",
    "Zeros",
    "batches",
    "load",
    "load_weights",
    "mlp",
    "save",
    "save_weights",
    "schedules",
]

LAZY = {"load": "storage", "load_weights": "storage", "save": "storage", "save_weights": "storage"}
"""Where the names lie that are imported at first use."""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f".{LAZY[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
