"""Whole networks: an epoch in compiled code is that of the NumPy path to rounding, with the same random numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl import (
    ELU,
    GELU,
    L1,
    L2,
    SGD,
    Activation,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    ClipGlobalNorm,
    CrossEntropy,
    Dense,
    Dropout,
    HalfSquaredError,
    Huber,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
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
    Trainer,
)
from minidl._compiled.chain import chain
from minidl._compiled.kernels import LAYERS
from minidl._compiled.kernels.gradients import CLIPS
from minidl._compiled.kernels.losses import LOSSES
from minidl._compiled.kernels.optimizers import OPTIMIZERS
from minidl._core.parameter import Buffer
from minidl.layers import Rescale, Standardize
from minidl.layers._parts import named
from minidl.losses import ElementwiseLoss, GaussianNLL, Pinball, PoissonLoss
from minidl.optimizers import Adagrad, ClipNorm, ClipValue, NAdam, Optimizer, Penalty

ROWS = 67
X = np.random.default_rng(1).normal(size=(ROWS, 4))
TARGET = np.sin(X[:, :3])
PROBABILITIES = np.random.default_rng(2).dirichlet(np.ones(3), ROWS)
LABELS = np.random.default_rng(3).integers(0, 3, ROWS)
WEIGHTS = np.random.default_rng(4).random(ROWS)


def smooth() -> Layer:
    return Sequential(
        Dense(4, 9), Sigmoid(), Tanh(), Dense(9, 7), GELU(), SiLU(), Softplus(),
        Dense(7, 3), Activation(lambda x: 0.5 * x * x, lambda x: 1.0 * x),
    )


def bent() -> Layer:
    return Sequential(
        Identity(), Dense(4, 8), LeakyReLU(0.1), ELU(0.8), Dense(8, 6), PReLU(), Dense(6, 7, bias=False), ReLU(),
        PReLU(features=7), Dense(7, 3),
    )


def norms() -> Layer:
    generator = np.random.default_rng(5)
    return Sequential(
        Standardize.of(3.0 * X + 2.0), LayerNorm(4), Dropout(0.1).initialize(generator),
        Sequential(Dense(4, 10), RMSNorm(10), Sequential(Tanh(), Dropout(0.3))),
        Dropout(0.2).initialize(generator), Dense(10, 3), Rescale.of(5.0 * TARGET), Softmax(),
    )


def batch_norm() -> Layer:
    return Sequential(BatchNorm(4), Dense(4, 8), BatchNorm(8, momentum=0.3), ReLU(), Dropout(0.25), Dense(8, 3))


def residual() -> Layer:
    inner = Residual(Sequential(Dense(6, 5), Dropout(0.2), Dense(5, 6)))
    return Sequential(
        Residual(Dense(4, 4)), Residual(Sequential(Dense(4, 6), Tanh(), inner, Dense(6, 4))), Residual(Tanh()),
        Dense(4, 3),
    )


def one_residual() -> Layer:
    return Sequential(Dense(4, 3), Residual(Residual(Dense(3, 3))))


def without_bias() -> Layer:
    return Sequential(Dense(4, 6, bias=False), Tanh(), Dense(6, 3, bias=False))


def linear() -> Layer:
    return Sequential(Dense(4, 3))


def even() -> Layer:
    return Sequential(Dense(4, 4))


def plain() -> Layer:
    return Sequential(Dense(4, 6), Tanh(), Dense(6, 3))


def logistic() -> Layer:
    return Sequential(Dense(4, 3), Sigmoid())


Case = tuple[Callable[[], Layer], Loss, Callable[[Layer], Optimizer], np.ndarray[Any, Any], str]

def grouped(optimizer: Optimizer) -> Optimizer:
    return optimizer.set_group(optimizer.vector.parameters[:3], rate_factor=0.3, weight_decay=0.2)


def penalized(model: Layer) -> list[Penalty]:
    first, second, *others = model.parameters()
    return [L1(0.01, [first, *others[-1:]]), L2(0.1, [first, second]), L2(0.02, model.parameters())]


FOURTH_POWER = ElementwiseLoss(lambda a, y: (a - y) ** 4, lambda a, y: 4 * (a - y) ** 3)
SMOOTHED = SoftmaxCrossEntropy(label_smoothing=0.2)

CASES: dict[str, Case] = {
    "smooth": (smooth, HalfSquaredError(), lambda m: SGD(m.parameters(), 0.05), PROBABILITIES, "float64"),
    "bent": (bent, MeanAbsoluteError(), lambda m: SGD(m.parameters(), lambda n: 0.1 / (1 + n)), TARGET, "float64"),
    "norms": (norms, CrossEntropy(), lambda m: Adam(m.parameters(), 0.01, weight_decay=0.1), PROBABILITIES, "float64"),
    "labels": (linear, SoftmaxCrossEntropy(), lambda m: SGD(m.parameters(), 0.1, momentum=0.9), LABELS, "float32"),
    "without bias": (without_bias, HalfSquaredError(), lambda m: SGD(m.parameters(), 0.1), TARGET, "float64"),
    "nesterov": (
        linear, MeanSquaredError(), lambda m: SGD(m.parameters(), 0.1, momentum=0.9, nesterov=True), TARGET, "float32",
    ),
    "huber": (linear, Huber(0.5), lambda m: AdamW(m.parameters(), 0.02), TARGET, "float64"),
    "binary": (
        logistic, BinaryCrossEntropy(), lambda m: SGD(m.parameters(), 0.1, weight_decay=0.2), PROBABILITIES, "float64",
    ),
    "quantiles": (linear, Pinball([0.1, 0.5, 0.9]), lambda m: SGD(m.parameters(), 0.1), TARGET[:, :1], "float32"),
    "counts": (linear, PoissonLoss(), lambda m: Adam(m.parameters(), 0.02), PROBABILITIES, "float64"),
    "spread": (even, GaussianNLL(), lambda m: Adam(m.parameters(), 0.02), TARGET[:, :2], "float32"),
    "function": (linear, FOURTH_POWER, lambda m: SGD(m.parameters(), 0.01), PROBABILITIES, "float64"),
    "smoothed": (linear, SMOOTHED, lambda m: SGD(m.parameters(), 0.1, momentum=0.9), LABELS, "float32"),
    "groups": (plain, MeanSquaredError(), lambda m: grouped(AdamW(m.parameters(), 0.02)), TARGET, "float32"),
    "plain groups": (plain, MeanSquaredError(), lambda m: grouped(SGD(m.parameters(), 0.1)), TARGET, "float64"),
    "residual": (residual, MeanSquaredError(), lambda m: NAdam(m.parameters(), 0.01), TARGET, "float64"),
    "residuals": (one_residual, MeanSquaredError(), lambda m: SGD(m.parameters(), 0.05), TARGET, "float64"),
    "nadam": (linear, HalfSquaredError(), lambda m: NAdam(m.parameters(), momentum_decay=0.1), TARGET, "float32"),
    "adagrad": (linear, HalfSquaredError(), lambda m: Adagrad(m.parameters(), 0.1), TARGET, "float32"),
    "rmsprop": (linear, HalfSquaredError(), lambda m: RMSProp(m.parameters(), rho=0.8), TARGET, "float64"),
    "rmsprop with momentum": (
        linear, HalfSquaredError(), lambda m: grouped(RMSProp(m.parameters(), momentum=0.7)), TARGET, "float64",
    ),
    "clipped": (smooth, MeanSquaredError(), lambda m: SGD(m.parameters(), 0.1), TARGET, "float64"),
    "clipped parts": (linear, MeanSquaredError(), lambda m: SGD(m.parameters(), 0.1), TARGET, "float32"),
    "clipped numbers": (linear, MeanSquaredError(), lambda m: Adam(m.parameters(), 0.1), TARGET, "float64"),
    "penalized": (linear, MeanSquaredError(), lambda m: SGD(m.parameters(), 0.1), TARGET, "float32"),
    "both": (residual, MeanSquaredError(), lambda m: AdamW(m.parameters(), 0.02), TARGET, "float64"),
    "binary logits": (linear, SigmoidCrossEntropy(), lambda m: Adam(m.parameters(), 0.02), PROBABILITIES, "float32"),
}
BATCH_NORM: Case = (
    batch_norm, SoftmaxCrossEntropy(), lambda m: SGD(m.parameters(), 0.05, momentum=0.9), PROBABILITIES, "float64",
)
"""Not by Adam: a bias before a BatchNorm has no gradient but rounding, which Adam would make large."""


Extras = Callable[[Layer], dict[str, Any]]
EXTRAS: dict[str, Extras] = {
    "clipped": lambda m: {"clip": ClipGlobalNorm(0.05)},
    "clipped parts": lambda m: {"clip": ClipNorm(0.3)},
    "clipped numbers": lambda m: {"clip": ClipValue(0.05)},
    "penalized": lambda m: {"penalties": penalized(m)},
    "both": lambda m: {"penalties": penalized(m), "clip": ClipNorm(0.2)},
}
"""The clips and penalties of some cases."""


def test_every_layer_loss_and_optimizer_that_is_compiled_is_in_a_network() -> None:
    cases = [*CASES.values(), BATCH_NORM]
    assert {type(layer) for make, *_ in cases for _, layer in chain(make())} == {*LAYERS, Residual}
    assert {type(loss) for _, loss, *_ in cases} == set(LOSSES)
    assert {type(optimizer(make())) for make, _, optimizer, *_ in cases} == set(OPTIMIZERS)
    extras = [make(smooth()) for make in EXTRAS.values()]
    assert {type(extra["clip"]) for extra in extras if "clip" in extra} == set(CLIPS)


def trained(
    case: Case, engine: Any, batch_size: int, weights: Any = None, extras: Extras | None = None
) -> Trainer:
    make, loss, optimizer, y, dtype = case
    model = make().initialize(rng=6).astype(dtype)
    more = {} if extras is None else extras(model)
    trainer = Trainer(model, copy.deepcopy(loss), optimizer(model), rng=7, engine=engine, **more)
    trainer.fit(X, y, epochs=3, batch_size=batch_size, sample_weight=weights)
    assert trainer.last_engine == engine
    return trainer


def close(found: Any, wanted: Any, trainer: Trainer) -> bool:
    tolerance = 1e-10 if trainer.model.dtype == np.float64 else 3e-5
    return np.shape(found) == np.shape(wanted) and np.allclose(found, wanted, rtol=tolerance, atol=tolerance)


def check_alike(found: Trainer, wanted: Trainer) -> None:
    assert close(found.history.loss, wanted.history.loss, found)
    assert close(found.optimizer.vector.values, wanted.optimizer.vector.values, found)
    for name, slot in wanted.optimizer.slots().items():
        assert close(found.optimizer.slots()[name], slot, found), name
    for path, buffer in named(wanted.model, Buffer).items():
        value = named(found.model, Buffer)[path].value
        assert close(value, buffer.value, found), path
        assert value.dtype == np.asarray(buffer.value).dtype
    for path, generator in named(wanted.model, np.random.Generator).items():
        assert named(found.model, np.random.Generator)[path].bit_generator.state == generator.bit_generator.state
    assert found.optimizer.numbers() == wanted.optimizer.numbers()
    assert found.history.learning_rate == wanted.history.learning_rate
    assert not any(parameter.has_grad for parameter in found.model.parameters())


SINGLE_ROWS = ["smooth", "bent", "norms", "labels", "smoothed", "without bias", "groups", "plain groups"]
"""Programs for single rows have other kernels of layers, and another step; the kernels of losses are the same."""


@pytest.mark.parametrize(
    ("name", "batch_size"), [*((name, 1) for name in SINGLE_ROWS), *((name, 8) for name in CASES)]
)
def test_a_compiled_epoch_is_that_of_the_numpy_path(name: str, batch_size: int) -> None:
    found, wanted = (
        trained(CASES[name], engine, batch_size, extras=EXTRAS.get(name)) for engine in ("compiled", "numpy")
    )
    check_alike(found, wanted)
    if name in EXTRAS:
        assert not close(found.history.loss, trained(CASES[name], "numpy", batch_size).history.loss, found)


@pytest.mark.parametrize("batch_size", [2, 11, 33, 67, 500])
def test_batches_of_every_cut_are_those_of_the_numpy_path(batch_size: int) -> None:
    check_alike(trained(BATCH_NORM, "compiled", batch_size), trained(BATCH_NORM, "numpy", batch_size))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_sample_weights_count(batch_size: int) -> None:
    case = CASES["labels"]
    found = trained(case, "compiled", batch_size, WEIGHTS)
    check_alike(found, trained(case, "numpy", batch_size, WEIGHTS))
    assert found.history.loss != trained(case, "compiled", batch_size).history.loss
