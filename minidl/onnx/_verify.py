"""Compare a file with a model on some rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.arrays import Array
from ..errors import DataError, StructureError
from ..layers.base import Layer

AGREEMENT = {"float32": 1e-4, "float64": 1e-10}
"""Largest difference, as a share of the largest output, without a further question. A right file differs by some
rounding errors, a wrong one by far more."""


def verify(onnx: Any, made: Any, model: Layer, shape: tuple[int, ...], output: str, where: str) -> None:
    """Refuse a file that computes something else than the model, by the reference implementation of ONNX.

    The rows are of normal numbers; where the model expects codes, of small whole ones.

    Raises:
        StructureError: naming the difference.
    """
    kind = onnx.helper.tensor_dtype_to_np_dtype(made.graph.input[0].type.tensor_type.elem_type)
    drawn = np.random.default_rng(0).standard_normal((5, *shape)).astype(kind)
    reference = onnx.reference.ReferenceEvaluator(made)
    size = float(np.finfo(np.float32).tiny)
    for x in (drawn, (drawn > 0).astype(kind), np.zeros_like(drawn)):
        with np.errstate(all="ignore"):
            try:
                wanted = model.predict(x)
            except DataError:
                continue
            # Rows of zeros may have outputs of 0, so the size is the largest of all outputs up to here.
            size = float(np.max(np.abs(wanted), where=np.isfinite(wanted), initial=size))
            error = _difference(reference.run([output], {made.graph.input[0].name: x})[0], wanted, size)
            if not error <= AGREEMENT[wanted.dtype.name] and not error <= _rounding(model, x, wanted.dtype, size):
                raise StructureError(
                    f"{where}: expected the file and the model to compute the same, got a relative difference of "
                    f"{error:.2g}; does a method export or to_onnx compute what predict computes?"
                )


def _difference(found: Array, wanted: Array, size: float) -> float:
    """Return the largest difference as a share of a size; equal infinities and NaN are no error."""
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    return float(np.max(np.where(same, 0.0, np.abs(found - wanted)))) / size


def _rounding(model: Layer, x: Array, dtype: np.dtype[Any], size: float) -> float:
    """Return ten times the rounding error of the model: that of float32, scaled to the dtype."""
    single, double = (model.astype(kind).predict(x.astype(kind)) for kind in (np.float32, np.float64))
    return 10.0 * _difference(single, double, size) * float(np.finfo(dtype).eps / np.finfo(np.float32).eps)
