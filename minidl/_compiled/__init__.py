"""Compiled code (needs Numba): chains of built-in layers as one program, for training and for prediction."""

from .halves import HalvesLoop, rows_are_independent
from .lanes import LanesLoop, fits
from .loop import CompiledLoop
from .predictor import Predictor

__all__ = ["CompiledLoop", "HalvesLoop", "LanesLoop", "Predictor", "fits", "rows_are_independent"]
