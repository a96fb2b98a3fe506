"""Equations (1)–(7) of back-propagation, each against loops written from the symbols.

Layers L_1 … L_n have sizes n_i, inputs I_i, outputs O_i = f_i(I_i) and errors E_i = ∂e/∂I_i, and
e = ½ ‖O_n − y‖². W_i is the n_{i+1} × n_i matrix between L_i and L_{i+1}. The loops take one sample at a time and
one number at a time; a batch of the framework is a stack of such samples.
"""

from __future__ import annotations

from math import cosh, exp, log, tanh
from typing import Any

import numpy as np
import pytest

from minidl import SGD, Activation, Dense, HalfSquaredError, Sequential, Sigmoid, Tanh, Trainer, batches, mlp
from minidl.initializers import Normal

Vector = list[float]
Matrix = list[list[float]]


def logistic(z: float) -> float:
    return 1.0 / (1.0 + exp(-z))


def logistic_prime(z: float) -> float:
    return logistic(z) * (1.0 - logistic(z))


RNG = np.random.default_rng(0)
SIZES = [3, 5, 4, 2]
SAMPLES = 6
X, Y = RNG.normal(size=(SAMPLES, SIZES[0])), RNG.normal(size=(SAMPLES, SIZES[-1]))


def dense(n_in: int, n_out: int, seed: int) -> Dense:
    return Dense(n_in, n_out, weight_initializer=Normal(), bias_initializer=Normal()).initialize(seed)


def test_equation_1_a_layers_input_is_the_weighted_previous_output_plus_bias() -> None:
    """I_{i+1} = W_i O_i + b_i."""
    layer = dense(3, 5, seed=1)
    W, b = layer.weight.value.tolist(), layer.bias.value.tolist()
    rows = layer.forward(X)
    for s in range(SAMPLES):
        O = X[s].tolist()  # noqa: E741 - the symbol of the equation
        for j in range(5):
            assert rows[s, j] == pytest.approx(sum(W[j][k] * O[k] for k in range(3)) + b[j], rel=1e-13, abs=1e-14)


@pytest.mark.parametrize(
    ("layer", "f"), [(Sigmoid(), logistic), (Tanh(), tanh), (Activation(np.cosh, np.sinh), cosh)],
    ids=["Sigmoid", "Tanh", "Activation"],
)
def test_equation_2_the_output_of_a_layer_is_its_function_of_its_input(layer: Any, f: Any) -> None:
    """O_i = f_i(I_i)."""
    rows = layer.forward(X)
    for s in range(SAMPLES):
        for j in range(3):
            assert rows[s, j] == pytest.approx(f(float(X[s, j])), rel=1e-14)


@pytest.mark.parametrize("rows", [1, SAMPLES])
def test_equation_3_the_error_of_the_output_layer(rows: int) -> None:
    """E_n = O_n' ∘ (O_n − y), O_n' = f_n'(I_n): the derivative at the *input* of the last layer."""
    I = RNG.normal(size=(rows, 2))  # noqa: E741 - the symbol of the equation
    last, loss = Sigmoid(), HalfSquaredError()
    loss.forward(last.forward(I), Y[:rows])
    E = last.backward(loss.backward())
    for s in range(rows):
        for j in range(2):
            O_prime = logistic_prime(float(I[s, j]))
            assert rows * E[s, j] == pytest.approx(O_prime * (logistic(float(I[s, j])) - Y[s, j]), rel=1e-12)


def test_equation_4_the_error_of_the_layer_before() -> None:
    """E_{i−1} = (W_{i−1}ᵀ E_i) ∘ O_{i−1}'."""
    I = RNG.normal(size=(SAMPLES, 4))  # noqa: E741 - the symbol of the equation
    E = RNG.normal(size=(SAMPLES, 2))
    function, layer = Sigmoid(), dense(4, 2, seed=2)
    W = layer.weight.value.tolist()
    layer.forward(function.forward(I))
    before = function.backward(layer.backward(E))
    for s in range(SAMPLES):
        for k in range(4):
            back = sum(W[j][k] * float(E[s, j]) for j in range(2))
            assert before[s, k] == pytest.approx(back * logistic_prime(float(I[s, k])), rel=1e-12, abs=1e-14)


