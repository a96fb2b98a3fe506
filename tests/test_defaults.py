"""Defaults: a program that does not give a number gets the one that is written here."""

from __future__ import annotations

from typing import Any

import pytest

from minidl import callbacks, initializers, layers, losses, optimizers, schedules
from minidl.layers import Dense

HELD = Dense(1, 1).parameters()
DEFAULTS: list[tuple[Any, dict[str, Any]]] = [
    # As in PyTorch.
    (optimizers.SGD(HELD, 0.5), {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False}),
    (optimizers.Adagrad(HELD), {"learning_rate": 0.01, "weight_decay": 0.0, "epsilon": 1e-10}),
    (optimizers.Adam(HELD), {"learning_rate": 0.001, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999,
                             "epsilon": 1e-8}),
    (optimizers.AdamW(HELD), {"learning_rate": 0.001, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999,
                              "epsilon": 1e-8}),
    (optimizers.NAdam(HELD), {"learning_rate": 0.002, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999,
                              "epsilon": 1e-8, "momentum_decay": 0.004}),
    (optimizers.RMSProp(HELD), {"learning_rate": 0.01, "weight_decay": 0.0, "rho": 0.99, "momentum": 0.0,
                                "epsilon": 1e-8}),
    (layers.BatchNorm(2), {"momentum": 0.1, "epsilon": 1e-5}),
    (layers.LayerNorm(2), {"epsilon": 1e-5}),
    (layers.LeakyReLU(), {"slope": 0.01}),
    (layers.ELU(), {"alpha": 1.0}),
    (layers.Dropout(), {"rate": 0.5}),
    (losses.Huber(), {"delta": 1.0}),
    (callbacks.ReduceOnPlateau(), {"factor": 0.1, "patience": 10, "min_delta": 0.0, "min_learning_rate": 0.0}),
    (schedules.OneCycle(0.1, steps=10), {"rise": 0.3, "start_divisor": 25.0, "end_divisor": 1e4}),
    (initializers.Orthogonal(), {"gain": 1.0}),
    (initializers.Normal(), {"mean": 0.0, "deviation": 1.0}),
    # Others.
    (layers.RMSNorm(2), {"epsilon": 1e-5}),
    (initializers.TruncatedNormal(), {"mean": 0.0, "deviation": 1.0, "cut": 2.0}),
    (callbacks.EarlyStopping(), {"patience": 10, "min_delta": 0.0, "restore_best": True, "monitor": "validation_loss"}),
    (callbacks.Checkpoint("."), {"every_epochs": 1, "keep_last": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("made", "defaults"), DEFAULTS, ids=[type(made).__name__ for made, _ in DEFAULTS])
def test_defaults(made: Any, defaults: dict[str, Any]) -> None:
    assert {name: getattr(made, name) for name in defaults} == defaults


def test_a_prelu_starts_with_the_slope_of_the_paper() -> None:
    assert layers.PReLU().initialize(0).weight.value.tolist() == [0.25]


def test_a_schedule_decreases_to_zero_or_by_ten() -> None:
    assert schedules.Cosine(0.5, steps=10)(10) == 0.0
    step = schedules.Step(0.5, steps=5)
    assert [step(n) for n in (4, 5, 10)] == pytest.approx([0.5, 0.05, 0.005])
