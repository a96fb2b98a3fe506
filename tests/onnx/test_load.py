"""Networks from ONNX files: those of `save`, those of other programs, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Array, Dense, Graph, Sequential, Tanh, mlp
from minidl.errors import ArgumentError, FileFormatError, StructureError
from minidl.onnx import load, save
from tests.campaigns.export import models, relative_error
from tests.onnx.common import computed, kinds

package: Any = pytest.importorskip("onnx")
NEWEST = package.defs.onnx_opset_version()
X = np.linspace(-2.0, 2.0, 12).reshape(4, 3)


def file_of(path: Path, nodes: list[Any], constants: dict[str, Array], width: int = 3) -> Path:
    """Write a file with a graph from x to y."""
    helper = package.helper
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(np.float64))
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("x", kind, ["n", width])],
        [helper.make_tensor_value_info("y", kind, ["n", "k"])],
        [package.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 9
    path.write_bytes(made.SerializeToString())
    return path


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return package.helper.make_node(kind, inputs.split(), [output], name=f"n_{output}", **attributes)


@pytest.mark.parametrize("opset", [17, 20, NEWEST])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_saved_model_comes_back(dtype: str, opset: int, tmp_path: Path) -> None:
    path, limit = tmp_path / "m.onnx", 1e-6 if dtype == "float32" else 1e-14
    wrong = {}
    for name, (model, x) in models(dtype).items():
        save(model, path, features=x.shape[1] if x.ndim == 2 else x.shape[1:], opset=opset, dtype=dtype)
        again = load(path)
        wrong[name] = relative_error(again.predict(x), model.predict(x))
        assert again.dtype == model.dtype or not model.parameters()
    assert {name: error for name, error in wrong.items() if not error <= limit} == {}


def test_a_single_branch_comes_back(tmp_path: Path) -> None:
    for merge in (minidl.Concat(), minidl.Add(), minidl.Mean(), minidl.Multiply()):
        for dtype in ("float32", "float64"):
            model = minidl.Parallel(Dense(3, 2), merge=merge).initialize(0).astype(dtype)
            save(model, tmp_path / "m.onnx")
            assert (load(tmp_path / "m.onnx").predict(X.astype(dtype)) == model.predict(X.astype(dtype))).all()


def test_a_chain_comes_back_as_a_chain_of_the_same_layers(tmp_path: Path) -> None:
    kinds_of: list[Any] = [minidl.ELU, minidl.GELU, minidl.LeakyReLU, minidl.PReLU, minidl.SiLU, minidl.Softplus]
    norms = [minidl.BatchNorm(3), minidl.LayerNorm(3, epsilon=1e-3), minidl.RMSNorm(3)]
    model = Sequential(Dense(3, 3), *(kind() for kind in kinds_of), *norms, minidl.Softmax()).initialize(0)
    for dtype in (np.float32, np.float64):
        save(model, tmp_path / "m.onnx", dtype=dtype)
        again = load(tmp_path / "m.onnx")
        found = [type(layer) for layer in again]  # type: ignore[union-attr]
        slope = minidl.PReLU if dtype == np.float64 else minidl.LeakyReLU
        assert found == [type(layer) for layer in model] or slope in found
        assert isinstance(again, Sequential)
        assert again[8].epsilon == pytest.approx(1e-3)  # type: ignore[attr-defined]


def test_a_graph_comes_back_as_a_graph(tmp_path: Path) -> None:
    nodes: Any = {"h": (Dense(3, 3), "x"), "m": (minidl.Mean(), "x", "h"), "o": (minidl.Multiply(), "h", "m")}
    model = Graph(nodes, output="o")
    save(model, tmp_path / "m.onnx")
    again = load(tmp_path / "m.onnx")
    assert isinstance(again, Graph)
    assert list(again.parts) == ["dense_0", "mean_1", "multiply_2"]
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-14)


def test_a_loaded_network_can_be_trained(tmp_path: Path) -> None:
    save(Sequential(Dense(3, 2), minidl.BatchNorm(2), Tanh()), tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    model.forward(X)
    model.backward_parameters(np.ones((4, 2)))
    assert all(parameter.grad.any() for parameter in model.parameters()[:1])


def test_an_output_can_be_chosen(tmp_path: Path) -> None:
    model = mlp([3, 4, 2], rng=0)
    save(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(load(tmp_path / "m.onnx", output="1/Relu").predict(X), model[:2].predict(X))
    with pytest.raises(ArgumentError, match=r"expected a result in the file, such as \['y'\], got 'z'"):
        load(tmp_path / "m.onnx", output="z")


def test_dense_layers_are_read_in_each_form(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(3, 2)), rng.normal(size=2)
    forms = [
        [node("MatMul", "x w", "y")],
        [node("MatMul", "x w", "h"), node("Add", "b h", "y")],
        [node("Gemm", "x w b", "y", alpha=0.5, beta=2.0)],
        [node("Transpose", "w", "t", perm=[1, 0]), node("Gemm", "x t", "y", transB=1)],
        [node("Cast", "x", "c", to=11), node("Dropout", "c", "d"), node("Gemm", "d w b", "y")],
    ]
    for nodes in forms:
        path = file_of(tmp_path / "m.onnx", nodes, {"w": w, "b": b})
        model = load(path)
        assert isinstance(model, Sequential)
        assert [type(layer) for layer in model] == [Dense]
        np.testing.assert_allclose(model.predict(X), computed(path, X)[0], rtol=1e-14)


def test_the_error_names_the_operator_that_is_not_known(tmp_path: Path) -> None:
    path = file_of(tmp_path / "m.onnx", [node("Tanh", "x", "h"), node("Round", "h", "r"), node("Relu", "r", "y")], {})
    with pytest.raises(StructureError, match=r'got Round at "n_r"; load\(path, output=…\) reads a result before it'):
        load(path)
    assert [type(layer) for layer in load(path, output="h")] == [Tanh]  # type: ignore[union-attr]


def test_operators_that_the_output_does_not_need_are_not_read(tmp_path: Path) -> None:
    nodes = [node("Tanh", "x", "h"), node("Unheard", "h", "y", domain="own")]
    path = file_of(tmp_path / "m.onnx", nodes, {})
    assert [type(layer) for layer in load(path, output="h")] == [Tanh]  # type: ignore[union-attr]
    with pytest.raises(StructureError, match='got Unheard at "n_y"'):
        load(path)


def test_what_a_layer_would_compute_differently_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path / "m.onnx", [node("Softmax", "x", "y", axis=0)], {})
    with pytest.raises(StructureError, match="expected the file and the model to compute the same"):
        load(path)


def test_files_with_several_inputs_and_damaged_files_are_refused(tmp_path: Path) -> None:
    save(mlp([3, 4, 2], rng=0), tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for damaged in (b"", b"no", whole[:100], whole[50:]):
        (tmp_path / "d.onnx").write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"d.onnx: expected a right ONNX model, got"):
            load(tmp_path / "d.onnx")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.onnx")
    made = package.load(str(tmp_path / "m.onnx"))
    made.graph.input.append(package.helper.make_tensor_value_info("z", 11, ["n", 3]))
    (tmp_path / "d.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(StructureError, match=r"expected one input, got \['x', 'z'\]"):
        load(tmp_path / "d.onnx")


def test_networks_of_pytorch_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn, x = torch.nn, X.astype(np.float32)
    layers = [nn.GELU(), nn.SiLU(), nn.ELU(0.5), nn.LeakyReLU(0.2), nn.PReLU(), nn.Softplus(), nn.Softmax(1),
              nn.BatchNorm1d(4), nn.LayerNorm(4), nn.Dropout()]  # fmt: skip
    for layer in layers:
        model = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2, bias=False)).eval()
        path = str(tmp_path / "t.onnx")
        options: dict[str, Any] = {"dynamo": False, "dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (torch.tensor(x),), path, **options)
        again = load(path)
        assert relative_error(again.predict(x), model(torch.tensor(x)).detach().numpy()) < 1e-5
        assert isinstance(again, Sequential)


def test_a_file_of_ones_own_uses_few_operators(tmp_path: Path) -> None:
    save(mlp([3, 4, 2], rng=0), tmp_path / "m.onnx")
    assert kinds(tmp_path / "m.onnx") == ["Gemm", "Relu", "Gemm"]
