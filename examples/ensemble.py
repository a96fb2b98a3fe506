"""Train ten networks on the same noisy points, and draw their mean and spread.

The networks differ in their first values only. Between the points they agree; where there are no points they do not,
and the band shows it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import Adam, Array, HalfSquaredError, Tanh, Trainer, mlp
from minidl.search import fit_all

NETWORKS = 10


def points() -> tuple[Array, Array]:
    """Return 60 noisy points of the sine, none of them between 3 and 6."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0.0, 3.0, (35, 1)), rng.uniform(6.0, 9.0, (25, 1))])
    return x, np.sin(x) + rng.normal(0.0, 0.1, x.shape)


def build(seed: int) -> Trainer:
    model = mlp([1, 20, 20, 1], activation=Tanh, rng=seed)
    return Trainer(model, HalfSquaredError(), Adam(model.parameters(), learning_rate=0.01), rng=seed)


def save_picture(grid: Array, mean: Array, spread: Array, path: Path) -> None:
    """Draw the sine in black, the points, the mean of the networks, and a band of two standard deviations."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    style.use("minidl.style")
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    axes.fill_between(grid[:, 0], mean - 2 * spread, mean + 2 * spread, color="#56B4E9", alpha=0.4,
                      label="Mean ± 2 standard deviations")
    axes.plot(grid, np.sin(grid), color="black", linewidth=2, label="Sine")
    axes.plot(grid, mean, "--", color="#0072B2", linewidth=2, label=f"Mean of {NETWORKS} networks")
    axes.plot(*points(), "o", color="#D55E00", markersize=4, label="Points")
    axes.set(xlabel="x", ylabel="y", ylim=(-2.5, 2.5))
    axes.legend(loc="lower left", ncols=2)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    x, y = points()
    trainers = fit_all([build(seed) for seed in range(NETWORKS)], x, y, epochs=400, batch_size=10)
    grid = np.linspace(0.0, 9.0, 181)[:, None]
    predictions = np.stack([trainer.model.predict(grid)[:, 0] for trainer in trainers])
    mean, spread = predictions.mean(axis=0), predictions.std(axis=0)
    save_picture(grid, mean, spread, Path("pictures/ensemble.png"))
    gap = (grid[:, 0] > 3.0) & (grid[:, 0] < 6.0)
    print(f"spread: {spread[~gap].mean():.3f} near points, {spread[gap].mean():.3f} in the gap")
    assert spread[gap].mean() > 1.5 * spread[~gap].mean()


if __name__ == "__main__":
    main()
