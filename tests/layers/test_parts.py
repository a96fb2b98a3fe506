from __future__ import annotations

import copy
from collections import OrderedDict, UserList, deque
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    BatchNorm,
    Buffer,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Parameter,
    Residual,
    Sequential,
    Tanh,
    Trainer,
    load,
    save,
)
from minidl.errors import CallOrderError, StructureError
from minidl.initializers import Normal
from minidl.layers._parts import children, named
from minidl.testing import check_layer
from tests.support.refusal import refused


class Toolbox(Layer):
    """Keep every kind of part in every kind of attribute."""

    def __init__(self) -> None:
        self.scale = Parameter(2.0)
        self.layers = [Dense(2, 2), (Tanh(), Dense(2, 2))]
        self.named = {"first": Dense(2, 2), "count": 3}
        self.mean = Buffer(np.zeros(2))
        self.rng = np.random.default_rng(0)
        self.again = self.scale
        self.label = "not a part"

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * self.scale.value

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._x)
        return grad * self.scale.value


def test_parts_are_found_by_looking_through_lists_tuples_and_dicts() -> None:
    assert [name for name, _ in children(Toolbox())] == [
        "scale", "layers.0", "layers.1.0", "layers.1.1", "named.first", "mean", "rng", "again",
    ]


def test_parameters_have_paths_and_a_shared_one_has_its_first() -> None:
    box = Toolbox()
    assert list(box.named_parameters()) == [
        "scale", "layers.0.weight", "layers.0.bias", "layers.1.1.weight", "layers.1.1.bias",
        "named.first.weight", "named.first.bias",
    ]
    assert box.parameters() == list(box.named_parameters().values())
    assert list(named(box, Buffer)) == ["mean"]
    assert list(named(box, np.random.Generator)) == ["rng"]


def test_names_in_a_sequential_are_those_of_the_same_torch_sequential() -> None:
    model = Sequential(Dense(2, 3), Tanh(), Sequential(Dense(3, 3), Tanh()), Dense(3, 1))
    assert list(model.named_parameters()) == [
        "0.weight", "0.bias", "2.0.weight", "2.0.bias", "3.weight", "3.bias",
    ]


def test_the_names_equal_those_of_torch() -> None:
    nn = pytest.importorskip("torch.nn")
    theirs = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Sequential(nn.Linear(3, 3), nn.Tanh()), nn.Linear(3, 1))
    ours = Sequential(Dense(2, 3), Tanh(), Sequential(Dense(3, 3), Tanh()), Dense(3, 1))
    assert {name: p.shape for name, p in ours.named_parameters().items()} == {
        name: tuple(p.shape) for name, p in theirs.named_parameters()}


def test_initialize_draws_parameters_resets_buffers_and_reseeds_generators() -> None:
    first, second = Toolbox(), Toolbox()
    for box, drawn in ((first, 5), (second, 2)):
        box.rng.random(drawn)
        box.mean.value += 1.0
        box.scale.value = 7.0
        box.scale.grad += 1.0
        assert box.initialize(rng=3) is box
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert (ours.value == theirs.value).all()
    assert float(first.scale.value) == 2.0
    assert float(first.scale.grad) == 0.0
    assert first.mean.value.tolist() == [0.0, 0.0]
    draw = first.rng.random(4)
    assert (draw == second.rng.random(4)).all()
    assert (draw != Toolbox().initialize(rng=4).rng.random(4)).all()


def test_initialize_takes_a_generator_and_goes_on_drawing_from_it() -> None:
    rng = np.random.default_rng(0)
    one = Dense(2, 2, bias_initializer=Normal()).initialize(rng)
    two = Dense(2, 2, bias_initializer=Normal()).initialize(rng)
    assert (one.weight.value != two.weight.value).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_astype_returns_a_copy_in_the_dtype_and_leaves_the_original_alone(dtype: Any) -> None:
    model = Sequential(Dense(2, 3), Tanh(), Dense(3, 1)).initialize(rng=0)
    before = [p.value.copy() for p in model.parameters()]
    twin = model.astype(dtype)
    assert twin.dtype == dtype
    assert twin.predict(np.ones((2, 2))).dtype == dtype
    for parameter in twin.parameters():
        parameter.value[...] = 0.0
    assert all((p.value == kept).all() for p, kept in zip(model.parameters(), before, strict=True))
    assert model.dtype == np.float64


