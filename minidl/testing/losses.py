"""Check a loss: the public functions and the checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from ..errors import CallOrderError, DataError, DTypeError, ShapeError
from ..losses import Loss
from . import common
from .common import check_unchanged, undisturbed
from .comparison import check_shape, compare, refused, same
from .derivatives import Derivative, Differentiator, Point
from .report import SINGLE_PRECISION, Check, Measurement, Report, Rule, Rules, checks_of, conclude, expect
from .state import fingerprint
from .subject import RUNS, TRAINS, Inputs, Sample, Subject


def check_loss(loss: Loss, outputs: int = 3, *, sample: Sample | None = None, rows: int = 6, seed: int = 0) -> Report:
    """Check a loss: gradient, mean over rows, sample_weight, shapes, purity, dtypes, copies.

    Only copies of the loss are run.

    Args:
        loss: What to check.
        outputs: Width of prediction and target.
        sample: Makes (prediction, target), ``(rows, outputs)`` each, from a number of rows and a generator; default
            standard normal numbers. For a loss of probabilities, or of one-hot targets.
        rows: Rows of the usual batch.
        seed: Seed of predictions and targets.

    Returns:
        The report; every check has passed.

    Raises:
        ConformanceError: at least one check failed; the text lists all that failed, with the worst element.

    Example:
        >>> from minidl import HalfSquaredError
        >>> check_loss(HalfSquaredError()).failed
        ()
    """
    return conclude(loss_checks(loss, outputs, sample=sample, rows=rows, seed=seed), repr(loss))


def loss_checks(
    loss: Loss, outputs: int = 3, *, sample: Sample | None = None, rows: int = 6, seed: int = 0
) -> list[Check]:
    """List the checks that `check_loss` makes, for ``pytest.mark.parametrize("check", …, ids=str)``.

    Args:
        loss: As for `check_loss`.
        outputs: As for `check_loss`.
        sample: As for `check_loss`.
        rows: As for `check_loss`.
        seed: As for `check_loss`.

    Example:
        >>> for check in loss_checks(Huber()):
        ...     check()
    """
    if not isinstance(loss, Loss):
        raise DTypeError(f"the conformance kit: expected a Loss, got {loss!r}")

    def numbers(count: int, rng: np.random.Generator) -> Inputs:
        return rng.standard_normal((count, outputs)), rng.standard_normal((count, outputs))

    rules: list[Rule[LossSubject]] = [*CHECKS, *common.CHECKS]
    return checks_of(LossSubject(loss, sample or numbers, rows, seed), repr(loss), rules)


@dataclass
class LossSubject(Subject[Loss]):
    """The loss that is checked; its inputs are prediction and target, and sample_weight where there are three."""

    predicting = "a call"
    randomness = ""

    @property
    def input_names(self) -> tuple[str, ...]:
        return ("prediction", "target", "sample_weight")

    def arguments(self) -> Inputs:
        """Make prediction, target and sample_weight."""
        return (*self.inputs(), np.random.default_rng([self.seed, 55]).uniform(0.2, 2.0, self.rows))

    def others(self) -> Inputs:
        return (*super().others(), np.full(self.rows + 2, 0.5))

    def weights(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> Array:
        return np.ones(1)  # the gradient of a loss with respect to itself

    def backward(self, part: Loss, grad: Array) -> dict[str, Array]:
        return {"prediction": part.backward()}

    def predict(self, part: Loss, xs: Inputs) -> Array:
        return np.asarray(part(*xs))

    def gradient(self, xs: Inputs | None = None) -> Array:
        """Run forward and backward of a copy; return the gradient of the prediction."""
        return self.trained(self.prepared(), xs).inputs["prediction"]


CHECKS: Rules[LossSubject] = Rules()

CAREFUL = ("arguments unmodified", "last forward counts")


@CHECKS("deepcopy")
def deepcopy(subject: LossSubject) -> None:
    """A deep copy is another object."""
    expect(subject.original() is not subject.part, "copy.deepcopy gave the object itself")


@CHECKS("forward", "deepcopy")
def forward_runs(subject: LossSubject) -> None:
    """Forward returns a finite float, forward_rows an error for each row."""
    rows = subject.original().forward_rows(*subject.inputs())
    check_shape(rows, (subject.rows,), "one error for each row from forward_rows")
    value = subject.original().forward(*subject.inputs())
    expect(isinstance(value, float) and np.isfinite(value), f"expected forward to return a finite float, got {value!r}")


@CHECKS("backward", *RUNS)
def backward_runs(subject: LossSubject) -> None:
    """Backward returns an array of the shape of the prediction."""
    check_shape(subject.gradient(), subject.inputs()[0].shape, "gradient of prediction")


@CHECKS("float32 kept", *TRAINS, dtype=np.float32)
@CHECKS("float64 kept", *TRAINS, dtype=np.float64)
def dtype_kept(subject: LossSubject, dtype: Any) -> None:
    """The gradient has the dtype of the prediction."""
    for xs in (subject.inputs(dtype=dtype), (*subject.inputs(dtype=dtype), subject.arguments()[2])):
        found = subject.gradient(xs)
        expect(found.dtype == dtype, f"expected a gradient in {np.dtype(dtype)} like the prediction, got {found.dtype}")


@CHECKS("gradient with sample_weight", "gradient", weighted=True)
@CHECKS("gradient", *TRAINS, "float64 kept", weighted=False)
def gradient(subject: LossSubject, *, weighted: bool) -> list[Measurement]:
    """The gradient is the derivative of the weighted mean of what forward_rows returns."""
    rows = subject.original()
    weights = subject.arguments()[2:] if weighted else ()

    def function(point: Point) -> Array:
        errors: Array = rows.forward_rows(point[0].copy(), point[1].copy()) / len(point[0])
        return errors

    differentiator = Differentiator(function, [True, False], lambda shape: weights[0] if weights else np.ones(shape))
    wanted = differentiator.at_a_smooth_point(lambda number: [*subject.inputs(number=number)])
    assert wanted.arrays[0] is not None
    return [compare("prediction", subject.gradient((*wanted.point, *weights)), wanted.arrays[0], subject.rows)]


@CHECKS("float32 gradients", "gradient", "float32 kept")
def single_precision(subject: LossSubject) -> list[Measurement]:
    """The gradient in float32 is that in float64 at the same numbers."""
    single = subject.inputs(dtype=np.float32)
    values = subject.gradient(tuple(array.astype(np.float64) for array in single)).ravel()
    wanted = Derivative(np.arange(values.size), values, "float64", max(float(np.abs(values).max()), 1e-6))
    return [compare("prediction", subject.gradient(single), wanted, subject.rows, SINGLE_PRECISION)]


@CHECKS("mean over the rows", "gradient", *CAREFUL)
def mean_over_rows(subject: LossSubject) -> None:
    """The loss of a batch is the mean of the losses of its rows, and so is the gradient."""
    rows, whole = subject.rows, subject.usual()
    for size in (1, 2):
        value, gradients = 0.0, []
        for start in range(0, rows, size):
            piece = tuple(array[start : start + size] for array in subject.inputs())
            given = subject.trained(subject.prepared(), piece)
            share = len(piece[0]) / rows
            value += share * float(given.output)
            gradients.append(share * given.inputs["prediction"])
        same(value, whole.output, f"loss of {rows} rows against the mean over batches of {size}")
        gradient = np.concatenate(gradients)
        same(gradient, whole.inputs["prediction"], f"gradient of {rows} rows against batches of {size}")


@CHECKS("sample_weight", "gradient with sample_weight", *CAREFUL)
def sample_weights(subject: LossSubject) -> None:
    """A row of weight 2 counts like two rows, one of weight 0 like none."""
    loss, xs = subject.original(), subject.inputs()
    times = (np.arange(subject.rows) % 3).astype(np.float64)
    weighted = subject.trained(loss, (*xs, times))
    repeated = loss.forward(*(np.repeat(x, times.astype(int), axis=0) for x in xs)) * times.sum() / subject.rows
    what = "with sample_weight 0, 1, 2"
    same(repeated, weighted.output, f"loss {what} against leaving out and repeating rows")
    same(subject.gradient() * times[:, None], weighted.inputs["prediction"], f"gradient {what}")
    ones = subject.forward(loss, (*xs, np.ones(subject.rows)))
    same(subject.usual().output, ones, "loss with sample_weight of 1")


@CHECKS("a call keeps nothing", *TRAINS)
def call_keeps_nothing(subject: LossSubject) -> None:
    """`loss(prediction, target)` gives what forward gives, and leaves the object as it was."""
    loss = subject.original()
    loss.forward(*subject.inputs())
    before = fingerprint(loss)
    for make in (subject.others, subject.inputs):
        same(subject.forward(subject.original(), make()), loss(*make()), "loss by a call")
        check_unchanged(loss, before, "loss(prediction, target)")
    undisturbed(subject, lambda loss: loss(*subject.others()), "a call")


@CHECKS("backward before forward", *TRAINS)
def backward_before_forward(subject: LossSubject) -> None:
    """Backward before any forward is a `CallOrderError`."""
    loss = subject.original()
    vars(loss).pop("_scale", None)  # as it is before any forward
    refused(loss.backward, CallOrderError, "a backward before forward", got="a result")


@CHECKS("(N,) against (N, 1) refused", *RUNS)
def flat_refused(subject: LossSubject) -> None:
    """One column against a flat array is a `ShapeError`, not a loss of N × N numbers."""
    prediction, target = subject.inputs()
    _refuses(subject, (prediction[:, :1], target[:, 0]), (prediction[:, 0], target[:, :1]))


@CHECKS("other shapes refused", *RUNS)
def other_shapes_refused(subject: LossSubject) -> None:
    """A target of another shape than the prediction is a `ShapeError`."""
    prediction, target = subject.inputs()
    wrong = [target[:-1], target[:1], np.concatenate([target, target[:, :1]], axis=1)]
    wrong += [target[:, :1]] if target.shape[1] > 1 else []
    _refuses(subject, *((prediction, other) for other in wrong))


def _refuses(subject: LossSubject, *pairs: Inputs) -> None:
    """Expect a `ShapeError` for each pair."""
    for prediction, target in pairs:
        call = partial(subject.original().forward, prediction.copy(), target.copy())
        pair = f"a prediction {prediction.shape} and a target {target.shape}"
        refused(call, ShapeError, pair, got="a loss of numbers that NumPy stretched")


@CHECKS("empty batch refused", *RUNS)
def empty_refused(subject: LossSubject) -> None:
    """A batch of no rows is a `DataError`."""
    call = partial(subject.original().forward, *(array[:0] for array in subject.inputs()))
    refused(call, DataError, "a batch of no rows", got="a loss")
