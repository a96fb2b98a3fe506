"""A table with two categories, whose codes go through an embedding that learns what is alike; numbers go around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import Adam, Array, Columns, Concat, Embedding, Graph, Layer, MeanSquaredError, Trainer, mlp
from minidl.initializers import Normal

CITIES = {"Basel": 21.0, "Graz": 9.0, "Lyon": 12.0, "Porto": 8.0, "Oslo": 19.0, "Ghent": 10.0, "Turin": 9.5}  # made up
PRICES = np.array(list(CITIES.values()))
STATES = np.array([1.2, 0.8, 1.0])  # new, old, renovated


def flats(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Draw flats (area in 100 m², way to the centre in 10 km, codes of city and state), and their rents in hundreds."""
    area, way = rng.uniform(0.2, 1.2, count), rng.uniform(0.0, 1.5, count)
    city, state = rng.integers(0, len(PRICES), count), rng.integers(0, len(STATES), count)
    rent = area * PRICES[city] * STATES[state] * np.exp(-0.6 * way) + rng.normal(0.0, 0.2, count)
    return np.stack([area, way, city, state], axis=1), rent[:, None]


def error(model: Layer) -> float:
    """Train on 2000 flats and return the root of the mean square error on 1000 others."""
    rng = np.random.default_rng(0)
    trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters(), 0.002), rng=0)
    trainer.fit(*flats(rng, 2000), epochs=40, batch_size=50)
    return float(trainer.evaluate(*flats(rng, 1000))["loss"] ** 0.5)


def save_picture(places: Array, path: Path) -> None:
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    style.use("minidl.style")
    figure = Figure(figsize=(6, 5))
    axes = figure.subplots()
    dots = axes.scatter(places[:, 0], places[:, 1], c=PRICES, s=120, cmap="viridis")
    for name, place in zip(CITIES, places, strict=True):
        axes.annotate(name, place, xytext=(9, 6), textcoords="offset points")
    axes.margins(0.2)
    axes.set(title="Where the network puts the cities", xlabel="first number", ylabel="second number")
    figure.colorbar(dots, label="true price of a square metre in the centre of each city")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    model = Graph({
        "numbers": (Columns([0, 1]), "x"),
        "codes": (Columns([2, 3]), "x"),
        "vectors": (Embedding([len(PRICES), len(STATES)], 2, weight_initializer=Normal(0.0, 0.01)), "codes"),
        "row": (Concat(), "numbers", "vectors"),
        "rent": (mlp([6, 32, 32, 1]), "row"),
    }, output="rent").initialize(rng=0)
    found, naive = error(model), error(mlp([4, 32, 32, 1], rng=0))
    print(f"error of a rent: {100 * found:.0f} with the embedding, {100 * naive:.0f} with the codes as numbers")
    save_picture(model.named_parameters()["vectors.weight"].value[: len(PRICES)], Path("pictures/tabular_branches.png"))
    assert found < 0.3 < naive


if __name__ == "__main__":
    main()
