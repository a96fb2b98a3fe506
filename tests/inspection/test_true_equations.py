"""Equations in docstrings are true: numbers are put into them, and the results are compared with the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl import (
    L1,
    L2,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Buffer,
    ClipGlobalNorm,
    ClipNorm,
    ClipValue,
    Layer,
    Loss,
    NAdam,
    Parameter,
    RMSProp,
)
from minidl.inspection._equations import equations
from minidl.layers import Merge
from minidl.losses import GaussianNLL, Pinball
from minidl.optimizers import Clip, Penalty
from tests.campaigns.equations import built_in
from tests.inspection.calculator import calculate
from tests.support.conformance_table import TABLE

SYMBOLS: dict[str, dict[str, str]] = {
    "Dense": {"W": "weight", "b": "bias"},
    "PReLU": {"a": "weight"},
    "LeakyReLU": {"a": "slope"},
    "ELU": {"a": "alpha"},
    "Dropout": {"p": "rate"},
    "Activation": {"f": "function", "f_prime": "derivative"},
    "Huber": {"δ": "delta"},
    "Standardize": {"μ": "mean", "s": "deviation"},
    "Rescale": {"μ": "shift", "s": "scale"},
    "Pinball": {"q": "quantiles"},
    "ElementwiseLoss": {"f": "function", "f_prime": "derivative"},
    "RMSNorm": {"w": "weight", "ε": "epsilon"},
    "LayerNorm": {"w": "weight", "b": "bias", "ε": "epsilon"},
    "BatchNorm": {"w": "weight", "b": "bias", "ε": "epsilon"},
}
"""Maps each class to the attributes for which the symbols of its equations stand."""

NOT_PUT_IN = {"Columns", "Embedding", "Flatten", "Concat", "Residual", "Parallel", "Sequential", "Graph"}
"""Their equations have indices or other layers."""


def name(part: Any) -> str:
    return str(part.__name__)


def subject(part: type) -> Any:
    checks: Any = TABLE[part.__name__]()[0]
    return checks._run.args[0]


def known(part: Any) -> dict[str, Any]:
    attributes = {symbol: getattr(part, found, None) for symbol, found in SYMBOLS.get(type(part).__name__, {}).items()}
    kinds = (Parameter, Buffer)
    return {symbol: found.value if isinstance(found, kinds) else found for symbol, found in attributes.items()}


def assert_close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", [c for c in built_in(Layer) if c.__name__ not in NOT_PUT_IN], ids=name)
def test_the_equations_of_a_layer_are_true(kind: type) -> None:
    layer, (x,) = subject(kind).original(), subject(kind).inputs()
    for parameter in layer.parameters():
        parameter.value = parameter.value + np.linspace(0.1, 0.5, parameter.size).reshape(parameter.shape)
    axis = 0 if kind.__name__ == "BatchNorm" else 1
    given = known(layer) | {"mean": lambda values: values.mean(axis=axis, keepdims=True), "x": x}
    y = layer.forward(x)
    given["d_y"] = np.random.default_rng(1).normal(size=y.shape)
    given["m"] = y != 0.0  # the mask of Dropout
    dx = layer.backward(given["d_y"])
    product = "@" if kind.__name__ == "Dense" else "*"
    found = calculate([*equations(layer).forward, *equations(layer).backward], given, product)
    assert_close(found["y"], y)
    assert_close(found["d_x"], dx)
    for symbol, attribute in SYMBOLS.get(kind.__name__, {}).items():
        if isinstance(getattr(layer, attribute), Parameter):
            assert_close(found[f"d_{symbol}"], getattr(layer, attribute).grad)


@pytest.mark.parametrize("kind", [c for c in built_in(Merge) if c.__name__ not in NOT_PUT_IN], ids=name)
def test_the_equations_of_a_merge_are_true(kind: type) -> None:
    rng = np.random.default_rng(0)
    merge, xs, grad = kind(), rng.normal(size=(2, 5, 3)), rng.normal(size=(5, 3))
    y = merge.forward(*xs)
    lines = [*equations(merge).forward, *equations(merge).backward]
    found = calculate(lines, {"n": 2, "x1": xs[0], "x2": xs[1], "others": xs[1], "d_y": grad})
    assert_close(found["y"], y)
    assert_close(found["d_xi"], merge.backward(grad)[0])


@pytest.mark.parametrize("kind", built_in(Loss), ids=name)
def test_the_equations_of_a_loss_are_true(kind: type) -> None:
    loss, (a, y) = subject(kind).original(), subject(kind).inputs()
    lines = [*equations(loss).forward, *equations(loss).backward]
    given = {"a": a, "y": y, "N": len(a), "m": a.shape[1], **known(loss)}
    if isinstance(loss, GaussianNLL):
        given |= {"μ": a[:, :1], "s": a[:, 1:], "m": 1}
    if isinstance(loss, Pinball):
        given["q"] = np.array(loss.quantiles)
    found = calculate(lines, given)
    assert_close(found["e"], loss.forward(a, y))
    gradient = [found["d_μ"], found["d_s"]] if isinstance(loss, GaussianNLL) else [found["d_a"]]
    assert_close(np.concatenate(gradient, axis=1), loss.backward())


@pytest.mark.parametrize("kind", [L1, L2], ids=name)
def test_the_equations_of_a_penalty_are_true(kind: type[Penalty]) -> None:
    weight = Parameter(np.array([[1.0, -2.0], [0.0, 3.0]]))
    penalty = kind(0.3, [weight])
    penalty.backward()
    found = calculate([*equations(penalty).forward, *equations(penalty).backward], {"W": weight.value, "λ": 0.3})
    assert_close(found["e"], penalty.value())
    assert_close(found["d_W"], weight.grad)


@pytest.mark.parametrize("kind", [ClipValue, ClipNorm, ClipGlobalNorm], ids=name)
@pytest.mark.parametrize("limit", [1.5, 9.0])
def test_the_equations_of_a_clip_are_true(kind: type[Clip], limit: float) -> None:
    weight = Parameter(np.zeros(3))
    weight.grad += np.array([2.0, -3.0, 1.0])
    found = calculate(equations(kind).update, {"g": weight.grad.copy(), "c": limit})
    kind(limit)([weight])
    assert_close(found["g"], weight.grad)


OPTIMIZERS: list[Callable[[list[Parameter]], Any]] = [
    lambda p: SGD(p, 0.1),
    lambda p: SGD(p, 0.1, momentum=0.8, weight_decay=0.3),
    lambda p: SGD(p, 0.1, momentum=0.8, nesterov=True),
    lambda p: Adam(p, 0.1, weight_decay=0.3),
    lambda p: AdamW(p, 0.1, weight_decay=0.3),
    lambda p: NAdam(p, 0.1, weight_decay=0.3, momentum_decay=0.5),
    lambda p: Adagrad(p, 0.1, weight_decay=0.3),
    lambda p: RMSProp(p, 0.1, weight_decay=0.3),
    lambda p: RMSProp(p, 0.1, momentum=0.8),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_the_equations_of_an_optimizer_are_true(make: Callable[[list[Parameter]], Any]) -> None:
    rng = np.random.default_rng(0)
    weight = Parameter(rng.normal(size=(2, 3)))
    optimizer = make([weight])
    names = {
        "μ": "momentum", "nesterov": "nesterov", "β1": "beta1", "β2": "beta2", "ε": "epsilon", "ρ": "rho",
        "ψ": "momentum_decay", "λ": "weight_decay", "η": "learning_rate",
    }
    given = {symbol: getattr(optimizer, attribute, None) for symbol, attribute in names.items()}
    given |= {"W": weight.value.copy(), "m": 0.0, "v": 0.0, "s": 0.0, "p": 1.0}
    for t in (1, 2, 3):
        weight.grad += rng.normal(size=(2, 3))
        given |= {"d_W": weight.grad.copy(), "t": t}
        if isinstance(optimizer, NAdam):
            given["μt"], given["μt_next"] = [0.9 * (1 - 0.5 * 0.96 ** (step * 0.5)) for step in (t, t + 1)]
        given = calculate(equations(optimizer).update, given)
        optimizer.step()
        assert_close(weight.value, given["W"])


def test_a_wrong_equation_does_not_pass_as_true() -> None:
    right, wrong = "∂e/∂x = ∂e/∂y ∘ (1 − y²)", "∂e/∂x = ∂e/∂y ∘ (1 − y)"
    given = {"d_y": np.array([[2.0, 3.0]]), "y": np.array([[0.5, -0.5]])}
    assert calculate([right], given)["d_x"].tolist() == [[1.5, 2.25]]
    assert calculate([wrong], given)["d_x"].tolist() == [[1.0, 4.5]]
