"""Compute loss and metrics of a model after each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, all_finite, listed
from .._core.blas import one_blas_thread
from .._data import Rows, checked, checked_data, described, is_large
from ..errors import ArgumentError, DataError, DTypeError, ShapeError
from ..layers.base import Layer
from ..losses import BinaryCrossEntropy, Loss, PoissonLoss, SigmoidCrossEntropy
from ..metrics import Metric
from .batches import slices
from .sources import Batch

Predict: TypeAlias = Callable[[Array], Array]
"""A function that predicts: the model in NumPy, or the same in compiled code."""

ValidationData: TypeAlias = (
    tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None]
)
"""(x, y) or (x, y, sample_weight)."""

ROWS_AT_ONCE = 4096
"""Rows of one call of the model."""

ROWS_TO_TRY = 64
"""Rows that are predicted to try the metrics before training; the predictions are repeated to the full length."""


class Validation:
    """Compute loss and metrics after each epoch, on the held-out data, or metrics alone on the training data.

    Args:
        model: The model that is trained.
        loss: Its loss, which also turns predictions into probabilities.
        metrics: Maps the name of each metric to the metric.

    Attributes:
        arrays: The held-out data; empty if there is none.
    """

    def __init__(self, model: Layer, loss: Loss, metrics: Mapping[str, Metric]) -> None:
        self._model, self._loss, self._metrics = model, loss, metrics
        self.arrays: Batch = ()
        self._training: Batch = ()

    def hold_out(self, validation: ValidationData | None) -> None:
        """Check data, keep it, and try the metrics on it.

        Raises:
            ArgumentError: metrics without data to compute them on; a metric that compares values, with labels.
            DTypeError: an argument that is not (x, y) or (x, y, sample_weight).
        """
        if validation is None:
            if self._metrics:
                raise ArgumentError(
                    f"metrics: expected validation=(x, y) to compute {list(self._metrics)} on, got None; "
                    "batches that come from elsewhere are not kept"
                )
            return
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise DTypeError("validation: expected (x, y) or (x, y, sample_weight), or in a fit to arrays a fraction "
                             f"of the rows such as 0.2, got {described(validation)}")
        self.arrays = checked_data(self._model, self._loss, *validation, where="validation: ")
        self._try_metrics(self.arrays)

    def evaluate(self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None) -> dict[str, float]:
        """Return the loss under ``"loss"`` and each metric under its name, of what the model predicts."""
        self.arrays = checked_data(self._model, self._loss, x, y, sample_weight)
        self._check_target(self.arrays[1])
        return self.figures(self._model.predict)

    def split(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        validation: ValidationData | float | None,
        rng: np.random.Generator | None,
    ) -> Batch:
        """Check training data, hold out the rows for ``validation``, and return the other rows.

        The last rows are held out as views, so that memory-mapped data stays on disk. Random rows are copied on both
        sides; each class has its share of them if the loss knows the classes.

        Args:
            x: Input.
            y: Target.
            sample_weight: wᵢ of each row, or None.
            validation: (x, y), (x, y, sample_weight), a fraction of the rows, or None.
            rng: Generator that chooses the rows of a fraction; None for the last rows.
        """
        arrays = checked_data(self._model, self._loss, x, y, sample_weight)
        if validation is None:
            self._try_metrics(arrays)
            self._training = arrays
            return arrays
        if not isinstance(validation, (int, float, np.integer, np.floating)):
            self.hold_out(validation)
            return arrays
        if not 0 < validation < 1:
            raise ArgumentError(f"fit(validation): expected a fraction between 0 and 1 such as 0.2, got {validation}")
        rows = len(arrays[0])
        count = round(validation * rows)
        kept: slice | npt.NDArray[np.intp] = slice(rows - count)
        held_out: slice | npt.NDArray[np.intp] = slice(rows - count, None)
        if rng is not None:
            from .splitting import split_rows

            kept, held_out = split_rows(rows, count, self._classes(arrays[1]), rng)
        self.arrays = tuple(array[held_out] for array in arrays)
        if not (0 < count < rows and len(self.arrays[0])):
            raise ArgumentError(f"fit(validation): {validation:g} of {rows} rows leaves nothing on one side")
        if not all(weights[side].any() for weights in arrays[2:] for side in (kept, held_out)):
            raise DataError(f"fit(validation): {validation:g} of {rows} rows leaves only rows of sample_weight 0 on "
                            "one side; choose another fraction, or give validation=(x, y, sample_weight)")
        rest = tuple(array[kept] for array in arrays)
        if is_large(arrays):  # Copies, and parts that are not large, are not cast yet.
            self.arrays, rest = [checked_data(self._model, self._loss, *side) for side in (self.arrays, rest)]
        self._try_metrics(self.arrays)
        return rest

    def _classes(self, targets: Rows) -> Rows | None:
        """Return the class of each row if the loss knows classes, else None."""
        classes = self._loss.classes(targets)
        if classes is not None and np.shape(classes) != (len(targets),):
            raise ShapeError(
                f"{self._loss!r}.classes: expected one label for each row, shape ({len(targets)},), "
                f"got {np.shape(classes)}"
            )
        return classes

    def directions(self) -> dict[str, str | None]:
        """Map the name of each figure in the history to its direction: ``"min"``, ``"max"`` or None (not known)."""
        found: dict[str, str | None] = {"loss": "min"}
        if self.arrays:
            found["validation_loss"] = "min"
        for name, metric in self._metrics.items():
            mode = declared(metric, "mode")
            found[name] = mode if mode in ("min", "max") else None
        return found

    def after_epoch(self, predict: Predict) -> dict[str, float]:
        """Return the figures of an epoch: loss and metrics on held-out data, or only metrics on the training data."""
        if self.arrays:
            return self.figures(predict)
        if self._metrics:
            outputs = [predict(batch[0]) for batch in self._batches(self._training)]
            return self._scores(self._training, outputs)
        return {}

    def figures(self, predict: Predict) -> dict[str, float]:
        """Return the loss under ``"loss"`` and each metric under its name."""
        total, outputs = 0.0, []
        largest = max([parameter.size for parameter in self._model.parameters()], default=0)
        with one_blas_thread(min(ROWS_AT_ONCE, len(self.arrays[0])) * largest):
            for batch in self._batches(self.arrays):
                output = predict(batch[0])
                total += self._loss(output, *batch[1:]) * len(output)
                if self._metrics:
                    outputs.append(output)
        return {"loss": total / len(self.arrays[0]), **self._scores(self.arrays, outputs)}

    def _batches(self, arrays: Batch) -> Iterator[Batch]:
        """Yield checked data in the order of its rows; cast it where `checked_data` has left it as it is."""
        found = slices(arrays, None, ROWS_AT_ONCE)
        return (checked(self._model, self._loss, *batch, zeros=True) for batch in found) if is_large(arrays) else found

    def _try_metrics(self, arrays: Batch) -> None:
        """Compute the metrics once, with predictions of a few rows, so that errors come before training."""
        if self._metrics:
            self._check_target(arrays[1])
            with np.errstate(all="ignore"):
                few = self._model.predict(next(self._batches(arrays))[0][:ROWS_TO_TRY])
            self._scores(arrays, [np.resize(few, (len(arrays[0]), *few.shape[1:]))])

    def _check_target(self, target: Rows) -> None:
        """Refuse labels if a metric compares values."""
        wrong = [name for name, metric in self._metrics.items() if declared(metric, "takes") == "values"]
        if wrong and target.ndim == 1:
            raise ArgumentError(
                f"metrics: expected metrics of classes, such as accuracy, for integer labels y, got {wrong}, "
                "which compare values; choose other metrics, or give one-hot rows: np.eye(classes)[y]"
            )

    def _scores(self, arrays: Batch, outputs: list[Array]) -> dict[str, float]:
        """Return each metric under its name; NaN if the model gives numbers that are not finite."""
        if not outputs:
            return {}
        prediction, target = np.concatenate(outputs), arrays[1]
        if self._loss.from_logits or self._loss.from_probabilities:
            prediction = self._loss.probabilities(prediction)
        if isinstance(self._loss, PoissonLoss):
            with np.errstate(over="ignore"):
                prediction = np.exp(prediction)
        if not all_finite(prediction):
            return dict.fromkeys(self._metrics, np.nan)
        given: dict[str, Any] = dict(zip(["sample_weight"], arrays[2:], strict=False))
        if prediction.shape[1] == 1 or self._several_labels(target):
            given["threshold"] = 0.5
        return {name: _score(name, metric, prediction, target, given) for name, metric in self._metrics.items()}

    def _several_labels(self, target: Rows) -> bool:
        """Return whether each column of the target is a separate label, not one class of several."""
        if target.ndim == 1:
            return False
        return isinstance(self._loss, (SigmoidCrossEntropy, BinaryCrossEntropy)) or bool(
            (np.count_nonzero(target, axis=1) != 1).any()
        )


def _score(name: str, metric: Metric, prediction: Array, target: Rows, given: Mapping[str, Any]) -> float:
    """Call a metric with the given arguments; leave out those that it does not have or that are already set."""
    arguments: Mapping[str, inspect.Parameter] = {}
    with suppress(TypeError, ValueError):  # some functions that are not written in Python have no signature
        arguments = inspect.signature(metric).parameters
    wanted = {key: value for key, value in given.items() if key in arguments and arguments[key].default is None}
    try:
        return _number(name, metric(prediction, target, **wanted))
    except Exception as error:
        error.add_note(f"in the metric {name!r}")
        raise


def named_metrics(metrics: Iterable[Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """Name metrics by their functions, unless a mapping names them.

    Raises:
        DTypeError: a metric that cannot be called.
        ArgumentError: two metrics with one name, or a metric with the name of a figure that is always computed.
    """
    if callable(metrics):
        raise DTypeError(f"metrics: expected a list of functions, got one; write metrics=[{_name(metrics)}]")
    given = [metrics] if isinstance(metrics, (str, bytes)) else metrics
    given = given if isinstance(given, (tuple, list, Mapping)) else listed(given, "metrics", "functions such as r2")
    pairs = list(given.items()) if isinstance(given, Mapping) else [(_name(metric), metric) for metric in given]
    for name, metric in pairs:
        if not callable(metric) or not isinstance(name, str):
            what = repr(metric) if isinstance(name, str) else f"one with the name {name!r}, which is no text"
            raise DTypeError(f"metrics: expected functions such as metrics.r2, got {what}")
        if (declared(metric, "__module__") or "").startswith("sklearn.metrics"):
            name = _name(metric)
            raise ArgumentError(
                f"metrics: expected functions of (prediction, target), got {name} of scikit-learn, whose arguments are "
                f'the other way round; write {{"{name}": lambda p, t: {name}(t, p)}}, or take it from minidl.metrics'
            )
    named = dict(pairs)
    if (reserved := {"loss", "validation_loss", "learning_rate", "seconds"} & set(named)) or len(named) < len(pairs):
        why = f"other names than {sorted(reserved)}, which the history has already" if reserved else "each name once"
        raise ArgumentError(
            f"metrics: expected {why}, got {[name for name, _ in pairs]}; give a mapping {{name: function}}"
        )
    return named


def _number(name: str, value: object) -> float:
    """Return the result of a metric as a float; refuse a result that is not one number, such as a matrix."""
    figure = np.asarray(value)
    if figure.ndim or figure.dtype.kind not in "fiub":
        found = f"an array of shape {figure.shape}" if figure.ndim else repr(value)
        raise DTypeError(f"metrics: expected one number from {name!r}, got {found}; "
                         "call it on model.predict(x) after the fit instead")
    return float(figure)


def declared(metric: object, name: str) -> str | None:
    """Return an attribute of a metric, or of the function in a `functools.partial`; None if there is none."""
    found: str | None = vars(metric).get(name) if isinstance(metric, partial) else getattr(metric, name, None)
    return declared(metric.func, name) if found is None and isinstance(metric, partial) else found


def _name(metric: object) -> str:
    return declared(metric, "__name__") or repr(metric)