def test_equations_5_and_6_gradients_are_an_outer_product_and_the_error() -> None:
    """ΔW_i = E_{i+1} O_iᵀ and Δb_i = E_{i+1}; over a batch they add up."""
    E = RNG.normal(size=(SAMPLES, 5))
    for samples in ([0], [3], list(range(SAMPLES))):
        layer = dense(3, 5, seed=3)
        layer.forward(X[samples])
        layer.backward(E[samples])
        for j in range(5):
            for k in range(3):
                outer = sum(float(E[s, j]) * float(X[s, k]) for s in samples)
                assert layer.weight.grad[j, k] == pytest.approx(outer, rel=1e-12, abs=1e-14)
            assert layer.bias.grad[j] == pytest.approx(sum(float(E[s, j]) for s in samples), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("eta", [0.01, 0.5])
def test_equation_7_weights_and_biases_go_against_their_gradients(eta: float) -> None:
    """W_i ← W_i − η ΔW_i, b_i ← b_i − η Δb_i."""
    layer = dense(3, 2, seed=4)
    optimizer = SGD(layer.parameters(), learning_rate=eta)
    W, b = layer.weight.value.tolist(), layer.bias.value.tolist()
    layer.forward(X)
    layer.backward(Y)
    delta_W, delta_b = layer.weight.grad.tolist(), layer.bias.grad.tolist()
    optimizer.step()
    for j in range(2):
        for k in range(3):
            assert layer.weight.value[j, k] == pytest.approx(W[j][k] - eta * delta_W[j][k], rel=1e-15)
        assert layer.bias.value[j] == pytest.approx(b[j] - eta * delta_b[j], rel=1e-15)


def test_a_small_network_worked_out_by_hand() -> None:
    """Two inputs, two logistic units, one output; logistic(0) = 1/2 and logistic(log 3) = 3/4 make round numbers.

    x = (1, 2), y = 1.

    I_2 = W_1 x + b_1    = (2·1 − 1·2 + 0, 3·1 − 1·2 + log 3 − 1)  = (0, log 3)
    O_2 = logistic(I_2)  = (1/2, 3/4),  O_2' = O_2 (1 − O_2)       = (1/4, 3/16)
    O_3 = I_3 = W_2 O_2 + b_2 = 2·1/2 − 4·3/4 + 1                  = −1
    e   = ½ (−1 − 1)²                                              = 2
    E_3 = O_3 − y                                                  = −2
    ΔW_2 = E_3 O_2ᵀ      = (−1, −3/2),  Δb_2 = E_3                 = −2
    E_2 = (W_2ᵀ E_3) ∘ O_2' = (−4·1/4, 8·3/16)                     = (−1, 3/2)
    ΔW_1 = E_2 xᵀ        = ((−1, −2), (3/2, 3)),  Δb_1 = E_2       = (−1, 3/2)
    ∂e/∂x = W_1ᵀ E_2     = (2·(−1) + 3·3/2, 1 − 3/2)               = (5/2, −1/2)

    and with η = 1/10 each weight goes a tenth of its gradient down.
    """
    first, last = Dense(2, 2), Dense(2, 1)
    first.weight.value, first.bias.value = [[2.0, -1.0], [3.0, -1.0]], [0.0, log(3.0) - 1.0]
    last.weight.value, last.bias.value = [[2.0, -4.0]], [1.0]
    model, loss = Sequential(first, Sigmoid(), last), HalfSquaredError()
    optimizer = SGD(model.parameters(), learning_rate=0.1)

    assert model[:2].predict([[1.0, 2.0]]) == pytest.approx(np.array([[1 / 2, 3 / 4]]))
    output = model.forward(np.array([[1.0, 2.0]]))
    assert output == pytest.approx(np.array([[-1.0]]))
    assert loss.forward(output, [[1.0]]) == pytest.approx(2.0)
    dx = model.backward(loss.backward())
    assert last.weight.grad == pytest.approx(np.array([[-1.0, -3 / 2]]))
    assert last.bias.grad == pytest.approx(np.array([-2.0]))
    assert first.weight.grad == pytest.approx(np.array([[-1.0, -2.0], [3 / 2, 3.0]]))
    assert first.bias.grad == pytest.approx(np.array([-1.0, 3 / 2]))
    assert dx == pytest.approx(np.array([[5 / 2, -1 / 2]]))

    optimizer.step()
    assert last.weight.value == pytest.approx(np.array([[2.1, -3.85]]))
    assert last.bias.value == pytest.approx(np.array([1.2]))
    assert first.weight.value == pytest.approx(np.array([[2.1, -0.8], [2.85, -1.3]]))
    assert first.bias.value == pytest.approx(np.array([0.1, log(3.0) - 1.15]))


class PlainNetwork:
    """A logistic network with an identity output, trained one sample at a time by equations (1)–(7)."""

    def __init__(self, W: list[Any], b: list[Any]) -> None:
        self.W, self.b = [w.tolist() for w in W], [v.tolist() for v in b]

    def forward(self, x: Vector) -> tuple[list[Vector], list[Vector]]:
        """Return all inputs I_i and all outputs O_i; the first layer has no input but x, and gives it out."""
        I, O = [x], [x]  # noqa: E741 - the symbols of the equations
        last = len(self.W) - 1
        for i, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            I.append([sum(w * o for w, o in zip(row, O[-1], strict=True)) + b[j] for j, row in enumerate(W)])  # (1)
            O.append(I[-1] if i == last else [logistic(z) for z in I[-1]])  # (2)
        return I, O

    def learn(self, x: Vector, y: Vector, eta: float) -> float:
        """Update once, and return e from before the update."""
        I, O = self.forward(x)  # noqa: E741 - the symbols of the equations
        E = [o - t for o, t in zip(O[-1], y, strict=True)]  # (3), f_n' = 1
        for i in reversed(range(len(self.W))):
            W = [row.copy() for row in self.W[i]]
            for j, error in enumerate(E):
                for k, o in enumerate(O[i]):
                    self.W[i][j][k] -= eta * error * o  # (5), (7)
                self.b[i][j] -= eta * error  # (6), (7)
            if i:
                back = [sum(W[j][k] * E[j] for j in range(len(E))) for k in range(len(O[i]))]
                E = [error * logistic_prime(z) for error, z in zip(back, I[i], strict=True)]  # (4)
        return 0.5 * sum((o - t) ** 2 for o, t in zip(O[-1], y, strict=True))


def plain_twin(model: Sequential) -> PlainNetwork:
    values = [parameter.value.copy() for parameter in model.parameters()]
    return PlainNetwork(values[0::2], values[1::2])


def largest_difference(model: Sequential, plain: PlainNetwork) -> float:
    theirs = [array for pair in zip(plain.W, plain.b, strict=True) for array in pair]
    return max(
        float(np.max(np.abs(p.value - np.array(v)))) for p, v in zip(model.parameters(), theirs, strict=True))


def sine() -> tuple[Any, Any, Sequential]:
    x = np.linspace(0, 3 * np.pi, 200)[:, None]
    model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(), rng=0)
    return x, np.sin(x), model


