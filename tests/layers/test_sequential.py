from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import ELU, Array, BatchNorm, Dense, Layer, LayerNorm, ReLU, Sequential, Sigmoid, Softmax, Tanh, mlp
from minidl.errors import ArgumentError, CallOrderError, DTypeError, ShapeError, StructureError
from minidl.initializers import Constant, Normal
from minidl.layers.base import trait
from tests.support.derivatives import complex_step, relative_error
from tests.support.refusal import refused

RNG = np.random.default_rng(0)
X, UPSTREAM = RNG.normal(size=(5, 2)), RNG.normal(size=(5, 3))


def network() -> Sequential:
    return Sequential(Dense(2, 4), Tanh(), Sequential(Dense(4, 4), Sigmoid()), Dense(4, 3)).initialize(rng=1)


def by_hand(x: Any, w: list[Any]) -> Any:
    hidden = np.tanh(x @ w[0].T + w[1])
    hidden = 1 / (1 + np.exp(-(hidden @ w[2].T + w[3])))
    return hidden @ w[4].T + w[5]


def test_it_computes_the_composition_of_its_layers() -> None:
    model = network()
    expected = by_hand(X, [p.value for p in model.parameters()])
    assert np.allclose(model.forward(X), expected, rtol=1e-14)
    assert (model.predict(X) == model.forward(X)).all()
    assert (model(X) == model.predict(X)).all()


def test_all_gradients_are_those_of_the_complex_step() -> None:
    model = network()
    w = [p.value.copy() for p in model.parameters()]
    model.forward(X)
    dx = model.backward(UPSTREAM)
    assert relative_error(dx, complex_step(lambda v: np.sum(UPSTREAM * by_hand(v, w)), X)) <= 1e-10
    for place, parameter in enumerate(model.parameters()):
        def error(v: Any, place: int = place) -> Any:
            return np.sum(UPSTREAM * by_hand(X, [*w[:place], v, *w[place + 1:]]))

        assert relative_error(parameter.grad, complex_step(error, w[place])) <= 1e-10


def test_float32_stays_float32_and_agrees_to_two_parts_in_a_thousand() -> None:
    exact = network()
    single = exact.astype(np.float32)
    y, y32 = exact.forward(X), single.forward(X.astype(np.float32))
    dx, dx32 = exact.backward(UPSTREAM), single.backward(UPSTREAM.astype(np.float32))
    assert y32.dtype == dx32.dtype == np.float32
    assert relative_error(y32, y) <= 2e-3
    assert relative_error(dx32, dx) <= 2e-3
    for ours, theirs in zip(single.parameters(), exact.parameters(), strict=True):
        assert ours.grad.dtype == np.float32
        assert relative_error(ours.grad, theirs.grad) <= 2e-3


@pytest.mark.parametrize("first", [[], [Tanh()], [Tanh(), Sigmoid()], [Sequential(Tanh())]])
def test_backward_parameters_gives_the_gradients_of_backward(first: list[Layer]) -> None:
    whole = Sequential(*copy.deepcopy(first), Dense(2, 4), Tanh(), Dense(4, 3)).initialize(rng=1)
    short = copy.deepcopy(whole)
    for model in (whole, short):
        model.forward(X)
    whole.backward(UPSTREAM)
    short.backward_parameters(UPSTREAM)
    for ours, theirs in zip(short.parameters(), whole.parameters(), strict=True):
        assert (ours.grad == theirs.grad).all()


def test_backward_parameters_of_a_chain_that_learns_nothing() -> None:
    model = Sequential(Tanh(), Sigmoid())
    model.forward(X)
    model.backward_parameters(X)
    assert model.parameters() == []


