"""onnxruntime, which only predicts: the network as a chain of Gemm nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnxruntime
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import Peer, PredictionCall

FORMS = {"2 threads": (2, "1"), "2 threads that do not spin": (2, "0"), "1 thread": (1, "1")}
"""Number of threads, and whether those of the pool wait in a loop for the next call."""


class ONNXRuntime(Peer):
    """A session on the CPU."""

    name = "onnxruntime"
    package = "onnxruntime"
    note = "a session on one thread or two, with or without spinning; graph optimisations as they come."
    apart = True

    @override
    def about(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        for form, (threads, spinning) in FORMS.items():
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
            session = onnxruntime.InferenceSession(_graph(network), options, providers=["CPUExecutionProvider"])
            yield form, partial(_first, session, {"a0": x})


def _first(session: Any, inputs: dict[str, Array]) -> Any:
    return session.run(None, inputs)[0]


def _graph(network: Network) -> bytes:
    """Write the network as ONNX: ``z1 = Gemm(a0, W1, b1)``, ``a1 = Sigmoid(z1)``, …"""
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(network.dtype))
    activation = {"sigmoid": "Sigmoid", "relu": "Relu"}[network.activation]
    nodes, constants = [], []
    layers = list(network.initial_values())
    for i, (weight, bias) in enumerate(layers, start=1):
        constants += [numpy_helper.from_array(weight, f"W{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [f"a{i - 1}", f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        if i < len(layers):
            nodes.append(helper.make_node(activation, [f"z{i}"], [f"a{i}"]))
    inputs = [helper.make_tensor_value_info("a0", kind, ["rows", network.sizes[0]])]
    outputs = [helper.make_tensor_value_info(f"z{len(layers)}", kind, ["rows", network.sizes[-1]])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


PEERS: tuple[Peer, ...] = (ONNXRuntime(),) if find_spec("onnx") is not None else ()
