"""Every built-in, and what the conformance kit is to be told of it: the one table that all of them pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl import (
    ELU,
    GELU,
    SGD,
    Activation,
    Adagrad,
    Adam,
    AdamW,
    Add,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    Columns,
    Concat,
    CrossEntropy,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Graph,
    HalfSquaredError,
    Huber,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Loss,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Multiply,
    NAdam,
    Parallel,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    RMSProp,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SiLU,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
    mlp,
)
from minidl.initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from minidl.layers import Merge, Rescale, Standardize
from minidl.losses import ElementwiseLoss, GaussianNLL, Pinball, PoissonLoss
from minidl.optimizers import Optimizer
from minidl.testing import Check, activation_checks, layer_checks, loss_checks, merge_checks, optimizer_checks
from minidl.testing.subject import ComponentSubject

Pair = tuple[Array, Array]
NUMBERS = np.array([[1.0, -2.0, 0.5, 3.0], [4.0, 2.5, 0.5, 3.5], [2.0, 7.0, 0.5, 4.5]])


def codes(rows: int, rng: np.random.Generator) -> Array:
    """A column of codes 0 … 3."""
    return rng.integers(0, 4, (rows, 1)).astype(np.float64)


def two_codes(rows: int, rng: np.random.Generator) -> Array:
    """Two columns of codes 0 … 3."""
    return rng.integers(0, 4, (rows, 2)).astype(np.float64)


def codes_and_numbers(rows: int, rng: np.random.Generator) -> Array:
    """Two columns of numbers and one of codes 0 … 3."""
    return np.concatenate([rng.standard_normal((rows, 2)), codes(rows, rng)], axis=1)


def probabilities(rows: int, rng: np.random.Generator) -> Pair:
    """Probabilities inside (0, 1), and targets of 0 and 1."""
    return rng.uniform(0.1, 0.9, (rows, 3)), rng.integers(0, 2, (rows, 3)).astype(np.float64)


def distributions(rows: int, rng: np.random.Generator) -> Pair:
    """Rows that sum to 1 on both sides."""
    return rng.dirichlet(np.full(3, 5.0), rows), rng.dirichlet(np.ones(3), rows)


def logits_and_labels(rows: int, rng: np.random.Generator) -> Pair:
    """Any numbers, and one-hot targets."""
    return 3 * rng.standard_normal((rows, 3)), np.eye(3)[rng.integers(0, 3, rows)]


def logits_and_bits(rows: int, rng: np.random.Generator) -> Pair:
    """Any numbers, and targets of 0 and 1."""
    return 3 * rng.standard_normal((rows, 3)), rng.integers(0, 2, (rows, 3)).astype(np.float64)


def quantiles(rows: int, rng: np.random.Generator) -> Pair:
    """Three quantiles, and a target of one column."""
    return rng.standard_normal((rows, 3)), rng.standard_normal((rows, 1))


def means_and_spreads(rows: int, rng: np.random.Generator) -> Pair:
    """A mean and the logarithm of a spread, and a target of one column."""
    return rng.standard_normal((rows, 2)), rng.standard_normal((rows, 1))


def rates_and_counts(rows: int, rng: np.random.Generator) -> Pair:
    """Logarithms of rates, and counts."""
    return rng.standard_normal((rows, 3)), rng.poisson(1.5, (rows, 3)).astype(np.float64)


def fourth_power(a: Any, y: Any) -> Any:
    """(a − y)⁴."""
    return (a - y) ** 4


def slope_of_fourth_power(a: Any, y: Any) -> Any:
    """4 (a − y)³."""
    return 4 * (a - y) ** 3


def _graph() -> Graph:
    return Graph(
        {
            "hidden": (Dense(3, 4).initialize(1), "x"),
            "gate": (Sigmoid(), "hidden"),
            "product": (Multiply(), "hidden", "gate"),
            "joined": (Concat(), "x", "product", "hidden"),
            "output": (Dense(11, 2).initialize(2), "joined"),
        },
        output="output",
    )


def _branches() -> Parallel:
    return Parallel(
        Sequential(Columns([0, 1]), Dense(2, 3).initialize(1), Tanh()),
        Sequential(Columns([2]), Embedding(4, 2).initialize(2)),
    )


def _drawn(initializer: Initializer) -> list[Check]:
    return layer_checks(Dense(3, 2, weight_initializer=initializer, bias_initializer=initializer).initialize(1))


TABLE: dict[str, Callable[[], list[Check]]] = {
    # layers
    "Dense": lambda: layer_checks(Dense(4, 3).initialize(1)),
    "Dense without a bias": lambda: layer_checks(Dense(4, 3, bias=False).initialize(1)),
    "BatchNorm": lambda: layer_checks(BatchNorm(4)),
    "LayerNorm": lambda: layer_checks(LayerNorm(4)),
    "RMSNorm": lambda: layer_checks(RMSNorm(4)),
    "Standardize": lambda: layer_checks(Standardize.of(NUMBERS)),
    "Rescale": lambda: layer_checks(Rescale.of(NUMBERS)),
    "Columns": lambda: layer_checks(Columns([3, 0, 3]), 5),
    "Embedding": lambda: layer_checks(Embedding(4, 3).initialize(1), sample=codes),
    "Embedding of two columns": lambda: layer_checks(Embedding([4, 5], 3).initialize(1), sample=two_codes),
    "Flatten": lambda: layer_checks(Flatten(), (2, 3)),
    "Flatten of rows": lambda: layer_checks(Flatten(), 4),
    "Softmax": lambda: layer_checks(Softmax(), 4),
    # containers
    "Sequential": lambda: layer_checks(mlp([3, 5, 4, 2], activation=Tanh, rng=1)),
    "Sequential with kinks": lambda: layer_checks(mlp([3, 6, 6, 2], rng=1)),
    "Sequential without parameters": lambda: layer_checks(Sequential(Tanh(), Identity()), 3),
    "Sequential with random layers": lambda: layer_checks(
        Sequential(Dense(3, 6), BatchNorm(6), SiLU(), Dropout(0.3), Dense(6, 2)).initialize(1)
    ),
    "Sequential of images": lambda: layer_checks(Sequential(Flatten(), Dense(6, 2).initialize(1)), (2, 3)),
    "Residual": lambda: layer_checks(Residual(Sequential(Dense(3, 3).initialize(1), Tanh()))),
    "Parallel": lambda: layer_checks(Parallel(Dense(3, 2), Sequential(Dense(3, 4), Sigmoid())).initialize(1)),
    "Parallel with a merge": lambda: layer_checks(Parallel(Dense(3, 2), Dense(3, 2), merge=Multiply()).initialize(1)),
    "Parallel of columns": lambda: layer_checks(_branches(), 3, sample=codes_and_numbers),
    "Graph": lambda: layer_checks(_graph()),
    # activations
    "Activation": lambda: activation_checks(Activation(np.sin, np.cos)),
    "Identity": lambda: activation_checks(Identity()),
    "Sigmoid": lambda: activation_checks(Sigmoid()),
    "Tanh": lambda: activation_checks(Tanh()),
    "ReLU": lambda: activation_checks(ReLU()),
    "LeakyReLU": lambda: activation_checks(LeakyReLU(0.2)),
    "ELU": lambda: activation_checks(ELU(0.7)),
    "GELU": lambda: activation_checks(GELU()),
    "SiLU": lambda: activation_checks(SiLU()),
    "Softplus": lambda: activation_checks(Softplus()),
    "PReLU": lambda: activation_checks(PReLU()),
    "PReLU with a slope of each feature": lambda: layer_checks(PReLU(features=4)),
    "Dropout": lambda: activation_checks(Dropout(0.4).initialize(1)),
    # merges
    "Add": lambda: merge_checks(Add()),
    "Concat": lambda: merge_checks(Concat(), (2, 4, 1)),
    "Mean": lambda: merge_checks(Mean()),
    "Multiply": lambda: merge_checks(Multiply()),
    # losses
    "HalfSquaredError": lambda: loss_checks(HalfSquaredError()),
    "MeanSquaredError": lambda: loss_checks(MeanSquaredError()),
    "MeanAbsoluteError": lambda: loss_checks(MeanAbsoluteError()),
    "Huber": lambda: loss_checks(Huber(0.8)),
    "ElementwiseLoss": lambda: loss_checks(ElementwiseLoss(fourth_power, slope_of_fourth_power)),
    "GaussianNLL": lambda: loss_checks(GaussianNLL(), sample=means_and_spreads),
    "Pinball": lambda: loss_checks(Pinball([0.1, 0.5, 0.8]), sample=quantiles),
    "PoissonLoss": lambda: loss_checks(PoissonLoss(), sample=rates_and_counts),
    "BinaryCrossEntropy": lambda: loss_checks(BinaryCrossEntropy(), sample=probabilities),
    "CrossEntropy": lambda: loss_checks(CrossEntropy(), sample=distributions),
    "SigmoidCrossEntropy": lambda: loss_checks(SigmoidCrossEntropy(), sample=logits_and_bits),
    "SoftmaxCrossEntropy": lambda: loss_checks(SoftmaxCrossEntropy(), sample=logits_and_labels),
    "BinaryCrossEntropy with smoothing": lambda: loss_checks(
        BinaryCrossEntropy(label_smoothing=0.2), sample=probabilities
    ),
    "CrossEntropy with smoothing": lambda: loss_checks(CrossEntropy(label_smoothing=0.2), sample=distributions),
    "SigmoidCrossEntropy with smoothing": lambda: loss_checks(
        SigmoidCrossEntropy(label_smoothing=0.2), sample=logits_and_bits
    ),
    "SoftmaxCrossEntropy with smoothing": lambda: loss_checks(
        SoftmaxCrossEntropy(label_smoothing=0.2), sample=logits_and_labels
    ),
    # optimizers
    "SGD": lambda: optimizer_checks(lambda p: SGD(p, learning_rate=0.1)),
    "SGD with a schedule": lambda: optimizer_checks(lambda p: SGD(p, lambda step: 1 / (2 + step)), picklable=False),
    "SGD with momentum": lambda: optimizer_checks(lambda p: SGD(p, learning_rate=0.05, momentum=0.9)),
    "SGD with Nesterov's momentum": lambda: optimizer_checks(
        lambda p: SGD(p, learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    ),
    "Adagrad": lambda: optimizer_checks(lambda p: Adagrad(p, learning_rate=0.2, weight_decay=1e-3)),
    "Adam": lambda: optimizer_checks(lambda p: Adam(p, learning_rate=0.05)),
    "Adam with weight decay": lambda: optimizer_checks(lambda p: Adam(p, learning_rate=0.05, weight_decay=1e-3)),
    "AdamW": lambda: optimizer_checks(lambda p: AdamW(p, learning_rate=0.05, weight_decay=1e-3)),
    "NAdam": lambda: optimizer_checks(lambda p: NAdam(p, learning_rate=0.05, weight_decay=1e-3)),
    "RMSProp": lambda: optimizer_checks(lambda p: RMSProp(p, learning_rate=0.02)),
    "AdamW with a group": lambda: optimizer_checks(
        lambda p: AdamW(p, learning_rate=0.05).set_group(p[:1], rate_factor=0.5, weight_decay=0.1)
    ),
    # initializers, as Dense draws from them
    "Constant": lambda: _drawn(Constant(0.3)),
    "Zeros": lambda: _drawn(Zeros()),
    "Normal": lambda: _drawn(Normal(0.1, 0.5)),
    "Uniform": lambda: _drawn(Uniform(-0.5, 0.5)),
    "GlorotNormal": lambda: _drawn(GlorotNormal()),
    "GlorotUniform": lambda: _drawn(GlorotUniform()),
    "HeNormal": lambda: _drawn(HeNormal()),
    "HeUniform": lambda: _drawn(HeUniform()),
    "LeCunNormal": lambda: _drawn(LeCunNormal()),
    "LeCunUniform": lambda: _drawn(LeCunUniform()),
    "TruncatedNormal": lambda: _drawn(TruncatedNormal(0.1, 0.5)),
    "Orthogonal": lambda: layer_checks(Dense(3, 2, weight_initializer=Orthogonal(0.7)).initialize(1)),
}
"""Maps the name of a public class, with a word on the variant where there are several, to its checks."""


def components() -> dict[str, ComponentSubject]:
    """Map the names of the table to what its checks are made of, for each layer, activation and merge."""
    runs: dict[str, Any] = {name: checks()[0]._run for name, checks in TABLE.items()}
    return {name: run.args[0] for name, run in runs.items() if isinstance(run.args[0], ComponentSubject)}


def layers() -> dict[str, tuple[Layer, Array]]:
    """Map the names of the table to a copy of each layer, and an input for it; each merge is that of a `Parallel`."""
    found: dict[str, tuple[Layer, Array]] = {}
    for name, subject in components().items():
        part, xs = subject.original(), subject.inputs()
        if isinstance(part, Merge):
            part, xs = Parallel(*(Dense(3, x.shape[1]) for x in xs), merge=part).initialize(1), (np.ones((5, 3)),)
        found[name] = part, xs[0]
    return found


def activations() -> list[Layer]:
    """List a copy of each activation of the table."""
    parts = [subject.original() for subject in components().values() if subject.largest is not None]
    return [part for part in parts if isinstance(part, Layer)]


def public_parts() -> list[str]:
    """List the public classes that must stand in the table: the concrete ones of the kinds that the kit checks."""
    kinds = (Layer, Merge, Loss, Optimizer, Initializer)
    modules = (minidl.initializers, minidl.layers, minidl.losses, minidl.optimizers)
    classes = {name: getattr(module, name) for module in modules for name in module.__all__}
    return [
        name
        for name, value in classes.items()
        if isinstance(value, type) and issubclass(value, kinds) and not getattr(value, "__abstractmethods__", None)
    ]


def missing_parts() -> list[str]:
    """List the public classes that do not stand in the table."""
    return [name for name in public_parts() if name not in {line.split(" ")[0] for line in TABLE}]
