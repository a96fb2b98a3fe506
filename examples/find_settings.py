"""Find good settings for the sine of the article, and compare them with its three learning rates.

Good settings are hard to find, says the article. Here 64 candidates share 20 million updates: half a minute with Numba.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import loguniform, uniform

from minidl import SGD, HalfSquaredError, Sigmoid, Trainer, mlp
from minidl.initializers import Normal
from minidl.schedules import Cosine
from minidl.search import find_settings, fit_all

X = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
Y = np.sin(X)
RUNGS = [(64, 312), (21, 952), (7, 2857), (2, 10000), (1, 20000)]
"""How many candidates are trained, and for how many epochs: 20,000 epochs of 200 updates in each rung."""
SPACE = {
    "learning_rate": loguniform(0.005, 1.0),
    "momentum": [0.0, 0.5, 0.9],
    "scale": uniform(0.5, 3.5),  # from 0.5 to 4
    "seed": range(1000),
    "decay": [sum(epochs for _, epochs in RUNGS)],
}


def build(learning_rate: float, decay: int = 0, momentum: float = 0.0, scale: float = 1.0, seed: int = 0) -> Trainer:
    """Make the article's network, and a Trainer; with ``decay`` the rate goes to 0 in so many epochs."""
    normal = Normal(0.0, scale)
    model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=normal, bias_initializer=normal, rng=seed)
    rate = Cosine(learning_rate, epochs=decay) if decay else learning_rate
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), rate, momentum=momentum), rng=seed)


def error(trainer: Trainer) -> float:
    """Return the mean squared error of a trained model."""
    return float(np.mean((trainer.model.predict(X) - Y) ** 2))


def save_picture(trainers: dict[str, Trainer], path: Path) -> None:
    """Draw what each network left of the sine, and its error over the epochs."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    style.use("minidl.style")
    above, below = Figure(figsize=(8, 7)).subplots(2, 1)
    styles = ("#009E73", "-."), ("#E69F00", "--"), ("#56B4E9", "-"), ("black", "-")
    for (label, trainer), (color, dashes) in zip(trainers.items(), styles, strict=True):
        losses = 2.0 * np.array(trainer.history.loss)
        first = np.unique(np.geomspace(1, len(losses), 60).astype(int)) - 1  # of the parts whose means are drawn
        above.plot(X, np.abs(trainer.model.predict(X) - Y), dashes, color=color, label=label)
        below.plot(first + 1, np.add.reduceat(losses, first) / np.diff(first, append=len(losses)), dashes, color=color)
    above.set(yscale="log", xlabel="x", ylabel="|prediction - sine|", title="What is left of the sine")
    below.set(xscale="log", yscale="log", xlabel="epoch", ylabel="mean squared error")
    above.figure.legend(loc="outside lower center", ncols=2)
    path.parent.mkdir(exist_ok=True)
    above.figure.savefig(path)
    print(f"picture: {path}")


def main(rungs: list[tuple[int, int]] = RUNGS, epochs: int = 4000) -> None:
    rates = fit_all([build(rate) for rate in (0.01, 0.05, 0.1)], X, Y, epochs=epochs, batch_size=1)
    result = find_settings(build, SPACE, X, Y, candidates=rungs[0][0], rungs=rungs, batch_size=1, rng=0)
    print(result)
    trainers = {f"learning rate {rate.optimizer.learning_rate}: {error(rate):.1e}": rate for rate in rates}
    trainers[f"found: {error(result.trainer):.1e}"] = result.trainer
    save_picture(trainers, Path("pictures/find_settings.png"))
    assert error(result.trainer) < min(error(rate) for rate in rates)


if __name__ == "__main__":
    main()
