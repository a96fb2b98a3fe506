"""The sine experiment by SGD (its epochs are the argument), L-BFGS and Levenberg–Marquardt, from the same start."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Threads would gain nothing here, and wait for whatever else runs.
import numpy as np

from minidl import SGD, Array, HalfSquaredError, Sequential, Sigmoid, Trainer, mlp
from minidl.initializers import Normal
from minidl.solvers import SolverResult, lbfgs, levenberg_marquardt

X = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
Y = np.sin(X)


def by_sgd(model: Sequential) -> tuple[Array, Array]:
    """Return the seconds after each epoch, and the mean squared errors, which are twice the losses."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05), rng=0)
    history = trainer.fit(X, Y, epochs=epochs, batch_size=1)
    return np.cumsum(history.seconds), 2.0 * np.array(history.loss)


def by_lbfgs(model: Sequential) -> tuple[Array, Array]:
    return curve(lbfgs(model, X, Y, goal=1e-8, max_iterations=5000, memory=50))


def by_levenberg_marquardt(model: Sequential) -> tuple[Array, Array]:
    return curve(levenberg_marquardt(model, X, Y, goal=1e-8))


def curve(result: SolverResult) -> tuple[Array, Array]:
    """Return seconds and losses, the steps spread evenly over the time."""
    return np.linspace(0.0, result.seconds, len(result.loss)), np.array(result.loss)


def save_picture(curves: dict[str, tuple[Array, Array, Array]], path: Path) -> None:
    """Draw what each method left of the sine, and its error over the seconds that it took."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    style.use("minidl.style")
    above, below = Figure(figsize=(9, 7)).subplots(2, 1)
    for label, (seconds, losses, prediction) in curves.items():
        above.semilogy(X, np.abs(prediction - Y))
        below.loglog(seconds[1:], losses[1:], lw=1.5, label=label)
    above.set(title="A 1-20-20-1 network learns the sine: what is left", xlabel="x", ylabel="|prediction - sine|")
    below.set(xlabel="seconds, compiling included", ylabel="mean squared error")
    below.legend(loc="lower left")
    path.parent.mkdir(exist_ok=True)
    above.figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    errors, curves = [], {}
    for name, method in {"SGD": by_sgd, "L-BFGS": by_lbfgs, "Levenberg–Marquardt": by_levenberg_marquardt}.items():
        model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(), rng=0)
        began = time.perf_counter()
        seconds, losses = method(model)
        took, prediction = time.perf_counter() - began, model.predict(X)
        errors.append(float(np.mean((prediction - Y) ** 2)))
        print(label := f"{name}: {took:.2g} s, mean squared error {errors[-1]:.1e}")
        curves[label] = (seconds, losses, prediction)
    save_picture(curves, Path("pictures/sine_in_a_second.png"))
    assert errors[0] < np.var(Y)
    assert max(errors[1:]) < 1e-6


if __name__ == "__main__":
    main()
