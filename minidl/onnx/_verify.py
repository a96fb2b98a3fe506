"""Compare a file with a model on some rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, StructureError
from ..layers.base import Layer

AGREEMENT = {"float32": 1e-4, "float64": 1e-10}
"""Largest difference, as a share of the largest output. A right file differs by some rounding errors, a wrong one by
far more."""


def verify(onnx: Any, made: Any, model: Layer, shape: tuple[int, ...], output: str, where: str) -> None:
    """Refuse a file that computes something else than the model, by the reference implementation of ONNX.

    The rows are of normal numbers; where the model expects codes, of small whole ones.

    Raises:
        StructureError: naming the error.
    """
    kind = onnx.helper.tensor_dtype_to_np_dtype(made.graph.input[0].type.tensor_type.elem_type)
    drawn = np.random.default_rng(0).standard_normal((5, *shape)).astype(kind)
    reference = onnx.reference.ReferenceEvaluator(made)
    for x in (drawn, (drawn > 0).astype(kind), np.zeros_like(drawn)):
        with np.errstate(all="ignore"):
            try:
                wanted = model.predict(x)
            except DataError:
                continue
            found = reference.run([output], {made.graph.input[0].name: x})[0]
            same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
            size = np.max(np.abs(wanted), where=np.isfinite(wanted), initial=np.finfo(np.float32).tiny)
            error = float(np.max(np.where(same, 0.0, np.abs(found - wanted)))) / float(size)
        if not error <= AGREEMENT[wanted.dtype.name]:
            raise StructureError(
                f"{where}: expected the file and the model to compute the same, got a relative difference of "
                f"{error:.2g}; does a method export or to_onnx compute what predict computes?"
            )
