"""The eight data sets, each with its network and training, and the job that a seed makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn import datasets

from tests.campaigns.experiments import load_example

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class DataSet:
    """A data set, and how a network learns it.

    Attributes:
        name: What the table calls it.
        load: Returns all rows: x, and labels 0, 1, … or columns of values.
        hidden: Widths of the hidden layers.
        activation: After every layer but the last.
        batch: Rows of one update. It must not leave a single row, which minidl adds to the batch before it.
        epochs: Passes over the training rows, after which the network is scored.
        learning_rate: η of Adam.
        target: The training loss whose time is measured.
        shuffle: Whether each epoch goes through the rows in an order of its own.
    """

    name: str
    load: Callable[[], tuple[Array, Array]]
    hidden: tuple[int, ...]
    activation: Literal["relu", "sigmoid"]
    batch: int
    epochs: int
    learning_rate: float
    target: float
    shuffle: bool = True

    def job(self, seed: int) -> Job:
        """Split the rows, three quarters for training; standardize both parts by the training rows; draw weights."""
        rng = np.random.default_rng(seed)
        x, y = self.load()
        order = rng.permutation(len(x))
        train, test = np.split(order, [len(x) - len(x) // 4])
        x = _standardized(x, train)
        classes = int(y.max()) + 1 if y.ndim == 1 else 0
        if not classes:
            y = _standardized(y, train)
        outputs = y.shape[1] if not classes else 1 if classes == 2 else classes
        sizes = (x.shape[1], *self.hidden, outputs)
        weights = [self._first_values(rng, shape) for shape in pairwise(sizes)]
        return Job(self, seed, x[train], y[train], x[test], y[test], classes, weights)

    def _first_values(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Draw weight ``(out, in)`` and bias: He's for rectifiers; the article's, all from N(0, 1), for sigmoids."""
        wide_in, wide_out = shape
        if self.activation == "sigmoid":
            return rng.normal(size=(wide_out, wide_in)), rng.normal(size=wide_out)
        return rng.normal(size=(wide_out, wide_in)) * (2.0 / wide_in) ** 0.5, np.zeros(wide_out)


@dataclass(frozen=True)
class Job:
    """What every library gets: the rows, and the first weights of the network.

    Attributes:
        data_set: Network and training.
        seed: The seed of everything that a library draws itself: the order of the rows in each epoch.
        x: Training rows.
        y: Their labels ``(rows,)`` or values ``(rows, outputs)``.
        x_test: Rows that are not trained on.
        y_test: Their labels or values.
        classes: Number of classes; 0 for a regression.
        weights: First (weight, bias) of each layer.
    """

    data_set: DataSet
    seed: int
    x: Array
    y: Array
    x_test: Array
    y_test: Array
    classes: int
    weights: list[tuple[Array, Array]]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the input to the output."""
        return (self.x.shape[1], *(len(bias) for _, bias in self.weights))

    def labels(self, outputs: Array) -> Array:
        """Return the class with the largest output ``(rows, classes)``, or whether the only output is positive."""
        return (outputs[:, 0] > 0.0).astype(int) if self.classes == 2 else outputs.argmax(axis=1)

    def score(self, prediction: Array) -> float:
        """Return the accuracy on the test rows, or the mean squared error of the standardized values.

        Args:
            prediction: Labels ``(rows,)`` or values ``(rows, outputs)`` of the test rows.
        """
        if self.classes:
            return float(np.mean(prediction == self.y_test))
        return float(np.mean((prediction - self.y_test) ** 2))


def _standardized(x: Array, train: Array) -> Array:
    """Subtract the mean of the training rows from each column, and divide by their deviation, if it is not 0."""
    deviation = x[train].std(axis=0)
    scaled: Array = (x - x[train].mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0)
    return scaled


def _bundled(name: str) -> tuple[Array, Array]:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x, y[:, None] if name == "diabetes" else y


def _sine() -> tuple[Array, Array]:
    """Return 200 points of the sine curve, as in the article's first experiment."""
    x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
    return x, np.sin(x)


def _plane() -> tuple[Array, Array]:
    """Return 1,400 points of the plane, above or below the sine curve, as in the article's second experiment."""
    x, y = load_example("sine_classification").points(np.random.default_rng(0), 1400)
    return x, y[:, 0].astype(int)


DATA_SETS = (
    DataSet("iris", partial(_bundled, "iris"), (16,), "relu", 15, 60, 0.01, 0.1),
    DataSet("wine", partial(_bundled, "wine"), (16,), "relu", 16, 30, 0.01, 0.05),
    DataSet("breast cancer", partial(_bundled, "breast_cancer"), (32,), "relu", 32, 20, 0.01, 0.05),
    DataSet("digits", partial(_bundled, "digits"), (64,), "relu", 32, 20, 0.003, 0.05),
    DataSet("diabetes", partial(_bundled, "diabetes"), (16,), "relu", 32, 40, 0.003, 0.25),
    DataSet("linnerud", partial(_bundled, "linnerud"), (8,), "relu", 5, 60, 0.01, 1.5),
    DataSet("sine curve", _sine, (20, 20), "sigmoid", 10, 500, 0.003, 0.01),
    DataSet("above or below", _plane, (30, 30), "sigmoid", 10, 40, 0.01, 0.1),
)
"""Name, rows, hidden layers, activation, batch, epochs, learning rate, target of the training loss."""

BY_NAME = {data_set.name: data_set for data_set in DATA_SETS}
