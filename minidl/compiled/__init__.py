"""Compiled code (needs Numba): chains of built-in layers lowered to one loop, for training and for prediction."""

from .loop import CompiledLoop
from .lowering import lower
from .prediction import Predictor

__all__ = ["CompiledLoop", "Predictor", "lower"]
