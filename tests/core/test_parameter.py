from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from minidl import SGD, Buffer, Dense, HalfSquaredError, Parameter, Sequential, Tanh, mlp
from minidl.errors import ArgumentError, CallOrderError, DTypeError, ShapeError
from minidl.initializers import Normal, Zeros
from minidl.optimizers import ParameterVector


def pair() -> tuple[Parameter, Parameter]:
    return Parameter([[1.0, 2.0], [3.0, 4.0]]), Parameter([5.0, 6.0])


def test_a_value_is_copied_in() -> None:
    own = np.array([1.0, 2.0])
    parameter = Parameter(own)
    own[0] = 9.0
    assert parameter.value.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "dtype"), [(1, "f8"), ([1.0], "f8"), (np.ones(2, "f4"), "f4"), (np.ones(2, "f2"), "f8")]
)
def test_the_dtype_is_the_values_own_where_it_has_one(value: Any, dtype: str) -> None:
    parameter = Parameter(value)
    assert parameter.dtype == parameter.value.dtype == parameter.grad.dtype == np.dtype(dtype)


def test_an_initializer_draws_the_shape_from_the_seed() -> None:
    drawn = Parameter(Normal(), (3, 2)).initialize(4)
    assert drawn.shape == (3, 2)
    assert drawn.size == 6
    assert repr(drawn) == "Parameter(3, 2)"
    assert (drawn.value == Parameter(Normal(), (3, 2)).initialize(4).value).all()
    assert (drawn.value != Parameter(Normal(), (3, 2)).initialize(5).value).all()


def test_initialize_draws_again_or_returns_to_the_value() -> None:
    drawn, given = Parameter(Normal(), (3,)).initialize(0), Parameter([1.0, 2.0])
    before = drawn.value.copy()
    given.value = np.zeros(2)
    for parameter in (drawn, given):
        parameter.initialize(np.random.default_rng(9))
    assert (drawn.value != before).all()
    assert given.value.tolist() == [1.0, 2.0]


def test_assigning_a_value_copies_the_numbers_into_the_same_storage() -> None:
    parameter = Parameter([1.0, 2.0])
    storage = parameter.value
    new = np.array([3.0, 4.0])
    parameter.value = new
    new[0] = 9.0
    assert parameter.value is storage
    assert storage.tolist() == [3.0, 4.0]


def test_gradients_start_at_zero_and_add_up() -> None:
    parameter = Parameter([1.0, 2.0])
    assert parameter.grad.tolist() == [0.0, 0.0]
    parameter.grad += np.array([1.0, 2.0])
    parameter.grad += np.array([10.0, 20.0])
    assert parameter.grad.tolist() == [11.0, 22.0]
    parameter.zero_grad()
    assert parameter.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("look", [False, True])
def test_every_way_to_add_a_gradient_agrees_in_every_order(look: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5)), rng.normal(size=(5, 3))
    ways: dict[str, Callable[[Parameter], object]] = {
        "p": lambda parameter: parameter.add_product(a, b),
        "g": lambda parameter: parameter.add_grad(a @ b),
        "i": lambda parameter: np.add(parameter.grad, a @ b, out=parameter.grad),
    }

    def plus_product(parameter: Parameter) -> None:
        parameter.grad += a @ b

    ways["+"] = plus_product
    for order in product(ways, repeat=3):
        parameter = Parameter(np.ones((2, 3)))
        vector = ParameterVector([parameter])
        for _ in range(2):
            for kind in order:
                ways[kind](parameter)
                if look:
                    repr(parameter.grad)
            vector.complete()
            expected = (a @ b + a @ b) + a @ b
            assert np.array_equal(vector.gradients.reshape(2, 3), expected)
            assert np.array_equal(parameter.grad, expected)
            vector.use_up()
            assert not parameter.has_grad


def test_rows_that_are_added_in_place_are_a_gradient() -> None:
    parameter = Parameter(np.ones((3, 2)))
    assert not parameter.has_grad
    parameter.grad[1] += 2.0
    assert parameter.has_grad
    parameter.zero_grad()
    assert not parameter.has_grad


