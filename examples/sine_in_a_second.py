"""The sine experiment by SGD (its epochs are the argument), L-BFGS and Levenberg–Marquardt, from the same start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from minidl import SGD, Array, HalfSquaredError, MeanSquaredError, Normal, Sequential, Sigmoid, Trainer, mlp
from minidl.solvers import SolverResult, lbfgs, levenberg_marquardt

X = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
Y = np.sin(X)


def by_sgd(model: Sequential, epochs: int) -> tuple[Array, Array]:
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05), rng=0)
    history = trainer.fit(X, Y, epochs=epochs, batch_size=1)
    return np.cumsum(history.seconds), 2.0 * np.array(history.loss)


def by_lbfgs(model: Sequential) -> tuple[Array, Array]:
    return curve(lbfgs(model, MeanSquaredError(), X, Y, goal=1e-8, max_iterations=5000, memory=50))


def by_levenberg_marquardt(model: Sequential) -> tuple[Array, Array]:
    return curve(levenberg_marquardt(model, X, Y, goal=1e-8))


def curve(result: SolverResult) -> tuple[Array, Array]:
    return np.linspace(0.0, result.seconds, len(result.loss)), np.array(result.loss)


def main(epochs: int) -> list[float]:
    methods: dict[str, Callable[[Sequential], tuple[Array, Array]]] = {
        f"SGD, {epochs} epochs": partial(by_sgd, epochs=epochs), "L-BFGS": by_lbfgs,
        "Levenberg–Marquardt": by_levenberg_marquardt,
    }
    errors, curves = [], {}
    for name, method in methods.items():
        model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(), rng=0)
        began = time.perf_counter()
        seconds, losses = method(model)
        label = f"{name}: {time.perf_counter() - began:.2g} s, mean squared error "
        errors.append(float(np.mean((model.predict(X) - Y) ** 2)))
        label += f"{errors[-1]:.1e}"
        curves[label] = (seconds, losses, model.predict(X))
        print(label)
    draw(curves)
    return errors


def draw(curves: dict[str, tuple[Array, Array, Array]]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, 1)
    for width, (label, (seconds, losses, prediction)) in zip((7, 5, 3), curves.items(), strict=True):
        (line,) = above.plot(X, prediction, lw=width, alpha=0.6)
        below.loglog(np.maximum(seconds, 1e-3), losses, color=line.get_color(), label=label)
    above.plot(X, Y, "k", lw=0.8)
    above.set(title="Predictions of a 1-20-20-1 network, the sine in black", xlabel="x", ylabel="y")
    below.set(xlabel="seconds", ylabel="mean squared error")
    below.legend(loc="lower left")
    Path("pictures").mkdir(exist_ok=True)
    figure.savefig("pictures/sine_in_a_second.png", dpi=110)


if __name__ == "__main__":
    sgd, quasi_newton, gauss_newton = main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
    assert sgd < np.var(Y)
    assert max(quasi_newton, gauss_newton) < 1e-6
