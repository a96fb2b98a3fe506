"""Watch on runs with a known illness, and on the healthy runs of the examples: ``python -m tests.campaigns.watch``.

It fails if the first finding of an illness is another one, or if a healthy run has a finding.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from minidl import (
    L2,
    SGD,
    Activation,
    Adam,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    ClipGlobalNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    LayerNorm,
    Loss,
    MeanSquaredError,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
)
from minidl.callbacks import EarlyStopping
from minidl.errors import DivergenceError
from minidl.initializers import Constant, Normal, Zeros
from minidl.inspection import Watch
from minidl.layers import Softplus
from minidl.losses import PoissonLoss
from minidl.schedules import Exponential
from minidl.trainer import History
from tests.campaigns.experiments import load_example

EXAMPLES = [
    "custom_activation_and_loss", "custom_layer", "digits", "tabular_branches", "tied_autoencoder",
    "larger_than_memory", "residual_graph", "sine_regression", "sine_classification",
]
"""Examples that train by `Trainer.fit`; the last two take seconds with Numba, and minutes without."""

DEEP = 0
"""The number of the fit in `residual_graph` that is meant to fail: 24 layers without skip connections."""


class Run(NamedTuple):
    """A Trainer, its data, and how long it trains."""

    trainer: Trainer
    x: Array
    y: npt.NDArray[Any]
    epochs: int = 20
    weights: Array | None = None
    options: dict[str, Any] = {}

    def watched(self) -> Watch:
        """Train, and return the Watch."""
        watch = Watch(self.x, self.y)
        with suppress(DivergenceError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {**self.options, "callbacks": [watch, *self.options.get("callbacks", ())]}
            self.trainer.fit(self.x, self.y, sample_weight=self.weights, epochs=self.epochs, **options)
        return watch


RNG = np.random.default_rng(0)
X = RNG.normal(size=(1000, 4))
Y = np.sin(X[:, :1]) + 0.5 * X[:, 1:2] * X[:, 2:3]
LABELS = (np.sin(1.5 * X[:, 0]) + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.7)


def values(
    *, x: Array = X, y: Array = Y, hidden: tuple[int, ...] = (32, 32), activation: Any = Tanh, rate: Any = 0.05,
    momentum: float = 0.9, decay: float = 0.0, adam: bool = False, change: Callable[[Sequential], object] = len,
    trainer: dict[str, Any] | None = None, **network: Any,
) -> Run:
    """Make a run that learns values."""
    model = mlp([4, *hidden, 1], activation=activation, rng=0, **network)
    change(model)
    optimizer = Adam(model.parameters(), rate) if adam else SGD(
        model.parameters(), rate, momentum=momentum, weight_decay=decay)
    return Run(Trainer(model, HalfSquaredError(), optimizer, rng=0, engine="numpy", **(trainer or {})), x, y)


def labels(y: npt.NDArray[Any] = LABELS, *, rate: float = 0.05, adam: bool = False, activation: Any = ReLU) -> Run:
    """Make a run that learns classes."""
    model = mlp([4, 64, 64, 3], activation=activation, rng=0)
    optimizer = Adam(model.parameters(), rate) if adam else SGD(model.parameters(), rate, momentum=0.9)
    return Run(Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=0, engine="numpy"), X, y)


def fill(layer: int, value: float) -> Callable[[Sequential], object]:
    """Return a function that sets the biases of a layer."""

    def change(model: Sequential) -> None:
        dense = model[layer]
        assert isinstance(dense, Dense)
        assert dense.bias is not None
        dense.bias.value = np.full(dense.bias.shape, value)

    return change


def unlearned() -> Run:
    model = mlp([4, 32, 32, 1], activation=Tanh, rng=0)
    optimizer = SGD([*model[0].parameters(), *model[4].parameters()], 0.05)
    return Run(Trainer(model, HalfSquaredError(), optimizer, rng=0, engine="numpy"), X, Y)


def penalized() -> Run:
    model = mlp([4, 32, 32, 1], activation=Tanh, rng=0)
    weights = [parameter for parameter in model.parameters() if len(parameter.shape) == 2]
    optimizer = SGD(model.parameters(), 0.05)
    return Run(Trainer(model, HalfSquaredError(), optimizer, rng=0, penalties=[L2(3.0, weights)]), X, Y)


def penalized_classes() -> Run:
    model = mlp([4, 16, 3], activation=Tanh, rng=0)
    penalty = L2(0.3, model.parameters())
    optimizer = Adam(model.parameters(), 0.01)
    return Run(Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=0, penalties=[penalty]), X, LABELS)


def decayed_group() -> Run:
    model = mlp([4, 16, 3], activation=Tanh, rng=0)
    optimizer = Adam(model.parameters(), 0.01).set_group(model.parameters(), weight_decay=0.3)
    return Run(Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=0), X, LABELS)


def of_example(name: str) -> Run:
    """Make the run of an example that does not call `Trainer.fit` once."""
    example = load_example(name)
    if name == "ensemble":
        return Run(example.build(0), *example.points())
    if name == "find_settings":
        return Run(example.build(0.05), example.X, example.Y, epochs=1000)
    return Run(example.build(), example.X, example.Y)


def chain(*layers: Layer, x: Array, y: npt.NDArray[Any], loss: Loss | None = None, epochs: int = 20,
          optimizer: Any = Adam, weights: Array | None = None, clip: Any = None, fit: Any = None,
          **options: Any) -> Run:
    """Make a run of a chain of layers."""
    model = Sequential(*layers).initialize(rng=0)
    made = optimizer(model.parameters(), **{"learning_rate": 0.01, **options})
    return Run(Trainer(model, loss or MeanSquaredError(), made, rng=0, clip=clip), x, y, epochs, weights, fit or {})


class Bump(Layer):
    """y = x exp(-x²), with a wrong sign in its backward."""

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * np.exp(-(x**2))

    @override
    def backward(self, grad: Array) -> Array:
        return grad * np.exp(-(self._x**2)) * (2 * self._x**2 - 1)


class WrongSign(Loss):
    """log cosh(a - y), with the sign of its gradient wrong."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = prediction - target
        rows: Array = np.log(np.cosh(self._difference)).sum(axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        gradient: Array = -np.tanh(self._difference)
        return gradient


def sentinels() -> Run:
    """Make a run in which -999 stands for missing numbers, standardized with the others."""
    x = X + 20.0
    x[RNG.random(x.shape) < 0.04] = -999.0
    return values(x=(x - x.mean(axis=0)) / x.std(axis=0), adam=True, rate=0.003)


def own_function(function: Callable[[Any], Any], derivative: Callable[[Any], Any]) -> Run:
    return chain(Dense(4, 16), Activation(function, derivative), Dense(16, 1), x=0.5 * X, y=Y, epochs=60)


def fine_tuned() -> Run:
    """Make the second run of a network that the first has trained to the level of the noise."""
    noisy = Y + RNG.normal(size=Y.shape)
    run = chain(Dense(4, 16), Tanh(), Dense(16, 1), x=X, y=noisy)
    run.trainer.fit(X, noisy, epochs=100)
    model = run.trainer.model
    return Run(Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-5), rng=0), X, noisy)


