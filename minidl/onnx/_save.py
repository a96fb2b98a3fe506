"""Save a model as an ONNX file that has been checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import path_text, positive_int
from .._core.parameter import float_dtype
from .._data import check_ending, check_parts
from .._files.atomic import replace_file
from .._rules import Value
from .._rules.builder import input_shape
from ..errors import ArgumentError, StructureError
from ..layers import Activation, Sequential, Sigmoid, Softmax
from ..layers.base import Layer
from ..losses import Loss, PoissonLoss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from ._package import onnx_package
from ._verify import verify
from ._writer import Writer


def save(
    model: Layer,
    path: str | os.PathLike[str],
    *,
    features: int | Sequence[int] | None = None,
    loss: Loss | None = None,
    dtype: npt.DTypeLike | None = None,
    opset: int = 20,
    functions: Mapping[Any, Any] | None = None,
    name: str = "minidl",
) -> None:
    """Save the prediction of a model as an ONNX file, with input ``x`` and output ``y``.

    Before anything is written, the reference implementation of ONNX computes some rows, and they are compared with
    those of the model. The weights have the names of `save_weights`.

    Args:
        model: The model; Dropout is left out, and BatchNorm uses its running statistics.
        path: The file; an existing one is replaced.
        features: Width of x, or the shape of an image; only for a model that leaves it open.
        loss: The loss that the model was trained by. One from logits adds its sigmoid or softmax to the model, and
            `PoissonLoss` adds the exponential, so that the file gives rates.
        dtype: float32 or float64; None for that of the model.
        opset: Version of the operators of ONNX, from 17.
        functions: For an `Activation`, maps its function to the name of an operator, or to a function
            ``(to, x) -> y`` that writes it.
        name: Name of the graph.

    Raises:
        StructureError: a layer of your own without a method ``export`` or ``to_onnx``, an operator that onnxruntime
            does not have in float64, an operator that ONNX does not have, or a file that computes something else than
            the model.
        ArgumentError: a width that is not known, or an opset.
        ImportError: the package ``onnx`` is not installed.
        OSError: the write failed; the old file is unchanged.
    """
    check_parts("onnx.save", model=(model, Layer), name=(name, str))
    target, onnx = path_text(path), onnx_package("onnx.save")
    newest = onnx.defs.onnx_opset_version()
    if not 17 <= positive_int(opset, "onnx.save(opset)") <= newest:
        raise ArgumentError(f"onnx.save(opset): expected 17 to {newest}, the newest of onnx {onnx.__version__}, "
                            f"got {opset}")
    shape = input_shape(model, features, "onnx.save")
    last = [] if loss is None else _link(model, loss)
    kind = float_dtype(dtype or model.dtype or np.float64, "onnx.save(dtype)")
    model = model.astype(kind)
    functions = {} if functions is None else functions
    check_parts("onnx.save", functions=(functions, Mapping))
    writer = Writer(onnx, model, opset, functions, kind)
    made = _made(onnx, writer, [model, *last], shape, name)
    verify(onnx, made, Sequential(model, *last), shape, "y", "onnx.save")
    replace_file(target, [memoryview(made.SerializeToString())])


def _link(model: Layer, loss: Loss) -> list[Layer]:
    """Return what turns the output of a model into probabilities or rates, if it has not done so."""
    check_parts("onnx.save", loss=(loss, Loss))
    check_ending("onnx.save", model, loss)
    if isinstance(loss, PoissonLoss):
        return [Activation(np.exp, np.exp)]
    links: dict[type[Loss], type[Layer]] = {SoftmaxCrossEntropy: Softmax, SigmoidCrossEntropy: Sigmoid}
    if loss.from_logits and type(loss) not in links:
        raise ArgumentError(f"onnx.save(loss): expected a loss of minidl, got {loss!r}; save Sequential(model, "
                            "Softmax()) or Sequential(model, Sigmoid())")
    return [links[type(loss)]()] if loss.from_logits else []


def _made(onnx: Any, writer: Writer, layers: list[Layer], shape: tuple[int, ...], name: str) -> Any:
    """Make the model of ONNX, and check it by the checker of ONNX."""
    helper, output = onnx.helper, Value(writer, "x", int(np.prod(shape)))
    for layer in layers:
        output = writer.write(layer, output)
    writer.nodes.append(helper.make_node("Identity", [output.name], ["y"], name="y"))
    kind = helper.np_dtype_to_tensor_dtype(writer.dtype)
    graph = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info("x", kind, ["rows", *shape])],
        [helper.make_tensor_value_info("y", kind, ["rows", output.width])],
        [onnx.numpy_helper.from_array(np.array(value, order="C"), name) for name, value in writer.initializers.items()],
    )
    opsets = [helper.make_opsetid("", writer.opset)]
    made = helper.make_model(graph, opset_imports=opsets, producer_name="minidl")
    made.ir_version = helper.find_min_ir_version_for(opsets)
    try:
        onnx.checker.check_model(made, full_check=True)
    except Exception as error:
        found = " ".join(str(error).split())[:200]
        raise StructureError(f"onnx.save: expected a right ONNX model, got {type(error).__name__}: {found}; look at "
                             "the methods to_onnx, at functions= and at opset=") from None
    return made
