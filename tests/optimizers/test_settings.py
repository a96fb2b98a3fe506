"""What an optimizer remembers is declared; a setting that is changed later counts, or is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Adagrad, Adam, AdamW, Array, NAdam, Parameter, RMSProp
from minidl._core import threads
from minidl.errors import ArgumentError, CallOrderError, DTypeError, MinidlError
from minidl.optimizers import Optimizer
from tests.support.refusal import refused

MAKERS: dict[str, Callable[[list[Parameter]], Any]] = {
    "SGD": lambda parameters: SGD(parameters, 0.1),
    "SGD momentum": lambda parameters: SGD(parameters, 0.1, momentum=0.9),
    "SGD Nesterov": lambda parameters: SGD(parameters, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: Adam(parameters, 0.1),
    "AdamW": lambda parameters: AdamW(parameters, 0.1, weight_decay=0.1),
    "NAdam": lambda parameters: NAdam(parameters, 0.1),
    "Adagrad": lambda parameters: Adagrad(parameters, 0.1),
    "RMSProp": lambda parameters: RMSProp(parameters, 0.1),
    "RMSProp momentum": lambda parameters: RMSProp(parameters, 0.1, momentum=0.9),
}


def start(size: int = 12) -> Parameter:
    return Parameter(np.linspace(-1.0, 2.0, size).reshape(-1, 1))


def take_steps(optimizer: Optimizer, count: int, first: int = 0) -> Array:
    (parameter,) = optimizer.vector.parameters
    for number in range(first, first + count):
        parameter.grad += np.random.default_rng(number).normal(size=parameter.shape)
        optimizer.step()
    return parameter.value.copy()


@pytest.mark.parametrize("name", MAKERS)
def test_an_update_by_blocks_gives_the_bits_of_one_over_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = take_steps(MAKERS[name]([start()]), 5)
    monkeypatch.setattr(threads, "BLOCK", 5)
    assert take_steps(MAKERS[name]([start()]), 5).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.5, False), (0.5, True)])
def test_sgd_beyond_the_size_of_a_block_follows_its_equation(momentum: float, nesterov: bool) -> None:
    size = 2 * threads.BLOCK + 7
    parameter = start(size)
    optimizer = SGD([parameter], 0.1, momentum=momentum, nesterov=nesterov)
    w, v = parameter.value.ravel().copy(), np.zeros(size)
    for number in range(3):
        g = np.random.default_rng(number).normal(size=parameter.shape).ravel()
        v = momentum * v + g
        w = w - 0.1 * (g + momentum * v if nesterov else v)
    np.testing.assert_allclose(take_steps(optimizer, 3).ravel(), w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, NAdam, Adagrad, RMSProp])
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.5), (0.5, 0.0), (0.2, 0.7)])
def test_a_changed_weight_decay_counts_from_then_on(kind: Any, before: float, after: float) -> None:
    optimizer = kind([start()], 0.1, weight_decay=before)
    take_steps(optimizer, 3)
    wanted = kind([Parameter(optimizer.vector.parameters[0].value)], 0.1, weight_decay=after)
    for name, slot in wanted.slots().items():
        slot[...] = optimizer.slots()[name]
    wanted.restore_numbers(optimizer.numbers())
    optimizer.weight_decay = after
    assert optimizer.settings()["weight_decay"] == after
    assert len(optimizer.settings()["decayed"]) == bool(after)
    assert take_steps(optimizer, 3, 3).tobytes() == take_steps(wanted, 3, 3).tobytes()


def test_a_changed_weight_decay_reaches_the_chosen_parameters_alone() -> None:
    weight, bias = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    optimizer = SGD([weight, bias], 0.5, decayed=[bias])
    optimizer.weight_decay = 0.2
    weight.grad += 0.0
    optimizer.step()
    assert (weight.value == 1).all()
    assert (bias.value == 0.9).all()


@pytest.mark.parametrize("kind", [SGD, RMSProp])
def test_momentum_that_was_0_stays_0_since_there_is_no_velocity(kind: Any) -> None:
    optimizer = kind([start()], 0.1)
    with refused(ArgumentError, f"{kind.__name__}(momentum): expected 0", "velocity", "got 0.9", "new optimizer"):
        optimizer.momentum = 0.9
    optimizer.momentum = 0.0
    assert optimizer.momentum == 0.0
    assert optimizer.slots().keys() == kind([start()], 0.1).slots().keys()


def test_momentum_above_0_may_be_changed_and_may_become_0() -> None:
    optimizer = SGD([start(1)], 0.5, momentum=0.9)
    (parameter,) = optimizer.vector.parameters
    parameter.value = [[0.0]]
    w = v = 0.0
    for momentum in (0.9, 0.5, 0.0, 0.9):
        optimizer.momentum = momentum
        parameter.grad += 1.0
        optimizer.step()
        v = momentum * v + 1.0
        w -= 0.5 * v
        assert float(parameter.value[0, 0]) == pytest.approx(w, rel=1e-14)


def test_nesterov_may_be_switched() -> None:
    optimizer = SGD([start()], 0.1, momentum=0.9)
    other = SGD([start()], 0.1, momentum=0.9, nesterov=True)
    optimizer.nesterov = True
    assert take_steps(optimizer, 3).tobytes() == take_steps(other, 3).tobytes()


@pytest.mark.parametrize(
    ("name", "setting", "value", "error"),
    [
        ("SGD momentum", "momentum", 1.0, ArgumentError),
        ("SGD", "weight_decay", -1.0, ArgumentError),
        ("Adam", "beta1", 1.0, ArgumentError),
        ("Adam", "epsilon", 0.0, ArgumentError),
        ("RMSProp", "rho", "much", DTypeError),
    ],
)
def test_a_changed_setting_is_checked_as_in_the_constructor(name: str, setting: str, value: Any, error: Any) -> None:
    optimizer = MAKERS[name]([start()])
    before = getattr(optimizer, setting)
    with refused(error, f"({setting}): expected", f"got {value!r}"):
        setattr(optimizer, setting, value)
    assert getattr(optimizer, setting) == before


class Averaging(Optimizer):
    """m ← f m + g, W ← W − η m; f falls."""

    changing = ("factor",)

    def __init__(self, parameters: list[Parameter], learning_rate: float, factor: float = 0.9) -> None:
        super().__init__(parameters, learning_rate)
        self.factor = factor
        self.mean = self.slot()
        self._memory = np.zeros_like(self.vector.values)

    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        self.mean *= self.factor
        self.mean += gradients
        values -= learning_rate * self.mean
        self.factor *= 0.9


def test_slots_and_numbers_are_what_is_declared() -> None:
    optimizer = Averaging([start()], 0.1)
    take_steps(optimizer, 2)
    assert list(optimizer.slots()) == ["mean"]
    assert optimizer.slots()["mean"] is optimizer.mean
    assert optimizer.numbers() == {"learning_rate": 0.1, "steps": 2, "last_rate": 0.1, "factor": 0.9 * 0.9 * 0.9}
    assert "factor" not in optimizer.settings()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_has_slots_of_its_own(name: str, duplicate: Callable[[Any], Any]) -> None:
    optimizer = MAKERS[name]([start()])
    take_steps(optimizer, 2)
    again = duplicate(optimizer)
    assert again.slots().keys() == optimizer.slots().keys()
    assert take_steps(again, 2, 2).tobytes() == take_steps(optimizer, 2, 2).tobytes()


def test_an_array_that_looks_like_state_has_to_be_declared() -> None:
    optimizer: Any = Averaging([start()], 0.1)
    optimizer.speed = np.zeros_like(optimizer.vector.values)
    with refused(CallOrderError, "Averaging: expected 'speed' to be the vector that slot() made", "self.speed = self"):
        optimizer.slots()


def test_a_replaced_slot_is_refused() -> None:
    optimizer = Adam([start()])
    optimizer.first_moment = np.zeros_like(optimizer.first_moment)
    with refused(CallOrderError, "Adam: expected 'first_moment'", "self.first_moment[...] ="):
        optimizer.slots()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "NAdam", "Adagrad", "RMSProp"])
@pytest.mark.parametrize(
    ("rate", "error"),
    [(-0.1, ArgumentError), (0, ArgumentError), (np.nan, ArgumentError), ("0.1", DTypeError), (None, DTypeError),
     (float, DTypeError)],
)
def test_a_learning_rate_that_is_changed_later_is_checked(name: str, rate: Any, error: type[MinidlError]) -> None:
    optimizer = MAKERS[name]([start()])
    with refused(error, f"{name}(learning_rate): expected a"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 0.1
    optimizer.learning_rate = np.float32(0.5)
    take_steps(optimizer, 1)
    assert optimizer.last_rate == 0.5 == pickle.loads(pickle.dumps(optimizer)).learning_rate
