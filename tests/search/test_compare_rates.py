"""`compare_rates`: compared with gradient descent on a parabola, whose largest stable rate is known."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import SGD, Dense, HalfSquaredError, Sequential, Trainer
from minidl.errors import ArgumentError, DTypeError
from minidl.search import compare_rates
from tests.search.common import X, Y, interrupting

DESIGN = np.hstack([X, np.ones_like(X)])
LIMIT = 2.0 / float(np.linalg.eigvalsh(DESIGN.T @ DESIGN / len(X))[-1])
"""The rate up to which gradient descent on all rows does not diverge: 2 over the largest eigenvalue."""

FACTORS = [0.05, 0.3, 0.9, 1.1, 3.0]


def line(learning_rate: float) -> Trainer:
    model = Sequential(Dense(1, 1)).initialize(rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate), rng=0)


def by_hand(rate: float, updates: int) -> float:
    """Return the loss after gradient descent on all rows, in a plain loop."""
    dense = line(rate).model[0]  # type: ignore[index]
    w = np.array([dense.weight.value[0, 0], dense.bias.value[0]])
    for _ in range(updates):
        w = w - rate * DESIGN.T @ (DESIGN @ w - Y[:, 0]) / len(X)
    return float(np.mean((DESIGN @ w - Y[:, 0]) ** 2) / 2)


def test_best_and_largest_stable_are_those_of_the_parabola(processes: ProcessPoolExecutor) -> None:
    for executor in (None, processes):
        rates = compare_rates(line, X, Y, rates=[LIMIT * factor for factor in reversed(FACTORS)], updates=40,
                              batch_size=24, executor=executor)
        assert rates.rates == [LIMIT * factor for factor in FACTORS]
        assert rates.largest_stable == LIMIT * 0.9
        expected = [by_hand(rate, 40) for rate in rates.rates]
        np.testing.assert_allclose(rates.after, expected, rtol=1e-9)
        np.testing.assert_allclose(rates.before, by_hand(0.1, 0), rtol=1e-9)
        assert rates.best == rates.rates[int(np.argmin(expected))]


@pytest.mark.parametrize("updates", [1, 3, 4, 5, 8, 11, 100])
def test_each_model_takes_exactly_the_updates(updates: int) -> None:
    made = []

    def build(rate: float) -> Trainer:
        made.append(line(rate))
        return made[-1]

    rows, size = (np.arange(120) % 24, 1) if updates == 100 else (np.arange(24), 6)  # 100: longer than a loop's turn
    compare_rates(build, X[rows], Y[rows], rates=[0.01, 0.1], updates=updates, batch_size=size)
    assert [trainer.optimizer.steps for trainer in made] == [updates, updates]


def test_a_rate_that_diverges_has_an_infinite_loss_and_is_marked() -> None:
    rates = compare_rates(line, X, Y, rates=[0.1, 1e200], updates=4, batch_size=6)
    assert rates.after[1] == inf
    assert (rates.best, rates.largest_stable) == (0.1, 0.1)
    head, first, second = (text.split() for text in str(rates).splitlines())
    assert head == ["learning", "rate", "loss", "before", "after"]
    assert first[0] == "0.1"
    assert first[3:] == ["best,", "largest", "stable"]
    assert second[2:] == ["-", "diverged"]


def test_a_smallest_rate_that_is_not_stable_leaves_none() -> None:
    assert compare_rates(line, X, Y, rates=[1.5 * LIMIT], updates=20, batch_size=24).largest_stable is None


def test_the_default_rates_are_one_two_and_five_of_each_power_of_ten() -> None:
    rates = compare_rates(line, X, Y, updates=1).rates
    assert rates[:4] == [1e-5, 2e-5, 5e-5, 1e-4]
    assert (rates[-1], len(rates)) == (10.0, 19)


def test_rates_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rates = compare_rates(line, X, Y, rates=[0.01, 0.1, 1e200], updates=4, batch_size=6)
    figure = rates.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    (legend,) = figure.legends
    labels = ["after the updates", "before", "best: 0.1", "diverged", "largest stable: 0.1"]
    assert sorted(text.get_text() for text in legend.get_texts()) == labels


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        compare_rates(lambda rate: interrupting(20), X, Y, rates=[0.1], updates=100_000, batch_size=1)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"rates": []}, ArgumentError, r"compare_rates\(rates\): expected at least one number, got none"),
        ({"rates": [0.1, 0.0]}, ArgumentError, r"compare_rates\(rates\): expected a finite number and above 0"),
        ({"rates": 0.1}, DTypeError, r"compare_rates\(rates\): expected a list of numbers, got 0.1"),
        ({"updates": 0}, ArgumentError, r"compare_rates\(updates\)"),
        ({"build": lambda rate: None}, DTypeError, "compare_rates: expected Trainers, got None as number 0"),
        ({"rates": [1e200, 1e250]}, ArgumentError, "a rate at which the training stays finite, .*try smaller ones"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        compare_rates(**{"build": line, "x": X, "y": Y, "updates": 4, "batch_size": 6, **changed})


def test_an_error_in_build_names_the_rate() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        compare_rates(lambda rate: line(1 // 0), X, Y, rates=[0.5])
    assert caught.value.__notes__ == ["in build(0.5)"]
