"""Write a layer of one's own, and learn with it how high a sensor saturates.

A sensor answers 2.5 tanh(0.8 v + 0.3) to a voltage v, with noise. The model is one Dense layer, which learns the
slope and the offset, and a layer of our own with one learnable number, the height. Few lines are enough: `forward`
keeps what `backward` needs, and a `Parameter` on ``self`` is found without being registered.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typing_extensions import override

from minidl import SGD, Array, Dense, HalfSquaredError, Layer, Parameter, Sequential, Trainer
from minidl.initializers import Constant

HEIGHT = 2.5


class ScaledTanh(Layer):
    """y = s tanh(x), with one learnable scale s."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = Parameter(scale)

    @override
    def forward(self, x: Array) -> Array:
        self._tanh = np.tanh(x)
        return self.scale.value * self._tanh

    @override
    def backward(self, grad: Array) -> Array:
        self.scale.grad += np.sum(grad * self._tanh)
        return grad * self.scale.value * (1.0 - self._tanh**2)


def measurements(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return 300 voltages, and the answers of the sensor with noise of deviation 0.1."""
    voltage = rng.uniform(-3.0, 3.0, size=(300, 1))
    return voltage, HEIGHT * np.tanh(0.8 * voltage + 0.3) + rng.normal(0.0, 0.1, size=(300, 1))


def save_picture(model: Sequential, x: Array, y: Array, path: Path) -> None:
    """Draw the measurements and the curve that was learned."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    line = np.linspace(-3.0, 3.0, 200)[:, None]
    style.use("minidl.style")
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot(x, y, ".", color="grey", markersize=3, label="measured")
    axes.plot(line, model.predict(line), label="learned")
    axes.set(xlabel="voltage", ylabel="answer")
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    x, y = measurements(np.random.default_rng(0))
    height = ScaledTanh()
    rising = Constant(1.0)  # s tanh(w v) = (−s) tanh(−w v): a start with w > 0 decides between the two
    model = Sequential(Dense(1, 1, weight_initializer=rising), height).initialize(rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.1), rng=0)
    trainer.fit(x, y, epochs=100, batch_size=20)
    print(f"{model}\nlearned height: {height.scale.value:.3f}, true height: {HEIGHT}")
    save_picture(model, x, y, Path("pictures/custom_layer.png"))
    assert abs(height.scale.value - HEIGHT) < 0.1


if __name__ == "__main__":
    main()