def rare(share: float, loss: Loss, *end: Layer) -> Run:
    """Make a run with few rows of class 1."""
    x = RNG.normal(size=(6000, 5))
    score = x[:, 0] + 0.5 * x[:, 1] + 0.3 * RNG.normal(size=len(x))
    return chain(Dense(5, 16), Tanh(), Dense(16, 1), *end, x=x, y=score[:, None] > np.quantile(score, 1 - share),
                 loss=loss)


def noisy(fit: float) -> Run:
    """Make a linear run whose best R² is ``fit``."""
    x = RNG.normal(size=(5000, 5))
    return chain(Dense(5, 1), x=x, y=np.sqrt(fit) * x[:, :1] + np.sqrt(1 - fit) * RNG.normal(size=(5000, 1)))


def sorted_classes(*, shuffle: bool, momentum: float = 0.9) -> Run:
    """Make a run on ten classes whose rows are in the order of the classes."""
    y = np.repeat(np.arange(10), 180)
    centres = 0.1 * np.random.default_rng(1).normal(size=(10, 64))
    return chain(Dense(64, 64), ReLU(), Dense(64, 10), x=centres[y] + 0.5 * RNG.normal(size=(1800, 64)), y=y,
                 loss=SoftmaxCrossEntropy(), optimizer=SGD, learning_rate=0.1, momentum=momentum,
                 fit={"shuffle": shuffle})


