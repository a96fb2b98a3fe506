"""ONNX files: every layer in both runtimes, layers of one's own, and what cannot be saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import erf, ndtr
from typing_extensions import override

import minidl
from minidl import (
    GELU,
    Activation,
    Array,
    BinaryCrossEntropy,
    Dense,
    Layer,
    MeanSquaredError,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    mlp,
)
from minidl.errors import ArgumentError, DataError, DTypeError, StructureError
from minidl.losses import PoissonLoss
from minidl.onnx import save
from minidl.onnx._writer import ONLY_SINGLE
from tests.campaigns.export import models
from tests.export.test_export import Halved, Reversed, ScaledTanh
from tests.onnx.common import LIMITS, computed, kinds, proto, written

package: Any = pytest.importorskip("onnx")
NEWEST = package.defs.onnx_opset_version()
X = np.linspace(-2.0, 2.0, 12).reshape(4, 3)


class ByOperators(ScaledTanh):
    def to_onnx(self, to: Any, x: Any) -> Any:
        return to.node("Mul", to.node("Tanh", x), to.array(self.scale))


class Wrong(ScaledTanh):
    @override
    def export(self, to: Any, x: Any) -> Any:
        return to.apply("tanh", x) * 1.01


class SumsOfRows(ScaledTanh):
    @override
    def forward(self, x: Array) -> Array:
        y: Array = x - x.max(axis=1, keepdims=True) + x.sum(axis=1, keepdims=True)
        return y

    @override
    def export(self, to: Any, x: Any) -> Any:
        return x - to.largest(x) + to.total(x)


class Softsign(ScaledTanh):
    @override
    def forward(self, x: Array) -> Array:
        y: Array = x / (1.0 + np.abs(x))
        return y

    def to_onnx(self, to: Any, x: Any) -> Any:
        return to.node("Softsign", x)


class Misspelt(ScaledTanh):
    def to_onnx(self, to: Any, x: Any) -> Any:
        return to.node("Tanhh", x)


class Nothing(ScaledTanh):
    @override
    def export(self, to: Any, x: Any) -> Any:
        return None


@pytest.mark.parametrize("opset", sorted({17, 18, 20, 21, NEWEST}))
@pytest.mark.parametrize("dtype", LIMITS)
def test_every_layer_agrees_in_both_runtimes(dtype: str, opset: int, tmp_path: Path) -> None:
    found = {
        name: written(model, tmp_path / "m.onnx", x, opset=opset, dtype=dtype)
        for name, (model, x) in models(dtype).items()
    }
    assert {name: error for name, error in found.items() if not error <= LIMITS[dtype]} == {}


def test_gelu_in_float64_is_right_in_both_tails(tmp_path: Path) -> None:
    x = np.array([[-30.0], [-6.0], [-1e-3], [0.0], [1e-3], [6.0], [30.0], [700.0]])
    save(Sequential(GELU()), tmp_path / "m.onnx", features=1)
    for found in computed(tmp_path / "m.onnx", x):
        np.testing.assert_allclose(found, x * ndtr(x), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("dtype", LIMITS)
def test_large_numbers_infinity_and_nan_give_what_predict_gives(dtype: str, opset: int, tmp_path: Path) -> None:
    """Up to an absolute error: onnxruntime lets the sigmoid end at 0, and ONNX has neither log1p nor expm1."""
    right = [0.0, 1e-9, 5.0, 40.0, 80.0, 700.0, 1e30, float(np.finfo(dtype).max), np.inf]
    x = np.array([*right, *np.negative(right), np.nan], dtype)[:, None]
    for kind in ("ELU", "GELU", "Identity", "LeakyReLU", "PReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh"):
        model = Sequential(getattr(minidl, kind)()).astype(dtype)
        save(model, tmp_path / "m.onnx", features=1, dtype=dtype, opset=opset)
        with np.errstate(all="ignore"):
            both = list(computed(tmp_path / "m.onnx", x))
        for found in both:
            relative, absolute = (1e-12, 1e-15) if dtype == "float64" else (2e-6, 1e-6)
            np.testing.assert_allclose(found, model.predict(x), rtol=relative, atol=absolute, err_msg=kind)


def test_an_error_function_that_is_zero_for_zeros_is_saved(tmp_path: Path) -> None:
    """Its error near 0 is absolute, so it is compared with the size of the other outputs."""
    model = Sequential(Dense(3, 3).initialize(0), minidl.Activation(erf, erf))
    assert written(model, tmp_path / "m.onnx", X) < 1e-13


def test_weights_have_the_names_of_a_weights_file(tmp_path: Path) -> None:
    model = Sequential(Dense(3, 2), minidl.BatchNorm(2), minidl.LayerNorm(2), minidl.PReLU(), Dense(2, 2))
    names = {*model.named_parameters(), "1.running_mean", "1.running_var"}
    for dtype in LIMITS:
        save(model, tmp_path / "m.onnx", dtype=dtype, loss=SoftmaxCrossEntropy())
        tensors = {tensor.name for tensor in proto(tmp_path / "m.onnx").graph.initializer}
        assert names <= tensors
        assert not any(name[0].isdigit() for name in tensors - names)


def test_float32_uses_the_operators_of_onnx(tmp_path: Path) -> None:
    model = Sequential(Dense(3, 3), minidl.ELU(), minidl.LayerNorm(3), minidl.BatchNorm(3), GELU(), Softmax())
    save(model, tmp_path / "m.onnx", dtype=np.float32)
    expected = ["Gemm", "Elu", "LayerNormalization", "BatchNormalization", "Max", "Gelu", "Softmax"]
    assert kinds(tmp_path / "m.onnx") == expected


def test_a_shared_parameter_is_written_once(tmp_path: Path) -> None:
    one, other = Dense(3, 3), Dense(3, 3)
    other.weight = one.weight
    assert written(Sequential(one, Tanh(), other), tmp_path / "m.onnx", X) < 1e-15
    names = [tensor.name for tensor in proto(tmp_path / "m.onnx").graph.initializer]
    assert names == ["0.weight", "0.bias", "2.bias"]


@pytest.mark.parametrize(
    ("loss", "last"),
    [(SoftmaxCrossEntropy(), "Softmax"), (SigmoidCrossEntropy(), "Sigmoid"), (MeanSquaredError(), "Gemm")],
)
def test_a_loss_adds_what_turns_logits_into_probabilities(loss: minidl.Loss, last: str, tmp_path: Path) -> None:
    model = mlp([3, 4, 2], rng=0)
    save(model, tmp_path / "m.onnx", loss=loss)
    assert kinds(tmp_path / "m.onnx") == ["Gemm", "Relu", "Gemm", *[last] * loss.from_logits]
    logits = model.predict(X)
    wanted = loss.probabilities(logits) if loss.from_logits else logits
    for found in computed(tmp_path / "m.onnx", X):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("dtype", LIMITS)
def test_a_poisson_loss_adds_the_exponential(dtype: str, tmp_path: Path) -> None:
    model = mlp([3, 4, 2], rng=0)
    save(model, tmp_path / "m.onnx", loss=PoissonLoss(), dtype=dtype)
    assert kinds(tmp_path / "m.onnx") == ["Gemm", "Relu", "Gemm", "Exp"]
    for found in computed(tmp_path / "m.onnx", X.astype(dtype)):
        np.testing.assert_allclose(found, np.exp(model.predict(X)), rtol=1e-13 if dtype == "float64" else 1e-5)


def test_a_model_that_does_not_fit_the_loss_is_refused(tmp_path: Path) -> None:
    class OwnLoss(SoftmaxCrossEntropy):
        pass

    with pytest.raises(StructureError, match="expects logits, but the model ends in Softmax"):
        save(Sequential(Dense(3, 2), Softmax()), tmp_path / "m.onnx", loss=SoftmaxCrossEntropy())
    with pytest.raises(ArgumentError, match="expected a loss of minidl"):
        save(Dense(3, 2), tmp_path / "m.onnx", loss=OwnLoss())
    with pytest.raises(StructureError, match="probabilities"):
        save(Dense(3, 2), tmp_path / "m.onnx", loss=BinaryCrossEntropy())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [ScaledTanh, ByOperators])
def test_a_layer_of_ones_own_is_saved_by_its_method(kind: Any, tmp_path: Path) -> None:
    model = Sequential(Dense(3, 3), kind(0.7), Sequential(kind(2.0), Softmax()))
    assert written(model, tmp_path / "m.onnx", X) < 1e-15
    assert {"1.scale", "2.0.scale"} <= {tensor.name for tensor in proto(tmp_path / "m.onnx").graph.initializer}


@pytest.mark.parametrize("opset", [17, 18])
def test_sums_and_maxima_of_rows_are_saved(opset: int, tmp_path: Path) -> None:
    assert written(Sequential(SumsOfRows()), tmp_path / "m.onnx", X, opset=opset) < 1e-15


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Halved(), r'got Halved\(\) at "1"; give the class Halved a method to_onnx or export\(self, to, x\)'),
        (Reversed(), r"give the class Reversed a method to_onnx or export"),
        (Wrong(), r"expected the file and the model to compute the same, got a relative difference of 0.01"),
        (Nothing(), r'expected Nothing.export at "1" to return its output, the result of an operation, got None'),
        (Activation(np.tan, np.cos), r'operators that onnxruntime computes in float64, got Tan at "1"'),
        (Misspelt(), r"a right ONNX model, got ValidationError: No Op registered for Tanhh.* look at the methods"),
        (Softsign(), r'operators that onnxruntime computes in float64, got Softsign at "1"'),
        (Activation(np.floor, np.zeros_like), r"expected known functions such as numpy.sin, got Activation\(floor\)"),
    ],
)
def test_a_model_that_cannot_be_saved_is_refused(layer: Layer, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("old")
    with pytest.raises(StructureError, match=message):
        save(Sequential(Dense(3, 3), layer), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_functions_name_an_operator_or_write_it(tmp_path: Path) -> None:
    def cube(x: Array) -> Array:
        return x**3

    model = Sequential(Dense(3, 3), Activation(np.floor, np.zeros_like), Activation(cube, np.square))
    functions = {np.floor: "Floor", cube: lambda to, x: x * x * x}
    assert written(model, tmp_path / "m.onnx", X, functions=functions) < 1e-15
    assert kinds(tmp_path / "m.onnx") == ["Gemm", "Floor", "Mul", "Mul"]


def test_functions_without_a_kernel_in_float64_are_saved_in_float32(tmp_path: Path) -> None:
    functions = [np.tan, np.sinh, np.cosh, np.arctan, np.arcsinh]
    model = Sequential(Dense(3, 3), *(Activation(f, f) for f in functions), Softsign()).initialize(0)
    assert written(model.astype(np.float32), tmp_path / "m.onnx", (0.1 * X).astype(np.float32)) < 1e-5


def test_the_operators_that_are_refused_in_float64_are_those_without_a_kernel() -> None:
    runtime, helper = pytest.importorskip("onnxruntime"), package.helper

    def runs(kind: str, element: int) -> bool:
        ends = [helper.make_tensor_value_info(name, element, [2, 2]) for name in "xy"]
        inputs = ["x"] * package.defs.get_schema(kind, 20).min_input
        graph = helper.make_graph([helper.make_node(kind, inputs, ["y"])], "one", ends[:1], ends[1:])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        try:
            runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        except runtime.capi.onnxruntime_pybind11_state.NotImplemented:
            return False
        return True

    assert [kind for kind in ONLY_SINGLE if runs(kind, 11) or not runs(kind, 1)] == []


def test_codes_are_verified_with_codes(tmp_path: Path) -> None:
    model = Sequential(minidl.Columns([1]), minidl.Embedding(2, 3))
    x = np.array([[0.5, 1.0], [0.5, 0.0]])
    assert written(model, tmp_path / "m.onnx", x) == 0.0


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(ArgumentError, match=r"onnx.save\(features\): expected the width of x"):
        save(Tanh(), path)
    with pytest.raises(ArgumentError, match=r"\(features\): expected 3, the width that the model takes, got 4"):
        save(Dense(3, 1), path, features=4)
    for opset in (16, NEWEST + 1):
        with pytest.raises(ArgumentError, match=rf"onnx.save\(opset\): expected 17 to {NEWEST}, the newest of onnx"):
            save(Dense(3, 1), path, opset=opset)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"dtype": int}, "dtype"), ({"opset": "20"}, "opset"), ({"name": 3}, "name"), ({"features": "3"}, "features"),
        ({"loss": SoftmaxCrossEntropy}, "forget the parentheses"), ({"functions": [np.sin]}, "functions"),
    ]  # fmt: skip
    for options, word in wrong:
        with pytest.raises(DTypeError, match=word):
            save(Dense(3, 1), path, **options)
    with pytest.raises(DTypeError, match=r"forget the parentheses of Tanh\(\)"):
        save(Tanh, path)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="path: expected the path of a file"):
        save(Dense(3, 1), 3)  # type: ignore[arg-type]
    broken = Dense(2, 1)
    broken.weight.value = np.array([[1.0, np.inf]])
    with pytest.raises(DataError, match=r'"0.weight": expected finite numbers'):
        save(Sequential(broken), path)
    assert not any(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Dense(3, 1), tmp_path / "m.onnx")
    old = (tmp_path / "m.onnx").read_bytes()

    def refuse(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minidl._files.atomic.os.write", refuse)
    with pytest.raises(OSError, match="the old file is unchanged"):
        save(mlp([3, 8, 1]), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == old


def test_saving_changes_nothing(tmp_path: Path) -> None:
    model = Sequential(Dense(3, 3), minidl.BatchNorm(3), minidl.Dropout(), Sigmoid()).initialize(0)
    before = {name: part.value.copy() for name, part in model.named_parameters().items()}
    save(model, tmp_path / "m.onnx", dtype=np.float32)
    assert model.dtype == np.float64
    assert all((part.value == before[name]).all() for name, part in model.named_parameters().items())
