"""minidl: the smallest neural-network framework that people use for real work."""

from typing import TYPE_CHECKING, Any

from .arrays import Array
from .errors import (
    ArgumentError,
    CallOrderError,
    DataError,
    DivergenceError,
    DTypeError,
    FileFormatError,
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
    Normal,
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
from .optimizers import SGD, Optimizer
from .parameter import Buffer, Parameter, ParameterVector
from .training.batches import batches
from .training.history import History
from .training.trainer import Trainer

if TYPE_CHECKING:
    from .storage import load, load_weights, save, save_weights

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Activation",
    "Add",
    "ArgumentError",
    "Array",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Buffer",
    "CallOrderError",
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
    "LeakyReLU",
    "Loss",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Merge",
    "MinidlError",
    "Multiply",
    "Normal",
    "Optimizer",
    "PReLU",
    "Parallel",
    "Parameter",
    "ParameterVector",
    "RMSNorm",
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
    "Uniform",
    "Zeros",
    "batches",
    "load",
    "load_weights",
    "mlp",
    "save",
    "save_weights",
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
