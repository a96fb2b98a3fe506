"""Compiled code (needs Numba): chains of built-in layers lowered to one loop, for training and for prediction."""

from .lowering import lower
from .predictor import Predictor

__all__ = ["Predictor", "lower"]
