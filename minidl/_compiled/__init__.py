"""Compiled code (needs Numba): chains of built-in layers as one program, for training and for prediction."""

from .loop import CompiledLoop
from .predictor import Predictor

__all__ = ["CompiledLoop", "Predictor"]