def test_gradients_of_a_single_number() -> None:
    parameter = Parameter(2.0)
    parameter.add_product(np.arange(4.0), np.ones(4))
    parameter.add_grad(np.float64(1.0))
    parameter.grad += 1.5
    assert parameter.shape == ()
    assert float(parameter.grad) == 8.5


def test_a_gradient_of_another_shape_is_not_broadcast_into_place() -> None:
    for held in (False, True):
        parameter = Parameter(np.ones((2, 3)))
        if held:
            assert parameter.grad.shape == (2, 3)
        with pytest.raises(ValueError, match=r"broadcast|output array"):
            parameter.add_product(np.ones((3, 2)), np.ones((2, 3)))


def test_reading_a_gradient_changes_nothing() -> None:
    model = mlp([2, 3, 1], rng=0)
    optimizer = SGD(model.parameters(), learning_rate=0.1)
    loss, x, y = HalfSquaredError(), np.ones((4, 2)), np.ones((4, 1))

    def train(look: bool) -> list[list[float]]:
        model.initialize(0)
        held = []
        for _ in range(3):
            loss.forward(model.forward(x), y)
            model.backward(loss.backward())
            if look:
                held = [parameter.grad for parameter in model.parameters()]
                kept = [grad.copy() for grad in held]
            optimizer.step()
            if look:
                assert any(grad.any() for grad in kept)
                assert not any(grad.any() for grad in held)  # step() clears what somebody holds ...
                before = [grad.copy() for grad in held]
                assert not any(parameter.grad.any() for parameter in model.parameters())
                assert all(np.array_equal(a, b) for a, b in zip(before, held, strict=True))  # ... and a look nothing.
                with pytest.raises(CallOrderError, match="no parameter has a gradient"):
                    optimizer.step()
        return [parameter.value.tolist() for parameter in model.parameters()]

    assert train(look=False) == train(look=True)


def test_an_optimizer_that_is_made_after_backward_keeps_the_gradients() -> None:
    model = mlp([2, 3, 1], rng=0)
    loss, x, y = HalfSquaredError(), np.ones((4, 2)), np.ones((4, 1))
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    wanted = [parameter.value - 0.1 * parameter.grad for parameter in model.parameters()]
    SGD(model.parameters(), learning_rate=0.1).step()
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        assert np.array_equal(parameter.value, value)


def test_assigning_another_array_to_the_gradient_is_refused_with_the_remedy() -> None:
    parameter = Parameter([1.0, 2.0])
    for other in (np.ones(2), None):
        with pytest.raises(CallOrderError, match=r"expected `p.grad \+= g`"):
            parameter.grad = other  # type: ignore[assignment]