def test_the_input_is_cast_at_the_door_and_results_keep_the_dtype_of_the_model() -> None:
    single = network().astype(np.float32)
    for x in (X, X.astype(">f8"), (X * 100).astype(int), (X > 0), X.astype(np.float16), X.tolist()):
        assert single.predict(x).dtype == np.float32
    assert network().predict(X.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_single_batches(rows: int) -> None:
    model = network()
    assert np.allclose(model.forward(X[:rows]), model.predict(X)[:rows], rtol=1e-14)
    assert model.backward(UPSTREAM[:rows]).shape == (rows, 2)


def test_no_array_of_the_caller_is_written_to_or_shared_with_an_output() -> None:
    model = network()
    x, upstream = X.copy(), UPSTREAM.copy()
    x.flags.writeable = upstream.flags.writeable = False
    y = model.forward(x)
    dx = model.backward(upstream)
    assert (x == X).all()
    assert (upstream == UPSTREAM).all()
    arrays = [x, upstream, *[p.value for p in model.parameters()], *[p.grad for p in model.parameters()]]
    for array in arrays:
        assert not np.shares_memory(y, array)
        assert not np.shares_memory(dx, array)


def test_predict_between_forward_and_backward_leaves_the_backward_right() -> None:
    model, undisturbed = network(), network()
    model.forward(X)
    undisturbed.forward(X)
    model.predict(3 * X[:2])
    assert (model.backward(UPSTREAM) == undisturbed.backward(UPSTREAM)).all()


def test_permuting_the_rows_permutes_the_predictions() -> None:
    order = np.array([4, 2, 0, 1, 3])
    assert np.allclose(network().predict(X)[order], network().predict(X[order]), rtol=1e-13)


def test_it_is_a_sequence_of_its_layers() -> None:
    model = network()
    assert len(model) == 4
    assert [type(layer) for layer in model] == [Dense, Tanh, Sequential, Dense]
    assert model[0] is next(iter(model))
    assert model[-1] is model[3]
    head = model[:-1]
    assert isinstance(head, Sequential)
    assert [ours is theirs for ours, theirs in zip(head, model, strict=False)] == [True] * 3
    assert np.allclose(model[3:].predict(head.predict(X)), model.predict(X), rtol=1e-14)
    with pytest.raises(IndexError):
        model[4]


def test_inference_computes_what_predict_computes_and_disturbs_nothing() -> None:
    model, undisturbed = network(), network()
    model.forward(X)
    undisturbed.forward(X)
    frozen = model.inference()
    assert (frozen.forward(2 * X) == model.predict(2 * X)).all()
    assert frozen.parameters() == model.parameters()
    assert (model.backward(UPSTREAM) == undisturbed.backward(UPSTREAM)).all()


def test_two_layers_that_hold_the_same_parameter_add_up_their_gradients() -> None:
    one, two = Dense(2, 2).initialize(0), Dense(2, 2).initialize(1)
    two.weight = one.weight
    model = Sequential(one, Tanh(), two)
    upstream = RNG.normal(size=(5, 2))
    model.forward(X)
    model.backward(upstream)
    b, c = one.bias.value, two.bias.value
    expected = complex_step(lambda w: np.sum(upstream * (np.tanh(X @ w.T + b) @ w.T + c)), one.weight.value)
    assert relative_error(one.weight.grad, expected) <= 1e-10
    assert len(model.parameters()) == 3


def test_widths_are_known_without_data() -> None:
    model = network()
    assert (trait(model, "in_features"), model.output_features(2)) == (2, 3)
    anything = Sequential(Tanh(), Softmax())
    assert (trait(anything, "in_features"), anything.output_features(7)) == (None, 7)
    assert Sequential(Tanh(), Dense(3, 2)).in_features == 3


class Doubling(Layer):
    """Say nothing about widths: the container finds out by a pass of no rows."""

    @override
    def forward(self, x: Array) -> Array:
        return np.concatenate([x, x], axis=1)

    @override
    def backward(self, grad: Array) -> Array:
        left, right = np.split(grad, 2, axis=1)
        return left + right


def test_the_width_of_a_layer_that_says_nothing_is_found() -> None:
    assert Sequential(Dense(2, 3), Doubling(), Dense(6, 1)).output_features(2) == 1
    with refused(StructureError, 'Dense(3 -> 1) at "2": expected 3 features, Doubling() at "1" gives 6'):
        Sequential(Dense(2, 3), Doubling(), Dense(3, 1))


def test_sizes_that_do_not_chain_are_found_when_the_container_is_built() -> None:
    with refused(StructureError, 'Dense(4 -> 1) at "2": expected 4 features, ReLU() at "1" gives 3'):
        Sequential(Dense(2, 3), ReLU(), Dense(4, 1))
    with refused(StructureError, 'at "1": expected 4 features', 'at "0" gives 3'):
        Sequential(Sequential(Dense(2, 3)), Sequential(Dense(4, 1)))


def test_the_same_layer_twice_is_refused_at_any_depth_with_the_remedy() -> None:
    layer = Dense(2, 2)
    inner = Sequential(Tanh(), layer)
    for again, place in ((layer, "1"), (inner, "1.1")):
        with refused(StructureError, f'at "{place}" is the same object as at "0"', "hold the same Parameter"):
            Sequential(layer, again)


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ((), ArgumentError, "expected at least one layer"),
        ((Dense(2, 2), ReLU), DTypeError, '"1"'),
        ((Dense(2, 2), ReLU), DTypeError, "did you forget the parentheses of ReLU()?"),
        (([Dense(2, 2)],), DTypeError, '"0"'),
        (([Dense(2, 2), ReLU()],), DTypeError, "unpack the list with a star: Sequential(*layers)"),
        ((None,), DTypeError, "got None"),
    ],
)
def test_other_things_than_layers_are_refused(layers: Any, error: Any, words: str) -> None:
    with refused(error, "Sequential", words):
        Sequential(*layers)


