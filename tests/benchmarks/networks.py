"""The networks that are timed: sizes, data and first values, the same for every peer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A plain network with its training: Dense layers, an activation between them, a loss, SGD.

    Attributes:
        name: What the table calls it.
        sizes: Widths from the input to the output.
        batch: Rows of one update.
        batches: Updates of one epoch.
        dtype: float64 or float32.
        activation: After every layer but the last.
        loss: ½ ‖p − t‖² or the cross-entropy of softmax(z) with an integer label, each the mean over the batch.
        learning_rate: η of plain SGD.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    batches: int
    dtype: type[np.float64] | type[np.float32]
    activation: Literal["sigmoid", "relu"]
    loss: Literal["half squared error", "softmax cross-entropy"]
    learning_rate: float

    def initial_values(self) -> list[tuple[Array, Array]]:
        """Draw (weight, bias) of each layer: He's normal weights, ``(out, in)``, and small biases."""
        rng = np.random.default_rng(1)
        return [
            (
                (rng.normal(size=(wide_out, wide_in)) * (2.0 / wide_in) ** 0.5).astype(self.dtype),
                (rng.normal(size=wide_out) * 0.1).astype(self.dtype),
            )
            for wide_in, wide_out in pairwise(self.sizes)
        ]

    def inputs(self, rows: int) -> Array:
        """Draw ``(rows, features)``."""
        return np.random.default_rng(2).normal(size=(rows, self.sizes[0])).astype(self.dtype)

    def data(self) -> tuple[Array, Array]:
        """Make the rows of one epoch: a sine or random rows to fit, or random labels of which each comes up."""
        rng = np.random.default_rng(3)
        rows = self.batch * self.batches
        if self.loss == "softmax cross-entropy":
            return self.inputs(rows), rng.permutation(np.arange(rows) % self.sizes[-1])
        if self.sizes[0] == self.sizes[-1] == 1:
            x = rng.permutation(np.linspace(0.0, 3.0 * np.pi, rows))[:, None].astype(self.dtype)
            return x, np.sin(x)
        return self.inputs(rows), rng.normal(size=(rows, self.sizes[-1])).astype(self.dtype)

    def data_in_batches(self) -> list[tuple[Array, Array]]:
        """Cut `data` into the batches of one epoch."""
        x, y = self.data()
        return list(zip(np.split(x, self.batches), np.split(y, self.batches), strict=True))


ONLINE = Network("1-20-20-1", (1, 20, 20, 1), 1, 200, np.float64, "sigmoid", "half squared error", 0.05)
SMALL = Network("64-128-10", (64, 128, 10), 32, 32, np.float32, "relu", "softmax cross-entropy", 0.05)
MIDDLE = Network("784-256-128-10", (784, 256, 128, 10), 128, 8, np.float32, "relu", "softmax cross-entropy", 0.01)
WIDE = Network("3 × 1024", (1024, 1024, 1024, 1024), 512, 2, np.float32, "relu", "half squared error", 0.001)
