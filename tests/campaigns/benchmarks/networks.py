"""The networks that are timed: sizes, data and first values, the same for every peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A network with its training: Dense layers, an activation between them, a loss, an optimizer.

    Attributes:
        name: What the table calls it.
        sizes: Widths from the input to the output.
        batch: Rows of one update.
        batches: Updates of one epoch.
        dtype: float64 or float32.
        activation: After every layer but the last.
        loss: ½ ‖p − t‖², or a cross-entropy: of softmax(z) with an integer label, of the probabilities that a Softmax
            layer gives with a one-hot target, of σ(z) with a one-hot target. Each is the mean over the batch.
        learning_rate: η of the optimizer.
        optimizer: SGD, SGD with momentum 0.9, or Adam.
        between: What stands between a Dense layer and its activation, or behind it: dropout of a tenth, or a norm.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    batches: int
    dtype: type[np.float64] | type[np.float32]
    activation: Literal["sigmoid", "relu"]
    loss: Literal["half squared error", "softmax cross-entropy", "cross-entropy", "sigmoid cross-entropy"]
    learning_rate: float
    optimizer: Literal["SGD", "momentum", "Adam"] = "SGD"
    between: Literal["nothing", "dropout", "LayerNorm", "BatchNorm"] = "nothing"

    @property
    def plain(self) -> bool:
        """Whether it is Dense layers, activations, and one of the first two losses, trained by plain SGD."""
        common = self.loss in ("half squared error", "softmax cross-entropy")
        return common and self.optimizer == "SGD" and self.between == "nothing"

    @property
    def multiplications(self) -> int:
        """Count those of one update in matrix products: forward, gradients of the weights, gradients of the inputs."""
        weights = [wide_in * wide_out for wide_in, wide_out in pairwise(self.sizes)]
        return self.batch * (3 * sum(weights) - weights[0])

    def initial_values(self, seed: int = 1) -> Iterator[tuple[Array, Array]]:
        """Draw (weight, bias) of each layer in order: He's normal weights, ``(out, in)``, and small biases."""
        rng = np.random.default_rng(seed)
        for wide_in, wide_out in pairwise(self.sizes):
            weight = rng.normal(size=(wide_out, wide_in)) * (2.0 / wide_in) ** 0.5
            yield weight.astype(self.dtype), (rng.normal(size=wide_out) * 0.1).astype(self.dtype)

    def inputs(self, rows: int) -> Array:
        """Draw ``(rows, features)``."""
        return np.random.default_rng(2).normal(size=(rows, self.sizes[0])).astype(self.dtype)

    def data(self) -> tuple[Array, Array]:
        """Make the rows of one epoch: a sine or random rows to fit, or random labels; each label occurs."""
        rng = np.random.default_rng(3)
        rows = self.batch * self.batches
        if self.loss != "half squared error":
            labels = rng.permutation(np.arange(rows) % self.sizes[-1])
            one_hot = np.eye(self.sizes[-1], dtype=self.dtype)[labels]
            return self.inputs(rows), labels if self.loss == "softmax cross-entropy" else one_hot
        if self.sizes[0] == self.sizes[-1] == 1:
            x = rng.permutation(np.linspace(0.0, 3.0 * np.pi, rows))[:, None].astype(self.dtype)
            return x, np.sin(x)
        return self.inputs(rows), rng.normal(size=(rows, self.sizes[-1])).astype(self.dtype)

    def data_in_batches(self) -> list[tuple[Array, Array]]:
        """Cut `data` into the batches of one epoch."""
        x, y = self.data()
        return list(zip(np.split(x, self.batches), np.split(y, self.batches), strict=True))


ONLINE = Network("1-20-20-1", (1, 20, 20, 1), 1, 200, np.float64, "sigmoid", "half squared error", 0.05)
PLANE = Network("2-30-30-1", (2, 30, 30, 1), 1, 200, np.float64, "sigmoid", "half squared error", 0.05)
TINY = Network("8-16-16-3", (8, 16, 16, 3), 8, 64, np.float32, "relu", "softmax cross-entropy", 0.05)
SMALL = Network("64-128-10", (64, 128, 10), 32, 32, np.float32, "relu", "softmax cross-entropy", 0.05)
MIDDLE = Network("784-256-128-10", (784, 256, 128, 10), 128, 8, np.float32, "relu", "softmax cross-entropy", 0.01)
WIDE = Network("3 × 1024", (1024, 1024, 1024, 1024), 512, 2, np.float32, "relu", "half squared error", 0.001)

VARIATIONS = (
    replace(SMALL, name="64-128-10, momentum", optimizer="momentum", learning_rate=0.02),
    replace(SMALL, name="64-128-10, Adam", optimizer="Adam", learning_rate=0.001),
    replace(SMALL, name="64-128-10, dropout", between="dropout"),
    replace(SMALL, name="64-128-10, LayerNorm", between="LayerNorm"),
    replace(SMALL, name="64-128-10, BatchNorm", between="BatchNorm"),
    replace(SMALL, name="64-128-10, Softmax and cross-entropy", loss="cross-entropy"),
    replace(SMALL, name="64-128-10, sigmoid cross-entropy", loss="sigmoid cross-entropy"),
)
"""The same network with another optimizer, another layer, another loss."""
