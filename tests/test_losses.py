from __future__ import annotations

from collections.abc import Callable
from math import cosh, exp, inf, log, log1p
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Array,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    HalfSquaredError,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Trainer,
)
from minidl.errors import ArgumentError, CallOrderError, DataError, DTypeError, ShapeError, StructureError
from minidl.losses import ElementwiseLoss, PoissonLoss
from minidl.solvers import lbfgs
from tests.support.derivatives import central, complex_step, relative_error
from tests.support.refusal import refused

Row = list[float]


def half_squared(p: Row, t: Row) -> float:
    return 0.5 * sum((a - b) ** 2 for a, b in zip(p, t, strict=True))


def mean_squared(p: Row, t: Row) -> float:
    return sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) / len(p)


def mean_absolute(p: Row, t: Row) -> float:
    return sum(abs(a - b) for a, b in zip(p, t, strict=True)) / len(p)


def huber(delta: float) -> Callable[[Row, Row], float]:
    def row(p: Row, t: Row) -> float:
        d = [abs(a - b) for a, b in zip(p, t, strict=True)]
        return sum(0.5 * v * v if v <= delta else delta * (v - 0.5 * delta) for v in d) / len(p)

    return row


def binary_cross_entropy(p: Row, t: Row) -> float:
    return -sum(b * log(a) + (1 - b) * log(1 - a) for a, b in zip(p, t, strict=True))


def cross_entropy(p: Row, t: Row) -> float:
    return -sum(b * log(a) for a, b in zip(p, t, strict=True))


def sigmoid_cross_entropy(z: Row, t: Row) -> float:
    return binary_cross_entropy([1 / (1 + exp(-a)) for a in z], t)


def softmax_cross_entropy(z: Row, t: Row) -> float:
    total = sum(exp(a) for a in z)
    return cross_entropy([exp(a) / total for a in z], t)


RNG = np.random.default_rng(0)
ROWS, OUTPUTS = 6, 3


def probabilities(rows: int, outputs: int) -> Any:
    return RNG.uniform(0.05, 0.95, (rows, outputs))


def distributions(rows: int, outputs: int) -> Any:
    p = RNG.uniform(0.05, 0.95, (rows, outputs))
    return p / p.sum(axis=1, keepdims=True)


def poisson(p: Row, t: Row) -> float:
    return sum(exp(a) - b * a for a, b in zip(p, t, strict=True)) / len(p)


def log_cosh(a: Any, y: Any) -> Any:
    return np.log(np.cosh(a - y))


def mean_log_cosh(p: Row, t: Row) -> float:
    return sum(log(cosh(a - b)) for a, b in zip(p, t, strict=True)) / len(p)


def smoothed(row: Callable[[Row, Row], float], classes: int) -> Callable[[Row, Row], float]:
    """Return the error of a row whose target is 80 % the given one, and 20 % even."""
    return lambda p, t: row(p, [0.8 * b + 0.2 / classes for b in t])


PROBABLE, SOFT = distributions(ROWS, OUTPUTS), distributions(ROWS, OUTPUTS)
P, T = RNG.normal(0, 2, (ROWS, OUTPUTS)), RNG.normal(0, 2, (ROWS, OUTPUTS))
CASES: list[tuple[Callable[[], Loss], Callable[[Row, Row], float], Any, Any]] = [
    (HalfSquaredError, half_squared, P, T),
    (MeanSquaredError, mean_squared, P, T),
    (MeanAbsoluteError, mean_absolute, P, T),
    (Huber, huber(1.0), P, T),
    (lambda: Huber(2.5), huber(2.5), P, T),
    (BinaryCrossEntropy, binary_cross_entropy, probabilities(ROWS, OUTPUTS), probabilities(ROWS, OUTPUTS)),
    (CrossEntropy, cross_entropy, distributions(ROWS, OUTPUTS), distributions(ROWS, OUTPUTS)),
    (SigmoidCrossEntropy, sigmoid_cross_entropy, P, probabilities(ROWS, OUTPUTS)),
    (SoftmaxCrossEntropy, softmax_cross_entropy, P, distributions(ROWS, OUTPUTS)),
    (PoissonLoss, poisson, P, np.abs(T)),
    (lambda: ElementwiseLoss(log_cosh, lambda a, y: np.tanh(a - y)), mean_log_cosh, P, T),
    (lambda: BinaryCrossEntropy(label_smoothing=0.2), smoothed(binary_cross_entropy, 2), PROBABLE, SOFT),
    (lambda: CrossEntropy(label_smoothing=0.2), smoothed(cross_entropy, 3), PROBABLE, SOFT),
    (lambda: SigmoidCrossEntropy(label_smoothing=0.2), smoothed(sigmoid_cross_entropy, 2), P, SOFT),
    (lambda: SoftmaxCrossEntropy(label_smoothing=0.2), smoothed(softmax_cross_entropy, 3), P, SOFT),
]
NAMES = [repr(case[0]()) for case in CASES]
LOSSES = [case[0] for case in CASES]
every_loss = pytest.mark.parametrize(("make", "row", "p", "t"), CASES, ids=NAMES)


