"""Models come back from files as they were: every built-in part, shared parts, custom parts, and PyTorch's files."""

from __future__ import annotations

import copy
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.special
from typing_extensions import override

import minidl
from minidl import (
    SGD,
    Activation,
    Array,
    BatchNorm,
    Buffer,
    Dense,
    Dropout,
    Embedding,
    Graph,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Parallel,
    Parameter,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    Sequential,
    Tanh,
    load,
    load_weights,
    save,
    save_weights,
)
from minidl._files import read, write
from minidl._files.model import model_state, model_tensors
from minidl._files.safetensors import BITS
from minidl._files.tables import CLASSES, FUNCTIONS, function_called, tensors_of
from minidl.errors import ArgumentError, DTypeError, FileFormatError, MinidlError
from minidl.initializers import (
    Initializer,
    TruncatedNormal,
    Uniform,
)
from minidl.layers import Merge
from minidl.layers._parts import children, named, walk
from minidl.layers.base import Component
from tests.support.conformance_table import layers
from tests.support.refusal import refused

VARIANTS: dict[str, Callable[[], Layer]] = {
    "TruncatedNormal": lambda: Dense(4, 3, weight_initializer=TruncatedNormal(0.5, 2.0, 1.5)),
    "Embedding": lambda: Embedding(7, 3, weight_initializer=Uniform(0, 1)),
    "Embedding of columns": lambda: Embedding((7,), 3),
    "BatchNorm": lambda: BatchNorm(4, momentum=0.25, epsilon=1e-3),
    "LayerNorm": lambda: LayerNorm(4, epsilon=1e-3),
    "RMSNorm": lambda: RMSNorm(4, epsilon=1e-3),
    "PReLU": lambda: PReLU(0.125),
    "PReLU of features": lambda: PReLU(0.125, features=4, dtype=np.float32),
    "Dense without a bias": lambda: Dense(4, 3, bias=False, dtype=np.float32),
    "Activation": lambda: Activation(scipy.special.expit, scipy.special.log_expit),
    "Dense": lambda: Dense(4, 3, dtype=np.float32),
    "Sequential": lambda: Sequential(Dense(4, 3), BatchNorm(3), PReLU()).astype(np.float32),
}
"""Layers with other arguments than those of the conformance table."""

LAYERS: dict[str, tuple[Layer, Array]] = layers()


def columns_of(layer: Layer) -> Array:
    """Rows that the layer takes, of its dtype."""
    rows = np.random.default_rng(0).normal(size=(6, 4))
    return rows.astype(layer.dtype or np.float64)


def same_state(one: Layer, other: Layer) -> None:
    """Require the same names and the same bits in them, and the same generators."""
    pairs = (
        (one.named_parameters(), other.named_parameters()),
        (named(one, Buffer), named(other, Buffer)),
    )
    for ours, theirs in pairs:
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].value.dtype == theirs[name].value.dtype
            assert ours[name].value.tobytes() == theirs[name].value.tobytes()
    assert list(named(one, np.random.Generator)) == list(named(other, np.random.Generator))
    for name, generator in named(one, np.random.Generator).items():
        again = named(other, np.random.Generator)[name]
        assert type(again.bit_generator) is type(generator.bit_generator)
        assert json.dumps(again.bit_generator.state, default=np.ndarray.tolist) == json.dumps(
            generator.bit_generator.state, default=np.ndarray.tolist
        )


def assert_comes_back(model: Layer, x: Array, tmp_path: Path) -> None:
    model.forward(x)  # moves running statistics and generators
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert type(again) is type(model)
    assert repr(again) == repr(model)
    same_state(model, again)
    assert again.predict(x).tobytes() == model.predict(x).tobytes()
    assert again.forward(x).tobytes() == model.forward(x).tobytes()
    assert again.initialize(9).predict(x).tobytes() == model.initialize(9).predict(x).tobytes()


@pytest.mark.parametrize("name", LAYERS)
def test_every_built_in_layer_comes_back(name: str, tmp_path: Path) -> None:
    model, x = copy.deepcopy(LAYERS[name])
    assert_comes_back(model.initialize(5), x, tmp_path)


@pytest.mark.parametrize("name", VARIANTS)
def test_other_arguments_come_back(name: str, tmp_path: Path) -> None:
    model = VARIANTS[name]().initialize(5)
    x = np.array([[0.0], [6.0], [2.0]]) if isinstance(model, Embedding) else columns_of(model)
    assert_comes_back(model, x, tmp_path)


def test_every_built_in_class_is_among_those_tested(tmp_path: Path) -> None:
    seen: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if "class" in value:
                seen.add(value["class"])
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)

    for layer, _ in LAYERS.values():
        collect(model_state(layer)[1]["architecture"])
    assert seen == set(CLASSES)
    public = {
        name for module in (minidl.initializers, minidl.layers) for name in module.__all__
        if isinstance(kind := getattr(module, name), type) and issubclass(kind, (Layer, Merge, Initializer))
    }  # fmt: skip
    assert set(CLASSES) == public - {"Layer", "Merge", "Initializer"}


