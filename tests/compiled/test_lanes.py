"""Vectors of 64 bytes: their kernels, the programs on padded memory, and the rule that chooses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl import (
    SGD,
    Activation,
    Adagrad,
    Adam,
    Dense,
    HalfSquaredError,
    Layer,
    Loss,
    NAdam,
    ReLU,
    RMSProp,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
)
from minidl._compiled import CompiledLoop, LanesLoop, fits
from minidl._compiled.intrinsics import available
from minidl._compiled.kernels import dense_lanes
from minidl._compiled.kernels.activations import ELEMENTWISE
from minidl._compiled.kernels.elementary import LANES
from minidl._compiled.lanes import padded
from minidl.layers import Dropout
from minidl.optimizers import Optimizer

Array = np.ndarray[Any, Any]
SIZES = [(1, 1, 1), (1, 20, 1), (1, 8, 9), (3, 7, 16), (5, 17, 2), (4, 1, 25)]


# The kernels, run in Python: against the equations in NumPy.


class Parts:
    """The arrays of a layer on padded memory, with numbers in the columns that exist."""

    def __init__(self, rows: int, inputs: int, outputs: int) -> None:
        rng = np.random.default_rng([rows, inputs, outputs])
        wide, high = padded(outputs, LANES), padded(inputs, LANES)
        self.inputs, self.outputs = inputs, outputs
        self.x = np.full((rows, high), 0.5)  # An activation may write anything into its pads.
        self.x[:, :inputs] = rng.normal(size=(rows, inputs))
        self.weight, self.bias, self.grad = np.zeros((high, wide)), np.zeros(wide), np.zeros((rows, wide))
        self.weight[:inputs, :outputs] = rng.normal(size=(inputs, outputs))
        self.bias[:outputs] = rng.normal(size=outputs)
        self.grad[:, :outputs] = rng.normal(size=(rows, outputs))
        self.weight_grad, self.bias_grad = np.zeros((high, wide)), np.full(wide, np.nan)
        self.dx, self.y = np.full((rows, high), np.nan), np.full((rows, wide), np.nan)
        self.wanted_y = self.x @ self.weight + self.bias
        self.wanted_dx = self.grad @ self.weight.T
        self.wanted_weight_grad, self.wanted_bias_grad = self.x.T @ self.grad, self.grad.sum(axis=0)
        self.wanted_weight_grad[inputs:] = 0.0


def close(found: Array, wanted: Array) -> bool:
    return bool(np.allclose(found, wanted, rtol=1e-13, atol=1e-13))


@pytest.mark.parametrize("sizes", SIZES)
def test_kernels_of_batches_compute_the_equations_and_keep_pads_zero(sizes: tuple[int, int, int]) -> None:
    p = Parts(*sizes)
    dense_lanes.lanes_forward(p.x, p.inputs, p.weight, p.bias, p.y)
    dense_lanes.lanes_backward(p.x, p.inputs, p.weight, p.grad, p.weight_grad, p.bias_grad, p.dx)
    assert close(p.y, p.wanted_y)
    assert close(p.dx, p.wanted_dx)
    assert close(p.weight_grad, p.wanted_weight_grad)
    assert close(p.bias_grad, p.wanted_bias_grad)
    assert not p.weight_grad[p.inputs :].any()
    assert not p.weight_grad[:, p.outputs :].any()


@pytest.mark.parametrize("sizes", [(1, *sizes[1:]) for sizes in SIZES])
@pytest.mark.parametrize("with_dx", [True, False])
def test_kernels_of_single_rows_step_on_the_way_back(sizes: tuple[int, int, int], with_dx: bool) -> None:
    p = Parts(*sizes)
    dense_lanes.lanes_row_forward(p.x, p.inputs, p.weight, p.bias, p.y)
    weight, bias = p.weight.copy(), p.bias.copy()
    if with_dx:
        dense_lanes.lanes_row_descent(p.x, p.inputs, p.weight, p.bias, p.grad, p.dx, 0.3)
        assert close(p.dx, p.wanted_dx)
    else:
        dense_lanes.lanes_row_descent_parameters(p.x, p.inputs, p.weight, p.bias, p.grad, 0.3)
    assert close(p.y, p.wanted_y)
    assert close(p.weight[: p.inputs], (weight - 0.3 * p.wanted_weight_grad)[: p.inputs])
    assert close(p.bias, bias - 0.3 * p.wanted_bias_grad)
    assert not p.weight[:, p.outputs :].any()
    assert not p.bias[p.outputs :].any()


# Programs: against the NumPy engine, which has no padded memory.

pytestmark = pytest.mark.skipif(not available(), reason="the processor has no vectors of 64 bytes")


def all_activations() -> Layer:
    return Sequential(Dense(6, 21), *(kind() for kind in ELEMENTWISE), Dense(21, 13), Tanh(), Dense(13, 3))


CASES: dict[str, tuple[Callable[[], Layer], Loss, Callable[[Layer], Optimizer], int, str]] = {
    "single rows": (lambda: mlp([6, 20, 21, 3], activation=Sigmoid), HalfSquaredError(),
                    lambda m: SGD(m.parameters(), 0.05), 1, "float64"),
    "batches": (lambda: mlp([6, 20, 21, 3], activation=ReLU), SoftmaxCrossEntropy(),
                lambda m: SGD(m.parameters(), 0.01), 8, "float32"),
    "activations": (all_activations, HalfSquaredError(),
                    lambda m: SGD(m.parameters(), 1e-4, momentum=0.9, weight_decay=1e-3), 5, "float64"),
}
ROWS = 129
RNG = np.random.default_rng(0)
X, Y, SAMPLE_WEIGHT = RNG.normal(size=(ROWS, 6)), RNG.normal(size=(ROWS, 3)), RNG.random(ROWS)


def trained(case: str, engine: Any, epochs: int) -> tuple[Array, float]:
    build, loss, optimize, size, dtype = CASES[case]
    model = build().initialize(rng=0).astype(dtype)
    optimizer = optimize(model)
    labels = isinstance(loss, SoftmaxCrossEntropy)
    y = np.argmax(Y, axis=1) if labels else Y.astype(dtype)
    run = Trainer(model, loss, optimizer, rng=1, engine=engine)
    run.fit(X.astype(dtype), y, epochs=epochs, batch_size=size, sample_weight=SAMPLE_WEIGHT.astype(dtype))
    return optimizer.vector.values.copy(), run.history.loss[-1]


@pytest.mark.parametrize("case", CASES)
def test_4096_updates_on_padded_memory_are_those_of_numpy_to_rounding(case: str) -> None:
    build, _, optimize, size, dtype = CASES[case]
    model = build().initialize(rng=0).astype(dtype)
    assert fits(model, optimize(model), size)
    epochs = 4096 // (ROWS // size)
    found, loss = trained(case, "compiled", epochs)
    wanted, wanted_loss = trained(case, "numpy", epochs)
    assert np.abs(found - wanted).max() <= {"float64": 1e-13, "float32": 2e-5}[dtype] * max(1.0, np.abs(wanted).max())
    assert loss == pytest.approx(wanted_loss, rel={"float64": 1e-12, "float32": 1e-4}[dtype])


def test_without_such_vectors_the_plain_kernels_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = trained("single rows", "compiled", 32)
    monkeypatch.setattr("minidl._compiled.intrinsics.available", lambda: False)
    model = CASES["single rows"][0]().initialize(rng=0)
    assert not fits(model, SGD(model.parameters(), 0.1), 1)
    plain, _ = trained("single rows", "compiled", 32)
    assert np.abs(found - plain).max() <= 1e-14
    assert (found != plain).any()  # Else both would have run the same program.



def test_vectors_that_numba_may_not_use_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl._compiled.intrinsics.CPU_FEATURES", "")  # By NUMBA_CPU_NAME=generic.
    assert not available()


def test_a_loss_that_is_not_finite_leaves_weights_and_state_as_they_were() -> None:
    ends = []
    x = X[:32].copy()
    x[20] = np.nan
    for kind in (CompiledLoop, LanesLoop):
        model = mlp([6, 20, 3], activation=Tanh, rng=0)
        optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
        loop = kind(model, HalfSquaredError(), optimizer)
        orders = np.empty((1, 0), np.intp)
        assert loop.run((x, Y[:32]), orders, begin=0, size=8, count=4, totals=np.zeros(1)) == 2
        assert optimizer.steps == 2
        ends.append((optimizer.vector.values.copy(), np.array(optimizer.velocity)))
    assert np.allclose(ends[0], ends[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [Adam, NAdam, RMSProp, Adagrad])
def test_pads_stay_zero_where_epsilon_rounds_to_zero(kind: Any) -> None:
    ends = []
    for engine in ("numpy", "compiled"):
        model = mlp([16, 30, 12], activation=Tanh, rng=0).astype("float32")
        optimizer = kind(model.parameters(), 1e-3, epsilon=1e-60)
        assert fits(model, optimizer, 8)
        run = Trainer(model, HalfSquaredError(), optimizer, rng=1, engine=engine)
        run.fit(np.tile(X, 3)[:, :16].astype("float32"), np.tile(Y, 4).astype("float32"), epochs=2, batch_size=8)
        ends.append(optimizer.vector.values)
    assert np.abs(ends[0] - ends[1]).max() <= 1e-6


def test_calls_one_after_the_other_give_the_bits_of_one_call() -> None:
    ends = []
    for counts in ([16], [1, 5, 10]):
        model = mlp([6, 20, 3], activation=Tanh, rng=0)
        optimizer = Adam(model.parameters(), 0.01)
        loop, begin = LanesLoop(model, HalfSquaredError(), optimizer), 0
        for count in counts:
            loop.run((X, Y), np.empty((1, 0), np.intp), begin=begin, size=8, count=count, totals=np.zeros(1))
            begin += 8 * count
        ends.append([optimizer.vector.values.copy(), optimizer.first_moment, optimizer.second_moment])
    assert np.array_equal(ends[0], ends[1])


# The rule.


@pytest.mark.parametrize(
    ("model", "options", "rows"),
    [
        (lambda: mlp([6, 20, 3], activation=ReLU), {}, 129),
        (lambda: mlp([6, 50, 50, 3], activation=ReLU), {}, 8),
        (lambda: mlp([6, 400, 400, 3], activation=ReLU), {}, 1),
        (lambda: mlp([6, 20, 3], activation=ReLU), {"momentum": 0.9}, 1),
        (lambda: mlp([6, 2, 1], activation=ReLU), {}, 8),
        (lambda: mlp([6, 20, 1], activation=ReLU), {}, 32),
        (lambda: Sequential(Dense(6, 20), Activation(np.sqrt, np.cos), Dense(20, 3)), {}, 8),
        (lambda: Sequential(Dense(6, 20), Dropout(0.5), Dense(20, 3)), {}, 8),
        (lambda: Sequential(Dense(6, 20, bias=False), ReLU(), Dense(20, 3)), {}, 8),
        (lambda: Sequential(Dense(6, 20).freeze(), ReLU(), Dense(20, 3)), {}, 8),
        (lambda: Sequential(ReLU(), Dense(6, 20), ReLU(), Dense(20, 3)), {}, 8),
    ],
    ids=["rows", "work", "single rows", "momentum", "pads", "pads of many rows", "function", "dropout", "no bias",
         "frozen", "activation first"],
)
def test_other_networks_keep_the_memory_that_they_have(
    model: Callable[[], Layer], options: dict[str, Any], rows: int
) -> None:
    net = model()
    assert not fits(net, SGD(net.parameters(), 0.1, **options), rows)


def test_an_activation_of_the_input_gets_its_rows_as_they_are() -> None:
    """The input of a network has no pads, so an activation would write its rows to other places."""
    ends = []
    for engine in ("numpy", "compiled"):
        model = Sequential(Tanh(), Dense(6, 20), Tanh(), Dense(20, 3)).initialize(rng=0)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=1, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=8)
        ends.append(run.optimizer.vector.values)
    assert np.abs(ends[0] - ends[1]).max() <= 1e-13


def test_a_part_of_the_parameters_keeps_the_memory_that_it_has() -> None:
    net = mlp([6, 20, 3], activation=ReLU)
    assert fits(net, SGD(net.parameters(), 0.1), 8)
    assert not fits(net, SGD(net.parameters()[2:], 0.1), 8)


def test_freezing_between_fits_changes_the_program() -> None:
    ends = []
    for engine in ("compiled", "numpy"):
        model = mlp([6, 20, 3], activation=Tanh, rng=0)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=1, engine=engine)
        run.fit(X, Y, epochs=2, batch_size=8)
        model.layers[0].freeze()
        run.fit(X, Y, epochs=4, batch_size=8)
        ends.append(np.concatenate([parameter.value.ravel() for parameter in model.parameters()]))
    assert np.allclose(ends[0], ends[1], rtol=1e-12)