@every_loss
def test_the_loss_is_the_mean_of_the_equation_over_the_rows(make: Any, row: Any, p: Any, t: Any) -> None:
    expected = sum(row(a, b) for a, b in zip(p.tolist(), t.tolist(), strict=True)) / ROWS
    error = make().forward(p, t)
    assert type(error) is float
    assert error == pytest.approx(expected, rel=1e-13)


@every_loss
def test_weights_multiply_the_rows_and_not_the_number_of_them(make: Any, row: Any, p: Any, t: Any) -> None:
    w = [0.0, 1.0, 2.5, 0.5, 3.0, 1.0]
    expected = sum(v * row(a, b) for v, a, b in zip(w, p.tolist(), t.tolist(), strict=True)) / ROWS
    loss = make()
    assert loss.forward(p, t, w) == pytest.approx(expected, rel=1e-13)
    weighted = loss.backward()
    loss.forward(p, t)
    assert np.allclose(weighted, loss.backward() * np.array(w)[:, None], rtol=1e-13)


@every_loss
@pytest.mark.parametrize("weights", [None, np.array([0.0, 1.0, 2.5, 0.5, 3.0, 1.0])])
def test_the_gradient_is_that_of_the_complex_step(make: Any, row: Any, p: Any, t: Any, weights: Any) -> None:
    factors = np.ones(ROWS) if weights is None else weights
    loss = make()
    loss.forward(p, t, weights)
    expected = complex_step(lambda v: np.sum(factors * make().forward_rows(v, t)) / ROWS, p)
    assert relative_error(loss.backward(), expected) <= 1e-10


@every_loss
def test_the_gradient_is_that_of_central_differences_of_the_equation(make: Any, row: Any, p: Any, t: Any) -> None:
    loss = make()
    loss.forward(p, t)
    expected = central(
        lambda v: sum(row(a, b) for a, b in zip(v.tolist(), t.tolist(), strict=True)) / ROWS, p)
    assert relative_error(loss.backward(), expected) <= 1e-6


@every_loss
def test_float32_stays_float32_and_agrees_to_two_parts_in_a_thousand(make: Any, row: Any, p: Any, t: Any) -> None:
    exact, single = make(), make()
    weights = np.arange(1.0, ROWS + 1)
    error = exact.forward(p, t, weights)
    assert single.forward(p.astype(np.float32), t, weights) == pytest.approx(error, rel=2e-3)
    gradient = single.backward()
    assert gradient.dtype == np.float32
    assert relative_error(gradient, exact.backward()) <= 2e-3


@every_loss
def test_the_mean_loss_is_the_mean_over_micro_batches(make: Any, row: Any, p: Any, t: Any) -> None:
    whole, part = make(), make()
    error = whole.forward(p, t)
    errors, gradients = [], []
    for start in (0, 2, 4):
        errors.append(part.forward(p[start:start + 2], t[start:start + 2]))
        gradients.append(part.backward() / 3)
    assert sum(errors) / 3 == pytest.approx(error, rel=1e-13)
    assert np.allclose(np.concatenate(gradients), whole.backward(), rtol=1e-13)


@every_loss
def test_permuting_the_rows_changes_nothing_but_the_order(make: Any, row: Any, p: Any, t: Any) -> None:
    order = np.array([5, 3, 0, 1, 4, 2])
    one, other = make(), make()
    assert one.forward(p, t) == pytest.approx(other.forward(p[order], t[order]), rel=1e-13)
    assert (one.backward()[order] == other.backward()).all()


