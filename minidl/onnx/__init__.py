"""Models in ONNX files, which onnxruntime and many other programs read. It needs the package ``onnx``."""

from ._load import load
from ._save import save

__all__ = ["load", "save"]