def two_targets(*, sizes: tuple[float, float], optimizer: Any = Adam) -> Run:
    """Make a run with two columns of targets on these scales."""
    x = RNG.normal(size=(1500, 5))
    y = np.column_stack([np.tanh(x[:, 0] * x[:, 1]), np.sin(x[:, 2]) + 0.1 * x[:, 3]]) * sizes
    return chain(Dense(5, 32), Tanh(), Dense(32, 32), Tanh(), Dense(32, 2), x=x, y=y, epochs=60, optimizer=optimizer,
                 learning_rate=0.003)


def claims(*, logarithm: bool) -> Run:
    """Make a run whose targets have a few huge values, or their logarithms."""
    x = RNG.normal(size=(3000, 6))
    z = x[:, :1] + 0.7 * x[:, 1:2] - 0.5 * x[:, 2:3] + 2.0 * RNG.normal(size=(3000, 1))
    y = z if logarithm else np.exp(z)
    return chain(Dense(6, 32), ReLU(), Dense(32, 1), x=x, y=(y - y.mean()) / y.std(), optimizer=SGD,
                 learning_rate=0.01, momentum=0.9)


def counts(*last: Layer) -> Run:
    """Make a run on counts, most of them 0."""
    x = RNG.normal(size=(2000, 4))
    y = RNG.poisson(np.exp(-1.5 + 0.8 * x[:, :1] - 0.6 * x[:, 1:2])).astype(float)
    return chain(Dense(4, 24), ReLU(), Dense(24, 1), *last, x=x, y=y, loss=PoissonLoss(), epochs=40,
                 learning_rate=0.005)


def autoencoder(limit: float) -> Run:
    """Make a run that learns its own input."""
    x = np.abs(RNG.normal(size=(1500, 8)) @ np.random.default_rng(2).normal(size=(8, 64))) / 10.0
    return chain(Dense(64, 16), Tanh(), Dense(16, 64), x=x, y=x, epochs=30, clip=ClipGlobalNorm(limit), optimizer=SGD,
                 learning_rate=0.1, momentum=0.9)


def far_targets(*last: Layer) -> Run:
    """Make a run on targets around 5."""
    x = RNG.uniform(-2, 2, size=(1000, 2))
    return chain(Dense(2, 32), Tanh(), Dense(32, 1), *last, x=x, y=5 + np.sin(2 * x[:, :1]) + x[:, 1:2], epochs=60)


def small_batches(size: int) -> Run:
    """Make a run with two BatchNorms."""
    x = RNG.normal(size=(600, 5))
    return chain(Dense(5, 32), BatchNorm(32), ReLU(), Dense(32, 32), BatchNorm(32), ReLU(), Dense(32, 1), x=x,
                 y=np.sin(2 * x[:, :1]) + x[:, 1:2], fit={"batch_size": size}, learning_rate=0.003)


def weighted(weights: dict[int, float]) -> Run:
    """Make a run on a class of 2 % of the rows."""
    x = RNG.normal(size=(3000, 6))
    y = (x[:, :1] + x[:, 1:2] + 0.5 * RNG.normal(size=(3000, 1)) > 3.0).astype(float)
    return chain(Dense(6, 16), ReLU(), Dense(16, 1), x=x, y=y, loss=SigmoidCrossEntropy(), epochs=30,
                 learning_rate=0.003, fit={"class_weight": weights})


def stopped(*callbacks: Any, rate: float = 0.01) -> Run:
    """Make a run that callbacks may stop."""
    noise = RNG.normal(size=Y.shape)
    return chain(Dense(4, 32), ReLU(), Dense(32, 1), x=X, y=Y + 0.5 * noise, epochs=60, optimizer=SGD,
                 learning_rate=rate, fit={"validation": 0.2, "callbacks": callbacks})


def lagging() -> Run:
    """Make a run in which prediction uses averages that are far behind."""
    x = RNG.normal(size=(1000, 2))
    return chain(BatchNorm(2, momentum=1e-4), Dense(2, 32), Tanh(), Dense(32, 1), x=10 + 8 * x, y=np.sin(2 * x[:, :1]))


SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
LINE = np.linspace(-1.0, 1.0, 200, endpoint=False)[:, None]