@every_loss
def test_no_array_of_the_caller_is_written_to_or_shared_with_the_gradient(make: Any, row: Any, p: Any, t: Any) -> None:
    p, t, w = p.copy(), t.copy(), np.arange(1.0, ROWS + 1)
    before = p.tobytes(), t.tobytes(), w.tobytes()
    for array in (p, t, w):
        array.flags.writeable = False
    loss = make()
    for weights in (None, w):
        loss.forward(p, t, weights)
        gradient = loss.backward()
        assert not any(np.shares_memory(gradient, array) for array in (p, t, w))
        assert not np.shares_memory(gradient, loss.backward())
    assert (p.tobytes(), t.tobytes(), w.tobytes()) == before


@every_loss
def test_evaluating_keeps_nothing_and_does_not_disturb_a_pass_under_way(make: Any, row: Any, p: Any, t: Any) -> None:
    loss, undisturbed = make(), make()
    fresh = dict(vars(loss))
    assert loss(p, t) == undisturbed.forward(p, t)
    assert vars(loss) == fresh
    loss.forward(p, t)
    loss(t, t)
    assert (loss.backward() == undisturbed.backward()).all()


@every_loss
def test_backward_before_forward_is_an_error_that_says_so(make: Any, row: Any, p: Any, t: Any) -> None:
    with refused(CallOrderError, f"{make()!r}.backward: expected forward before backward"):
        make().backward()


@every_loss
def test_a_column_against_a_row_is_refused_with_the_remedy(make: Any, row: Any, p: Any, t: Any) -> None:
    remedy = "use SigmoidCrossEntropy" if isinstance(make(), SoftmaxCrossEntropy) else "got (6,); use y[:, None]"
    for call in (make().forward, make()):
        with refused(ShapeError, f"{make()!r}: expected a", remedy):
            call(p[:, :1], t[:, 0])
        with refused(ShapeError, "expected a prediction of shape (batch, features), got (6,); use prediction[:, None]"):
            call(p[:, 0], t[:, :1])
        with refused(ShapeError, "expected a prediction of shape (batch, features), got (6,)"):
            call(p[:, 0], t[:, 0])


@every_loss
@pytest.mark.parametrize("shape", [(6, 2), (6, 1), (1, 3), (5, 3), (6, 3, 1), ()])
def test_a_target_of_another_shape_is_refused(make: Any, row: Any, p: Any, t: Any, shape: tuple[int, ...]) -> None:
    with refused(ShapeError, "expected a target of shape (6, 3) like the prediction", f"got {shape}"):
        make().forward(p, np.full(shape, 0.5))


@every_loss
def test_an_empty_batch_is_refused(make: Any, row: Any, p: Any, t: Any) -> None:
    with refused(DataError, f"{make()!r}: expected at least one row, got an empty batch"):
        make().forward(p[:0], t[:0])


@every_loss
@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.ones(5), ShapeError, "expected shape (6,), one for each row, got (5,)"),
        (np.ones((6, 1)), ShapeError, "got (6, 1)"),
        (-np.ones(6), DataError, "expected finite numbers of at least 0"),
        (np.full(6, np.nan), DataError, "expected finite numbers of at least 0"),
        (np.full(6, np.inf), DataError, "expected finite numbers of at least 0"),
        (np.full(6, "1"), DTypeError, "expected real numbers"),
    ],
)
def test_weights_are_checked(make: Any, row: Any, p: Any, t: Any, weights: Any, error: Any, words: str) -> None:
    with refused(error, "sample_weight", words):
        make().forward(p, t, weights)


@every_loss
def test_targets_of_any_real_kind_are_cast_to_the_prediction(make: Any, row: Any, p: Any, t: Any) -> None:
    whole = np.zeros((ROWS, OUTPUTS), np.int64)
    whole[:, 1] = 1
    error = make().forward(p, whole.astype(np.float64))
    for target in (whole, whole.astype(bool), whole.astype(">f4"), whole.tolist(), np.asfortranarray(whole)):
        loss = make()
        assert loss.forward(p, target) == error
        assert loss.backward().dtype == np.float64


