"""Checks of widths, batch sizes, ranks and dtypes."""

from __future__ import annotations

import warnings

import numpy as np

from .._core.parameter import Buffer
from ..errors import ShapeError
from ..layers._parts import named
from ..layers.base import Layer, trait
from .agreement import finite, shape_of
from .report import CheckError, described
from .subject import Rewound, Subject, backward


def batch_sizes(subject: Subject) -> None:
    """Prediction takes any number of rows, none included; training takes any from the smallest batch on.

    A training pass of no rows may be refused by a `ShapeError`, and needs no finite numbers.
    """
    for rows in (0, 1, 2, 3 * subject.rows):
        xs = subject.inputs(rows)
        part = subject.prepared()
        prediction = part.predict(*subject.inputs(rows))
        if prediction.ndim != 2 or len(prediction) != rows:
            raise CheckError(f"predict of a batch of {rows}: expected {rows} rows, got {prediction.shape}")
        if 0 < rows < subject.smallest_batch:
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="warn" if rows else "ignore"):
                if not rows:
                    warnings.simplefilter("ignore")
                given = subject.trained(part, xs)
        except ShapeError:
            if rows:
                raise
            continue
        if given.output.shape != prediction.shape:
            raise CheckError(f"forward of a batch of {rows}: expected {prediction.shape}, got {given.output.shape}")
        for name, x, dx in zip(subject.input_names, xs, given.inputs, strict=True):
            if dx.shape != x.shape:
                raise CheckError(f"gradient of {name} of a batch of {rows}: expected shape {x.shape}, got {dx.shape}")
        if rows:
            finite(given, f"of a batch of {rows}")


def below_smallest_batch(subject: Subject) -> None:
    """A training pass of too few rows works, or is refused by a `ShapeError`; it never gives NaN."""
    for rows in range(1, subject.smallest_batch):
        try:
            given = subject.trained(subject.prepared(), subject.inputs(rows))
        except ShapeError:
            continue
        finite(given, f"of a batch of {rows}, which is below smallest_batch")


def rows_alone_in_training(subject: Subject) -> None:
    """A change of one row changes nothing of the others."""
    row = _coupled_row(subject)
    if row is not None:
        raise CheckError(
            f"a change of row 0 changed row {row} of the output or of the gradient of x; "
            "if that is meant, say so in the class: couples_rows = True"
        )


def rows_coupled_as_declared(subject: Subject) -> None:
    """The rows are coupled, as it is declared."""
    if _coupled_row(subject) is None:
        raise CheckError("couples_rows is declared, but a change of one row changes nothing of the others")


def _coupled_row(subject: Subject) -> int | None:
    """Find a row that changes with row 0: of the output, or of ∂e/∂x."""
    xs, others = subject.inputs(), subject.inputs(number=1)
    changed = tuple(np.concatenate([o[:1], x[1:]]) for x, o in zip(xs, others, strict=True))
    first, second = subject.trained(subject.prepared(), xs), subject.trained(subject.prepared(), changed)
    for a, b in zip((first.output, *first.inputs), (second.output, *second.inputs), strict=True):
        different = ~np.isclose(a[1:], b[1:], rtol=1e-9, atol=1e-12).reshape(len(a) - 1, -1).all(axis=1)
        if different.any():
            return int(np.argmax(different)) + 1
    return None


def dtype_kept(subject: Subject, dtype: type[np.float32] | type[np.float64]) -> None:
    """Everything that comes out is of the dtype that the part was cast to."""
    part = subject.prepared().astype(dtype)
    xs = subject.inputs(dtype=dtype)
    rewind = Rewound(part)
    given = subject.trained(part, xs)
    rewind()
    arrays = {
        "the output of forward": given.output,
        "the output of predict": part.predict(*xs),
        **{f"the gradient of {name}": dx for name, dx in given.named(subject.input_names).items()},
        **{name: b.value for name, b in named(part, Buffer).items() if b.value.dtype.kind == "f"},
        **{name: p.value for name, p in part.named_parameters().items()},
    }
    for what, array in arrays.items():
        if array.dtype != dtype:
            raise CheckError(
                f"{what}: expected {np.dtype(dtype)} after astype({np.dtype(dtype)}) for input of that dtype, "
                f"got {array.dtype}; does it meet an array that is always of another dtype?"
            )


