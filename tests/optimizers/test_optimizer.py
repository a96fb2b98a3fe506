from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Array, Dense, Parameter, Sequential, Tanh
from minidl.errors import ArgumentError, CallOrderError, DTypeError
from minidl.optimizers import Optimizer
from tests.support.refusal import refused

SETTINGS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1},
    {"momentum": 0.5, "weight_decay": 0.1},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
]
STEPS = 12


def gradients(shape: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape) for _ in range(STEPS)]


def plain_loop(
    value: Any, steps: list[Any], rate: Callable[[int], float], *,
    momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0,
) -> list[float]:
    """Follow the equations number by number."""
    numbers = value.ravel().tolist()
    velocity = [0.0] * len(numbers)
    for step, gradient in enumerate(steps):
        for i, g in enumerate(gradient.ravel().tolist()):
            g += weight_decay * numbers[i]
            velocity[i] = momentum * velocity[i] + g
            numbers[i] -= rate(step) * (g + momentum * velocity[i] if nesterov else velocity[i])
    return numbers  # type: ignore[no-any-return]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("rate", [0.1, lambda step: 0.1 / (1 + step)])
def test_sgd_follows_its_equations(settings: dict[str, Any], rate: Any) -> None:
    weight, bias = Parameter(np.arange(6.0).reshape(2, 3)), Parameter([1.0, -2.0])
    start = weight.value.copy(), bias.value.copy()
    optimizer = SGD([weight, bias], rate, **settings)
    for gw, gb in zip(gradients((2, 3)), gradients((2,)), strict=True):
        weight.grad += gw
        bias.grad += gb
        optimizer.step()
    at = rate if callable(rate) else lambda step: rate
    assert weight.value.ravel().tolist() == pytest.approx(
        plain_loop(start[0], gradients((2, 3)), at, **settings), rel=1e-12, abs=1e-13)
    without_decay = {**settings, "weight_decay": 0.0}
    assert bias.value.tolist() == pytest.approx(
        plain_loop(start[1], gradients((2,)), at, **without_decay), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sgd_agrees_with_torch(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    parameter = Parameter(np.arange(6.0).reshape(2, 3))
    theirs = torch.tensor(parameter.value.copy(), requires_grad=True)
    ours = SGD([parameter], 0.05, **settings)
    peer = torch.optim.SGD([theirs], lr=0.05, **settings)
    for gradient in gradients((2, 3)):
        parameter.grad += gradient
        theirs.grad = torch.tensor(gradient)
        ours.step()
        peer.step()
        assert np.allclose(parameter.value, theirs.detach().numpy(), rtol=1e-12)


def test_heavy_ball_momentum_reaches_its_final_speed() -> None:
    parameter = Parameter([0.0])
    optimizer = SGD([parameter], 0.1, momentum=0.5)
    for _ in range(60):
        before = float(parameter.value[0])
        parameter.grad += 1.0
        optimizer.step()
    assert before - float(parameter.value[0]) == pytest.approx(0.1 / (1 - 0.5), rel=1e-12)


def test_weight_decay_draws_the_chosen_parameters_only() -> None:
    weight, bias = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    for decayed, kept in (([bias], weight), ([], weight), ([weight], bias)):
        weight.value, bias.value = np.ones((2, 2)), np.ones(2)
        optimizer = SGD([weight, bias], 0.5, weight_decay=0.2, decayed=decayed)
        weight.grad += 0.0
        optimizer.step()
        assert (kept.value == 1).all()
        for parameter in decayed:
            assert (parameter.value == 1 - 0.5 * 0.2).all()


def test_decaying_a_parameter_of_another_model_is_refused() -> None:
    with refused(ArgumentError, "SGD(decayed)", "is not among the parameters"):
        SGD([Parameter([1.0])], 0.1, weight_decay=0.1, decayed=[Parameter([2.0])])


def test_a_step_uses_the_gradients_up_and_a_second_one_is_refused() -> None:
    parameter = Parameter([1.0])
    optimizer = SGD([parameter], 0.1)
    with refused(CallOrderError, "step(): no parameter has a gradient", "model.backward(loss.backward())"):
        optimizer.step()
    parameter.grad += 1.0
    optimizer.step()
    with refused(CallOrderError, "step(): no parameter has a gradient"):
        optimizer.step()
    assert optimizer.steps == 1
    assert parameter.value.tolist() == [0.9]


def test_a_gradient_of_zero_is_a_gradient() -> None:
    parameter = Parameter([1.0])
    optimizer = SGD([parameter], 0.1)
    parameter.grad += 0.0
    optimizer.step()
    assert parameter.value.tolist() == [1.0]


def test_a_gradient_that_was_not_written_is_zero_and_not_the_previous_one() -> None:
    one, other = Parameter([1.0]), Parameter([1.0])
    optimizer = SGD([one, other], 0.5)
    one.grad += 1.0
    other.grad += 1.0
    optimizer.step()
    one.grad += 1.0
    optimizer.step()
    assert (one.value.tolist(), other.value.tolist()) == ([0.0], [0.5])


def test_a_shared_parameter_moves_once_by_the_sum() -> None:
    one, two = Dense(2, 2).initialize(0), Dense(2, 2).initialize(1)
    two.weight = one.weight
    model = Sequential(one, Tanh(), two)
    before = one.weight.value.copy()
    optimizer = SGD(model.parameters(), 0.5)
    model.forward(np.ones((3, 2)))
    model.backward(np.ones((3, 2)))
    gradient = one.weight.grad.copy()
    optimizer.step()
    assert (one.weight.value == before - 0.5 * gradient).all()


def test_parameters_that_are_not_given_stay_as_they_are() -> None:
    model = Sequential(Dense(2, 2), Tanh(), Dense(2, 1)).initialize(rng=0)
    frozen = [p.value.tobytes() for p in model[0].parameters()]
    optimizer = SGD(model[2].parameters(), 0.1)
    for _ in range(3):
        model.forward(np.ones((3, 2)))
        model.backward(np.ones((3, 1)))
        optimizer.step()
    assert [p.value.tobytes() for p in model[0].parameters()] == frozen


def test_an_update_does_not_write_to_the_gradients() -> None:
    for settings in SETTINGS[:3]:
        parameter = Parameter(np.ones((2, 2)))
        optimizer = SGD([parameter], 0.1, **settings)
        for _ in range(2):
            gradients = np.full(4, 3.0)
            optimizer.update(optimizer.vector.values, gradients, 0.1)
            assert (gradients == 3.0).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_float32_stays_float32(settings: dict[str, Any]) -> None:
    parameter = Parameter(np.ones((2, 2), np.float32))
    optimizer = SGD([parameter], 0.1, **settings)
    parameter.grad += 1.0
    optimizer.step()
    assert parameter.dtype == optimizer.vector.values.dtype == np.float32
    assert all(slot.dtype == np.float32 for slot in optimizer.slots().values())


def test_the_learning_rate_may_be_a_function_of_the_steps_taken() -> None:
    parameter = Parameter([0.0])
    optimizer = SGD([parameter], lambda step: [1.0, 0.5, 0.0][step])
    rates = []
    for _ in range(3):
        parameter.grad += 1.0
        optimizer.step()
        rates.append(optimizer.last_rate)
    assert rates == [1.0, 0.5, 0.0]
    assert parameter.value.tolist() == [-1.5]


@pytest.mark.parametrize(
    ("rate", "error"), [(-1.0, ArgumentError), (np.nan, ArgumentError), (np.inf, ArgumentError), ("1", DTypeError)]
)
def test_a_schedule_with_a_wrong_rate_is_refused_and_changes_nothing(rate: Any, error: Any) -> None:
    parameter = Parameter([1.0])
    optimizer = SGD([parameter], lambda step: rate)
    parameter.grad += 1.0
    with refused(error, "SGD: learning rate at step 0"):
        optimizer.step()
    assert parameter.value.tolist() == [1.0]


@pytest.mark.parametrize("argument", ["learning_rate", "momentum", "weight_decay"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(-0.1, ArgumentError), (np.nan, ArgumentError), (np.inf, ArgumentError), ("0.1", DTypeError), (None, DTypeError),
     (True, DTypeError)],
)
def test_arguments_are_checked(argument: str, value: Any, error: Any) -> None:
    with refused(error, f"SGD({argument}): expected", f"got {value!r}"):
        SGD([Parameter([1.0])], **{"learning_rate": 0.1, argument: value})


def test_zero_is_no_learning_rate_one_is_no_momentum_and_nesterov_needs_some() -> None:
    parameters = [Parameter([1.0])]
    with refused(ArgumentError, "SGD(learning_rate): expected a finite number", "above 0, got 0"):
        SGD(parameters, 0)
    with refused(ArgumentError, "SGD(momentum)", "below 1"):
        SGD(parameters, 0.1, momentum=1.0)
    with refused(ArgumentError, "SGD(nesterov): expected a momentum above 0"):
        SGD(parameters, 0.1, nesterov=True)


class SignDescent(Optimizer):
    """W ← W − η sign(g), with a count of the signs as memory."""

    def __init__(self, parameters: Any, learning_rate: float) -> None:
        super().__init__(parameters, learning_rate)
        self.signs = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self.signs += np.sign(gradients)
        values -= learning_rate * np.sign(gradients)


def test_an_optimizer_of_ones_own_needs_update_only() -> None:
    parameter = Parameter([1.0, 1.0, 1.0])
    optimizer = SignDescent([parameter], 0.25)
    for _ in range(2):
        parameter.grad += np.array([3.0, -7.0, 0.0])
        optimizer.step()
    assert parameter.value.tolist() == [0.5, 1.5, 1.0]
    assert {name: slot.tolist() for name, slot in optimizer.slots().items()} == {"signs": [2.0, -2.0, 0.0]}
    assert repr(optimizer) == "SignDescent(3 numbers, learning_rate=0.25)"


def test_slots_are_what_is_remembered_and_nothing_else() -> None:
    parameters = [Parameter(np.ones((2, 2)))]
    assert list(SGD(parameters, 0.1, weight_decay=0.1).slots()) == []
    momentum = SGD(parameters, 0.1, momentum=0.9, weight_decay=0.1)
    parameters[0].grad += 2.0
    momentum.step()
    assert [slot.tolist() for slot in momentum.slots().values()] == [[2.1] * 4]