HEALTHY: dict[str, Callable[[], Run]] = {
    "ensemble": lambda: of_example("ensemble"),
    "find_settings": lambda: of_example("find_settings"),
    "resume": lambda: of_example("resume"),
    "values": values,
    "values, Sigmoid, Adam": lambda: values(activation=Sigmoid, adam=True, rate=0.01),
    "values, ReLU": lambda: values(activation=ReLU, rate=0.02),
    "classes": labels,
    "classes, Adam": lambda: labels(adam=True, rate=0.003),
    "xor, tiled": lambda: chain(
        Dense(2, 8), Tanh(), Dense(8, 1), x=np.tile(SQUARE, (50, 1)), y=np.tile([[0.0], [1.0], [1.0], [0.0]], (50, 1)),
        loss=SigmoidCrossEntropy(), epochs=60, learning_rate=0.02),
    "each row twice": lambda: values(x=np.tile(X[:500], (2, 1)), y=np.tile(Y[:500], (2, 1))),
    "classes 0, 1, 2, 0, 1, 2, …": lambda: chain(
        Dense(3, 16), ReLU(), Dense(16, 3), x=2 * np.eye(3)[np.arange(240) % 3] + 0.4 * RNG.normal(size=(240, 3)),
        y=np.arange(240) % 3, loss=SoftmaxCrossEntropy()),
    "two periods of a sine": lambda: chain(
        Dense(1, 20, weight_initializer=Normal(0, 3)), Tanh(), Dense(20, 20), Tanh(), Dense(20, 1), x=LINE,
        y=np.sin(2 * np.pi * LINE), epochs=300),
    "square": lambda: own_function(np.square, lambda x: 2 * x),
    "cube": lambda: own_function(lambda x: x**3, lambda x: 3 * x**2),
    "exp": lambda: own_function(np.exp, np.exp),
    "x sin(x)": lambda: own_function(lambda x: x * np.sin(x), lambda x: np.sin(x) + x * np.cos(x)),
    "flag that is nearly always 1": lambda: values(x=np.where(
        np.arange(4) == 3, np.arange(1000)[:, None] % 500 > 0, X)),
    "one row of 72": lambda: rare(0.014, BinaryCrossEntropy(), Sigmoid()),
    "one row of 250": lambda: rare(0.004, SigmoidCrossEntropy()),
    "weights of 1/N and a rate of 0.05 N": lambda: chain(
        Dense(4, 20), Tanh(), Dense(20, 1), x=X, y=Y, optimizer=SGD, learning_rate=50.0, weights=np.full(1000, 1e-3)),
    "fine-tuning at the level of the noise": fine_tuned,
    "one epoch": lambda: chain(
        Dense(6, 32), ReLU(), Dense(32, 1), x=(x := RNG.normal(size=(20_000, 6))),
        y=x[:, :1] + x[:, 1:2] + RNG.normal(size=(20_000, 1)), optimizer=SGD, epochs=1),
    "best R² 0.08": lambda: noisy(0.08),
    "best R² 0.12": lambda: noisy(0.12),
    "classes in order, shuffled": lambda: sorted_classes(shuffle=True),
    "two targets on one scale": lambda: two_targets(sizes=(1.0, 1.0)),
    "logarithms of claims": lambda: claims(logarithm=True),
    "counts": counts,
    "autoencoder, clip of 1": lambda: autoencoder(1.0),
    "targets around 5": far_targets,
    "BatchNorm, batches of 32": lambda: small_batches(32),
    "a rare class with a weight of 30": lambda: weighted({0: 1.0, 1: 30.0}),
    "EarlyStopping": lambda: stopped(EarlyStopping(patience=5)),
}