LABELS = np.array([2, 0, 1, 1, 2, 0])


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_integer_labels_are_one_hot_rows(dtype: Any) -> None:
    one, other = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
    one_hot = np.array([[1.0 if k == label else 0.0 for k in range(3)] for label in LABELS])
    labels = LABELS.astype(dtype)
    assert one.forward(P, labels) == pytest.approx(other.forward(P, one_hot), rel=1e-14)
    assert np.allclose(one.backward(), other.backward(), rtol=1e-13)
    assert one.forward(P, LABELS.tolist()) == one.forward(P, labels)
    assert (labels == LABELS).all()


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (LABELS + 1, DataError, "expected labels in 0 … 2, got 3 at row 0"),
        (LABELS - 1, DataError, "expected labels in 0 … 2, got -1 at row 1"),
        (LABELS[:5], ShapeError, "expected 6 labels, one for each row, got 5"),
        (LABELS[:, None], ShapeError, "got (6, 1)"),
        (LABELS.astype(float), ShapeError, "labels must be integers: y.astype(int)"),
        (LABELS.astype(str), DTypeError, "expected real numbers"),
        (np.ma.masked_array(LABELS, LABELS == 2), DataError, "got a masked array"),
    ],
)
def test_labels_are_checked(labels: Any, error: Any, words: str) -> None:
    with refused(error, "SoftmaxCrossEntropy()", words):
        SoftmaxCrossEntropy().forward(P, labels)
    if len(labels) == 6:
        with refused(error, "SoftmaxCrossEntropy()", words):
            SoftmaxCrossEntropy().check_data(labels, 3, np.dtype(float))


def test_other_losses_point_from_labels_to_the_loss_that_takes_them() -> None:
    with refused(ShapeError, "for integer labels use SoftmaxCrossEntropy, or one-hot rows: np.eye(classes)[y]"):
        HalfSquaredError().forward(P, LABELS)


@pytest.mark.parametrize(
    ("loss", "target", "words"),
    [
        (HalfSquaredError(), [[np.nan] * 3], "expected finite numbers, got nan at index (0, 0)"),
        (BinaryCrossEntropy(), [[0, 1, 2]], "expected targets in 0 … 1"),
        (SigmoidCrossEntropy(), [[0, 1, -1]], "expected targets in 0 … 1"),
        (CrossEntropy(), [[0, 1, 1]], "expected one-hot or probability rows that sum to 1"),
        (SoftmaxCrossEntropy(), [[0, 0.5, 0.4]], "expected one-hot or probability rows that sum to 1"),
        (SoftmaxCrossEntropy(), [[0, np.inf, 0]], "expected finite numbers"),
        (BinaryCrossEntropy(), [[0, 1, 1], [0, 1, -0.5]], "got [ 0.   1.  -0.5] at row 1"),
        (CrossEntropy(), [[0, 1, 0], [1, 0.5, 0], [0, 0, 1]], "got [1.  0.5 0. ] at row 1"),
    ],
)
def test_data_that_a_loss_cannot_mean_is_refused_before_training(loss: Loss, target: Any, words: str) -> None:
    with refused(DataError, repr(loss), words):
        loss.check_data(target, 3, np.dtype(float))


EXTREMES = [0.0, 1e-300, 1e-7, 88.0, 104.0, 709.0, 745.0, 1e4]


@pytest.mark.parametrize("z", [sign * size for size in EXTREMES for sign in (1.0, -1.0)])
def test_cross_entropies_from_logits_are_exact_at_the_extremes(z: float) -> None:
    def softplus(v: float) -> float:
        return max(v, 0.0) + log1p(exp(-abs(v)))

    sigmoid = SigmoidCrossEntropy()
    for target, expected, slope in ((1.0, softplus(-z), -1.0), (0.0, softplus(z), 1.0)):
        assert sigmoid.forward(np.array([[z]]), np.array([[target]])) == pytest.approx(expected, rel=1e-15, abs=0)
        away = abs(sigmoid.backward().item() / slope)
        assert away == pytest.approx(exp(-softplus(z if target else -z)), rel=1e-12, abs=1e-15)
    two = SoftmaxCrossEntropy()
    assert two.forward(np.array([[z, 0.0]]), [0]) == pytest.approx(softplus(-z), rel=1e-15, abs=1e-16)
    assert np.isfinite(two.backward()).all()


