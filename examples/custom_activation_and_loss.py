"""Use an activation and a loss of one's own: fit a wave although every tenth measurement is wrong.

The activation is (sin, cos), a function and its derivative. The loss, log cosh, is linear far away from zero.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typing_extensions import override

from minidl import SGD, Activation, Array, Dense, HalfSquaredError, Loss, Sequential, Trainer


class LogCosh(Loss):
    """eᵢ = Σⱼ log cosh(pᵢⱼ − tᵢⱼ), ∂eᵢ/∂p = tanh(p − t)."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = d = prediction - target
        rows: Array = np.sum(np.logaddexp(d, -d) - np.log(2.0), axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        return np.tanh(self._difference)


def wave(x: Array) -> Array:
    """Return the curve that is to be found."""
    y: Array = np.sin(2.0 * x) + 0.5 * np.cos(x)
    return y


def measurements(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return 300 points of the wave; 30 of them lie far above it."""
    x = rng.uniform(-3.0, 3.0, size=(300, 1))
    y = wave(x) + rng.normal(0.0, 0.05, size=x.shape)
    y[:30] += rng.uniform(3.0, 6.0, size=(30, 1))
    return x, y


def save_picture(x: Array, y: Array, line: Array, curves: dict[str, Array], path: Path) -> None:
    """Draw the measurements, the true wave as a wide grey curve, and the curve learned under each loss."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    style.use("minidl.style")
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots(subplot_kw={"xlabel": "x", "ylabel": "y"})
    axes.plot(x, y, ".", color="grey", markersize=3, label="measured")
    axes.plot(line, wave(line), "-", color="black", linewidth=6, alpha=0.3, label="true wave")
    axes.plot(line, np.hstack([*curves.values()]), label=[*curves])
    figure.legend(loc="outside lower center", ncols=4)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    x, y = measurements(np.random.default_rng(0))
    line = np.linspace(-3.0, 3.0, 200)[:, None]
    curves, errors = {}, {}
    for loss in (HalfSquaredError(), LogCosh()):
        model = Sequential(Dense(1, 30), Activation(np.sin, np.cos), Dense(30, 1)).initialize(rng=0)
        Trainer(model, loss, SGD(model.parameters(), learning_rate=0.02, momentum=0.9), rng=0).fit(x, y, epochs=300)
        name, curve = type(loss).__name__, model.predict(line)
        curves[name], errors[name] = curve, float(np.sqrt(np.mean((curve - wave(line)) ** 2)))
        print(f"{name}: {errors[name]:.3f} away from the true wave (root mean square)")
    save_picture(x, y, line, curves, Path("pictures/custom_activation_and_loss.png"))
    assert errors["LogCosh"] < 0.5 * errors["HalfSquaredError"]


if __name__ == "__main__":
    main()
