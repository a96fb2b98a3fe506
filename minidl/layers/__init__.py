"""Layers: the contract, the layers themselves, and the containers and merges that combine them."""

from .activations import ELU, GELU, Activation, Identity, LeakyReLU, PReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .base import Layer
from .columns import Columns
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .flatten import Flatten
from .graph import Graph
from .merges import Add, Concat, Mean, Merge, Multiply
from .normalization import BatchNorm, LayerNorm, RMSNorm
from .parallel import Parallel
from .residual import Residual
from .scaling import Rescale, Standardize
from .sequential import Sequential, mlp

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
    "Rescale",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "Tanh",
    "mlp",
]