def test_the_largest_logits_give_numbers() -> None:
    most = np.finfo(np.float64).max
    rows = np.array([[most, -most], [-most, most]])
    for loss in (SigmoidCrossEntropy(), SoftmaxCrossEntropy()):
        assert loss.forward(rows, np.eye(2)) == 0.0
        assert not loss.backward().any()
    assert SoftmaxCrossEntropy().forward(np.full((2, 4), -most), [0, 3]) == pytest.approx(log(4), rel=1e-15)
    assert SoftmaxCrossEntropy().forward(rows, np.eye(2)[::-1]) == inf


@pytest.mark.parametrize(
    ("z", "t", "error"), [(inf, 1.0, 0.0), (-inf, 0.0, 0.0), (inf, 0.0, inf), (-inf, 1.0, inf), (inf, 0.5, inf)]
)
def test_an_infinite_logit_has_the_limit_of_large_ones(z: float, t: float, error: float) -> None:
    loss = SigmoidCrossEntropy()
    assert loss.forward(np.array([[z]]), [[t]]) == error
    assert loss.backward().tolist() == [[float(z > 0) - t]]


def test_a_class_ruled_out_by_minus_infinity_adds_nothing() -> None:
    loss = SoftmaxCrossEntropy()
    z = np.array([[0.0, -inf, 1.0]])
    assert loss.forward(z, [0]) == pytest.approx(log(1 + exp(1)), rel=1e-15)
    assert loss.backward() == pytest.approx(np.array([[1 / (1 + exp(1)) - 1, 0.0, exp(1) / (1 + exp(1))]]))
    assert loss.forward(z, [1]) == inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cross_entropies_from_probabilities_stay_finite_at_zero_and_one(dtype: Any) -> None:
    p = np.array([[0.0, 1.0], [1.0, 0.0]], dtype)
    for loss in (BinaryCrossEntropy(), CrossEntropy()):
        assert loss.forward(p, p) == pytest.approx(0.0, abs=1e-6)
        assert np.isfinite(loss.backward()).all()
        assert 50 < loss.forward(p, p[::-1]) < 1500
        assert np.isfinite(loss.backward()).all()


def test_softmax_cross_entropy_ignores_a_shift() -> None:
    one, other = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
    z = np.round(P * 4) / 4
    assert one.forward(z, LABELS) == other.forward(z + 64.0, LABELS)
    assert (one.backward() == other.backward()).all()


def test_at_its_kink_the_absolute_error_has_slope_zero() -> None:
    loss = MeanAbsoluteError()
    loss.forward(np.ones((1, 2)), np.ones((1, 2)))
    assert loss.backward().tolist() == [[0.0, 0.0]]


def test_huber_is_half_the_square_inside_and_a_line_outside() -> None:
    loss = Huber(2.0)
    assert loss.forward(np.array([[1.0], [2.0], [5.0]]), np.zeros((3, 1))) == (0.5 + 2.0 + 8.0) / 3
    assert (loss.backward() * 3).ravel().tolist() == pytest.approx([1.0, 2.0, 2.0])
    assert repr(loss) == "Huber(2.0)"
    for bad, error in ((0, ArgumentError), (-1.0, ArgumentError), (np.nan, ArgumentError), ("1", DTypeError)):
        with refused(error, "Huber(delta)"):
            Huber(bad)  # type: ignore[arg-type]