def test_a_gradient_takes_no_memory_until_it_is_needed() -> None:
    tracemalloc.start()
    parameter = Parameter(Zeros(), (1000, 1000))
    without = tracemalloc.get_traced_memory()[0]
    assert without < 9e6
    parameter.add_grad(2.0 * np.ones((1000, 1000)))
    assert tracemalloc.get_traced_memory()[0] > without + 7.9e6
    tracemalloc.stop()
    assert parameter.grad.sum() == 2e6


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((2, 1)), 1.0])
def test_assigning_a_value_of_another_shape_is_refused(bad: Any) -> None:
    parameter = Parameter([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"Parameter.value: expected shape \(2,\)"):
        parameter.value = bad
    assert parameter.value.tolist() == [1.0, 2.0]


def test_cast_moves_value_and_gradient() -> None:
    parameter = Parameter([0.1, 0.2])
    parameter.grad += np.array([1.0, 2.0])
    parameter.cast(np.float32)
    assert parameter.dtype == parameter.grad.dtype == np.float32
    assert parameter.value.tolist() == np.array([0.1, 0.2], np.float32).tolist()
    assert parameter.grad.tolist() == [1.0, 2.0]
    big = Parameter(1.0)
    big.grad += 1e300
    big.zero_grad()
    big.cast(np.float32)  # What is used up is not cast, and does not overflow.
    assert big.grad == 0.0


@pytest.mark.parametrize("dtype", [np.float16, int, complex, "nonsense", object])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(DTypeError, match="expected dtype float64 or float32"):
        Parameter([1.0], dtype=dtype)


@pytest.mark.parametrize(("value", "shape"), [(Zeros(), None), (1.0, (2,)), (Zeros, (2,)), ("zeros", (2,))])
def test_a_shape_and_an_initializer_go_together(value: Any, shape: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Parameter: .* initializer"):
        Parameter(value, shape)


@pytest.mark.parametrize("shape", [(-1, 2), (2, 2.5), ("2", 3)])
def test_a_shape_is_made_of_sizes(shape: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Parameter\(shape\): expected whole numbers of at least 0"):
        Parameter(Zeros(), shape)


def test_a_parameter_of_a_parameter_is_refused_with_the_remedy() -> None:
    with pytest.raises(ArgumentError, match="to share a parameter keep the object itself in both places"):
        Parameter(Parameter([1.0]))  # type: ignore[arg-type]


def test_the_vector_holds_values_in_order_and_parameters_become_views() -> None:
    w, b = pair()
    vector = ParameterVector([w, b])
    assert vector.values.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    vector.values[5] = 60.0
    w.value[0, 1] = 20.0
    assert b.value.tolist() == [5.0, 60.0]
    assert vector.values[1] == 20.0
    assert vector.slices() == [slice(0, 4), slice(4, 6)]


def test_gradients_are_complete_until_they_are_used_up() -> None:
    w, b = pair()
    vector = ParameterVector([w, b])
    b.grad += np.array([1.0, 2.0])
    vector.complete()
    assert vector.gradients.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 2.0]
    vector.complete()
    assert vector.gradients.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 2.0]
    vector.use_up()
    w.grad += np.ones((2, 2))
    vector.complete()
    assert vector.gradients.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    vector.use_up()
    with pytest.raises(CallOrderError, match="no parameter has a gradient"):
        vector.complete()


def test_making_a_vector_keeps_older_gradients() -> None:
    w, b = pair()
    w.grad += 1.0
    vector = ParameterVector([w, b])
    vector.complete()
    assert vector.gradients.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_shared_parameter_counts_once_and_gathers_both_gradients() -> None:
    w, b = pair()
    vector = ParameterVector([w, b, w])
    assert vector.parameters == [w, b]
    w.grad += 1.0
    w.grad += 2.0
    vector.complete()
    assert vector.gradients.tolist() == [3.0, 3.0, 3.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize("bad", [[], iter(())])
def test_no_parameters_are_refused(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="expected at least one parameter"):
        ParameterVector(bad)


@pytest.mark.parametrize("bad", [[np.ones(2)], [Dense(1, 1)], Dense(1, 1), Parameter(1.0), 3, Sequential(Dense(1, 1))])
def test_other_things_than_parameters_are_refused(bad: Any) -> None:
    with pytest.raises(DTypeError, match=r"Parameter objects, got .* pass model\.parameters\(\)"):
        ParameterVector(bad)


def test_mixed_dtypes_are_refused() -> None:
    with pytest.raises(DTypeError, match=r"expected every parameter in float64, got .* in float32"):
        ParameterVector([Parameter([1.0]), Parameter([1.0], dtype=np.float32)])


def network() -> Sequential:
    return Sequential(Dense(2, 3), Tanh(), Dense(3, 1)).initialize(rng=5)


X = np.random.default_rng(1).normal(size=(6, 2))
Y = np.random.default_rng(2).normal(size=(6, 1))


def train(model: Sequential, optimizer: SGD, steps: int) -> None:
    loss = HalfSquaredError()
    for _ in range(steps):
        loss.forward(model.forward(X), Y)
        model.backward(loss.backward())
        optimizer.step()


def weights(model: Sequential) -> list[float]:
    return [float(number) for p in model.parameters() for number in p.value.ravel()]


def test_two_optimizers_may_take_turns_on_the_same_parameters() -> None:
    model, plain = network(), network()
    first, second = SGD(model.parameters(), 0.1), SGD(model.parameters(), 0.05)
    one, other = SGD(plain.parameters(), 0.1), 0.05
    for _ in range(3):
        train(model, first, 2)
        train(model, second, 1)
        one.learning_rate = 0.1
        train(plain, one, 2)
        one.learning_rate = other
        train(plain, one, 1)
    assert weights(model) == weights(plain)
    assert first.vector.values.tolist() != second.vector.values.tolist()


def test_a_second_optimizer_on_some_parameters_leaves_the_first_one_working() -> None:
    model, plain = network(), network()
    whole, alone = SGD(model.parameters(), 0.1), SGD(plain.parameters(), 0.1)
    SGD(model[0].parameters(), 0.5)
    train(model, whole, 2)
    train(plain, alone, 2)
    assert weights(model) == weights(plain)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda things: pickle.loads(pickle.dumps(things))])
