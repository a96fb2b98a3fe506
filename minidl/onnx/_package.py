"""The package ``onnx``, imported at first use."""

from __future__ import annotations

from typing import Any


def onnx_package(where: str) -> Any:
    """Import ``onnx``, and the parts of it that are needed.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import onnx
        import onnx.numpy_helper
        import onnx.reference
    except ImportError as error:
        raise ImportError(f'{where} needs onnx: pip install "minidl[onnx]" ({error})') from None
    return onnx
