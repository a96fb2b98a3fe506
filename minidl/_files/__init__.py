"""Models and runs in safetensors files, written atomically and checked when read."""

from .model import Unmatched, load, load_weights, model_state, save, save_weights
from .safetensors import TensorFile
from .statefile import StateFile, read, write

__all__ = [
    "StateFile",
    "TensorFile",
    "Unmatched",
    "load",
    "load_weights",
    "model_state",
    "read",
    "save",
    "save_weights",
    "write",
]
