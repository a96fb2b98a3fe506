"""Layers: the contract, the layers themselves, and the containers and merges that combine them."""

from .activation import (
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
from .dense import Dense
from .dropout import Dropout
from .graph import Graph
from .layer import Layer
from .merge import Add, Concat, Mean, Merge, Multiply
from .normalization import BatchNorm, LayerNorm, RMSNorm
from .parallel import Parallel
from .prelu import PReLU
from .residual import Residual
from .sequential import Sequential, mlp
from .table import Columns, Embedding, Flatten

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Add",
    "BatchNorm",
    "Columns",
    "Concat",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Graph",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Mean",
    "Merge",
    "Multiply",
    "PReLU",
    "Parallel",
    "RMSNorm",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "mlp",
]
