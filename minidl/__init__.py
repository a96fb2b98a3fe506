"""minidl: the smallest neural-network framework that people use for real work."""

from .arrays import Array
from .errors import (
    ArgumentError,
    CallOrderError,
    DataError,
    DivergenceError,
    DTypeError,
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
from .layers.layer import Layer
from .layers.sequential import Sequential, mlp
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

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Activation",
    "ArgumentError",
    "Array",
    "BinaryCrossEntropy",
    "Buffer",
    "CallOrderError",
    "Constant",
    "CrossEntropy",
    "DTypeError",
    "DataError",
    "Dense",
    "DivergenceError",
    "GlorotNormal",
    "GlorotUniform",
    "HalfSquaredError",
    "HeNormal",
    "HeUniform",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MinidlError",
    "Normal",
    "Optimizer",
    "Parameter",
    "ParameterVector",
    "ReLU",
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
    "mlp",
]
