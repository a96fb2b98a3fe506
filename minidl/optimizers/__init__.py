"""Optimizers: one vector equation each."""

from .adam import Adam, AdamW, NAdam
from .adaptive import Adagrad, RMSProp
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "NAdam", "Optimizer", "RMSProp"]
