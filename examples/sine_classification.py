"""Learn which points of the plane lie above the sine curve.

The second experiment of the article: a 2-30-30-1 network, logistic throughout, first values drawn from N(0, 1),
one point per update, 1500 passes over 700 points; 700 other points test it. It takes about half a minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import SGD, Array, HalfSquaredError, Sequential, Sigmoid, Trainer, mlp
from minidl.initializers import Normal

RIGHT = 3.0 * np.pi


def points(rng: np.random.Generator, count: int = 700) -> tuple[Array, Array]:
    """Draw points of [0, 3π] × [−1, 2], and label each: 1 on or above the sine curve, 0 below."""
    x = rng.uniform((0.0, -1.0), (RIGHT, 2.0), size=(count, 2))
    return x, (np.sin(x[:, :1]) <= x[:, 1:]).astype(float)


def network(seed: int) -> Sequential:
    """Build the network, every weight and bias drawn from N(0, 1)."""
    return mlp([2, 30, 30, 1], activation=Sigmoid, output=Sigmoid,
               weight_initializer=Normal(0.0, 1.0), bias_initializer=Normal(0.0, 1.0), rng=seed)


def train(x: Array, y: Array, learning_rate: float = 0.05, seed: int = 0, epochs: int = 1500) -> Sequential:
    """Train the network by online SGD: each update sees one point."""
    model = network(seed)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate), rng=seed)
    trainer.fit(x, y, epochs=epochs, batch_size=1)
    return model


def accuracy(model: Sequential, x: Array, y: Array) -> float:
    """Return the share of points that are put on their side of the curve."""
    return float(np.mean((model.predict(x) >= 0.5) == (y == 1.0)))


def save_picture(model: Sequential, samples: dict[str, tuple[Array, Array]], path: Path) -> None:
    """Draw a panel for each sample: points by prediction, regions shaded by truth, boundary black."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    line = np.linspace(0.0, RIGHT, 300)
    style.use("minidl.style")
    figure = Figure(figsize=(7, 7))
    for axes, (name, (x, y)) in zip(figure.subplots(len(samples)), samples.items(), strict=True):
        above = model.predict(x)[:, 0] >= 0.5
        for label, side, end, mark, color in (("above", above, 2.0, "^", "C1"), ("below", ~above, -1.0, "o", "C0")):
            axes.fill_between(line, np.sin(line), end, color=color, alpha=0.25, linewidth=0)
            axes.plot(x[side, 0], x[side, 1], mark, color=color, ms=4, label=f"predicted: {label}")
        axes.plot(line, np.sin(line), "-", color="black")
        axes.set(xlim=(0.0, RIGHT), ylim=(-1.0, 2.0), xlabel="x", ylabel="y")
        axes.set_title(f"{name}: {accuracy(model, x, y):.1%} right")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)
    print(f"picture: {path}")


def main() -> None:
    rng = np.random.default_rng(0)
    samples = {"Training points": points(rng), "Test points": points(rng)}
    model = train(*samples["Training points"])
    print(*(f"{name}: {accuracy(model, x, y):.1%} on the right side" for name, (x, y) in samples.items()), sep="\n")
    save_picture(model, samples, Path("pictures/sine_classification.png"))
    assert accuracy(model, *samples["Test points"]) >= 0.94


if __name__ == "__main__":
    main()