@pytest.mark.parametrize("call", ["forward", "predict", "__call__"])
@pytest.mark.parametrize("shape", [(5, 3), (2,), (), (1, 5, 2)])
def test_a_wrong_width_or_rank_is_refused_at_the_door(call: str, shape: tuple[int, ...]) -> None:
    with refused(ShapeError, "Sequential: expected x of shape (batch, 2)", f"got {shape}"):
        getattr(network(), call)(np.ones(shape))


@pytest.mark.parametrize("call", ["backward", "backward_parameters"])
def test_backward_needs_a_forward_and_a_gradient_of_the_shape_of_the_output(call: str) -> None:
    model = network()
    with refused(CallOrderError, "Sequential: expected forward before backward"):
        getattr(model, call)(UPSTREAM)
    model.forward(X)
    with refused(ShapeError, "Sequential: expected a gradient of shape (5, 3), got (5, 2)"):
        getattr(model, call)(X)


class Broken(Layer):
    @override
    def forward(self, x: Array) -> Array:
        if len(x):
            raise ZeroDivisionError("broken on purpose")
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def test_an_error_in_a_layer_carries_the_path_to_it() -> None:
    model = Sequential(Dense(2, 2), Sequential(Tanh(), Sequential(Broken())))
    for call in (model.forward, model.predict):
        with pytest.raises(ZeroDivisionError) as caught:
            call(X)
        assert caught.value.__notes__ == ['at layer "1.1.0": Broken() with x of shape (5, 2)']


class Miswired(Tanh):
    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(grad)[:, :-1]


def test_an_error_in_a_backward_carries_the_path_as_well() -> None:
    model = Sequential(Dense(2, 3), Sequential(Dense(3, 3), Miswired()))
    for call in (model.backward, model.backward_parameters):
        model.forward(X)
        with refused(ShapeError, "expected a gradient of shape (5, 3), got (5, 2)", 'at layer "1.0": Dense(3 -> 3)'):
            call(UPSTREAM)


def test_repr_shows_layers_sizes_and_counts() -> None:
    assert repr(Sequential(Dense(2, 30), Sequential(Tanh(), Dense(30, 30)), Dense(30, 1))).splitlines() == [
        "Sequential(",
        "  0: Dense(2 -> 30)                         90",
        "  1: Sequential(",
        "    0: Tanh()",
        "    1: Dense(30 -> 30)                       930",
        "  )  930 parameters",
        "  2: Dense(30 -> 1)                         31",
        ")  1,051 parameters",
    ]


