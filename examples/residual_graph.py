"""Why deep networks have ways around their layers: two spirals, twenty-four hidden layers, with and without.

The same blocks of layers stand in two named graphs; in one of them each block is a `Residual`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import Adam, Array, Dense, Graph, Layer, Residual, Sequential, SigmoidCrossEntropy, Tanh, Trainer
from minidl.schedules import Cosine, Warmup

BLOCKS, WIDTH, EPOCHS, BATCH, POINTS = 12, 16, 40, 25, 1000


def spirals(rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw points of two arms that wind around one another; the label says which arm."""
    label = rng.integers(0, 2, size=POINTS)
    turn = np.sqrt(rng.uniform(0.02, 1.0, size=POINTS))
    angle = 3.0 * np.pi * turn + np.pi * label
    x = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1)
    return x + 0.01 * rng.normal(size=x.shape), label[:, None].astype(float)


def network(residual: bool) -> Graph:
    """Build widen → blocks → logit."""
    blocks: list[Layer] = []
    for _ in range(BLOCKS):
        block = Sequential(Dense(WIDTH, WIDTH), Tanh(), Dense(WIDTH, WIDTH))
        blocks.append(Residual(block) if residual else Sequential(block, Tanh()))
    nodes = {"wide": (Dense(2, WIDTH), "x"), "deep": (Sequential(*blocks), "wide"), "logit": (Dense(WIDTH, 1), "deep")}
    return Graph(nodes, output="logit").initialize(rng=0)


def train(model: Graph, x: Array, y: Array) -> float:
    rate = Warmup(Cosine(3e-3, epochs=EPOCHS - 2), epochs=2)
    trainer = Trainer(model, SigmoidCrossEntropy(), Adam(model.parameters(), rate), rng=0)
    return trainer.fit(x, y, epochs=EPOCHS, batch_size=BATCH).loss[-1]


def save_picture(models: dict[str, Graph], x: Array, y: Array, path: Path) -> None:
    """Shade the plane by what each network says of it."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    line = np.linspace(-1.2, 1.2, 200)
    plane = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    style.use("minidl.style")
    figure = Figure(figsize=(9, 5))
    for axes, (name, model) in zip(figure.subplots(1, len(models)), models.items(), strict=True):
        logits = model.predict(plane).reshape(200, 200)
        axes.contourf(line, line, logits, levels=[-np.inf, 0.0, np.inf], colors=["C0", "C1"], alpha=0.3)
        for label, mark in enumerate("o^"):
            axes.plot(*x[y[:, 0] == label].T, mark, color=f"C{label}", ms=3, label=f"arm {label}")
        axes.set_title(f"{name}: {np.mean((model.predict(x) > 0) == y):.1%} right")
        axes.set(aspect="equal", xlabel="x", ylabel="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    x, y = spirals(np.random.default_rng(0))
    models = {"plain": network(residual=False), "residual": network(residual=True)}
    losses = {name: train(model, x, y) for name, model in models.items()}
    print("loss after training: " + ", ".join(f"{name} {loss:.2g}" for name, loss in losses.items()))
    save_picture(models, x, y, Path("pictures/residual_graph.png"))
    assert losses["residual"] < 0.01 < 0.1 < losses["plain"]


if __name__ == "__main__":
    main()
