"""What tests of ONNX files share; they are skipped where the package is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import Array, Layer
from minidl.onnx import save
from tests.campaigns.export import relative_error

onnx: Any = pytest.importorskip("onnx.reference").ReferenceEvaluator

LIMITS = {"float32": 1e-6, "float64": 1e-12}
"""The largest relative error that is allowed in a runtime."""


def proto(path: Path) -> Any:
    """Read the nodes of a file."""
    return pytest.importorskip("onnx").load(str(path))


def kinds(path: Path) -> list[str]:
    """List the operators of a file, without the last, which gives the output its name."""
    return [node.op_type for node in proto(path).graph.node][:-1]


def written(model: Layer, path: Path, x: Array, **options: Any) -> float:
    """Save a model, and return the largest relative error of the runtimes that are installed."""
    features = x.shape[1] if x.ndim == 2 else x.shape[1:]
    save(model, path, features=features, **options)
    wanted = model.astype(np.float64).predict(x.astype(np.float64))
    return max(relative_error(found, wanted) for found in computed(path, x))


def computed(path: Path, x: Array) -> list[Array]:
    """Compute a file by the reference implementation, and by onnxruntime if it is installed and knows the opset."""
    found = [onnx(str(path)).run(None, {"x": x})[0]]
    try:
        import onnxruntime
    except ImportError:
        return found
    onnxruntime.set_default_logger_severity(4)
    if proto(path).opset_import[0].version <= 21:  # what onnxruntime 1.20 knows
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found.append(session.run(None, {"x": x})[0])
    return found
