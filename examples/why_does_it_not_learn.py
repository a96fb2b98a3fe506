"""A network that does not learn: Watch says why, we do what it says, and it learns.

The network is to learn the tides at a harbour from the hour and the air pressure. Its first try has two mistakes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import SGD, Array, HalfSquaredError, Tanh, Trainer, mlp
from minidl.inspection import Watch, plot_fit

PICTURE = Path("pictures/why_does_it_not_learn.png")


def tides(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return hours and pressures in pascal, and the height of the water in metres."""
    hour, pressure = rng.uniform(0.0, 24.0, 800), rng.normal(101_300.0, 900.0, 800)
    height = 1.5 * np.sin(2.0 * np.pi * hour / 12.4) - (pressure - 101_300.0) / 10_000.0
    return np.stack([hour, pressure], axis=1), height[:, None] + rng.normal(0.0, 0.03, (800, 1))


def train(x: Array, y: Array, learning_rate: float) -> tuple[Trainer, list[str]]:
    """Train a network, print what Watch says, and return the names of the findings."""
    model = mlp([2, 40, 40, 1], activation=Tanh, rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate, momentum=0.9), rng=0)
    watch = Watch(x, y)
    print(trainer.fit(x, y, epochs=150, callbacks=[watch]))
    found = watch.diagnosis()
    print("\n".join(map(str, found)) or "Watch finds nothing wrong.", end="\n\n")
    return trainer, [finding.what for finding in found]


def main() -> None:
    x, y = tides(np.random.default_rng(0))

    # The first try. The pressure is in pascal, and the rate is a guess.
    _, found = train(x, y, learning_rate=1e-6)
    assert found[0] == "inputs on unequal scales"

    # We standardize x, as Watch says. Now the second mistake shows.
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    _, found = train(x, y, learning_rate=1e-6)
    assert found == ["learning rate too small"]

    # We take a larger rate, and it learns.
    trainer, found = train(x, y, learning_rate=0.03)
    try:
        picture = plot_fit(trainer.model, x, y)
    except ImportError:
        print("no picture: matplotlib is not installed")
    else:
        PICTURE.parent.mkdir(exist_ok=True)
        picture.savefig(PICTURE)
        print(f"picture: {PICTURE}")
    assert not found
    assert trainer.history.loss[-1] < 0.01


if __name__ == "__main__":
    main()