def test_every_built_in_layer_declares_the_shapes_of_its_arrays() -> None:
    seen: set[type[Any]] = set()
    for model, _ in LAYERS.values():
        for part in [model, *(part for _, part in walk(model) if isinstance(part, Component))]:
            arrays = {name: child for name, child in children(part) if isinstance(child, Parameter | Buffer)}
            declared = tensors_of(type(part), part.config())
            assert declared == {name: array.value.shape for name, array in arrays.items() if array.value.shape}
            seen.update({type(part)} if declared else ())
    assert {Dense, Embedding, BatchNorm, LayerNorm, RMSNorm, PReLU} <= seen


def test_a_subclass_of_a_built_in_layer_declares_nothing() -> None:
    class Own(Dense):
        pass

    assert tensors_of(Own, {}) == {}


def test_every_function_of_the_tables_comes_back(tmp_path: Path) -> None:
    names = [f"{package}.{name}" for package, inside in FUNCTIONS.items() for name in inside]
    functions = [function for function in map(function_called, names) if function is not None]
    assert len(functions) == len(names)
    assert {np.sin, scipy.special.expit} < set(functions)
    save(Sequential(*(Activation(function, np.sin) for function in functions)), tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, Sequential)
    assert [layer.function for layer in again if isinstance(layer, Activation)] == functions


def test_names_are_those_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    theirs = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 2), nn.PReLU(2))
    ours = Sequential(Dense(3, 4, bias=False), BatchNorm(4), PReLU(), Dense(4, 2), PReLU(features=2))
    found = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in model_state(ours)[0].items()} == found


def test_a_file_of_torch_loads_and_ours_loads_there(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.LayerNorm(5), torch.nn.Linear(5, 2)
    )
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    theirs(torch.from_numpy(x))
    theirs.eval()
    files.save_file(theirs.state_dict(), str(tmp_path / "theirs.safetensors"), metadata={"format": "pt"})
    ours = Sequential(Dense(3, 5), BatchNorm(5), Tanh(), LayerNorm(5), Dense(5, 2)).astype(np.float32)
    assert load_weights(ours, tmp_path / "theirs.safetensors") == ([], [])
    wanted = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x), wanted, rtol=2e-5, atol=2e-6)

    ours.initialize(1).forward(x)
    save(ours, tmp_path / "ours.safetensors")
    theirs.load_state_dict(files.load_file(str(tmp_path / "ours.safetensors")), strict=True)
    np.testing.assert_allclose(theirs(torch.from_numpy(x)).detach().numpy(), ours(x), rtol=2e-5, atol=2e-6)


def test_the_container_is_read_and_written_by_its_own_package(tmp_path: Path) -> None:
    files = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        f"{kind}.{place}": np.asarray(rng.random(shape) * 100).astype(kind)
        for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
        for place, shape in enumerate([(), (0,), (3,), (2, 3), (1, 0, 2), (2, 1, 3, 1)])
    }
    write(tmp_path / "ours", tensors, {"note": "ä\n\"quoted\""})
    theirs = files.load_file(str(tmp_path / "ours"))
    files.save_file(tensors, str(tmp_path / "theirs"), metadata={"anything": "text"})
    back = read(tmp_path / "theirs")
    again = read(tmp_path / "ours")
    assert back.metadata is None
    assert again.metadata == {"note": "ä\n\"quoted\""}
    for found in (theirs, back.tensors, again.tensors):
        assert found.keys() == tensors.keys()
        for name, value in tensors.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found[name], value)
    assert all(value.flags.writeable and value.flags.aligned for value in again.tensors.values())


def framed(header: dict[str, Any], data: bytes) -> bytes:
    """A safetensors file, which its own package accepts."""
    text = json.dumps(header).encode()
    raw = len(text).to_bytes(8, "little") + text + data
    assert {name for name, _ in pytest.importorskip("safetensors").deserialize(raw)} == set(header)
    return raw


BFLOATS = [1.0, -2.5, 3.140625, 0.0, 2.0**-120, 1e38]


@pytest.mark.parametrize("order", [["w", "b", "scale"], ["scale", "b", "w"]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_precision_and_any_order_are_read(order: list[str], dtype: type, tmp_path: Path) -> None:
    halves = b"".join(struct.pack(">f", number)[:2][::-1] for number in BFLOATS)  # the first two bytes of a float32
    entries = {
        "w": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]},
        "b": {"dtype": "F16", "shape": [3], "data_offsets": [12, 18]},
        "scale": {"dtype": "F8_E4M3", "shape": [5], "data_offsets": [18, 23]},
    }
    data = halves + np.array([0.5, -1.5, 2**-20], "<f2").tobytes() + bytes(5)
    layer = Dense(2, 3, dtype=dtype)
    names = {"w": "weight", "b": "bias", "scale": "scale"}
    (tmp_path / "w").write_bytes(framed({names[name]: entries[name] for name in order}, data))
    assert load_weights(layer, tmp_path / "w", strict=False, cast=True) == ([], ["scale"])
    exact = [struct.unpack("<f", b"\0\0" + halves[i : i + 2])[0] for i in range(0, 12, 2)]
    assert layer.weight.value.ravel().tolist() == exact
    assert layer.bias.value.tolist() == [0.5, -1.5, 2.0**-20]
    assert layer.dtype == dtype