def test_the_dtype_is_that_of_the_first_parameter_or_none() -> None:
    assert Tanh().dtype is None
    assert Sequential(Tanh()).dtype is None
    assert Sequential(Tanh(), Dense(1, 1, dtype=np.float32)).dtype == np.float32


def test_something_private_that_is_missing_is_a_call_out_of_order() -> None:
    box = Toolbox()
    with pytest.raises(CallOrderError, match=r"Toolbox: expected forward before backward; forward has not kept '_x'"):
        Residual(box).backward(np.ones((1, 2)))
    with pytest.raises(AttributeError, match="'Toolbox' object has no attribute '_x'"):
        box.backward(np.ones((1, 2)))
    with pytest.raises(CallOrderError, match=r"Dense: expected forward before backward; forward has not kept '_x'$"):
        Dense(2, 2).backward(np.ones((1, 2)))
    assert not hasattr(box, "_x")
    assert not hasattr(Dense(2, 2), "_x")
    with pytest.raises(AttributeError, match="'Toolbox' object has no attribute 'wieght'") as caught:
        box.wieght  # type: ignore[attr-defined]  # noqa: B018
    assert not isinstance(caught.value, CallOrderError)


def test_a_shared_parameter_stays_shared_in_a_copy() -> None:
    one, two = Dense(2, 2), Dense(2, 2)
    two.weight = one.weight
    twin = copy.deepcopy(Sequential(one, two))
    paths = list(twin.named_parameters())
    assert paths == ["0.weight", "0.bias", "1.bias"]


class Misspelt(Toolbox):
    @override
    def backward(self, grad: Array) -> Array:
        return grad * self._xx  # type: ignore[attr-defined, no-any-return]


def test_a_name_that_forward_keeps_under_another_spelling_is_suggested() -> None:
    layer = Misspelt()
    layer.forward(np.ones((1, 2)))
    with refused(CallOrderError, "forward has not kept '_xx'; did you mean '_x'?"):
        Residual(layer).backward(np.ones((1, 2)))


class Holds(Toolbox):
    """Keep a value in the attribute ``kept``."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept


class Pair(NamedTuple):
    first: Layer
    second: Layer


@pytest.mark.parametrize(
    ("kept", "paths"),
    [
        (OrderedDict(a=Dense(1, 1), b=Tanh()), ["kept.a.weight", "kept.a.bias"]),
        (Pair(Tanh(), Dense(1, 1)), ["kept.1.weight", "kept.1.bias"]),
        (MappingProxyType({"a": [Dense(1, 1)]}), ["kept.a.0.weight", "kept.a.0.bias"]),
    ],
    ids=["OrderedDict", "named tuple", "read-only mapping"],
)
def test_parts_are_found_in_every_kind_of_mapping_and_tuple(kept: Any, paths: list[str]) -> None:
    assert list(Holds(kept).named_parameters()) == paths


@pytest.mark.parametrize("kept", [{Dense(1, 1)}, frozenset([Parameter(1.0)]), deque([Tanh()]), [{Dense(1, 1)}],
                                  UserList([Dense(1, 1)]), {"a": Dense(1, 1)}.values()],
                         ids=["set", "frozenset", "deque", "set in a list", "UserList", "values of a dict"])
def test_parts_without_a_name_are_refused(kept: Any) -> None:
    with refused(StructureError, "expected layers and parameters in a list, a tuple or a mapping", "use a list"):
        Holds(kept).parameters()


@pytest.mark.parametrize(
    "kept", [{1: Parameter(1.0), "1": Parameter(2.0)}, {"a.0": Parameter(1.0), "a": [Parameter(2.0)]},
             {"a.weight": Parameter(1.0), "a": Dense(1, 1)}]
)
def test_two_parts_under_one_path_are_refused(kept: Any) -> None:
    with refused(StructureError, "two parts have the path", "rename one of the keys"):
        Holds(kept).named_parameters()


class Slotted(Layer):
    __slots__ = ("__private", "scale")

    def __init__(self) -> None:
        self.scale = Parameter(3.0)
        self.__private = Parameter(2.0)

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * self.scale.value * self.__private.value

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._x * self.__private.value)
        self.__private.grad += np.sum(grad * self._x * self.scale.value)
        return grad * self.scale.value * self.__private.value


def test_parts_in_slots_are_found_learned_copied_and_cast(tmp_path: Path) -> None:
    layer = Slotted()
    assert list(layer.named_parameters()) == ["_Slotted__private", "scale"]
    assert layer.astype(np.float32).dtype == np.float32
    assert np.array_equal(layer.predict(np.ones((1, 1))), [[6.0]])
    model = Sequential(Slotted())
    Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01)).fit(np.ones((8, 1)), np.zeros((8, 1)), epochs=1)
    assert all(parameter.value < before for parameter, before in zip(model.parameters(), (2.0, 3.0), strict=True))
    save(model, tmp_path / "m")
    loaded = load(tmp_path / "m", [Slotted])
    assert [parameter.value for parameter in loaded.parameters()] == [p.value for p in model.parameters()]


def test_layers_in_any_mapping_predict_and_leave_their_state(tmp_path: Path) -> None:
    class Ordered(Layer):
        def __init__(self) -> None:
            self.inner = OrderedDict(a=Dense(2, 2), b=BatchNorm(2), c=Dropout(0.5))

        @override
        def forward(self, x: Array) -> Array:
            for layer in self.inner.values():
                x = layer.forward(x)
            return x

        @override
        def backward(self, grad: Array) -> Array:
            for layer in reversed(self.inner.values()):
                grad = layer.backward(grad)
            return grad

    layer, x = Ordered(), np.random.default_rng(0).normal(size=(6, 2))
    a, b = layer.inner["a"], layer.inner["b"]
    assert isinstance(b, BatchNorm)
    assert np.array_equal(layer.predict(x), b.predict(a.predict(x)))
    assert b.running_mean.value.tolist() == [0.0, 0.0]
    check_layer(Ordered(), features=2)


class Gain(Sequential):
    """A chain with a gain of its own."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        self.gain = Parameter(0.5)

    @override
    def forward(self, x: Array) -> Array:
        self._y = super().forward(x)
        return self.gain.value * self._y

    @override
    def backward(self, grad: Array) -> Array:
        self.gain.grad += np.sum(grad * self._y)
        return super().backward(grad * self.gain.value)


