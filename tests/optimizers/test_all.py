"""Every optimizer against loops written from its equation, closed forms, PyTorch, and two functions to minimise."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minidl import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Array,
    Dense,
    HalfSquaredError,
    NAdam,
    Parameter,
    RMSProp,
    Sequential,
    Tanh,
    Trainer,
    schedules,
)
from minidl._training.snapshot import Snapshot
from minidl.errors import ArgumentError, CallOrderError, DTypeError
from minidl.optimizers import Optimizer

Loop = Iterator[float]

SHAPES = ((3, 2), (3,), (1, 3))


def sgd_loop(w: float, gradients: list[float], rate: float, decay: float, momentum: float, nesterov: bool) -> Loop:
    v = 0.0
    for g in gradients:
        g = g + decay * w
        v = momentum * v + g
        w = w - rate * (g + momentum * v if nesterov else v)
        yield w


def adagrad_loop(w: float, gradients: list[float], rate: float, decay: float) -> Loop:
    s = 0.0
    for g in gradients:
        g = g + decay * w
        s = s + g**2
        w = w - rate * g / (s**0.5 + 1e-10)
        yield w


def rmsprop_loop(w: float, gradients: list[float], rate: float, decay: float, rho: float, momentum: float) -> Loop:
    s = v = 0.0
    for g in gradients:
        g = g + decay * w
        s = rho * s + (1 - rho) * g**2
        v = momentum * v + g / (s**0.5 + 1e-8)
        w = w - rate * v
        yield w


def adam_loop(w: float, gradients: list[float], rate: float, decay: float, decoupled: bool) -> Loop:
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if decoupled:
            w = w - rate * decay * w
        else:
            g = g + decay * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
        yield w


def nadam_loop(w: float, gradients: list[float], rate: float, decay: float) -> Loop:
    m = v = 0.0
    mus = [0.9 * (1 - 0.5 * 0.96 ** (t * 0.004)) for t in range(1, len(gradients) + 2)]
    for t, g in enumerate(gradients, 1):
        g = g + decay * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        ahead = mus[t] * m / (1 - float(np.prod(mus[: t + 1]))) + (1 - mus[t - 1]) * g / (1 - float(np.prod(mus[:t])))
        w = w - rate * ahead / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
        yield w


class Case:
    """An optimizer with its arguments, its loop, and its counterpart in PyTorch."""

    def __init__(self, name: str, make: type[Optimizer], ours: dict[str, Any], loop: Callable[..., Loop],
                 of_loop: dict[str, Any], torch_name: str, of_torch: dict[str, Any]) -> None:
        self.name, self.make, self.ours, self.loop = name, make, ours, loop
        self.of_loop, self.torch_name, self.of_torch = of_loop, torch_name, of_torch

    def optimizer(self, parameters: list[Parameter], rate: Any, **more: Any) -> Any:
        return self.make(parameters, rate, **self.ours, **more)

    def __repr__(self) -> str:
        return self.name


CASES = [
    Case("SGD", SGD, {}, sgd_loop, {"momentum": 0.0, "nesterov": False}, "SGD", {}),
    Case("SGD momentum", SGD, {"momentum": 0.9}, sgd_loop, {"momentum": 0.9, "nesterov": False}, "SGD",
         {"momentum": 0.9}),
    Case("SGD Nesterov", SGD, {"momentum": 0.9, "nesterov": True}, sgd_loop, {"momentum": 0.9, "nesterov": True}, "SGD",
         {"momentum": 0.9, "nesterov": True}),
    Case("Adagrad", Adagrad, {}, adagrad_loop, {}, "Adagrad", {}),
    Case("RMSProp", RMSProp, {}, rmsprop_loop, {"rho": 0.99, "momentum": 0.0}, "RMSprop", {}),
    Case("RMSProp momentum", RMSProp, {"rho": 0.9, "momentum": 0.8}, rmsprop_loop, {"rho": 0.9, "momentum": 0.8},
         "RMSprop", {"alpha": 0.9, "momentum": 0.8}),
    Case("Adam", Adam, {}, adam_loop, {"decoupled": False}, "Adam", {}),
    Case("AdamW", AdamW, {}, adam_loop, {"decoupled": True}, "AdamW", {}),
    Case("NAdam", NAdam, {}, nadam_loop, {}, "NAdam", {}),
]
SLOTS = {
    "SGD": set(),
    "SGD momentum": {"velocity"},
    "SGD Nesterov": {"velocity"},
    "Adagrad": {"square_sum"},
    "RMSProp": {"square_mean"},
    "RMSProp momentum": {"square_mean", "velocity"},
    "Adam": {"first_moment", "second_moment"},
    "AdamW": {"first_moment", "second_moment"},
    "NAdam": {"first_moment", "second_moment"},
}

every = pytest.mark.parametrize("case", CASES, ids=repr)


def start(dtype: str = "float64") -> tuple[list[Parameter], list[list[Array]]]:
    """Make a few parameters, and a list of gradients for each, of very different sizes."""
    rng = np.random.default_rng(0)
    parameters = [Parameter(rng.normal(size=shape), dtype=dtype) for shape in SHAPES]
    gradients = [[(10.0 ** rng.uniform(-4, 2) * rng.normal(size=p.shape)).astype(dtype) for _ in range(50)]
                 for p in parameters]
    return parameters, gradients


def run(optimizer: Optimizer, parameters: list[Parameter], gradients: list[list[Array]]) -> None:
    for together in zip(*gradients, strict=True):
        for parameter, gradient in zip(parameters, together, strict=True):
            parameter.grad += gradient
        optimizer.step()


@every
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_agrees_with_a_loop_over_single_numbers(case: Case, decay: float) -> None:
    parameters, gradients = start()
    first = [parameter.value.copy() for parameter in parameters]
    run(case.optimizer(parameters, 0.01, weight_decay=decay), parameters, gradients)
    for parameter, values, own in zip(parameters, first, gradients, strict=True):
        decays = decay if parameter.value.ndim == 2 else 0.0
        for index in np.ndindex(parameter.shape):
            series = [float(g[index]) for g in own]
            *_, expected = case.loop(float(values[index]), series, 0.01, decays, **case.of_loop)
            assert parameter.value[index] == pytest.approx(expected, rel=1e-11, abs=1e-13)


@every
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_agrees_with_pytorch(case: Case, decay: float) -> None:
    torch = pytest.importorskip("torch")
    parameters, gradients = start()
    theirs = [torch.nn.Parameter(torch.tensor(parameter.value)) for parameter in parameters]
    ours = case.optimizer(parameters, 0.01, weight_decay=decay, decayed=parameters)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which NAdam keeps its product of momenta
    try:
        peer = getattr(torch.optim, case.torch_name)(theirs, lr=0.01, weight_decay=decay, **case.of_torch)
        for together in zip(*gradients, strict=True):
            for tensor, gradient in zip(theirs, together, strict=True):
                tensor.grad = torch.tensor(gradient)
            peer.step()
    finally:
        torch.set_default_dtype(usual)
    run(ours, parameters, gradients)
    for parameter, tensor in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(parameter.value, tensor.detach().numpy(), rtol=1e-11, atol=1e-13)


@every
def test_float32_stays_float32_and_follows_float64(case: Case) -> None:
    small, gradients = start("float32")
    optimizer = case.optimizer(small, 0.001)
    run(optimizer, small, gradients)
    large, _ = start("float64")
    for parameter, other in zip(large, start("float32")[0], strict=True):
        parameter.value = other.value.astype("float64")
    run(case.optimizer(large, 0.001), large, [[g.astype("float64") for g in own] for own in gradients])
    assert all(array.dtype == np.float32 for array in [optimizer.vector.values, *optimizer.slots().values()])
    for parameter, wanted in zip(small, large, strict=True):
        np.testing.assert_allclose(parameter.value, wanted.value, rtol=2e-3, atol=1e-4)


@every
def test_remembers_only_what_its_equation_names(case: Case) -> None:
    parameters, gradients = start()
    optimizer = case.optimizer(parameters, 0.01, weight_decay=0.1)
    run(optimizer, parameters, gradients)
    slots = optimizer.slots()
    assert set(slots) == SLOTS[case.name]
    assert all(slot.any() for slot in slots.values())


@every
def test_a_snapshot_brings_back_all_that_the_next_steps_depend_on(case: Case) -> None:
    model = Sequential(Dense(2, 3).initialize(0))
    optimizer = case.optimizer(model.parameters(), schedules.Exponential(0.1, 0.9, steps=1), weight_decay=0.1)
    gradients = [[np.full(p.shape, 0.3 * k + 0.1) for k in range(6)] for p in model.parameters()]
    run(optimizer, model.parameters(), gradients)
    snapshot = Snapshot(model, optimizer)
    run(optimizer, model.parameters(), gradients)
    expected = optimizer.vector.values.copy()
    snapshot.restore()
    assert not np.array_equal(optimizer.vector.values, expected)
    run(optimizer, model.parameters(), gradients)
    assert optimizer.vector.values.tobytes() == expected.tobytes()


@every
def test_a_step_allocates_no_vector(case: Case) -> None:
    parameter = Parameter(np.ones((200, 500)))
    optimizer = case.optimizer([parameter], 0.01, weight_decay=0.1)
    parameter.grad += 1.0
    optimizer.step()
    parameter.grad += 1.0
    tracemalloc.start()
    try:
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < parameter.value.nbytes / 20


@every
def test_update_leaves_the_gradients_as_they_are(case: Case) -> None:
    parameters, gradients = start()
    optimizer = case.optimizer(parameters, 0.01)
    run(optimizer, parameters, gradients)
    before = optimizer.vector.gradients.copy()
    optimizer.update(optimizer.vector.values, optimizer.vector.gradients, 0.01)
    assert np.array_equal(optimizer.vector.gradients, before)


def constant_gradient(optimizer: Optimizer, parameter: Parameter, gradient: float, steps: int) -> float:
    for _ in range(steps):
        parameter.grad += gradient
        optimizer.step()
    return float(parameter.value)


def test_sgd_on_a_parabola_shrinks_by_a_power() -> None:
    parameter = Parameter(2.0)
    optimizer = SGD([parameter], 0.1)
    for _ in range(20):
        parameter.grad += parameter.value
        optimizer.step()
    assert float(parameter.value) == pytest.approx(2.0 * 0.9**20, rel=1e-14)


def test_sgd_with_momentum_on_a_parabola_is_a_power_of_a_matrix() -> None:
    parameter = Parameter(2.0)
    optimizer = SGD([parameter], 0.1, momentum=0.8)
    for _ in range(20):
        parameter.grad += parameter.value
        optimizer.step()
    once = np.array([[1 - 0.1, -0.1 * 0.8], [1.0, 0.8]])  # (w, v) → (w − η (μ v + w), μ v + w)
    assert float(parameter.value) == pytest.approx(float((np.linalg.matrix_power(once, 20) @ [2.0, 0.0])[0]), rel=1e-13)


def test_adam_under_a_constant_gradient_moves_by_the_rate() -> None:
    parameter = Parameter(1.0)
    assert constant_gradient(Adam([parameter], 0.01), parameter, 3.0, 30) == pytest.approx(
        1.0 - 30 * 0.01 * 3.0 / (3.0 + 1e-8), rel=1e-13)


def test_adagrad_under_a_constant_gradient_sums_inverse_roots() -> None:
    parameter = Parameter(1.0)
    wanted = 1.0 + 0.1 * sum(t**-0.5 for t in range(1, 31))
    assert constant_gradient(Adagrad([parameter], 0.1), parameter, -3.0, 30) == pytest.approx(wanted, rel=1e-9)


def test_rmsprop_under_a_constant_gradient_has_a_geometric_mean_square() -> None:
    parameter = Parameter(1.0)
    wanted = 1.0 - 0.1 * sum((1 - 0.9**t) ** -0.5 for t in range(1, 31))
    assert constant_gradient(RMSProp([parameter], 0.1, rho=0.9), parameter, 3.0, 30) == pytest.approx(wanted, rel=1e-7)


def test_nadam_under_a_constant_gradient_follows_its_momenta() -> None:
    parameter = Parameter(1.0)
    wanted, product = 1.0, 1.0
    for t in range(1, 31):
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
        product *= now
        wanted -= 0.01 * (following * (1 - 0.9**t) / (1 - product * following) + (1 - now) / (1 - product))
    assert constant_gradient(NAdam([parameter], 0.01), parameter, 3.0, 30) == pytest.approx(wanted, rel=1e-7)


def test_adamw_without_a_gradient_decays_by_a_power() -> None:
    weight, bias = Parameter(np.full((2, 2), 5.0)), Parameter([5.0])
    optimizer = AdamW([weight, bias], 0.1, weight_decay=0.2)
    for _ in range(10):
        weight.grad += 0.0
        optimizer.step()
    np.testing.assert_allclose(weight.value, 5.0 * (1 - 0.1 * 0.2) ** 10, rtol=1e-13)
    assert bias.value == 5.0


def parabola(w: Array) -> Array:
    slope: Array = w - np.array([3.0, -2.0])
    return slope


def rosenbrock(w: Array) -> Array:
    return np.array([-2 * (1 - w[0]) - 400 * w[0] * (w[1] - w[0] ** 2), 200 * (w[1] - w[0] ** 2)])


LEARNING_RATES: dict[str, Any] = {
    "SGD": 2e-3,
    "SGD momentum": 1e-3,
    "SGD Nesterov": 1e-3,
    "Adagrad": 0.5,
    "RMSProp": schedules.Cosine(0.01, steps=8000),
    "RMSProp momentum": schedules.Cosine(0.01, steps=8000),
    "Adam": schedules.Cosine(0.02, steps=8000),
    "AdamW": schedules.Cosine(0.02, steps=8000),
    "NAdam": schedules.Cosine(0.02, steps=8000),
}


@every
@pytest.mark.parametrize(("gradient", "begin", "minimum"),
                         [(parabola, [0.0, 0.0], [3.0, -2.0]), (rosenbrock, [-1.2, 1.0], [1.0, 1.0])],
                         ids=["parabola", "Rosenbrock"])
def test_finds_the_minimum(case: Case, gradient: Callable[[Array], Array], begin: list[float],
                           minimum: list[float]) -> None:
    parameter = Parameter(begin)
    optimizer = case.optimizer([parameter], LEARNING_RATES[case.name])
    for _ in range(8000):
        parameter.grad += gradient(parameter.value)
        optimizer.step()
    np.testing.assert_allclose(parameter.value, minimum, atol=2e-3)


def test_weight_decay_reaches_the_chosen_parameters_alone() -> None:
    weight, bias = Parameter(np.ones((2, 2))), Parameter([1.0, 1.0])
    optimizer = Adam([weight, bias], 0.1, weight_decay=0.5, decayed=[bias])
    weight.grad += 0.0
    optimizer.step()
    assert np.array_equal(weight.value, np.ones((2, 2)))
    np.testing.assert_allclose(bias.value, 0.9)


def trained_head(optimizer: Callable[[list[Parameter]], Optimizer]) -> tuple[Sequential, Sequential, Trainer]:
    body, head = Sequential(Dense(2, 6).initialize(0), Tanh()), Sequential(Dense(6, 1).initialize(1))
    x = np.random.default_rng(0).normal(size=(40, 2))
    model = Sequential(body.freeze(), head)
    trainer = Trainer(model, HalfSquaredError(), optimizer(model.parameters()), rng=0)
    trainer.fit(x, x[:, :1] * x[:, 1:], epochs=5, batch_size=8)
    return body, head, trainer


@every
def test_frozen_layers_keep_their_bits_and_gather_no_gradient(case: Case) -> None:
    untouched = Sequential(Dense(2, 6).initialize(0), Tanh())
    body, head, _ = trained_head(lambda parameters: case.optimizer(parameters, 0.01))
    for parameter, before in zip(body.parameters(), untouched.parameters(), strict=True):
        assert parameter.value.tobytes() == before.value.tobytes()
        assert not parameter.has_grad
        assert not parameter.grad.any()
    assert not np.array_equal(head.parameters()[0].value, Dense(6, 1).initialize(1).weight.value)


def test_a_head_on_frozen_layers_learns_as_it_does_on_their_output() -> None:
    body, head, trainer = trained_head(lambda parameters: Adam(parameters, 0.01))
    x = np.random.default_rng(0).normal(size=(40, 2))
    alone = Sequential(Dense(6, 1).initialize(1))
    other = Trainer(alone, HalfSquaredError(), Adam(alone.parameters(), 0.01), rng=0)
    other.fit(body.predict(x), x[:, :1] * x[:, 1:], epochs=5, batch_size=8)
    np.testing.assert_allclose(head.parameters()[0].value, alone.parameters()[0].value, rtol=1e-12)
    np.testing.assert_allclose(trainer.history.loss, other.history.loss, rtol=1e-12)


class SignDescent(Optimizer):
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        np.sign(gradients, out=self._scratch)
        self._scratch *= learning_rate
        values -= self._scratch


def test_an_optimizer_of_ones_own_is_one_method() -> None:
    parameter = Parameter([1.0, -1.0, 0.0])
    optimizer = SignDescent([parameter], 0.25)
    parameter.grad += np.array([3.0, -7.0, 0.0])
    optimizer.step()
    assert parameter.value.tolist() == [0.75, -0.75, 0.0]
    assert optimizer.slots() == {}


@pytest.mark.parametrize(("make", "arguments", "error", "words"), [
    (Adam, {"learning_rate": 0}, ArgumentError, r"Adam\(learning_rate\): expected .*above 0, got 0"),
    (Adam, {"learning_rate": "fast"}, DTypeError, r"Adam\(learning_rate\).*'fast'"),
    (Adam, {"learning_rate": schedules.Cosine}, DTypeError, r"call it with its arguments: Cosine\("),
    (Adam, {"beta1": 1.0}, ArgumentError, r"Adam\(beta1\).*below 1"),
    (AdamW, {"beta2": -0.1}, ArgumentError, r"AdamW\(beta2\).*at least 0"),
    (AdamW, {"weight_decay": -1.0}, ArgumentError, r"AdamW\(weight_decay\)"),
    (NAdam, {"epsilon": 0.0}, ArgumentError, r"NAdam\(epsilon\).*above 0"),
    (NAdam, {"momentum_decay": float("nan")}, ArgumentError, r"NAdam\(momentum_decay\)"),
    (Adagrad, {"epsilon": 0}, ArgumentError, r"Adagrad\(epsilon\)"),
    (RMSProp, {"rho": 1.0}, ArgumentError, r"RMSProp\(rho\)"),
    (RMSProp, {"momentum": 1.0}, ArgumentError, r"RMSProp\(momentum\)"),
    (SGD, {"learning_rate": 0.1, "momentum": True}, DTypeError, r"SGD\(momentum\)"),
    (SGD, {"learning_rate": 0.1, "nesterov": True}, ArgumentError, r"SGD\(nesterov\)"),
])
def test_wrong_arguments_are_named(make: Any, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make([Parameter(1.0)], **arguments)


def test_a_parameter_that_is_not_owned_cannot_decay() -> None:
    with pytest.raises(ArgumentError, match=r"Adam\(decayed\).*not among the parameters"):
        Adam([Parameter(1.0)], weight_decay=0.1, decayed=[Parameter(2.0)])


@every
def test_a_step_without_a_gradient_is_refused_and_changes_nothing(case: Case) -> None:
    parameters, _ = start()
    optimizer = case.optimizer(parameters, 0.1, weight_decay=0.1)
    before = optimizer.vector.values.copy()
    with pytest.raises(CallOrderError, match="no parameter has a gradient"):
        optimizer.step()
    assert np.array_equal(optimizer.vector.values, before)
    assert optimizer.steps == 0
