"""Train small, fully connected neural networks on NumPy; every backward pass is written out by hand."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._core.arrays import Array
from ._core.parameter import Buffer, Parameter
from ._training.batches import batches
from .layers import (
    ELU,
    GELU,
    Activation,
    Add,
    BatchNorm,
    Columns,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Graph,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Mean,
    Multiply,
    Parallel,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    mlp,
)
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
from .optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSProp
from .optimizers.clipping import ClipGlobalNorm, ClipNorm, ClipValue
from .optimizers.penalties import L1, L2
from .trainer import Trainer

if TYPE_CHECKING:
    from . import callbacks as callbacks
    from . import errors as errors
    from . import export as export
    from . import initializers as initializers
    from . import inspection as inspection
    from . import layers as layers
    from . import losses as losses
    from . import metrics as metrics
    from . import onnx as onnx
    from . import optimizers as optimizers
    from . import schedules as schedules
    from . import search as search
    from . import sklearn as sklearn
    from . import solvers as solvers
    from . import testing as testing
    from . import trainer as trainer
    from ._compiled import Predictor
    from ._files import load, load_weights, save, save_weights

__version__ = "1.0.0"

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
    "Array",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Buffer",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "Columns",
    "Concat",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Graph",
    "HalfSquaredError",
    "Huber",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Loss",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Multiply",
    "NAdam",
    "PReLU",
    "Parallel",
    "Parameter",
    "Predictor",
    "RMSNorm",
    "RMSProp",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Tanh",
    "Trainer",
    "batches",
    "load",
    "load_weights",
    "mlp",
    "save",
    "save_weights",
]

_MODULES = [
    "callbacks",
    "errors",
    "export",
    "initializers",
    "inspection",
    "layers",
    "losses",
    "metrics",
    "onnx",
    "optimizers",
    "schedules",
    "search",
    "sklearn",
    "solvers",
    "testing",
    "trainer",
]
"""The public modules: imported at first use, if not before."""

_EXTRAS = ["sklearn"]
"""Those that need a package which may not be installed."""

_LAZY = {
    "Predictor": "_compiled",
    "load": "_files",
    "load_weights": "_files",
    "save": "_files",
    "save_weights": "_files",
}
"""Where the names lie that are imported at first use."""


if not TYPE_CHECKING:  # for a type checker it would make every misspelt name right

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f".{name}", __name__)
        if name in _LAZY:
            globals()[name] = found = getattr(import_module(f".{_LAZY[name]}", __name__), name)
            return found
        message = f"module {__name__!r} has no attribute {name!r}"
        if name.startswith("_"):
            raise AttributeError(message)
        plain = [module for module in _MODULES if module not in _EXTRAS]
        homes = [module for module in plain if name in import_module(f".{module}", __name__).__all__]
        if not homes:
            raise AttributeError(message)
        message += "; use " + " or ".join(f"{__name__}.{module}.{name}" for module in homes)
        # `from minidl import name` would hide the text of an AttributeError: it asks through this function of importlib
        importing = sys._getframe(1).f_code.co_name == "_handle_fromlist"
        raise ImportError(message) if importing else AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__, *_MODULES})
