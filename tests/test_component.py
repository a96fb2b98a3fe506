from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import Array, Buffer, Dense, Layer, Parameter, Sequential, Tanh
from minidl.errors import CallOrderError
from minidl.initializers import Normal
from tests.refusal import refused


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
    assert [name for name, _ in Toolbox().children()] == [
        "scale", "layers.0", "layers.1.0", "layers.1.1", "named.first", "mean", "rng", "again",
    ]


def test_parameters_have_paths_and_a_shared_one_has_its_first() -> None:
    box = Toolbox()
    assert list(box.named_parameters()) == [
        "scale", "layers.0.weight", "layers.0.bias", "layers.1.1.weight", "layers.1.1.bias",
        "named.first.weight", "named.first.bias",
    ]
    assert box.parameters() == list(box.named_parameters().values())
    assert list(box.named_buffers()) == ["mean"]
    assert list(box.named_generators()) == ["rng"]


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


def test_initialize_draws_each_parameter_once_resets_buffers_and_reseeds_generators() -> None:
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
    with pytest.raises(CallOrderError, match=r"Toolbox: expected forward before backward; forward has not kept '_x'$"):
        box.backward(np.ones((1, 2)))
    assert not hasattr(box, "_x")
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
        layer.backward(np.ones((1, 2)))
