"""Compiled training: chains of built-in layers lowered to one loop of machine code (needs Numba)."""

from .loop import CompiledLoop
from .lowering import lower

__all__ = ["CompiledLoop", "lower"]