class LogCosh(Loss):
    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._difference = prediction - target
        rows: Array = np.log(np.cosh(self._difference)).sum(axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        slope: Array = np.tanh(self._difference)
        return slope


def test_a_loss_of_ones_own_has_mean_weights_and_checks_for_free() -> None:
    loss, weights = LogCosh(), np.arange(1.0, ROWS + 1)
    error = loss.forward(P, T, weights)
    rows = [sum(log(np.cosh(a - b)) for a, b in zip(p, t, strict=True)) for p, t in zip(P, T, strict=True)]
    assert error == pytest.approx(float(np.dot(weights, rows)) / ROWS, rel=1e-13)
    expected = complex_step(lambda v: np.sum(weights * np.log(np.cosh(v - T)).sum(axis=1)) / ROWS, P)
    assert relative_error(loss.backward(), expected) <= 1e-10
    with refused(ShapeError, "LogCosh()", "use y[:, None]"):
        loss.forward(P[:, :1], T[:, 0])
    with refused(CallOrderError, "LogCosh().backward"):
        LogCosh().backward()


def test_losses_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn.functional
    p, t, labels = torch.tensor(P), torch.tensor(T), torch.tensor(LABELS)
    assert MeanSquaredError()(P, T) == pytest.approx(nn.mse_loss(p, t).item(), rel=1e-13)
    assert MeanAbsoluteError()(P, T) == pytest.approx(nn.l1_loss(p, t).item(), rel=1e-13)
    assert Huber(1.5)(P, T) == pytest.approx(nn.huber_loss(p, t, delta=1.5).item(), rel=1e-13)
    assert SoftmaxCrossEntropy()(P, LABELS) == pytest.approx(nn.cross_entropy(p, labels).item(), rel=1e-13)
    halves = torch.full_like(p, 0.25)
    theirs = nn.binary_cross_entropy_with_logits(p, halves, reduction="sum").item() / ROWS
    assert SigmoidCrossEntropy()(P, np.full_like(P, 0.25)) == pytest.approx(theirs, rel=1e-13)


class Unsummed(LogCosh):
    """Forget the sum over the outputs."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        return prediction - target


class Summed(LogCosh):
    """Sum over too much."""

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        return 0.0  # type: ignore[return-value]


@pytest.mark.parametrize(("loss", "shape"), [(Unsummed(), (2, 3)), (Summed(), ())], ids=["unsummed", "summed"])
def test_an_error_for_each_row_is_what_forward_rows_must_give(loss: Loss, shape: tuple[int, ...]) -> None:
    for weights in (None, np.ones(2)):
        with refused(ShapeError, f"{loss!r}.forward_rows: expected one number for each row, shape (2,), got {shape}"):
            loss.forward(np.ones((2, 3)), np.zeros((2, 3)), weights)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), CrossEntropy()])
@pytest.mark.parametrize("target", [np.ones((6, 1)), np.zeros(6, int)])
def test_one_output_for_classes_is_refused_before_training(loss: Loss, target: Any) -> None:
    model = Sequential(Dense(3, 1), *([] if loss.from_logits else [Sigmoid()])).initialize(0)
    trainer = Trainer(model, loss, SGD(model.parameters(), 0.1))
    before = trainer.optimizer.vector.values.copy()
    with refused(ShapeError, f"{loss!r}: expected an output for each class", "SigmoidCrossEntropy"):
        trainer.fit(np.ones((6, 3)), target, epochs=1)
    assert (trainer.optimizer.vector.values == before).all()


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), CrossEntropy()])
def test_one_output_for_classes_is_refused_in_a_loop_by_hand(loss: Loss) -> None:
    with refused(ShapeError, f"{loss!r}: expected an output for each class", "SigmoidCrossEntropy"):
        loss.forward(np.ones((6, 1)), np.ones((6, 1)))


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), CrossEntropy(), MeanSquaredError()])
def test_a_softmax_of_one_output_is_refused(loss: Loss) -> None:
    model = Sequential(Sequential(Dense(3, 1), Softmax())).initialize(0)
    with refused(StructureError, "Trainer: expected several outputs for Softmax(), got one", "use Sigmoid()"):
        Trainer(model, loss, SGD(model.parameters(), 0.1))
    with refused(StructureError, "lbfgs: expected several outputs for Softmax(), got one", "use Sigmoid()"):
        lbfgs(model, np.ones((6, 3)), np.ones((6, 1)), loss=loss)


def test_a_column_of_labels_says_what_to_use() -> None:
    with refused(ShapeError, "for integer labels use SoftmaxCrossEntropy with np.ravel(y), or one-hot rows"):
        CrossEntropy().check_data(LABELS[:, None], 3, np.dtype(float))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_of_many_rows_in_float32_is_exact(weighted: bool) -> None:
    p = np.full((1_000_000, 1), np.float32(0.1))
    weights = np.ones(len(p), np.float32) if weighted else None
    error = MeanAbsoluteError().forward(p, np.zeros_like(p), weights)
    assert error == pytest.approx(float(np.float32(0.1)), rel=1e-7)
