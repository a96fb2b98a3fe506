"""A trained model as source code of one function, which needs nothing of minidl: C, JavaScript, NumPy."""

from ._languages import to_c, to_javascript, to_numpy

__all__ = ["to_c", "to_javascript", "to_numpy"]
