"""Quantiles, counts, spreads, functions of the user, and smoothed labels."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pytest
from scipy import stats

from minidl import (
    Adam,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
    mlp,
)
from minidl.errors import ArgumentError, CompileError, DataError, DTypeError, ShapeError, StructureError
from minidl.inspection import trace
from minidl.losses import ElementwiseLoss, GaussianNLL, Pinball, PoissonLoss
from minidl.solvers import lbfgs
from tests.support.derivatives import complex_step, relative_error
from tests.support.refusal import refused

RNG = np.random.default_rng(0)
QUANTILES = [0.1, 0.5, 0.9]
P, Y = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 1))
OUTPUTS, COLUMNS = RNG.normal(size=(8, 4)), RNG.normal(size=(8, 2))
OTHER_WIDTHS = [(Pinball(QUANTILES), P, Y), (GaussianNLL(), OUTPUTS, COLUMNS)]
other_widths = pytest.mark.parametrize(("loss", "p", "y"), OTHER_WIDTHS, ids=["Pinball", "GaussianNLL"])


def test_pinball_is_the_mean_of_the_tilted_absolute_values() -> None:
    rows = [max(q * (y - a), (q - 1) * (y - a)) for row, (y,) in zip(P, Y, strict=True)
            for a, q in zip(row, QUANTILES, strict=True)]
    assert Pinball(QUANTILES)(P, Y) == pytest.approx(np.mean(rows), rel=1e-14)
    assert Pinball([0.5])(P[:, :1], Y) == pytest.approx(0.5 * MeanAbsoluteError()(P[:, :1], Y), rel=1e-14)


def test_pinball_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for column, q in enumerate(QUANTILES):
        found = Pinball([q])(P[:, [column]], Y)
        assert found == pytest.approx(metrics.mean_pinball_loss(Y, P[:, column], alpha=q), rel=1e-14)


def test_the_constants_of_least_pinball_are_the_quantiles() -> None:
    y = RNG.exponential(size=(1001, 1))
    model = Sequential(Dense(1, 3)).initialize(0)
    trainer = Trainer(model, Pinball(QUANTILES), Adam(model.parameters(), lambda n: 0.1 / (1 + n / 50)), rng=0)
    trainer.fit(np.zeros((1001, 1)), y[:, 0], epochs=1500, batch_size=1001)
    assert model.predict(np.zeros((1, 1)))[0] == pytest.approx(np.quantile(y, QUANTILES), abs=0.02)


def test_at_its_kink_pinball_has_slope_zero() -> None:
    loss = Pinball([0.3])
    assert loss.forward(np.ones((1, 1)), np.ones((1, 1))) == 0.0
    assert loss.backward().tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("quantiles", "error", "words"),
    [
        ([], ArgumentError, "expected at least one quantile, got none"),
        ([0.5, 1.0], ArgumentError, "above 0 and below 1, got 1.0"),
        (0.5, DTypeError, "expected a list of numbers such as [0.1, 0.5, 0.9], got 0.5"),
    ],
)
def test_quantiles_are_checked(quantiles: Any, error: Any, words: str) -> None:
    with refused(error, "Pinball(quantiles)", words):
        Pinball(quantiles)


def test_gaussian_is_the_negative_log_density_without_its_constant() -> None:
    mean, log_spread = np.split(OUTPUTS, 2, axis=1)
    densities = stats.norm.logpdf(COLUMNS, mean, np.exp(log_spread))
    wanted = -np.mean(densities) - 0.5 * log(2 * np.pi)
    assert GaussianNLL()(OUTPUTS, COLUMNS) == pytest.approx(wanted, rel=1e-13)


def test_poisson_is_the_negative_log_probability_without_its_constant() -> None:
    counts = RNG.poisson(2.0, (8, 3)).astype(float)
    wanted = -(stats.poisson.logpmf(counts, np.exp(P)) - stats.poisson.logpmf(counts, 1.0) - 1.0).mean()
    assert PoissonLoss()(P, counts) == pytest.approx(wanted, rel=1e-13)


def test_poisson_of_a_rate_of_zero_is_a_limit() -> None:
    loss = PoissonLoss()
    assert loss.forward(np.array([[-np.inf]]), [[0.0]]) == 0.0
    assert loss.backward().tolist() == [[0.0]]
    assert loss.forward(np.array([[-np.inf]]), [[1.0]]) == np.inf


def test_negative_counts_are_refused() -> None:
    with refused(DataError, "PoissonLoss(): expected targets of at least 0, got [ 2. -1.] at row 1"):
        PoissonLoss().check_data([[0, 1], [2, -1]], 2, np.dtype(float))


def test_losses_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn.functional

    def check(loss: Loss, p: Any, y: Any, theirs: Any) -> None:
        tensor = torch.tensor(p, requires_grad=True)
        value = theirs(tensor, torch.tensor(y))
        value.backward()
        assert loss.forward(p, y) == pytest.approx(value.item(), rel=1e-12)
        assert relative_error(loss.backward(), tensor.grad.numpy()) <= 1e-12

    counts = RNG.poisson(2.0, (8, 3)).astype(float)
    check(PoissonLoss(), P, counts, nn.poisson_nll_loss)
    check(GaussianNLL(), OUTPUTS, COLUMNS, lambda a, y: nn.gaussian_nll_loss(a[:, :2], y, (2 * a[:, 2:]).exp()))
    labels, rows = RNG.integers(0, 3, 8), RNG.dirichlet(np.ones(3), 8)
    for target in labels, rows:
        check(SoftmaxCrossEntropy(label_smoothing=0.1), P, target,
              lambda a, y: nn.cross_entropy(a, y, label_smoothing=0.1))


def test_a_smoothed_label_is_a_smoothed_one_hot_row() -> None:
    labels, loss = RNG.integers(0, 3, 8), SoftmaxCrossEntropy(label_smoothing=0.3)
    error, gradient = loss.forward(P, labels), loss.backward()
    assert loss.forward(P, np.eye(3)[labels]) == error
    assert (loss.backward() == gradient).all()


def test_smoothed_classes_are_still_classes() -> None:
    labels = RNG.integers(0, 2, 8)
    for loss in CrossEntropy(label_smoothing=0.1), SoftmaxCrossEntropy(label_smoothing=0.1):
        assert loss.classes(np.eye(2)[labels]) == pytest.approx(labels)
    for binary in BinaryCrossEntropy(label_smoothing=0.1), SigmoidCrossEntropy(label_smoothing=0.1):
        assert binary.classes(labels[:, None]) == pytest.approx(labels)
    assert repr(SigmoidCrossEntropy(label_smoothing=0.1)) == "SigmoidCrossEntropy(label_smoothing=0.1)"


def test_the_least_smoothed_loss_is_at_smoothed_probabilities() -> None:
    model = Sequential(Dense(1, 1)).initialize(0)
    lbfgs(model, np.ones((10, 1)), np.ones((10, 1)), loss=SigmoidCrossEntropy(label_smoothing=0.2))
    assert 1 / (1 + exp(-model.predict(np.ones((1, 1))).item())) == pytest.approx(0.9, abs=1e-4)


def test_a_function_of_ones_own_is_a_loss() -> None:
    squares = ElementwiseLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y))
    known = MeanSquaredError()
    target = RNG.normal(size=P.shape)
    assert squares.forward(P, target) == pytest.approx(known.forward(P, target), rel=1e-14)
    assert np.allclose(squares.backward(), known.backward(), rtol=1e-14)
    assert repr(ElementwiseLoss(np.hypot, np.hypot)) == "ElementwiseLoss(hypot)"


@pytest.mark.parametrize("name", ["function", "derivative"])
def test_a_function_that_gives_another_shape_is_refused(name: str) -> None:
    functions: dict[str, Any] = {"function": np.subtract, "derivative": np.subtract, name: lambda a, y: 0.5}
    loss = ElementwiseLoss(**functions)
    with refused(ShapeError, "expected an array of shape (8, 3) from its " + name, "got ()"):
        loss.forward(P, P)
        loss.backward()
    with refused(DTypeError, f"ElementwiseLoss({name}): expected a function of two arrays, got 3"):
        ElementwiseLoss(**functions | {name: 3})


@other_widths
def test_the_gradient_is_that_of_the_complex_step(loss: Loss, p: Any, y: Any) -> None:
    weights = np.arange(1.0, len(p) + 1)
    loss.forward(p, y, weights)
    gradient = loss.backward()
    wanted = complex_step(lambda v: np.sum(weights * loss.forward_rows(v, y)) / len(p), p)
    assert relative_error(gradient, wanted) <= 1e-12


@other_widths
def test_targets_of_another_width_are_refused(loss: Loss, p: Any, y: Any) -> None:
    for wrong in (p, p[:, :3], y[:-1], y[:1], y[:, 0]):
        with refused(ShapeError, f"{loss!r}: expected a target of shape {y.shape}", f"got {wrong.shape}"):
            loss.forward(p, wrong)
    with refused(ShapeError, f"{loss!r}: expected"):
        loss.forward(p[:, :1], y)
    with refused(ShapeError, f"{loss!r}: expected a prediction of shape (batch, features), got (8,)"):
        loss.forward(p[:, 0], y)
    model = Sequential(Dense(2, 5)).initialize(0)
    with refused(ShapeError, f"{loss!r}: expected"):
        Trainer(model, loss, Adam(model.parameters())).fit(np.ones((8, 2)), y, epochs=1)


def test_a_gaussian_error_says_how_many_outputs_the_model_needs() -> None:
    with refused(ShapeError, "got (8, 2); for this target the model needs 4 outputs"):
        GaussianNLL().forward(OUTPUTS[:, :2], COLUMNS)


@pytest.mark.parametrize("loss", [Pinball([0.2, 0.8]), GaussianNLL()], ids=repr)
def test_a_flat_target_trains_as_one_column(loss: Loss) -> None:
    x, y = RNG.normal(size=(40, 2)), RNG.normal(size=40)
    errors = []
    for target in y, y[:, None]:
        model = mlp([2, 4, 2], rng=0)
        errors.append(Trainer(model, loss, Adam(model.parameters()), rng=0).fit(x, target, epochs=2).loss)
    assert errors[0] == errors[1]


@other_widths
def test_a_loss_of_another_width_can_be_traced(loss: Loss, p: Any, y: Any) -> None:
    model = mlp([2, 4, p.shape[1]], rng=0)
    x = RNG.normal(size=(8, 2))
    assert trace(model, loss, x, y).error == loss(model.predict(x), y)


@pytest.mark.parametrize("loss", [Pinball(QUANTILES), GaussianNLL(), PoissonLoss()], ids=repr)
def test_these_losses_know_no_probabilities(loss: Loss) -> None:
    with refused(StructureError, f"{loss!r}.probabilities"):
        loss.probabilities(P)


def test_a_function_that_numba_cannot_compile_trains_in_numpy() -> None:
    pytest.importorskip("numba")
    held = {"power": 2}
    loss = ElementwiseLoss(lambda a, y: (a - y) ** held["power"], lambda a, y: held["power"] * (a - y))
    model = mlp([3, 1], rng=0)
    trainer = Trainer(model, loss, Adam(model.parameters()), rng=0, engine="compiled")
    with refused(CompileError, "cannot be compiled: its function uses more than Numba can compile"):
        trainer.fit(P, Y, epochs=1)
    trainer.engine = "auto"
    trainer.fit(P, Y, epochs=30_000 // 8, batch_size=1)
    assert trainer.last_engine == "numpy"