def test_a_parameter_of_a_subclass_of_a_container_is_learned_saved_and_cast(tmp_path: Path) -> None:
    model = Gain(Dense(2, 1)).initialize(0)
    assert list(model.named_parameters()) == ["0.weight", "0.bias", "gain"]
    x = np.random.default_rng(0).normal(size=(8, 2))
    assert np.allclose(model.predict(x), 0.5 * model.layers[0].predict(x), rtol=1e-15)
    Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1)).fit(x, x[:, :1], epochs=2)
    assert model.gain.value != 0.5
    assert model.astype(np.float32).gain.dtype == np.float32
    save(model, tmp_path / "m")
    assert np.array_equal(load(tmp_path / "m", [Gain]).predict(x), model.predict(x))


class Late(Layer):
    """Make the parameter in the first pass."""

    @override
    def forward(self, x: Array) -> Array:
        if not hasattr(self, "scale"):
            self.scale = Parameter(np.ones(x.shape[1]))
        self._x = x
        return x * self.scale.value

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._x, axis=0)
        return grad * self.scale.value


def test_a_parameter_that_forward_makes_is_learned() -> None:
    model = Sequential(Late(), Tanh())
    x = np.random.default_rng(0).normal(size=(8, 2))
    assert model.parameters() == []
    model.forward(x)
    assert list(model.named_parameters()) == ["0.scale"]
    assert model.dtype == np.float64
    Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1)).fit(x, 0.3 * x, epochs=3)
    assert np.all(model.parameters()[0].value < 1.0)


class PredictsItself(Layer):
    """Write `predict`, and `forward` by it."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return self.factor * x

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        return self.predict(x)

    @override
    def backward(self, grad: Array) -> Array:
        return self.factor * grad[: self._rows]


class Bent(PredictsItself):
    """Override `forward` alone."""

    @override
    def forward(self, x: Array) -> Array:
        return super().forward(x) + 1.0


class Again(PredictsItself):
    """Override `predict` by the one behind it."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return super().predict(x) + 3.0


def test_a_layer_that_predicts_in_forward_and_its_subclasses_predict_right() -> None:
    x = np.ones((2, 3))
    for kind, wanted in ((PredictsItself, 2.0), (Bent, 3.0), (Again, 5.0)):
        assert np.array_equal(kind()(x), np.full((2, 3), wanted))
        assert np.array_equal(Sequential(kind()).predict(x), np.full((2, 3), wanted))
        assert np.array_equal(Residual(kind()).predict(x), np.full((2, 3), wanted + 1.0))
