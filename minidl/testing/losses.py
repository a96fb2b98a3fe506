"""All that a loss promises, as named checks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from .._core.arrays import Array
from ..errors import CallOrderError, DataError, DTypeError, ShapeError
from ..losses import Loss
from .agreement import same, shape_of
from .comparison import compare
from .derivatives import Derivative, Differentiator, Point
from .pickling import through_pickle
from .purity import LAYOUTS
from .report import SINGLE_PRECISION, Check, CheckError, Checks, Measurement, Report, conclude, described
from .state import difference, fingerprint

Sample: TypeAlias = "Callable[[int, np.random.Generator], tuple[Array, Array]]"
"""Makes (prediction, target) of a number of rows."""

_RUNS = ("deepcopy", "forward", "repeatable")
_TRAINS = (*_RUNS, "backward")


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

    def numbers(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        return rng.standard_normal((count, outputs)), rng.standard_normal((count, outputs))

    subject = _Subject(loss, sample or numbers, rows, seed)
    checks = Checks(repr(loss))
    careful = ("arguments unmodified", "last forward counts")
    checks.add("deepcopy", partial(_deepcopy, subject))
    checks.add("forward", partial(_forward, subject), "deepcopy")
    checks.add("repeatable", partial(_repeatable, subject), "deepcopy", "forward")
    checks.add("backward", partial(_backward, subject), *_RUNS)
    checks.add("arguments unmodified", partial(_arguments_unmodified, subject), *_TRAINS)
    checks.add("float64 kept", partial(_dtype_kept, subject, np.float64), *_TRAINS)
    checks.add("float32 kept", partial(_dtype_kept, subject, np.float32), *_TRAINS)
    checks.add("last forward counts", partial(_last_forward_counts, subject), *_TRAINS)
    checks.add("gradient", partial(_gradient, subject, weighted=False), *_TRAINS, "float64 kept")
    checks.add("gradient with sample_weight", partial(_gradient, subject, weighted=True), "gradient")
    checks.add("float32 gradients", partial(_single_precision, subject), "gradient", "float32 kept")
    checks.add("mean over the rows", partial(_mean_over_rows, subject), "gradient", *careful)
    checks.add("sample_weight", partial(_weights, subject), "gradient with sample_weight", *careful)
    checks.add("no aliasing", partial(_no_aliasing, subject), *_TRAINS)
    checks.add("layouts", partial(_layouts, subject), *_TRAINS, "arguments unmodified")
    checks.add("backward again", partial(_backward_again, subject), *_TRAINS)
    checks.add("a call keeps nothing", partial(_call_keeps_nothing, subject), *_TRAINS)
    checks.add("backward before forward", partial(_backward_before_forward, subject), *_TRAINS)
    checks.add("(N,) against (N, 1) refused", partial(_flat_refused, subject), *_RUNS)
    checks.add("other shapes refused", partial(_other_shapes_refused, subject), *_RUNS)
    checks.add("empty batch refused", partial(_empty_refused, subject), *_RUNS)
    checks.add("pickle", partial(_pickle, subject), *_TRAINS)
    return checks.found


@dataclass(frozen=True)
class _Subject:
    """The loss under examination, and predictions and targets for it."""

    part: Loss
    sample: Sample
    rows: int
    seed: int

    def loss(self) -> Loss:
        """Return a copy of the loss as it was handed in."""
        return copy.deepcopy(self.part)

    def pair(self, rows: int | None = None, number: int = 0, dtype: Any = np.float64) -> tuple[Array, Array]:
        """Make a fresh prediction and target; the same number gives the same ones."""
        rng = np.random.default_rng([self.seed, number])
        prediction, target = self.sample(self.rows if rows is None else rows, rng)
        return np.array(prediction, dtype), np.array(target, dtype)

    def weights(self) -> Array:
        """Make a weight for each row."""
        return np.random.default_rng([self.seed, 55]).uniform(0.2, 2.0, self.rows)


def _deepcopy(subject: _Subject) -> None:
    """A deep copy is another object."""
    if subject.loss() is subject.part:
        raise CheckError("copy.deepcopy gave the object itself")


def _forward(subject: _Subject) -> None:
    """Forward gives a finite float, forward_rows an error for each row."""
    prediction, target = subject.pair()
    rows = subject.loss().forward_rows(*subject.pair())
    if shape_of(rows) != str((len(target),)):
        raise CheckError(
            f"expected forward_rows to return one error for each row, ({len(target)},), got {shape_of(rows)}"
        )
    value = subject.loss().forward(prediction, target)
    if not isinstance(value, float) or not np.isfinite(value):
        raise CheckError(f"expected forward to return a finite float, got {value!r}")


def _repeatable(subject: _Subject) -> None:
    """The same prediction and target give the same bits."""
    first, second = (subject.loss().forward(*subject.pair()) for _ in range(2))
    if first != second:
        raise CheckError(f"forward gave {first!r} and then {second!r} for the same prediction and target")


def _backward(subject: _Subject) -> None:
    """Backward gives an array of the shape of the prediction."""
    loss = subject.loss()
    prediction, target = subject.pair()
    loss.forward(prediction, target)
    gradient = loss.backward()
    if shape_of(gradient) != str(prediction.shape):
        raise CheckError(f"expected a gradient of shape {prediction.shape}, got {shape_of(gradient)}")


def _gradient(subject: _Subject, *, weighted: bool) -> list[Measurement]:
    """The gradient is the derivative of the weighted mean of what forward_rows returns."""
    sample_weight = subject.weights() if weighted else None
    rows = subject.loss()

    def function(point: Point) -> Array:
        errors: Array = rows.forward_rows(point[0].copy(), point[1].copy()) / len(point[0])
        return errors

    weigh = np.ones if sample_weight is None else lambda shape: sample_weight
    wanted = Differentiator(function, [True, False], weigh).at_a_smooth_point(
        lambda number: [*subject.pair(number=number)]
    )
    loss = subject.loss()
    loss.forward(wanted.point[0].copy(), wanted.point[1].copy(), sample_weight)
    assert wanted.arrays[0] is not None
    return [compare("prediction", loss.backward(), wanted.arrays[0], subject.rows)]


def _single_precision(subject: _Subject) -> list[Measurement]:
    """The gradient in float32 is that in float64 at the same numbers."""
    single = subject.pair(dtype=np.float32)
    exact, found = subject.loss(), subject.loss()
    exact.forward(*(array.astype(np.float64) for array in single))
    found.forward(*single)
    values = exact.backward().ravel()
    wanted = Derivative(np.arange(values.size), values, "float64", max(float(np.abs(values).max()), 1e-6))
    return [compare("prediction", found.backward(), wanted, subject.rows, SINGLE_PRECISION)]


def _mean_over_rows(subject: _Subject) -> None:
    """The loss of a batch is the mean of the losses of its rows, and so is the gradient."""
    prediction, target = subject.pair()
    loss = subject.loss()
    value = loss.forward(prediction, target)
    gradient = loss.backward().copy()
    for size in (1, 2):
        total, parts = 0.0, []
        for start in range(0, subject.rows, size):
            piece = slice(start, start + size)
            share = len(prediction[piece]) / subject.rows
            total += share * loss.forward(prediction[piece], target[piece])
            parts.append(share * loss.backward())
        same(np.array(total), np.array(value), f"loss of {subject.rows} rows against the mean over batches of {size}")
        same(np.concatenate(parts), gradient, f"gradient of {subject.rows} rows against batches of {size}")


def _weights(subject: _Subject) -> None:
    """A row of weight 2 counts like two rows, one of weight 0 like none."""
    prediction, target = subject.pair()
    loss = subject.loss()
    times = np.arange(subject.rows) % 3
    value = loss.forward(prediction, target, times)
    gradient = loss.backward().copy()
    rows = subject.rows
    repeated = loss.forward(np.repeat(prediction, times, axis=0), np.repeat(target, times, axis=0)) * times.sum() / rows
    same(np.array(repeated), np.array(value), "loss with sample_weight 0, 1, 2 against leaving out and repeating rows")
    plain = loss.forward(prediction, target)
    same(loss.backward() * times[:, None], gradient, "gradient with sample_weight 0, 1, 2")
    same(np.array(plain), np.array(loss.forward(prediction, target, np.ones(rows))), "loss with sample_weight of 1")


def _arguments_unmodified(subject: _Subject) -> None:
    """Prediction, target and sample_weight are left as they were."""
    loss = subject.loss()
    arguments = {"prediction": subject.pair()[0], "target": subject.pair()[1], "sample_weight": subject.weights()}
    kept = {name: array.copy() for name, array in arguments.items()}
    for method, call in (
        ("forward", lambda: loss.forward(*arguments.values())),
        ("backward", loss.backward),
        ("a call", lambda: loss(*arguments.values())),
    ):
        call()
        for name, array in arguments.items():
            if not np.array_equal(array, kept[name]):
                raise CheckError(f"{method} wrote into {name}, which is the caller's array; work on a copy")


def _no_aliasing(subject: _Subject) -> None:
    """The gradient is an array of its own, and is never written to later."""
    loss = subject.loss()
    prediction, target = subject.pair()
    loss.forward(prediction, target)
    gradient = loss.backward()
    for name, array in (("prediction", prediction), ("target", target)):
        if np.shares_memory(gradient, array):
            raise CheckError(f"the gradient shares memory with {name}; return an array of its own")
    kept = gradient.copy()
    loss.forward(*subject.pair(number=1))
    loss.backward()
    if not np.array_equal(gradient, kept):
        raise CheckError(
            "a later pass wrote into a gradient that somebody else may hold; make a fresh array in each call"
        )


def _layouts(subject: _Subject) -> None:
    """The order of an array in memory changes nothing, and an array that cannot be written to is enough."""
    for layout, lay in LAYOUTS.items():
        arrays = [lay(array) for array in subject.pair()]
        wanted, loss = subject.loss(), subject.loss()
        value = wanted.forward(*(np.ascontiguousarray(array) for array in arrays))
        try:
            found = loss.forward(*arrays)
            gradient = loss.backward()
        except Exception as error:
            raise CheckError(f"for {layout} prediction and target: {described(error)}") from error
        same(np.array(value), np.array(found), f"loss for {layout} prediction and target")
        same(wanted.backward(), gradient, f"gradient for {layout} prediction and target")


def _backward_again(subject: _Subject) -> None:
    """A second backward gives the same: the first used nothing up."""
    loss = subject.loss()
    loss.forward(*subject.pair())
    first = loss.backward().copy()
    same(first, loss.backward(), "gradient of a second backward")


def _last_forward_counts(subject: _Subject) -> None:
    """Backward belongs to the last forward, whatever ran before it."""
    wanted, loss = subject.loss(), subject.loss()
    value = wanted.forward(*subject.pair())
    loss.forward(*subject.pair(subject.rows + 2, number=1), np.full(subject.rows + 2, 0.5))
    found = loss.forward(*subject.pair())
    same(np.array(value), np.array(found), "loss after another forward")
    same(wanted.backward(), loss.backward(), "gradient after another forward before it")


def _call_keeps_nothing(subject: _Subject) -> None:
    """`loss(prediction, target)` gives what forward gives, and leaves the object as it was."""
    loss, undisturbed = subject.loss(), subject.loss()
    value = loss.forward(*subject.pair())
    undisturbed.forward(*subject.pair())
    before = fingerprint(loss)
    other = loss(*subject.pair(subject.rows + 2, number=1))
    changed = difference(before, fingerprint(loss))
    if changed:
        raise CheckError(f"loss(prediction, target) changed {changed.lstrip('.')}")
    same(undisturbed.backward(), loss.backward(), "gradient after a call in between")
    same(np.array(subject.loss().forward(*subject.pair(subject.rows + 2, number=1))), np.array(other), "loss by a call")
    same(np.array(value), np.array(loss(*subject.pair())), "loss by a call")


def _backward_before_forward(subject: _Subject) -> None:
    """Backward before any forward is a `CallOrderError`."""
    loss = subject.loss()
    vars(loss).pop("_scale", None)  # as it is before any forward
    try:
        loss.backward()
    except CallOrderError:
        return
    except Exception as error:
        raise CheckError(f"expected CallOrderError for a backward before forward; {described(error)}") from error
    raise CheckError("expected CallOrderError for a backward before forward, got a result")


def _dtype_kept(subject: _Subject, dtype: Any) -> None:
    """The gradient is of the dtype of the prediction."""
    loss = subject.loss()
    for sample_weight in (None, subject.weights()):
        loss.forward(*subject.pair(dtype=dtype), sample_weight)
        found = loss.backward().dtype
        if found != dtype:
            raise CheckError(f"expected a gradient in {np.dtype(dtype)} like the prediction, got {found}")


def _flat_refused(subject: _Subject) -> None:
    """One column against a flat array is a `ShapeError`, not a loss of N × N numbers."""
    prediction, target = subject.pair()
    _refused(subject, prediction[:, :1].copy(), target[:, 0].copy())
    _refused(subject, prediction[:, 0].copy(), target[:, :1].copy())


def _other_shapes_refused(subject: _Subject) -> None:
    """A target of another shape than the prediction is a `ShapeError`."""
    prediction, target = subject.pair()
    _refused(subject, prediction, target[:-1].copy())
    _refused(subject, prediction, target[:1].copy())
    _refused(subject, prediction, np.concatenate([target, target[:, :1]], axis=1))
    if target.shape[1] > 1:
        _refused(subject, prediction, target[:, :1].copy())


def _refused(subject: _Subject, prediction: Array, target: Array) -> None:
    """Ask for a `ShapeError`."""
    pair = f"a prediction {prediction.shape} and a target {target.shape}"
    try:
        value = subject.loss().forward(prediction, target)
    except ShapeError:
        return
    except Exception as error:
        raise CheckError(f"expected a ShapeError for {pair}; {described(error)}") from error
    raise CheckError(f"expected a ShapeError for {pair}, got a loss of {value:.4g} from numbers that NumPy stretched")


def _empty_refused(subject: _Subject) -> None:
    """A batch of no rows is a `DataError`."""
    prediction, target = subject.pair()
    try:
        value = subject.loss().forward(prediction[:0], target[:0])
    except DataError:
        return
    raise CheckError(f"expected a DataError for a batch of no rows, got a loss of {value}")


def _pickle(subject: _Subject) -> None:
    """What comes out of pickle does the same."""
    loss = subject.loss()
    try:
        again = through_pickle(loss)
    except Exception as error:
        raise CheckError(
            f"pickle refuses it: {described(error)}\nuse functions that are defined by def at the top of a module"
        ) from error
    same(np.array(loss.forward(*subject.pair())), np.array(again.forward(*subject.pair())), "loss after pickling")
    same(loss.backward(), again.backward(), "gradient after pickling")