ILLNESSES: dict[str, tuple[str, Callable[[], Run]]] = {
    "sigmoids with huge weights": (
        "saturated units", lambda: values(activation=Sigmoid, weight_initializer=Normal(0, 50))),
    "tanh with large weights": ("saturated units", lambda: values(weight_initializer=Normal(0, 10))),
    "biases of -100": ("dead units", lambda: values(activation=ReLU, change=fill(0, -100.0))),
    "all biases -100": ("dead units", lambda: values(activation=ReLU, bias_initializer=Constant(-100.0))),
    "twelve sigmoid layers": ("vanishing errors", lambda: values(activation=Sigmoid, hidden=(16,) * 12, rate=0.1)),
    "the same with Adam": (
        "vanishing errors", lambda: values(activation=Sigmoid, hidden=(16,) * 12, adam=True, rate=1e-3)),
    "tiny first weights": ("vanishing errors", lambda: values(weight_initializer=Normal(0, 1e-4))),
    "large first weights in eight layers": ("exploding outputs", lambda: values(
        activation=ReLU, hidden=(32,) * 8, weight_initializer=Normal(), adam=True, rate=1e-3)),
    "rate of 1e-7": ("learning rate too small", lambda: values(rate=1e-7)),
    "rate of 1e-7, Adam": ("learning rate too small", lambda: values(adam=True, rate=1e-7)),
    "tiny clip": ("clip cuts every update", lambda: values(trainer={"clip": ClipGlobalNorm(1e-6)})),
    "rate that falls at once": ("learning rate fell too early", lambda: values(rate=lambda step: 0.05 * 0.5**step)),
    "rate of 0.5, Adam": ("learning rate too large", lambda: values(adam=True, rate=0.5)),
    "rate of 0.5, Adam, classes": ("learning rate too large", lambda: labels(adam=True, rate=0.5)),
    "rate of 3, tanh, classes": ("learning rate too large", lambda: labels(rate=3.0, activation=Tanh)),
    "rate that kills the units": ("learning rate too large", lambda: labels(rate=0.7)),
    "rate that diverges": ("learning rate too large", lambda: values(rate=2.0)),
    "inputs of 0 to 10,000": ("inputs on a bad scale", lambda: values(x=3000 * np.abs(X))),
    "inputs of 1e-4": ("inputs on a bad scale", lambda: values(x=1e-4 * X)),
    "one feature a thousand times the others": ("inputs on unequal scales", lambda: values(x=X * [1, 1000, 1, 1])),
    "constant feature": ("constant inputs", lambda: values(x=np.where(np.arange(4) == 2, 7.0, X))),
    "inputs far from 0": ("inputs far from 0", lambda: values(x=0.1 * X + 20.0)),
    "targets + 1e4": ("targets on a bad scale", lambda: values(y=Y + 1e4, adam=True, rate=1e-3)),
    "targets x 1e-6": ("targets on a bad scale", lambda: values(y=1e-6 * Y)),
    "targets + 20": ("targets far from 0", lambda: values(y=0.1 * Y + 20.0, adam=True, rate=1e-3)),
    "negative targets of ReLU": ("targets out of reach", lambda: values(y=Y - 3.0, output=ReLU)),
    "targets of 5 for Sigmoid": ("targets out of reach", lambda: values(y=Y + 5.0, output=Sigmoid)),
    "one label": ("targets all the same", lambda: labels(0 * LABELS + 1)),
    "labels of other rows": ("nothing learned", lambda: labels(RNG.permutation(LABELS))),
    "weights of 0": ("units all alike", lambda: values(weight_initializer=Zeros())),
    "equal weights": ("units all alike", lambda: values(weight_initializer=Constant(0.1))),
    "huge weight decay": ("weights shrunk to nothing", lambda: values(decay=5.0)),
    "huge penalty": ("weights shrunk to nothing", penalized),
    "strong penalty, classes": ("penalty too strong", penalized_classes),
    "strong decay of a group": ("penalty too strong", decayed_group),
    "frozen layer": ("layer that does not learn", lambda: values(change=lambda model: model[2].freeze())),
    "layer without optimizer": ("layer that does not learn", unlearned),
    "targets of noise": ("nothing learned", lambda: chain(
        Dense(5, 4), Tanh(), Dense(4, 1), x=RNG.normal(size=(4000, 5)), y=RNG.normal(size=(4000, 1)))),
    "-999 for missing numbers": ("outliers in inputs", sentinels),
    "schedule in steps for epochs": ("learning rate fell too early", lambda: chain(
        Dense(1, 30), Tanh(), Dense(30, 30), Tanh(), Dense(30, 1), x=3 * np.repeat(LINE, 4, axis=0),
        y=np.sin(9 * np.repeat(LINE, 4, axis=0)), epochs=40, learning_rate=Exponential(0.02, 0.5, steps=5))),
    "wrong backward": ("wrong gradients", lambda: chain(
        Dense(4, 24), Bump(), Dense(24, 24), Bump(), Dense(24, 1), x=X, y=Y)),
    "wrong derivative of an Activation": ("wrong gradients", lambda: own_function(np.sin, lambda x: -np.cos(x))),
    "wrong sign of a loss": ("wrong gradients", lambda: chain(
        Dense(4, 20), Tanh(), Dense(20, 1), x=X, y=Y, loss=WrongSign())),
    "LayerNorm of two features": ("information lost", lambda: chain(
        LayerNorm(2), Dense(2, 32), ReLU(), Dense(32, 1), x=X[:, :2], y=np.sin(2 * X[:, :1]) + X[:, 1:2] ** 2)),
    "momentum of 0.999": ("momentum too large", lambda: values(momentum=0.999)),
    "dropout of 0.9": ("too much dropout", lambda: chain(
        Dense(4, 12), ReLU(), Dropout(0.9), Dense(12, 12), ReLU(), Dropout(0.9), Dense(12, 1), x=X, y=Y)),
    "weights of 1/N": ("learning rate too small", lambda: chain(
        Dense(4, 20), Tanh(), Dense(20, 1), x=X, y=Y, optimizer=SGD, learning_rate=0.05, weights=np.full(1000, 1e-3))),
    "clip of 1e-3": (
        "clip cuts every update", lambda: values(trainer={"clip": ClipGlobalNorm(1e-3)}, momentum=0.0)),
    "classes in order": ("rows in order", lambda: sorted_classes(shuffle=False)),
    "classes in order, without momentum": ("rows in order", lambda: sorted_classes(shuffle=False, momentum=0.0)),
    "a fraction and a temperature": ("targets on unequal scales", lambda: two_targets(sizes=(0.003, 10.0))),
    "two targets, one 70 times the other": (
        "column of targets not learned", lambda: two_targets(sizes=(0.3, 20.0), optimizer=SGD)),
    "claims": ("outliers in targets", lambda: claims(logarithm=False)),
    "PoissonLoss behind ReLU": ("output that is held back", lambda: counts(ReLU())),
    "PoissonLoss behind Softplus": ("output that is held back", lambda: counts(Softplus())),
    "autoencoder, clip of 1e-3": ("clip cuts every update", lambda: autoencoder(1e-3)),
    "Dropout at the end": ("dropout of the output", lambda: far_targets(Dropout(0.5))),
    "BatchNorm whose averages lag": ("worse than a constant", lagging),
    "BatchNorm, batches of 2": ("BatchNorm with tiny batches", lambda: small_batches(2)),
    "class weights inverted": ("weights inverted", lambda: weighted({0: 100.0, 1: 1.0})),
    "EarlyStopping at once": ("too few updates", lambda: stopped(EarlyStopping(patience=1, min_delta=0.5), rate=1e-3)),
    "five updates": ("too few updates", lambda: chain(
        Dense(4, 16), Tanh(), Dense(16, 1), x=X[:160], y=Y[:160], epochs=1, learning_rate=1e-3)),
}  # fmt: skip
"""Maps each illness to the finding that must come first, and to a function that makes a run with it."""