def test_mlp_is_dense_layers_with_activations_between_them() -> None:
    model = mlp([2, 8, 4, 1], activation=Sigmoid)
    assert [repr(layer) for layer in model] == [
        "Dense(2 -> 8)", "Sigmoid()", "Dense(8 -> 4)", "Sigmoid()", "Dense(4 -> 1)",
    ]
    assert [repr(layer) for layer in mlp([2, 3], output=Softmax)] == ["Dense(2 -> 3)", "Softmax()"]
    assert [repr(layer) for layer in mlp([2, 3, 1], activation=lambda: ELU(0.5))][1] == "ELU(0.5)"


def test_mlp_puts_normalization_and_dropout_into_hidden_layers_only() -> None:
    model = mlp([2, 8, 4, 1], normalization=BatchNorm, dropout=0.25, output=Sigmoid, dtype=np.float32, rng=0)
    assert [repr(layer) for layer in model] == [
        "Dense(2 -> 8)", "BatchNorm(8)", "ReLU()", "Dropout(0.25)",
        "Dense(8 -> 4)", "BatchNorm(4)", "ReLU()", "Dropout(0.25)",
        "Dense(4 -> 1)", "Sigmoid()",
    ]
    assert {parameter.dtype for parameter in model.parameters()} == {np.dtype(np.float32)}
    fine = mlp([2, 3, 1], normalization=lambda width: LayerNorm(width, epsilon=0.5))
    assert isinstance(fine[1], LayerNorm)
    assert fine[1].epsilon == 0.5
    again = mlp([2, 8, 4, 1], normalization=BatchNorm, dropout=0.25, output=Sigmoid, dtype=np.float32, rng=0)
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    assert (again.forward(x) == model.forward(x)).all()


def test_mlp_passes_initializers_dtype_and_seed_on() -> None:
    model = mlp([2, 3, 1], weight_initializer=Normal(), bias_initializer=Constant(0.5), dtype=np.float32, rng=0)
    again = mlp([2, 3, 1], weight_initializer=Normal(), bias_initializer=Constant(0.5), dtype=np.float32, rng=0)
    assert model.dtype == np.float32
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert (ours.value == theirs.value).all()
    assert (model.named_parameters()["0.bias"].value == 0.5).all()
    assert np.unique(model.named_parameters()["0.weight"].value).size == 6


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (([3],), {}, ArgumentError, "mlp(sizes): expected at least an input and an output size, got [3]"),
        ((3,), {}, DTypeError, "mlp(sizes): expected a list of widths such as [1, 20, 1], got 3"),
        (([3, 0],), {}, ArgumentError, "Dense(out_features): expected at least 1, got 0"),
        (([3, 2.0],), {}, DTypeError, "expected a whole number of at least 1, got 2.0"),
        (([3, 2, 1],), {"activation": "relu"}, DTypeError, "got 'relu'; give a class such as Tanh, without quotes"),
        (([3, 2, 1],), {"activation": ReLU()}, DTypeError, "got ReLU(); give a class such as ReLU, without quotes"),
        (([3, 2, 1],), {"normalization": BatchNorm(2)}, DTypeError, "mlp(normalization): expected a class of layers"),
        (([3, 2, 1],), {"normalization": lambda width: None}, DTypeError, "mlp(normalization): expected a Layer"),
        (([3, 2, 1],), {"normalization": lambda _: BatchNorm(3)}, StructureError, 'at "1": expected 3 features'),
        (([3, 2, 1],), {"dropout": 1.0}, ArgumentError, "mlp(dropout): expected a finite number"),
        (([3, 2, 1],), {"output": lambda: 3}, DTypeError, "expected a Layer"),
    ],
)
def test_mlp_checks_its_arguments(arguments: Any, options: Any, error: Any, words: str) -> None:
    with refused(error, words):
        mlp(*arguments, **options)