def wrong_width(subject: Subject) -> None:
    """Rows that are too wide or too narrow, and a single row without a batch, are a `ShapeError`."""
    (x,) = subject.inputs()
    part = subject.prepared()
    assert isinstance(part, Layer)
    fixed = trait(part, "in_features") is not None
    wrong = {"one column too many": np.concatenate([x, x[:, :1]], axis=1)}
    if x.shape[1] > 1:
        wrong["one column too few"] = x[:, :-1].copy()
    if fixed:
        wrong["one row without its batch, x[0]"] = x[0].copy()
    for what, bad in wrong.items():
        for method in ("forward", "predict"):
            try:
                y = getattr(subject.prepared(), method)(bad.copy())
            except ShapeError:
                continue
            except Exception as error:
                raise CheckError(
                    f"{method} of {what}, {bad.shape}: expected a ShapeError; {described(error)}"
                ) from error
            if fixed:
                raise CheckError(f"{method} of {what}, {bad.shape}: expected a ShapeError, got an output {shape_of(y)}")
            if y.shape[1] != part.output_features(bad.shape[1]):
                raise CheckError(
                    f"{method} of {what}, {bad.shape}: expected a ShapeError, or as output_features says an "
                    f"output {part.output_features(bad.shape[1])} wide, got {y.shape}"
                )


def unequal_rows(subject: Subject) -> None:
    """Inputs of different numbers of rows are refused, rather than broadcast."""
    xs = subject.inputs()
    for place in range(len(xs)):
        uneven = tuple(x[:1] if k == place else x for k, x in enumerate(xs))
        try:
            y = subject.prepared().forward(*uneven)
        except ValueError:
            continue
        raise CheckError(
            f"expected a ShapeError where x{place} has 1 row and the others {subject.rows}, got an output {shape_of(y)}"
        )


def unequal_widths(subject: Subject) -> None:
    """An input of one column is refused, or its gradient has one column: it is never broadcast in silence."""
    xs = subject.inputs()
    for place in range(len(xs)):
        uneven = tuple(x[:, :1].copy() if k == place else x for k, x in enumerate(xs))
        part = subject.prepared()
        try:
            y = part.forward(*uneven)
        except ValueError:
            continue
        for k, (x, dx) in enumerate(zip(uneven, backward(part, subject.weights(y.shape)), strict=True)):
            if dx.shape != x.shape:
                raise CheckError(
                    f"x{place} of shape {uneven[place].shape} was taken, but the gradient of x{k} is of shape "
                    f"{dx.shape} where x{k} is {x.shape}; refuse inputs of different widths by a ShapeError"
                )


def output_features_agree(subject: Subject) -> None:
    """`output_features` says the width that comes out."""
    xs = subject.inputs()
    part = subject.prepared()
    widths = [int(np.prod(x.shape[1:])) for x in xs]
    said = part.output_features(*widths)
    for method in ("forward", "predict"):
        came = getattr(part, method)(*subject.inputs()).shape[1]
        if said != came:
            raise CheckError(f"output_features({', '.join(map(str, widths))}) says {said}, but {method} gives {came}")


def any_rank(subject: Subject) -> None:
    """The numbers of a row may lie along several dimensions."""
    (x,) = subject.inputs()
    flat = x.reshape(len(x), -1)
    for shape in ((*flat.shape, 1), (len(x), 1, flat.shape[1], 1)):
        given = subject.trained(subject.prepared(), (flat.reshape(shape),))
        if given.inputs[0].shape != shape:
            raise CheckError(
                f"takes_any_rank is declared: expected a gradient of shape {shape}, got {given.inputs[0].shape}"
            )
        if len(given.output) != len(x) or given.output.ndim != 2:
            raise CheckError(
                f"takes_any_rank is declared: expected {len(x)} rows out of {shape}, got {given.output.shape}"
            )


def no_input_gradient(subject: Subject) -> None:
    """An input that is declared to have no gradient is given zeros."""
    given = subject.trained(subject.prepared(), subject.inputs())
    if any(dx.any() for dx in given.inputs):
        raise CheckError("has_input_gradient = False is declared: expected a gradient of zeros, got other numbers")
