"""One weight at two places: an autoencoder whose decoder is the transpose of its encoder.

Without an activation its optimum is known: no eight numbers keep more of an image than its principal components.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typing_extensions import override

from minidl import Adam, Array, Dense, HalfSquaredError, Layer, Parameter, Sequential, Trainer, initializers, schedules

SIDE, CODE = 12, 8


class TiedDense(Layer):
    """Compute y = x W + b with the weight W of a `Dense`, which computes x Wᵀ."""

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight
        self.bias = Parameter(np.zeros(weight.shape[1], weight.dtype))
        self.in_features = weight.shape[0]

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        y: Array = x @ self.weight.value + self.bias.value
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += self._x.T @ grad
        self.bias.grad += np.add.reduce(grad)
        dx: Array = grad @ self.weight.value.T
        return dx


def blobs(rng: np.random.Generator, count: int) -> Array:
    """Draw images, each a bright spot somewhere."""
    row, column = rng.uniform(2, SIDE - 3, size=(2, count, 1, 1))
    images: Array = np.exp(-((np.arange(SIDE)[:, None] - row) ** 2 + (np.arange(SIDE) - column) ** 2) / 8.0)
    return images.reshape(count, -1)


def save_picture(model: Sequential, weight: Parameter, images: Array, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    rows = {"images": images, "through eight numbers": model.predict(images), "rows of the weight": weight.value}
    for line, (title, pictures) in zip(figure.subplots(3, CODE), rows.items(), strict=True):
        line[0].set_title(title, loc="left")
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture.reshape(SIDE, SIDE), cmap="magma")
            axes.set_axis_off()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=80)
    print(f"picture: {path}")


def main() -> None:
    x = blobs(np.random.default_rng(0), 1000)
    encoder = Dense(SIDE * SIDE, CODE, weight_initializer=initializers.Orthogonal())
    model = Sequential(encoder, TiedDense(encoder.weight)).initialize(rng=0)
    optimizer = Adam(model.parameters(), schedules.Cosine(0.02, epochs=100))
    history = Trainer(model, HalfSquaredError(), optimizer, rng=0).fit(x, x, epochs=100, batch_size=50)
    left_over = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[CODE:]
    best, found = 0.5 * float(left_over @ left_over) / len(x), HalfSquaredError()(model.predict(x), x)
    print(f"error {history.loss[0]:.3g} -> {found:.5g}; eight principal components: {best:.5g}")
    save_picture(model, encoder.weight, x[:CODE], Path("pictures/tied_autoencoder.png"))
    assert best <= found < 1.01 * best


if __name__ == "__main__":
    main()