def test_the_output_of_a_whole_network_is_that_of_the_loop() -> None:
    x, _, model = sine()
    plain = plain_twin(model)
    expected = [plain.forward(row)[1][-1] for row in x.tolist()]
    assert np.allclose(model.predict(x), expected, rtol=0, atol=1e-12)


def test_a_whole_epoch_of_online_sgd_agrees_with_the_loop_to_1e_12() -> None:
    x, y, model = sine()
    plain, loss, optimizer = plain_twin(model), HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05)
    ours, theirs = [], []
    for batch_x, batch_y in batches(x, y, batch_size=1, rng=0):
        ours.append(loss.forward(model.forward(batch_x), batch_y))
        model.backward(loss.backward())
        optimizer.step()
        theirs.append(plain.learn(batch_x[0].tolist(), batch_y[0].tolist(), 0.05))
    assert len(ours) == 200
    assert np.max(np.abs(np.subtract(ours, theirs))) <= 1e-12
    assert largest_difference(model, plain) <= 1e-12


def test_a_whole_epoch_of_the_trainer_agrees_with_the_loop_to_1e_12() -> None:
    x, y, model = sine()
    plain = plain_twin(model)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05), rng=0)
    history = trainer.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    errors = [plain.learn(row, target, 0.05) for row, target in zip(x.tolist(), y.tolist(), strict=True)]
    assert abs(history.loss[0] - sum(errors) / 200) <= 1e-12
    assert largest_difference(model, plain) <= 1e-12


def test_a_batch_update_is_the_mean_of_the_updates_of_its_samples() -> None:
    """With e the mean over N samples the step is η/N times the sum of the samples' gradients."""
    model = mlp(SIZES, activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(), rng=1)
    start = [p.value.copy() for p in model.parameters()]
    moved = [np.zeros_like(value) for value in start]
    for x, y in zip(X.tolist(), Y.tolist(), strict=True):
        plain = PlainNetwork(start[0::2], start[1::2])
        plain.learn(x, y, eta=0.1)
        after = [np.array(array) for pair in zip(plain.W, plain.b, strict=True) for array in pair]
        for total, new, old in zip(moved, after, start, strict=True):
            total += (new - old) / SAMPLES
    loss, optimizer = HalfSquaredError(), SGD(model.parameters(), learning_rate=0.1)
    loss.forward(model.forward(X), Y)
    model.backward(loss.backward())
    optimizer.step()
    for parameter, old, change in zip(model.parameters(), start, moved, strict=True):
        assert np.allclose(parameter.value, old + change, rtol=0, atol=1e-14)
