"""See every number of one step of back-propagation.

The network is the 2-2-1 network of docs/backpropagation.md. The program prints a table with all numbers and saves a
page that shows them one after the other. Then it makes the same step on the model itself, and the error gets smaller.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import SGD, Dense, HalfSquaredError, Sequential, Sigmoid
from minidl.inspection import Trace, trace

X, Y = np.array([[1.0, 0.5]]), np.array([[1.0]])


def network() -> Sequential:
    """Return the 2-2-1 network of the page, with the weights of the page."""
    model = Sequential(Dense(2, 2), Sigmoid(), Dense(2, 1), Sigmoid())
    W_1, b_1 = [[0.5, 0.25], [-0.5, 0.5]], [0.125, 0.25]
    W_2, b_2 = [[0.5, -1.0]], [0.25]
    for parameter, value in zip(model.parameters(), (W_1, b_1, W_2, b_2), strict=True):
        parameter.value = np.array(value)
    return model


def step(model: Sequential) -> Trace:
    """Trace one step of stochastic gradient descent; the model keeps its weights."""
    return trace(model, HalfSquaredError(), X, Y, optimizer=SGD(model.parameters(), learning_rate=0.5))


def main() -> None:
    model = network()
    t = step(model)
    print(t)
    print()
    for i in (3, 2):
        print(f"E_{i} = {t.E[i].round(4)}    gradient of W_{i - 1} = {t.dW[i - 1].round(4).tolist()}")

    path = Path("pictures/see_a_step.html")
    path.parent.mkdir(exist_ok=True)
    t.save(path)
    print(f"saved: {path}")

    # The same step on the model itself: each weight moves against its gradient.
    loss, sgd = HalfSquaredError(), SGD(model.parameters(), learning_rate=0.5)
    before = loss.forward(model.forward(X), Y)
    model.backward(loss.backward())
    sgd.step()
    after = loss(model.predict(X), Y)
    print(f"error {before:.4f} before the step, {after:.4f} after it")
    assert before == t.error
    assert after < before


if __name__ == "__main__":
    main()
