"""Learn a sine curve from 200 points, at three learning rates.

The first experiment of the article: a 1-20-20-1 network with logistic hidden layers, first values drawn from
N(0, 1), one point per update, 4000 passes over the points. It takes seconds with Numba, a
minute or two in NumPy alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import SGD, Array, HalfSquaredError, Sequential, Sigmoid, Trainer, mlp
from minidl.initializers import Normal

LEARNING_RATES = (0.01, 0.05, 0.1)


def sine() -> tuple[Array, Array]:
    """Return 200 points of the sine on [0, 3π]."""
    x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
    return x, np.sin(x)


def network(seed: int) -> Sequential:
    """Build the network, every weight and bias drawn from N(0, 1)."""
    normal = Normal(0.0, 1.0)
    return mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=normal, bias_initializer=normal, rng=seed)


def train(learning_rate: float, seed: int = 0, epochs: int = 4000) -> Sequential:
    """Train one network by online SGD: each update sees one point."""
    x, y = sine()
    model = network(seed)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate), rng=seed)
    trainer.fit(x, y, epochs=epochs, batch_size=1)
    return model


def save_picture(models: dict[float, Sequential], path: Path) -> None:
    """Draw a curve for each learning rate over the true sine, which is wide and grey; below, what is left of it."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    x, y = sine()
    style.use("minidl.style")
    figure = Figure(figsize=(7, 6))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.plot(x, y, "-", color="black", linewidth=9, alpha=0.25, label="Sine")
    for learning_rate, model in models.items():
        above.plot(x, model.predict(x), label=f"Learning rate: {learning_rate}")
        below.plot(x, model.predict(x) - y)
    above.set(ylabel="y")
    above.legend()
    below.set(xlabel="x", ylabel="prediction - sine")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    x, y = sine()
    models: dict[float, Sequential] = {}
    errors: dict[float, float] = {}
    for learning_rate in LEARNING_RATES:
        models[learning_rate] = train(learning_rate)
        errors[learning_rate] = float(np.mean((models[learning_rate].predict(x) - y) ** 2))
        print(f"learning rate {learning_rate}: mean squared error {errors[learning_rate]:.2g}", flush=True)
    save_picture(models, Path("pictures/sine_regression.png"))
    assert errors[0.05] < 1e-3


if __name__ == "__main__":
    main()