@contextmanager
def watching() -> Iterator[list[Watch]]:
    """Within this context every `Trainer.fit` is watched; the list gets the Watch of each."""
    found: list[Watch] = []
    fit = Trainer.fit

    def watched(trainer: Trainer, x: Any, y: Any, **options: Any) -> History:
        found.append(Watch(x, y))
        return fit(trainer, x, y, **{**options, "callbacks": [*options.get("callbacks", ()), found[-1]]})

    Trainer.fit = watched  # type: ignore[assignment]
    try:
        yield found
    finally:
        Trainer.fit = fit  # type: ignore[method-assign]


def false_alarms(example: str) -> list[str]:
    """Run an example in an empty folder; return the findings of its healthy runs."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, watching() as found, redirect_stdout(StringIO()):
        os.chdir(folder)
        try:
            load_example(example).main()
        finally:
            os.chdir(before)
    healthy = found[DEEP + 1 :] if example == "residual_graph" else found
    assert healthy
    return [str(finding) for watch in healthy for finding in watch.diagnosis()]


def main() -> int:
    """Print what was found; return 1 if something was wrong."""
    wrong = 0
    for name, (wanted, make) in ILLNESSES.items():
        first = next(iter(make().watched().diagnosis()), None)
        right = first is not None and first.what == wanted
        wrong += not right
        print(f"{'ok   ' if right else 'WRONG'} {name}: {first}", flush=True)
    alarms = {name: [str(finding) for finding in make().watched().diagnosis()] for name, make in HEALTHY.items()}
    for name, found in [*alarms.items(), *((name, false_alarms(name)) for name in EXAMPLES)]:
        wrong += bool(found)
        print(f"{'FALSE ALARM' if found else 'ok   '} {name} {' '.join(found)}", flush=True)
    print(f"{len(ILLNESSES)} illnesses, {len(HEALTHY) + len(EXAMPLES)} healthy programs, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
