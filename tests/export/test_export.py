"""Models as source code: what it computes, and what cannot be exported."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    Activation,
    Array,
    BatchNorm,
    Columns,
    Dense,
    Embedding,
    Flatten,
    Graph,
    Identity,
    Layer,
    Parameter,
    Sigmoid,
    Softmax,
    Tanh,
    layers,
    mlp,
)
from minidl import Sequential as Chain
from minidl._rules import RULES, Builder, Value
from minidl._rules.special import SCALE, erfc_coefficients
from minidl.errors import ArgumentError, DataError, DTypeError, StructureError
from minidl.export import to_c, to_javascript, to_numpy
from minidl.layers import Merge
from tests.campaigns import export
from tests.campaigns.export import LANGUAGES, LIMITS, in_c, in_javascript, in_numpy, missing, relative_error

WRITERS: list[Any] = [to_c, to_javascript, to_numpy]


class ScaledTanh(Layer):
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = Parameter(scale)

    @override
    def forward(self, x: Array) -> Array:
        self._tanh: Array = np.tanh(x)
        return self.scale.value * self._tanh

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._tanh)
        return grad * self.scale.value * (1.0 - self._tanh**2)

    def export(self, to: Builder, x: Value) -> Value:
        return to.array(self.scale) * to.apply("tanh", x)


class Halved(Identity):
    """A subclass that computes something else than its base."""

    @override
    def compute(self, x: Array) -> Array:
        return 0.5 * x


class Reversed(ScaledTanh):
    """A subclass whose forward does not belong to the inherited rule."""

    @override
    def forward(self, x: Array) -> Array:
        return -super().forward(x)


def need(language: str) -> None:
    if missing(language):
        pytest.skip(missing(language))


def test_every_layer_and_merge_has_a_rule() -> None:
    public = [getattr(layers, name) for name in layers.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and kind not in (Layer, Merge)}
    assert kinds == RULES.keys()


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_layer_computes_what_predict_computes(language: str, dtype: str) -> None:
    need(language)
    assert {name: e for name, e in export.errors(language, dtype).items() if not e <= LIMITS[dtype]} == {}


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_large_numbers_infinity_and_nan_give_what_predict_gives(language: str, dtype: str) -> None:
    need(language)
    largest = float(np.finfo(dtype).max)
    right = [0.0, 1e-9, 5.0, 40.0, 80.0, 700.0, 1e30, largest, np.inf]
    x = np.array([*right, *np.negative(right), np.nan], dtype)[:, None]
    kinds = ("ELU", "GELU", "Identity", "LeakyReLU", "PReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh")
    cases: export.Models = {kind: (Chain(getattr(layers, kind)()).astype(dtype), x) for kind in kinds}
    found = LANGUAGES[language][1](cases, np.dtype(dtype))
    exact, smallest = (1e-13, 1e-300) if dtype == "float64" else (2e-6, 1e-35)
    for name, (model, rows) in cases.items():
        np.testing.assert_allclose(found[name], model.predict(rows), rtol=exact, atol=smallest, err_msg=name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_known_functions_of_an_activation_are_exported(language: str) -> None:
    need(language)
    special = pytest.importorskip("scipy.special")
    functions = [np.sin, np.cos, np.tan, np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.abs, np.arctan, np.arcsinh,
                 np.sinh, np.cosh, np.square, np.negative, np.reciprocal,
                 special.expit, special.erf, special.erfc, special.ndtr]  # fmt: skip
    x = np.linspace(0.1, 3.0, 12).reshape(4, 3)
    cases: export.Models = {f.__name__: (Chain(Dense(3, 3), Activation(f, f)), x) for f in functions}
    for model, _ in cases.values():
        model[0].weight.value = np.eye(3)  # type: ignore[index]
    found = LANGUAGES[language][1](cases, np.float64)
    for f in functions:
        assert relative_error(found[f.__name__], f(x)) < 1e-14, f.__name__


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_layer_of_ones_own_is_exported_by_its_method(language: str) -> None:
    need(language)
    last = Chain(ScaledTanh(2.0), Softmax())
    model = Graph({"a": (Dense(3, 3), "x"), "b": (ScaledTanh(0.7), "a"), "c": (last, "b")}, output="c")
    x = np.linspace(-2, 2, 12).reshape(4, 3)
    found = LANGUAGES[language][1]({"own": (model, x)}, np.float64)["own"]
    assert relative_error(found, model.predict(x)) < 1e-15


class Affine(ScaledTanh):
    """Two constants without a name of their own."""

    @override
    def forward(self, x: Array) -> Array:
        y: Array = x * np.array([1.0, 2.0]) + np.array([3.0, 4.0])
        return y

    @override
    def export(self, to: Builder, x: Value) -> Value:
        return np.float64(1.0) * x * to.array([1.0, 2.0]) + to.array([3.0, 4.0])


@pytest.mark.parametrize("language", LANGUAGES)
def test_constants_of_one_name_are_kept_apart(language: str) -> None:
    need(language)
    x = np.array([[5.0, 6.0]])
    assert LANGUAGES[language][1]({"": (Chain(Dense(2, 2), Affine()), x)}, np.float64)[""].shape == (1, 2)
    assert LANGUAGES[language][1]({"": (Affine(), x)}, np.float64)[""].tolist() == [[8.0, 16.0]]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_wrong_operation_of_a_method_is_refused(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScaledTanh, "export", lambda self, to, x: to.apply("gamma", x))
    with pytest.raises(ArgumentError, match=r'to.apply\(function\) at "1": expected "\+", .*got \'gamma\''):
        writer(Chain(Dense(2, 2), ScaledTanh()))
    monkeypatch.setattr(ScaledTanh, "export", lambda self, to, x: x * np.inf)
    with pytest.raises(ArgumentError, match=r'to.apply\("\*", …\) at "1": expected a finite number, got inf'):
        writer(Chain(Dense(2, 2), ScaledTanh()))


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("layer", "name"), [(Halved(), "Halved"), (Reversed(), "Reversed")])
def test_a_layer_without_a_rule_is_refused_with_its_class_and_hook(writer: Any, layer: Layer, name: str) -> None:
    model = Chain(Dense(2, 2), Chain(Tanh(), layer))
    with pytest.raises(StructureError) as error:
        writer(model)
    assert f'at "1.1"; give the class {name} a method export(self, to, x)' in str(error.value)


@pytest.mark.parametrize("writer", WRITERS)
def test_wrong_arguments_are_refused(writer: Any) -> None:
    with pytest.raises(ArgumentError, match=r"\(features\): expected the width of x, which this model leaves open"):
        writer(Tanh())
    with pytest.raises(ArgumentError, match=r"\(features\): expected 2, the width that the model takes, got 3"):
        writer(Dense(2, 1), features=3)
    with pytest.raises(DTypeError, match=r"\(features\): expected a whole number, or the shape of an image"):
        writer(Dense(4, 1), features=(2, 2))
    with pytest.raises(ArgumentError, match=r"\(name\): expected the name of a function"):
        writer(Dense(2, 1), name="no name")
    with pytest.raises(DTypeError, match=r"forget the parentheses of Tanh\(\)"):
        writer(Tanh, features=2)
    broken = Dense(2, 1)
    broken.weight.value = np.array([[1.0, np.nan]])
    with pytest.raises(DataError, match=r'"0.weight": expected finite numbers'):
        writer(Chain(broken))
    with pytest.raises(StructureError, match=r"expected known functions such as numpy.sin, got Activation\(<lambda>\)"):
        writer(Chain(Dense(2, 1), Activation(lambda x: x, np.ones_like)))


def test_the_polynomial_of_erfc_agrees_with_scipy() -> None:
    erfcx = pytest.importorskip("scipy.special").erfcx
    z = np.linspace(0.0, 30.0, 3001)
    t = SCALE / (SCALE + z)
    found = t * np.polynomial.polynomial.polyval(2 * t - 1, erfc_coefficients())
    np.testing.assert_allclose(found, erfcx(z), rtol=1e-14)


def test_names_that_are_no_identifiers_are_replaced() -> None:
    nodes = {"α*/ b": (Dense(2, 2), "x"), "α*/_b": (Dense(2, 2), "α*/ b")}
    model = Graph(nodes, output="α*/_b")
    x = np.ones((1, 2))
    assert relative_error(in_numpy({"": (model, x)}, np.float64)[""], model.predict(x)) < 1e-15
    need("C")
    assert relative_error(in_c({"": (model, x)}, np.float64)[""], model.predict(x)) < 1e-15


def test_images_and_codes_come_in_as_one_row() -> None:
    images = np.arange(24.0).reshape(2, 3, 4)
    model = Chain(Flatten(), Dense(12, 2))
    codes = Chain(Columns([1]), Embedding(3, 2), BatchNorm(2))
    rows = np.array([[0.5, 2.0], [0.5, 0.0]])
    cases: export.Models = {"images": (model, images), "codes": (codes, rows)}
    for language, (_, compute) in LANGUAGES.items():
        if not missing(language):
            for name, found in compute(cases, np.float64).items():
                assert relative_error(found, cases[name][0].predict(cases[name][1])) < 1e-15


def test_c_reads_and_writes_nothing_but_its_rows(tmp_path: Path) -> None:
    need("C")
    code = to_c(mlp([2, 3, 2], activation=Sigmoid, rng=0), name="net", dtype=np.float64)
    (tmp_path / "a.c").write_text(code)
    subprocess.run(["gcc", *export.FLAGS, "-shared", "-fPIC", "a.c", "-o", "a.so", "-lm"], cwd=tmp_path, check=True)
    y = np.full(4, 7.0)
    ctypes.CDLL(str(tmp_path / "a.so")).net(np.ones(2).ctypes.data_as(ctypes.c_void_p), ctypes.c_void_p(y.ctypes.data))
    assert y[2:].tolist() == [7.0, 7.0]
    assert not (y[:2] == 7.0).any()


def test_a_network_of_1_20_20_1_needs_at_most_10_kb_of_c() -> None:
    figures = export.sizes(*export.models(np.float32)["1-20-20-1"])
    assert figures["bytes of C"] <= 10_000
    assert figures.get("bytes of machine code and weights", 0) <= 4_000


def test_numbers_of_a_row_are_computed_once_for_the_row() -> None:
    code = to_c(layers.LayerNorm(8))
    assert re.search(r"i < 1; i\+\+\) v\d+\[i\] = sqrtf\(", code)
    assert code.count("sqrtf(") == 1


def test_an_export_changes_nothing() -> None:
    model = mlp([2, 3, 1], rng=0)
    before = {name: parameter.value.copy() for name, parameter in model.named_parameters().items()}
    to_c(model)
    to_numpy(model)
    assert all((parameter.value == before[name]).all() for name, parameter in model.named_parameters().items())
    assert model.dtype == np.float64


def test_javascript_returns_a_new_array() -> None:
    need("JavaScript")
    x = np.array([[1.0, 2.0]])
    assert in_javascript({"": (Identity(), x)}, np.float64)[""].tolist() == x.tolist()
    assert "return Array.from(x);" in to_javascript(Identity(), features=2)


def test_numpy_returns_a_new_array() -> None:
    space: dict[str, Any] = {}
    exec(to_numpy(Identity(), features=2), space)
    x = np.array([[1.0, 2.0]])
    assert not np.shares_memory(space["predict"](x), x)


def test_the_campaign_prints_a_line_for_each_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n| {language} | " in printed for language in LANGUAGES)


def test_the_campaign_says_which_program_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "which", lambda name: None)
    assert export.main([]) == 0
    assert "| C | skipped: C needs gcc, which is not installed |" in capsys.readouterr().out