@pytest.mark.parametrize(
    ("code", "width", "words"),
    [
        ("BF16", 2, "expected dtype float32, got BF16; to convert it, load_weights(…, cast=True)"),
        ("F16", 2, "expected dtype float32, got float16; to convert it, load_weights(…, cast=True)"),
        ("F8_E4M3", 1, "expected dtype float32, got F8_E4M3"),
    ],
)
def test_other_precisions_are_converted_only_when_asked_for(code: str, width: int, words: str, tmp_path: Path) -> None:
    entry = {"dtype": code, "shape": [3], "data_offsets": [0, 3 * width]}
    (tmp_path / "w").write_bytes(framed({"bias": entry}, bytes(3 * width)))
    layer = Dense(2, 3, dtype=np.float32)
    assert raised(lambda: load_weights(layer, tmp_path / "w", strict=False)).endswith(words)


def test_every_dtype_of_the_format_may_lie_in_a_file_unused(tmp_path: Path) -> None:
    for code, bits in BITS.items():
        for shape in ([], [0], [4], [2, 4]):
            size = int(np.prod(shape)) * bits
            if size % 8 == 0:
                header = {code: {"dtype": code, "shape": shape, "data_offsets": [0, size // 8]}}
                (tmp_path / "w").write_bytes(framed(header, bytes(size // 8)))
                assert load_weights(Tanh(), tmp_path / "w", strict=False) == ([], [code])
    (tmp_path / "w").write_bytes(framed({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, bytes(1)))
    assert "'BF16'], got F4" in raised(lambda: read(tmp_path / "w"))


def test_every_tensor_lies_on_a_multiple_of_its_width(tmp_path: Path) -> None:
    kinds = ("u1", "f4", "i8", "?", "f2", "f8")
    write(tmp_path / "m", {kind: np.zeros(3, kind) for kind in kinds}, {})
    raw = (tmp_path / "m").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    for kind in kinds:
        assert (8 + length + header[kind]["data_offsets"][0]) % np.dtype(kind).itemsize == 0


def test_arrays_of_any_layout_are_written_right(tmp_path: Path) -> None:
    base = np.arange(24.0).reshape(4, 6)
    tensors: dict[str, Any] = {
        "transposed": base.T, "strided": base[::2, ::3], "reversed": base[::-1], "fortran": np.asfortranarray(base),
        "big-endian": base.astype(">f8"), "broadcast": np.broadcast_to(base[0], (3, 6)),
    }  # fmt: skip
    write(tmp_path / "m", tensors, {})
    back = read(tmp_path / "m").tensors
    for name, value in tensors.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == np.float64


class TiedDense(Layer):
    """y = x W with the weight of another layer, made with it."""

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        y: Array = x @ self.weight.value
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += self._x.T @ grad
        dx: Array = grad @ self.weight.value.T
        return dx


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


class Weighted(Merge):
    def __init__(self, count: int) -> None:
        self.count = count
        self.weights = [Parameter(np.ones(1)) for _ in range(count)]

    @override
    def forward(self, *xs: Array) -> Array:
        self._xs = xs
        y: Array = np.sum([w.value * x for w, x in zip(self.weights, xs, strict=True)], axis=0)
        return y

    @override
    def backward(self, grad: Array) -> tuple[Array, ...]:
        return tuple(grad * w.value for w in self.weights)


class Ramp(Initializer):
    def __init__(self, step: float) -> None:
        self.step = step

    @override
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return self.step * np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


class Block(Layer):
    """A layer made of layers that it makes itself, two of which share a weight."""

    def __init__(self, width: int, options: dict[str, Any], places: tuple[int, ...] = ()) -> None:
        self.width, self.options, self.places = width, options, places
        self.first = Dense(width, width)
        self.rest = [Dense(width, width), Dropout(0.5)]
        self.rest[0].weight = self.first.weight  # type: ignore[attr-defined]
        self.seen = Buffer(np.zeros(3, np.int32))

    @override
    def forward(self, x: Array) -> Array:
        self.seen.value = self.seen.value + np.int32(1)
        return self.rest[1].forward(self.rest[0].forward(self.first.forward(x)))

    @override
    def backward(self, grad: Array) -> Array:
        return self.first.backward(self.rest[0].backward(self.rest[1].backward(grad)))


def cube(x: Array) -> Array:
    return x**3


def slope(x: Array) -> Array:
    return 3 * x**2


CUSTOM = [TiedDense, ScaledTanh, Weighted, Ramp, Block, cube, slope]


def shared(model: Layer, *names: str) -> bool:
    """Whether all these paths hold one object."""
    parts = {name: part for name, part in walk(model) if name in names}
    return len(parts) == len(names) and len({id(part) for part in parts.values()}) == 1


@pytest.mark.parametrize("owner_first", [True, False])
def test_a_layer_made_with_a_parameter_shares_it_again(owner_first: bool, tmp_path: Path) -> None:
    owner = Dense(4, 4)
    tied = TiedDense(owner.weight)
    model = Sequential(*((owner, tied) if owner_first else (tied, owner))).initialize(0)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m", custom=CUSTOM)
    assert len(read(tmp_path / "m").tensors) == 2
    same_state(model, again)
    assert shared(again, "0.weight", "1.weight")
    x = columns_of(model)
    SGD(again.parameters(), learning_rate=0.1)
    assert again(x).tobytes() == model(x).tobytes()
    again.forward(x)
    again.backward(np.ones((6, 4)))
    model.forward(x)
    model.backward(np.ones((6, 4)))
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert ours.grad.tobytes() == theirs.grad.tobytes()


def test_parts_that_were_shared_afterwards_are_shared_again(tmp_path: Path) -> None:
    one, two, three = Dense(4, 4), Dense(4, 4), BatchNorm(4)
    two.weight = one.weight
    drops = [Dropout(0.5), Dropout(0.5)]
    drops[1].rng = drops[0].rng
    norm = BatchNorm(4)
    norm.running_mean = three.running_mean
    model = Sequential(one, drops[0], Residual(two), three, drops[1], norm).initialize(0)
    x = columns_of(model)
    model.forward(x)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    same_state(model, again)
    assert shared(again, "0.weight", "2.layer.weight")
    assert shared(again, "1.rng", "4.rng")
    assert shared(again, "3.running_mean", "5.running_mean")
    assert again.forward(x).tobytes() == model.forward(x).tobytes()
    assert again.dtype == np.float64


class Twins(Layer):
    """Two layers that draw from one generator: the constructor makes it so."""

    def __init__(self) -> None:
        self.one, self.two = Dropout(0.5), Dropout(0.5)
        self.two.rng = self.one.rng

    @override
    def forward(self, x: Array) -> Array:
        return self.two.forward(self.one.forward(x))

    @override
    def backward(self, grad: Array) -> Array:
        return self.one.backward(self.two.backward(grad))


def test_a_generator_that_is_no_longer_shared_cannot_be_saved(tmp_path: Path) -> None:
    layer = Twins()
    save(layer, tmp_path / "m")
    assert shared(load(tmp_path / "m", custom=[Twins]), "one.rng", "two.rng")
    layer.two.rng = np.random.default_rng(0)
    written = (tmp_path / "m").read_bytes()
    with refused(ArgumentError, "saving: expected constructors that make and share the same parts again",
                 "got a difference in [['one.rng', 'two.rng']]; changes to a layer after its constructor"):
        save(layer, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == written


def test_the_first_layer_of_a_container_that_shares_gives_the_dtype(tmp_path: Path) -> None:
    one, two = Dense(4, 4), Dense(4, 4)
    inner = Sequential(two)
    two.weight = one.weight
    save(Sequential(one, inner), tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, Sequential)
    assert isinstance(again[1], Sequential)
    cast = again.astype(np.float32)
    assert cast[1].dtype == np.float32
    assert cast(np.zeros((2, 4), np.float32)).dtype == np.float32


def test_custom_parts_come_back(tmp_path: Path) -> None:
    model = Sequential(
        Dense(4, 4, weight_initializer=Ramp(0.125)),
        Activation(cube, slope),
        ScaledTanh(2.0),
        Parallel(Identity(), Dense(4, 4), merge=Weighted(2)),
        Block(4, {"name": "a", "deep": [1, 2.5, None, True, ("x", np.float32(0.5))]}, (1, 2)),
    )
    x = columns_of(model)
    model.forward(x)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m", custom=CUSTOM)
    same_state(model, again)
    assert again.forward(x).tobytes() == model.forward(x).tobytes()
    assert isinstance(again, Sequential)
    assert isinstance(block := again[4], Block)
    assert block.options == {"name": "a", "deep": [1, 2.5, None, True, ("x", 0.5)]}
    assert block.places == (1, 2)
    assert shared(again, "4.first.weight", "4.rest.0.weight")
    for missing in (TiedDense, ScaledTanh, Weighted, Ramp, Block, cube, slope):
        others = [item for item in CUSTOM if item is not missing]
        if missing is TiedDense:
            load(tmp_path / "m", custom=others)
            continue
        with pytest.raises(FileFormatError, match=f"got '{missing.__name__}'; if it is yours"):
            load(tmp_path / "m", custom=others)


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_bit_generator_comes_back(bits: str, tmp_path: Path) -> None:
    model = Dropout(0.5).initialize(np.random.Generator(getattr(np.random, bits)(7)))
    model.rng.random(3, dtype=np.float32)  # leaves half a number behind
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    same_state(model, again)
    x = np.ones((50, 4))
    assert again.forward(x).tobytes() == model.forward(x).tobytes()
    assert isinstance(again, Dropout)
    assert again.rng.integers(2**63, size=9).tolist() == model.rng.integers(2**63, size=9).tolist()


class Noise(Layer):
    """Adds numbers that it draws through a method of its generator."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()
        self._draw = self.rng.random

    @override
    def forward(self, x: Array) -> Array:
        return x + self._draw(x.shape)

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def test_a_generator_keeps_its_place_where_something_holds_it(tmp_path: Path) -> None:
    model = Noise().initialize(3)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m", custom=[Noise])
    assert again.forward(np.zeros((2, 2))).tolist() == model.forward(np.zeros((2, 2))).tolist()


class Late(Noise):
    """Makes a layer in its first pass."""

    @override
    def forward(self, x: Array) -> Array:
        self._late = Tanh()
        return self._late.forward(x)


def test_a_layer_that_forward_makes_and_keeps_for_backward_is_not_saved(tmp_path: Path) -> None:
    model = Sequential(Late(), Dense(2, 2)).initialize(0)
    model.forward(np.ones((2, 2)))
    save(model, tmp_path / "m")
    again = load(tmp_path / "m", custom=[Late])
    assert isinstance(again, Sequential)
    assert not hasattr(again[0], "_late")


class Rates(Layer):
    """Makes a mapping in its constructor."""

    def __init__(self) -> None:
        self.rates = {"a": 1, "b": 2}

    forward, backward = Noise.forward, Noise.backward


def test_one_changed_entry_of_a_mapping_is_found(tmp_path: Path) -> None:
    model = Rates()
    save(model, tmp_path / "m")
    model.rates["b"] = 3
    with refused(ArgumentError, "to make rates = {'a': 1, 'b': 3} again, got {'a': 1, 'b': 2}"):
        save(model, tmp_path / "m")


def test_float32_comes_back_where_the_constructor_has_no_dtype(tmp_path: Path) -> None:
    model = Sequential(Dense(4, 4), ScaledTanh(0.3)).astype(np.float32)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m", custom=CUSTOM)
    same_state(model, again)
    assert {p.dtype for p in again.parameters()} == {np.dtype(np.float32)}


class Vector(Layer):
    def __init__(self, values: Any, other: int = 0) -> None:
        self.values, self.other = values, other

    @override
    def forward(self, x: Array) -> Array:
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        return grad


class Forgetful(Vector):
    def __init__(self, values: Any) -> None:
        super().__init__(0)
        del self.values


class Demanding(Layer):
    """Takes a number that it must have, and keeps it as a Parameter."""

    def __init__(self, scale: float) -> None:
        self.scale = Parameter(scale)

    forward = ScaledTanh.forward
    backward = ScaledTanh.backward


def other_cube(x: Array) -> Array:
    return x


other_cube.__name__ = "cube"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: Vector(np.zeros(3)), r"Vector\(values\): expected plain values"),
        (lambda: Vector(np.random.default_rng(0)), r"Vector\(values\): expected plain values"),
        (lambda: Vector({1: 2}), r"Vector\(values\): expected plain values"),
        (lambda: Vector(float("nan")), r"Vector\(values\): expected a finite number, got nan"),
        (lambda: Vector([1, (2, {"a": float("inf")})]), r"Vector\(values\): expected a finite number, got inf"),
        (lambda: Vector(Vector), r"Vector\(values\): expected plain values"),
        (lambda: Vector(10**50), "51 digits"),
        (lambda: Forgetful(1), "Forgetful: expected the constructor argument 'values' to be kept"),
        (lambda: Demanding(2.0), "a Demanding.*give the argument a default"),
        (lambda: Sequential(Activation(lambda x: x, np.cos)), r"Activation\(function\): cannot be saved.*<lambda>"),
        (lambda: Sequential(Activation(cube, other_cube)), r"Activation\(derivative\): .*two different 'cube'"),
        (lambda: Sequential(type("Dense", (ScaledTanh,), {})()), "'Dense', as minidl has one"),
        (lambda: Graph({"training:": (Dense(1, 1), "x")}, output="training:"), "do not begin with 'training:'"),
        (lambda: Graph({"a\nb": (Dense(1, 1), "x")}, output="a\nb"), r"a\\nb"),
        (lambda: changed(Dense(2, 2)), "difference in \\['extra'\\]"),
        (lambda: nest(60), "nested"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(
    model: Callable[[], Layer], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=words):
        save(model(), tmp_path / "m")
    assert not list(tmp_path.iterdir())


class Optional(Vector):
    """Takes what it is made of by keyword, which a file does not hold."""

    def __init__(self, **options: Any) -> None:
        super().__init__(0)
        self.options = options
        vars(self).update(options)


class Halved(Vector):
    def __init__(self, values: float) -> None:
        super().__init__(values / 2)


class Table(Vector):
    """Holds an array that a method fills, and what forward and helpers keep."""

    def __init__(self) -> None:
        super().__init__(0)
        self.mean = np.zeros(2)
        self.act: Layer = ReLU()
        self.x: Array | None = None
        self._y: Array | None = None

    @override
    def forward(self, x: Array) -> Array:
        self.x = x
        self._keep(x)
        return self.act.forward(x) - self.mean

    def _keep(self, x: Array) -> None:
        self._y = self._z = x


class Centred(Vector):
    """Its passes read, in a method that they call, a private array that another method fills."""

    def __init__(self) -> None:
        super().__init__(0)

    def fit(self, x: Array) -> Centred:
        self._mean: Array = x.mean(axis=0)
        return self

    def _shift(self, x: Array) -> Array:
        return x - self._mean

    @override
    def forward(self, x: Array) -> Array:
        return self._shift(x)


def adapted(**changes: Any) -> Sequential:
    model = Sequential(Dense(2, 2), Table())
    for name, value in changes.items():
        setattr(model[1], name, value)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: Optional(a=3), "Optional at \"\" to make options = {'a': 3} again, got {}"),
        (lambda: Sequential(Halved(3.0)), 'Halved at "0" to make values = 1.5 again, got 0.75'),
        (lambda: adapted(mean=np.ones(2)), 'at "1" to make mean = array([1., 1.]) again, got array([0., 0.])'),
        (lambda: adapted(act=Tanh()), 'Table at "1" to make act = Tanh() again, got ReLU()'),
        (lambda: adapted(act=LeakyReLU(0.5)), "to make act = LeakyReLU(0.5) again, got ReLU()"),
        (lambda: adapted(more=Tanh()), "to make more = Tanh() again, got none"),
        (lambda: adapted(act=None), "to make act = None again, got ReLU()"),
        (lambda: adapted(mean=None), "to make mean = None again, got array"),
        (lambda: adapted(values=[1, {"a": (2, 3)}]), "to make values = [1, {'a': (2, 3)}] again, got 0"),
        (lambda: adapted(level="high"), "to make level = 'high' again, got none"),
        (lambda: adapted(act=Sequential(Tanh())), "to make act = Sequential"),
        (lambda: adapted(pair=Parallel(Vector(1), Tanh())), "to make pair = Parallel"),
        (lambda: Sequential(Centred().fit(np.ones((3, 2)))), 'Centred at "0" to make _mean = array([1., 1.]) again'),
    ],
)
def test_a_part_that_its_constructor_does_not_make_again_is_refused(
    model: Callable[[], Layer], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError) as caught:
        save(model(), tmp_path / "m")
    assert words in str(caught.value)
    assert str(caught.value).endswith("or assign it in forward if it is only kept for backward")
    assert not list(tmp_path.iterdir())


def test_what_forward_keeps_does_not_stop_a_save(tmp_path: Path) -> None:
    model = adapted()
    model.forward(np.ones((3, 2)))
    assert model[1]._z is not None  # type: ignore[attr-defined]
    save(model, tmp_path / "m")
    assert load(tmp_path / "m", custom=[Table]).predict(np.ones((3, 2))).shape == (3, 2)


def changed(layer: Layer) -> Layer:
    layer.extra = Parameter(1.0)  # type: ignore[attr-defined]
    return layer


def nest(depth: int) -> Layer:
    layer: Layer = Dense(2, 2)
    for _ in range(depth):
        layer = Residual(Sequential(layer))
    return layer


def test_deep_models_come_back(tmp_path: Path) -> None:
    model = nest(15)
    save(model, tmp_path / "m")
    same_state(model, load(tmp_path / "m"))


def test_a_model_can_hold_nothing_that_learns(tmp_path: Path) -> None:
    save(Sequential(Tanh(), Dropout(0.5)), tmp_path / "m")
    assert read(tmp_path / "m").tensors == {}
    assert len(named(load(tmp_path / "m"), np.random.Generator)) == 1


def small() -> Sequential:
    return Sequential(Dense(2, 3), Tanh(), BatchNorm(3)).initialize(0)


def raised(read: Callable[[], object]) -> str:
    with pytest.raises(FileFormatError) as caught:
        read()
    return str(caught.value)


def test_weights_alone(tmp_path: Path) -> None:
    model = small()
    model.forward(np.ones((4, 2)))
    save_weights(model, tmp_path / "w")
    other = small().initialize(1)
    assert load_weights(other, tmp_path / "w") == ([], [])
    same_state(model, other)
    assert "weights alone; make the model, then load_weights" in raised(lambda: load(tmp_path / "w"))
    save(model, tmp_path / "m")
    load_weights(other.initialize(2), tmp_path / "m")
    same_state(model, other)


def test_weights_that_do_not_fit_say_how(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_weights(small(), path)
    target = Sequential(Dense(2, 3), Tanh(), Dense(3, 1)).initialize(1)
    before = [p.value.copy() for p in target.parameters()]
    assert raised(lambda: load_weights(target, path)) == (
        f"{path}: expected the tensors of the model, "
        "got extra '2.running_mean', '2.running_var', '2.num_batches_tracked'"
    )
    assert '"2.weight": expected shape (1, 3), got (3,)' in raised(lambda: load_weights(target, path, strict=False))
    wide = Sequential(Dense(5, 3), Tanh(), BatchNorm(3))
    assert f'{path}: tensor "0.weight": expected shape (3, 5), got (3, 2)' == raised(lambda: load_weights(wide, path))
    longer = Sequential(Dense(2, 3), Tanh(), BatchNorm(3), Dense(3, 1))
    assert "missing '3.weight', '3.bias'" in raised(lambda: load_weights(longer, path))
    for parameter, value in zip(target.parameters(), before, strict=True):
        assert parameter.value.tobytes() == value.tobytes()


def test_a_source_without_a_name_of_the_model_is_refused(tmp_path: Path) -> None:
    model, arrays = small(), {f"net.{name}": array for name, array in model_tensors(small()).items()}
    before = {name: array.copy() for name, array in model_tensors(model).items()}
    write(tmp_path / "w", arrays, {})
    for source in (arrays, tmp_path / "w"):
        text = raised(partial(load_weights, model, source, strict=False))
        assert "expected at least one tensor of the model, got missing '0.weight', '0.bias', " in text
        assert "; extra 'net.0.weight', 'net.0.bias', " in text
        assert text.endswith("; change the names: load_weights(model, {new_name: array, ...})")
    assert "got missing '0.weight', " in raised(lambda: load_weights(model, {}, strict=False))
    assert all((array == before[name]).all() for name, array in model_tensors(model).items())
    one = {"0.bias": np.ones_like(before["0.bias"]), **arrays}
    assert load_weights(model, one, strict=False) == ([name for name in before if name != "0.bias"], list(arrays))
    assert (model_tensors(model)["0.bias"] == 1).all()
    assert load_weights(model, {name.removeprefix("net."): array for name, array in arrays.items()}) == ([], [])


def test_a_failed_load_leaves_every_weight_alone(tmp_path: Path) -> None:
    model = small()
    model[2].weight.value[2] = np.nan  # type: ignore[attr-defined]
    save_weights(model, tmp_path / "w")
    target = small().initialize(1)
    before = [p.value.copy() for p in target.parameters()]
    assert '"2.weight": expected finite numbers in float64, got 1 of 3' in raised(
        lambda: load_weights(target, tmp_path / "w"))
    for parameter, value in zip(target.parameters(), before, strict=True):
        assert parameter.value.tobytes() == value.tobytes()


def test_what_both_have_is_loaded_when_asked_for(tmp_path: Path) -> None:
    model = small()
    save_weights(model, tmp_path / "w")
    target = Sequential(Dense(2, 3), Tanh(), Dropout(0.5), Dense(3, 1)).initialize(1)
    kept = target[3].weight.value.copy()  # type: ignore[attr-defined]
    unmatched = load_weights(target, tmp_path / "w", strict=False)
    assert unmatched.missing == ["3.weight", "3.bias"]
    assert sorted(unmatched.extra) == sorted(
        f"2.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))
    np.testing.assert_array_equal(target[0].weight.value, model[0].weight.value)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(target[3].weight.value, kept)  # type: ignore[attr-defined]


def test_a_cast_is_made_only_when_asked_for(tmp_path: Path) -> None:
    model = small()
    save_weights(model, tmp_path / "w")
    target = small().astype(np.float32)
    assert "expected dtype float32, got float64; to convert it, load_weights(…, cast=True)" in raised(
        lambda: load_weights(target, tmp_path / "w"))
    load_weights(target, tmp_path / "w", cast=True)
    for name, parameter in target.named_parameters().items():
        assert parameter.dtype == np.float32
        np.testing.assert_array_equal(parameter.value, model.named_parameters()[name].value.astype(np.float32))
    model[0].weight.value[0, 0] = 1e300  # type: ignore[attr-defined]
    save_weights(model, tmp_path / "w")
    assert "finite numbers in float32" in raised(lambda: load_weights(target, tmp_path / "w", cast=True))
    write(tmp_path / "w", {"weight": np.ones((1, 1), np.int64), "bias": np.ones(1)}, {})
    assert "expected dtype float64, got int64" in raised(lambda: load_weights(Dense(1, 1), tmp_path / "w", cast=True))


def test_weights_come_from_a_mapping_of_arrays_too() -> None:
    layer = Dense(2, 3, dtype=np.float32)
    value = np.arange(6, dtype=np.float32).reshape(3, 2)
    weights: dict[str, Any] = {"weight": value, "bias": np.ones(3, np.float32)}
    assert load_weights(layer, weights) == ([], [])
    value[0, 0] = 7
    assert layer.weight.value.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert load_weights(layer, {"bias": [1, 2, 3.5], "gain": [1]}, strict=False, cast=True) == (["weight"], ["gain"])
    assert layer.bias.value.tolist() == [1, 2, 3.5]
    norm, mean = BatchNorm(2), np.ones(2)
    load_weights(norm, {"running_mean": mean}, strict=False)
    mean[0] = 7
    assert norm.running_mean.value.tolist() == [1, 1]
    for bad, words in (
        ({**weights, "bias": np.ones(2, np.float32)}, 'tensor "bias": expected shape (3,), got (2,)'),
        ({**weights, "bias": np.ones(3)}, 'tensor "bias": expected dtype float32, got float64; to convert it'),
        ({**weights, "bias": ["a", "b", "c"]}, 'tensor "bias": expected dtype float32, got str'),
        ({**weights, "bias": np.array([1, np.nan, 1], np.float32)}, 'tensor "bias": expected finite numbers'),
        ({"weight": value}, "expected the tensors of the model, got missing 'bias'"),
        ({**weights, "gain": value}, "expected the tensors of the model, got extra 'gain'"),
    ):
        found = raised(lambda bad=bad: load_weights(layer, bad))  # type: ignore[misc]
        assert found.startswith(f"load_weights: {words}")
        assert layer.bias.value.tolist() == [1, 2, 3.5]


def test_one_custom_class_or_function_needs_no_list(tmp_path: Path) -> None:
    save(ScaledTanh(0.5), tmp_path / "m")
    assert isinstance(load(tmp_path / "m", custom=ScaledTanh), ScaledTanh)
    save(Activation(cube, np.cos), tmp_path / "m")
    loaded = load(tmp_path / "m", custom=cube)
    assert isinstance(loaded, Activation)
    assert loaded.function is cube
    for bad in (3, "cube", None, partial(cube), small(), type):
        with pytest.raises(DTypeError, match="custom: expected classes of layers, merges or initializers, and func"):
            load(tmp_path / "m", custom=bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_taken_only_when_asked_for(bad: float, tmp_path: Path) -> None:
    model = small()
    model[0].bias.value[1] = bad  # type: ignore[attr-defined]
    save(model, tmp_path / "m")
    assert '"0.bias": expected finite numbers in float64, got 1 of 3' in raised(lambda: load(tmp_path / "m"))
    assert '"0.bias"' in raised(lambda: load_weights(small(), tmp_path / "m"))
    same_state(model, load(tmp_path / "m", allow_nonfinite=True))
    other = small()
    load_weights(other, tmp_path / "m", allow_nonfinite=True)
    same_state(model, other)


def test_a_shared_weight_takes_either_name_but_not_two_values(tmp_path: Path) -> None:
    one, two = Dense(2, 2), Dense(2, 2)
    two.weight = one.weight
    tied = Sequential(one, two).initialize(0)
    value = np.arange(4.0).reshape(2, 2)
    biases = {"0.bias": np.zeros(2), "1.bias": np.ones(2)}
    write(tmp_path / "w", {"1.weight": value, **biases}, {})
    load_weights(tied, tmp_path / "w")
    np.testing.assert_array_equal(one.weight.value, value)
    write(tmp_path / "w", {"0.weight": value, "1.weight": value, **biases}, {})
    load_weights(tied, tmp_path / "w")
    write(tmp_path / "w", {"0.weight": value, "1.weight": value + 1, **biases}, {})
    assert '"1.weight": expected what "0.weight" holds' in raised(lambda: load_weights(tied, tmp_path / "w"))
    assert two.weight is one.weight
    save(tied, tmp_path / "m")
    free = Sequential(Dense(2, 2), Dense(2, 2))
    load_weights(free, tmp_path / "m")
    np.testing.assert_array_equal(free[1].weight.value, value)  # type: ignore[attr-defined]


def test_a_tied_file_of_torch_loads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).double()
    theirs[1].weight = theirs[0].weight
    files.save_model(theirs, str(tmp_path / "theirs"))
    one, two = Dense(3, 3), Dense(3, 3)
    two.weight = one.weight
    ours = Sequential(one, two)
    load_weights(ours, tmp_path / "theirs")
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-12)
    save(ours, tmp_path / "ours")
    files.load_model(theirs, str(tmp_path / "ours"))


def test_an_optimizer_goes_on_after_weights_are_loaded(tmp_path: Path) -> None:
    model = small()
    optimizer = SGD(model.parameters(), learning_rate=0.5)
    save_weights(small().initialize(3), tmp_path / "w")
    load_weights(model, tmp_path / "w")
    before = model[0].weight.value.copy()  # type: ignore[attr-defined]
    model.forward(np.array([[0.0, 1.0], [1.0, 0.5]]))
    model.backward(np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    grad = model[0].weight.grad.copy()  # type: ignore[attr-defined]
    optimizer.step()
    np.testing.assert_allclose(model[0].weight.value, before - 0.5 * grad, rtol=1e-14)  # type: ignore[attr-defined]


def test_a_run_keeps_its_own_tensors_beside_the_model(tmp_path: Path) -> None:
    model = small()
    tensors, metadata = model_state(model)
    slots = {"training:momentum": np.full(7, np.inf)}
    write(tmp_path / "run", {**tensors, **slots}, {**metadata, "training": {"epoch": 3}})
    same_state(model, load(tmp_path / "run"))
    load_weights(small(), tmp_path / "run")
    back = read(tmp_path / "run")
    assert back.metadata is not None
    assert back.metadata["training"] == {"epoch": 3}
    np.testing.assert_array_equal(back.tensors["training:momentum"], slots["training:momentum"])


def test_importing_minidl_does_not_import_the_files() -> None:
    program = (
        "import sys, minidl; assert 'minidl._files' not in sys.modules; assert 'save' in dir(minidl); minidl.save; "
        "assert 'minidl._files' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        getattr(minidl, "laod")  # noqa: B009


def test_the_limits_of_a_model_hold(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save(Sequential(*[Dense(1, 1) for _ in range(1999)]), path)
    assert len(load(path).parameters()) == 2 * 1999
    with pytest.raises(ArgumentError, match="saving: expected at most 2,000 layers and merges in a model, got 2,001"):
        save(Sequential(*[Dense(1, 1) for _ in range(2000)]), path)
    deep: Layer = Dense(1, 1)
    for _ in range(50):
        deep = Graph({"a": (deep, "x")}, output="a")
    save(deep, path)
    assert (load(path).predict([[1.0]]) == deep.predict([[1.0]])).all()  # type: ignore[arg-type]


def test_calls_in_the_wrong_order_and_wrong_weights_are_refused_by_name() -> None:
    layer, another, file = Dense(2, 1), cast(Any, Dense(2, 1)), cast(Any, "model")
    held, ragged = cast(Any, layer.named_parameters()), cast(Any, {"weight": [[1.0], [2.0, 3.0]]})
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: save(file, another), "save(model): expected a Layer, got 'model'"),
        (lambda: save_weights(file, another), "save_weights(model): expected a Layer, got 'model'"),
        (lambda: load_weights(file, another), "load_weights(model): expected a Layer, got 'model'"),
        (lambda: load_weights(layer, another), "load_weights(source): expected a path, or a mapping"),
        (lambda: load_weights(layer, held), 'tensor "weight": expected an array, got Parameter(1, 2)'),
        (lambda: load_weights(layer, ragged), 'tensor "weight": expected rows of equal length'),
    ]
    for call, words in calls:
        with pytest.raises(MinidlError) as caught:
            call()
        assert words in str(caught.value)