def test_a_copied_model_and_optimizer_learn_together_apart_from_the_originals(duplicate: Any) -> None:
    model = network()
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, optimizer, 2)
    before = weights(model)
    twin, its_optimizer = duplicate((model, optimizer))
    train(twin, its_optimizer, 3)
    assert weights(model) == before
    train(model, optimizer, 3)
    assert weights(twin) == weights(model)
    assert its_optimizer.vector.values.tolist() == weights(twin)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_model_has_parameters_of_its_own(duplicate: Any) -> None:
    model = network()
    SGD(model.parameters(), 0.1)
    twin = duplicate(model)
    before = weights(model)
    for parameter in twin.parameters():
        parameter.value[...] = 0.0
    assert weights(model) == before


def test_a_gradient_written_before_the_storage_moved_is_not_lost() -> None:
    model = network()
    optimizer = SGD(model.parameters(), 1.0)
    before = weights(model)
    model[2].parameters()[1].grad += 0.25
    optimizer.vector.parameters[0].cast(np.float64)
    optimizer.step()
    change = np.array(weights(model)) - before
    assert change.tolist() == [0.0] * (len(before) - 1) + [-0.25]


def test_an_assigned_value_is_what_the_next_step_starts_from() -> None:
    parameter = Parameter([1.0, 2.0])
    optimizer = SGD([parameter], 0.5)
    parameter.value = np.array([10.0, 20.0])
    parameter.grad += np.array([2.0, 4.0])
    optimizer.step()
    assert parameter.value.tolist() == [9.0, 18.0]


def test_a_parameter_whose_dtype_changed_is_refused_at_the_step() -> None:
    w, b = pair()
    optimizer = SGD([w, b], 0.1)
    b.cast(np.float32)
    w.grad += 1.0
    with pytest.raises(DTypeError, match="cast the model with astype before making the optimizer"):
        optimizer.step()


def test_buffers_are_cast_reset_and_keep_counts_whole() -> None:
    running, count = Buffer([1.0, 2.0]), Buffer(3)
    running.value += 5.0
    running.cast(np.float32)
    count.cast(np.float32)
    assert running.value.dtype == np.float32
    assert count.value.dtype.kind == "i"
    running.reset()
    assert running.value.tolist() == [1.0, 2.0]
    assert running.value.dtype == np.float32
    assert repr(running) == "Buffer(2,)"


def test_add_grad_broadcasts_and_refuses_as_the_sum_would() -> None:
    parameter = Parameter(np.zeros((2, 3)))
    for times in (1, 2):
        parameter.add_grad(np.array([1.0, 2.0, 3.0]))
        assert parameter.grad.tolist() == [[times, 2 * times, 3 * times]] * 2
    for first in (True, False):
        vector = Parameter(np.zeros(3))
        if not first:
            vector.add_grad(np.ones(3))
        with pytest.raises(ValueError, match="broadcast"):
            vector.add_grad(np.ones((1, 3)))
        assert vector.grad.tolist() == [0.0 if first else 1.0] * 3
