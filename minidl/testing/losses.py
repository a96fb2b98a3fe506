"""Check a loss: the public functions and the checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .._core.arrays import Array
from ..errors import CallOrderError, DataError, DTypeError, ShapeError
from ..losses import Loss
from .comparison import (
    OF_THE_CALLER,
    RETURNED,
    Pass,
    Snapshot,
    check_apart,
    check_shape,
    compare,
    explained,
    refused,
    same,
    same_arrays,
)
from .derivatives import Derivative, Differentiator, Point
from .passes import LAYOUTS
from .report import SINGLE_PRECISION, Check, CheckError, Measurement, Report, Rules, checks_of, conclude
from .state import difference, fingerprint, through_pickle
from .subject import Inputs, Sample, Subject


def check_loss(loss: Loss, outputs: int = 3, *, sample: Sample | None = None, rows: int = 6, seed: int = 0) -> Report:
    """Check everything that a loss promises: gradient, mean over rows, sample_weight, shapes, purity, dtypes, copies.

    The loss itself is left alone; copies of it are run.

    Args:
        loss: What to check.
        outputs: Width of prediction and target.
        sample: Makes (prediction, target), ``(rows, outputs)`` each, from a number of rows and a generator; default
            standard normal numbers. For a loss of probabilities, or of one-hot targets.
        rows: Rows of the usual batch.
        seed: Of predictions and targets.

    Returns:
        The report, where every check passed.

    Raises:
        ConformanceError: at least one failed; its text names every one, with the worst element.

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
    """
    if not isinstance(loss, Loss):
        raise DTypeError(f"the conformance kit: expected a Loss, got {loss!r}")

    def numbers(count: int, rng: np.random.Generator) -> Inputs:
        return rng.standard_normal((count, outputs)), rng.standard_normal((count, outputs))

    return checks_of(LossSubject(loss, sample or numbers, rows, seed), repr(loss), CHECKS)


@dataclass
class LossSubject(Subject[Loss]):
    """The loss that is checked; its inputs are prediction and target."""

    def weights(self) -> Array:
        """Make a weight for each row."""
        return np.random.default_rng([self.seed, 55]).uniform(0.2, 2.0, self.rows)

    def trained(self, loss: Loss, pair: Inputs | None = None, sample_weight: Array | None = None) -> Pass:
        """Run forward and backward, on the usual prediction and target by default."""
        prediction, target = self.inputs() if pair is None else pair
        value = loss.forward(prediction, target, sample_weight)
        return Pass(np.array(value), {"prediction": loss.backward()})

    def usual(self) -> Pass:
        """Run forward and backward of a copy on the usual prediction and target."""
        return self.trained(self.original())


CHECKS: Rules[LossSubject] = Rules()

RUNS = ("deepcopy", "forward", "repeatable")
TRAINS = (*RUNS, "backward")
CAREFUL = ("arguments unmodified", "last forward counts")


@CHECKS("deepcopy")
def deepcopy(subject: LossSubject) -> None:
    """A deep copy is another object."""
    if subject.original() is subject.part:
        raise CheckError("copy.deepcopy gave the object itself")


@CHECKS("forward", "deepcopy")
def forward_runs(subject: LossSubject) -> None:
    """Forward returns a finite float, forward_rows an error for each row."""
    rows = subject.original().forward_rows(*subject.inputs())
    check_shape(rows, (subject.rows,), "one error for each row from forward_rows")
    value = subject.original().forward(*subject.inputs())
    if not isinstance(value, float) or not np.isfinite(value):
        raise CheckError(f"expected forward to return a finite float, got {value!r}")


@CHECKS("repeatable", "deepcopy", "forward")
def repeatable(subject: LossSubject) -> None:
    """The same prediction and target give the same bits."""
    first, second = (subject.original().forward(*subject.inputs()) for _ in range(2))
    if first != second:
        raise CheckError(f"forward gave {first!r} and then {second!r} for the same prediction and target")


@CHECKS("backward", *RUNS)
def backward_runs(subject: LossSubject) -> None:
    """Backward returns an array of the shape of the prediction."""
    check_shape(subject.usual().inputs["prediction"], subject.inputs()[0].shape, "gradient of prediction")


@CHECKS("arguments unmodified", *TRAINS)
def arguments_unmodified(subject: LossSubject) -> None:
    """Prediction, target and sample_weight are left as they were."""
    loss = subject.original()
    prediction, target = subject.inputs()
    arguments = {"prediction": prediction, "target": target, "sample_weight": subject.weights()}
    snapshot = Snapshot(arguments, OF_THE_CALLER)
    loss.forward(*arguments.values())
    snapshot.check("forward")
    loss.backward()
    snapshot.check("backward")
    loss(*arguments.values())
    snapshot.check("a call")


@CHECKS("float32 kept", *TRAINS, dtype=np.float32)
@CHECKS("float64 kept", *TRAINS, dtype=np.float64)
def dtype_kept(subject: LossSubject, dtype: Any) -> None:
    """The gradient has the dtype of the prediction."""
    for sample_weight in (None, subject.weights()):
        found = subject.trained(subject.original(), subject.inputs(dtype=dtype), sample_weight).inputs["prediction"]
        if found.dtype != dtype:
            raise CheckError(f"expected a gradient in {np.dtype(dtype)} like the prediction, got {found.dtype}")


@CHECKS("last forward counts", *TRAINS)
def last_forward_counts(subject: LossSubject) -> None:
    """Backward belongs to the last forward, whatever ran before it."""
    loss = subject.original()
    subject.trained(loss, subject.others(), np.full(subject.rows + 2, 0.5))
    same_arrays(subject.usual().arrays, subject.trained(loss).arrays, "after another forward before it")


@CHECKS("gradient with sample_weight", "gradient", weighted=True)
@CHECKS("gradient", *TRAINS, "float64 kept", weighted=False)
def gradient(subject: LossSubject, *, weighted: bool) -> list[Measurement]:
    """The gradient is the derivative of the weighted mean of what forward_rows returns."""
    weights = subject.weights() if weighted else None
    rows = subject.original()

    def function(point: Point) -> Array:
        errors: Array = rows.forward_rows(point[0].copy(), point[1].copy()) / len(point[0])
        return errors

    weigh = np.ones if weights is None else lambda shape: weights
    differentiator = Differentiator(function, [True, False], weigh)
    wanted = differentiator.at_a_smooth_point(lambda number: [*subject.inputs(number=number)])
    prediction, target = (array.copy() for array in wanted.point)
    found = subject.trained(subject.original(), (prediction, target), weights).inputs["prediction"]
    assert wanted.arrays[0] is not None
    return [compare("prediction", found, wanted.arrays[0], subject.rows)]


@CHECKS("float32 gradients", "gradient", "float32 kept")
def single_precision(subject: LossSubject) -> list[Measurement]:
    """The gradient in float32 is that in float64 at the same numbers."""
    single = subject.inputs(dtype=np.float32)
    exact = subject.trained(subject.original(), tuple(array.astype(np.float64) for array in single))
    found = subject.trained(subject.original(), single)
    values = exact.inputs["prediction"].ravel()
    wanted = Derivative(np.arange(values.size), values, "float64", max(float(np.abs(values).max()), 1e-6))
    return [compare("prediction", found.inputs["prediction"], wanted, subject.rows, SINGLE_PRECISION)]


@CHECKS("mean over the rows", "gradient", *CAREFUL)
def mean_over_rows(subject: LossSubject) -> None:
    """The loss of a batch is the mean of the losses of its rows, and so is the gradient."""
    rows = subject.rows
    prediction, target = subject.inputs()
    whole = subject.usual()
    for size in (1, 2):
        pieces = [slice(start, start + size) for start in range(0, rows, size)]
        shares = [len(prediction[piece]) / rows for piece in pieces]
        given = [subject.trained(subject.original(), (prediction[piece], target[piece])) for piece in pieces]
        value = sum(share * part.output for share, part in zip(shares, given, strict=True))
        gradient = np.concatenate([s * part.inputs["prediction"] for s, part in zip(shares, given, strict=True)])
        same(value, whole.output, f"loss of {rows} rows against the mean over batches of {size}")
        same(gradient, whole.inputs["prediction"], f"gradient of {rows} rows against batches of {size}")


@CHECKS("sample_weight", "gradient with sample_weight", *CAREFUL)
def sample_weights(subject: LossSubject) -> None:
    """A row of weight 2 counts like two rows, one of weight 0 like none."""
    loss = subject.original()
    times = np.arange(subject.rows) % 3
    weighted, plain = subject.trained(loss, None, times.astype(float)), subject.usual()
    repeated = loss.forward(*(np.repeat(array, times, axis=0) for array in subject.inputs()))
    what = "with sample_weight 0, 1, 2"
    mean = repeated * times.sum() / subject.rows
    same(mean, weighted.output, f"loss {what} against leaving out and repeating rows")
    same(plain.inputs["prediction"] * times[:, None], weighted.inputs["prediction"], f"gradient {what}")
    ones = subject.trained(loss, None, np.ones(subject.rows))
    same(plain.output, ones.output, "loss with sample_weight of 1")


@CHECKS("no aliasing", *TRAINS)
def no_aliasing(subject: LossSubject) -> None:
    """The gradient shares no memory with prediction or target, and is never written to later."""
    loss = subject.original()
    prediction, target = subject.inputs()
    gradient = subject.trained(loss, (prediction, target)).inputs["prediction"]
    check_apart({"the gradient": gradient}, {"prediction": prediction, "target": target})
    snapshot = Snapshot({"a gradient": gradient}, RETURNED)
    subject.trained(loss, subject.inputs(number=1))
    snapshot.check("a later pass")


@CHECKS("layouts", *TRAINS, "arguments unmodified")
def layouts(subject: LossSubject) -> None:
    """The order of an array in memory changes nothing, and read-only arrays are accepted."""
    for layout, lay in LAYOUTS.items():
        pair = tuple(lay(array) for array in subject.inputs())
        wanted = subject.trained(subject.original(), tuple(np.ascontiguousarray(array) for array in pair))
        with explained(f"for {layout} prediction and target: "):
            found = subject.trained(subject.original(), pair)
        same_arrays(wanted.arrays, found.arrays, f"for {layout} prediction and target")


@CHECKS("backward again", *TRAINS)
def backward_again(subject: LossSubject) -> None:
    """A second backward gives the same gradient: the first used nothing up."""
    loss = subject.original()
    first = subject.trained(loss).inputs["prediction"].copy()
    same(first, loss.backward(), "gradient of a second backward")


@CHECKS("a call keeps nothing", *TRAINS)
def call_keeps_nothing(subject: LossSubject) -> None:
    """`loss(prediction, target)` gives what forward gives, and leaves the object as it was."""
    loss = subject.original()
    loss.forward(*subject.inputs())
    before = fingerprint(loss)
    other = loss(*subject.others())
    if changed := difference(before, fingerprint(loss)):
        raise CheckError(f"loss(prediction, target) changed {changed}")
    usual = subject.usual()
    same(usual.inputs["prediction"], loss.backward(), "gradient after a call in between")
    same(subject.original().forward(*subject.others()), other, "loss by a call")
    same(usual.output, loss(*subject.inputs()), "loss by a call")


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
    _refuses(subject, prediction[:, :1].copy(), target[:, 0].copy())
    _refuses(subject, prediction[:, 0].copy(), target[:, :1].copy())


@CHECKS("other shapes refused", *RUNS)
def other_shapes_refused(subject: LossSubject) -> None:
    """A target of another shape than the prediction is a `ShapeError`."""
    prediction, target = subject.inputs()
    _refuses(subject, prediction, target[:-1].copy())
    _refuses(subject, prediction, target[:1].copy())
    _refuses(subject, prediction, np.concatenate([target, target[:, :1]], axis=1))
    if target.shape[1] > 1:
        _refuses(subject, prediction, target[:, :1].copy())


def _refuses(subject: LossSubject, prediction: Array, target: Array) -> None:
    """Expect a `ShapeError`."""
    pair = f"a prediction {prediction.shape} and a target {target.shape}"
    call = partial(subject.original().forward, prediction, target)
    refused(call, ShapeError, pair, got="a loss of numbers that NumPy stretched")


@CHECKS("empty batch refused", *RUNS)
def empty_refused(subject: LossSubject) -> None:
    """A batch of no rows is a `DataError`."""
    call = partial(subject.original().forward, *(array[:0] for array in subject.inputs()))
    refused(call, DataError, "a batch of no rows", got="a loss")


@CHECKS("pickle", *TRAINS)
def pickled(subject: LossSubject) -> None:
    """A copy by pickle does the same."""
    hint = "\nuse functions that are defined by def at the top of a module"
    with explained("pickle refuses it: ", hint):
        again = through_pickle(subject.original())
    same_arrays(subject.usual().arrays, subject.trained(again).arrays, "after pickling")
