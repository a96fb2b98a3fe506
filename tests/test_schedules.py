"""Schedules against loops, PyTorch, and what their names promise."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from minidl import SGD, Parameter, schedules
from minidl.configuration import config_of, from_config
from minidl.errors import ArgumentError, DTypeError

EXAMPLES = [
    schedules.constant(0.1),
    schedules.step(0.1, every=30, factor=0.5),
    schedules.exponential(0.1, 0.9, every=10),
    schedules.cosine(0.1, steps=100, final=0.001),
    schedules.warmup(schedules.cosine(0.1, steps=80), steps=20),
    schedules.warmup(0.1, steps=20),
    schedules.one_cycle(0.1, steps=100),
]

each = pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)


@each
def test_can_be_pickled_copied_compared_and_read(schedule: Callable[[int], float]) -> None:
    read = eval(repr(schedule), vars(schedules))
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), read):
        assert twin == schedule
        assert [twin(n) for n in range(150)] == [schedule(n) for n in range(150)]


@each
def test_can_be_made_again_from_plain_arguments(schedule: Callable[[int], float]) -> None:
    assert from_config(type(schedule), config_of(schedule)) == schedule


@each
def test_never_below_zero_nor_above_its_highest(schedule: Callable[[int], float]) -> None:
    assert all(0.0 <= schedule(n) <= 0.1 + 1e-15 for n in range(500))


def test_differs_from_others() -> None:
    assert len(set(EXAMPLES)) == len(EXAMPLES)
    assert schedules.constant(0.1) != schedules.constant(0.2)
    assert schedules.constant(0.1) == schedules.constant(0.1)
    assert schedules.warmup(0.1, steps=20) != schedules.one_cycle(0.1, steps=20)


def test_constant_stays() -> None:
    assert {schedules.constant(0.3)(n) for n in range(1000)} == {0.3}


def test_step_drops_by_multiplying() -> None:
    schedule, rate = schedules.step(0.8, every=4, factor=0.5), 0.8
    for n in range(20):
        if n and n % 4 == 0:
            rate *= 0.5
        assert schedule(n) == rate


def test_exponential_multiplies_once_each_step() -> None:
    schedule, rate = schedules.exponential(0.8, 0.97), 0.8
    for n in range(50):
        assert schedule(n) == pytest.approx(rate, rel=1e-13)
        rate *= 0.97


def test_exponential_can_be_slow() -> None:
    schedule = schedules.exponential(0.8, 0.5, every=10)
    assert [schedule(n) for n in (0, 10, 30)] == pytest.approx([0.8, 0.4, 0.1])
    assert schedule(5) == pytest.approx(0.8 * math.sqrt(0.5))


def test_cosine_passes_through_its_ends_and_its_middle() -> None:
    schedule = schedules.cosine(0.5, steps=40, final=0.1)
    assert [schedule(n) for n in (0, 20, 40, 41, 10**9)] == pytest.approx([0.5, 0.3, 0.1, 0.1, 0.1], rel=1e-14)
    assert schedule(10) == pytest.approx(0.3 + 0.2 * math.sqrt(0.5), rel=1e-14)


def test_warmup_rises_evenly_and_then_follows_from_the_start() -> None:
    inner = schedules.cosine(0.6, steps=10)
    schedule = schedules.warmup(inner, steps=5)
    assert [schedule(n) for n in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [schedule(n + 5) for n in range(20)] == [inner(n) for n in range(20)]


def test_warmup_wraps_any_function() -> None:
    assert schedules.warmup(lambda n: 1.0 / (n + 1), steps=1)(0) == 0.5


def test_one_cycle_starts_peaks_and_ends_where_it_says() -> None:
    schedule = schedules.one_cycle(1.0, steps=100, rise=0.25, start_divisor=10.0, end_divisor=100.0)
    assert [schedule(n) for n in (0, 25, 100, 200)] == pytest.approx([0.1, 1.0, 0.001, 0.001], rel=1e-13)
    rates = [schedule(n) for n in range(101)]
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


@pytest.mark.parametrize(("schedule", "peer", "arguments"), [
    (schedules.step(0.1, every=30, factor=0.5), "StepLR", {"step_size": 30, "gamma": 0.5}),
    (schedules.exponential(0.1, 0.97), "ExponentialLR", {"gamma": 0.97}),
    (schedules.cosine(0.1, steps=100, final=0.001), "CosineAnnealingLR", {"T_max": 100, "eta_min": 0.001}),
    (schedules.warmup(0.1, steps=20), "LinearLR", {"start_factor": 1 / 21, "total_iters": 20}),
    # PyTorch counts the steps from 1 to 101 and the top among the rising ones.
    (schedules.one_cycle(0.1, steps=100, rise=0.3), "OneCycleLR",
     {"max_lr": 0.1, "total_steps": 101, "pct_start": 31 / 101}),
], ids=repr)
def test_agrees_with_pytorch(schedule: Callable[[int], float], peer: str, arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = getattr(torch.optim.lr_scheduler, peer)(optimizer, **arguments)
    for n in range(100):
        assert schedule(n) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-10)
        optimizer.step()
        theirs.step()


def test_an_optimizer_asks_with_the_number_of_steps_taken() -> None:
    parameter = Parameter(0.0)
    optimizer = SGD([parameter], schedules.warmup(0.4, steps=3))
    places = []
    for _ in range(4):
        parameter.grad += 1.0
        optimizer.step()
        places.append(float(parameter.value))
    assert places == pytest.approx([-0.1, -0.3, -0.6, -1.0])
    assert optimizer.last_rate == 0.4
    assert "warmup(schedule=0.4, steps=3)" in repr(optimizer)


def test_a_schedule_that_fails_is_named_with_its_step() -> None:
    optimizer = SGD([Parameter(0.0)], lambda n: -1.0)
    with pytest.raises(ArgumentError, match=r"SGD: learning rate at step 0: expected .*at least 0, got -1"):
        optimizer.current_rate()


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: schedules.constant(-1.0), ArgumentError, r"constant\(rate\)"),
    (lambda: schedules.constant("a"), DTypeError, r"constant\(rate\)"),  # type: ignore[arg-type]
    (lambda: schedules.step(0.1, every=0), ArgumentError, r"step\(every\): expected at least 1, got 0"),
    (lambda: schedules.step(0.1, every=1.5), DTypeError, r"step\(every\)"),  # type: ignore[arg-type]
    (lambda: schedules.step(0.1, 1, factor=-1), ArgumentError, r"step\(factor\)"),
    (lambda: schedules.exponential(0.1, 0.0), ArgumentError, r"exponential\(factor\).*above 0"),
    (lambda: schedules.cosine(math.nan, 10), ArgumentError, r"cosine\(initial\)"),
    (lambda: schedules.cosine(0.1, 10, -1.0), ArgumentError, r"cosine\(final\)"),
    (lambda: schedules.warmup(0.1, 0), ArgumentError, r"warmup\(steps\)"),
    (lambda: schedules.warmup(-0.1, 5), ArgumentError, r"warmup\(schedule\)"),
    (lambda: schedules.warmup(schedules.cosine, 5),  # type: ignore[arg-type]
     DTypeError, r"warmup\(schedule\).*cosine\(…\)"),
    (lambda: schedules.one_cycle(0.1, 10, rise=1.0), ArgumentError, r"one_cycle\(rise\).*below 1"),
    (lambda: schedules.one_cycle(0.1, 10, start_divisor=0.0), ArgumentError, r"one_cycle\(start_divisor\)"),
    (lambda: schedules.one_cycle(0.1, 10, end_divisor=-1.0), ArgumentError, r"one_cycle\(end_divisor\)"),
])
def test_wrong_arguments_are_named(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
