"""Checks of dtypes, batch sizes, widths and ranks."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np

from .._core.parameter import Buffer
from ..errors import ShapeError
from ..layers._parts import named
from ..layers.base import Layer, trait
from ..layers.merges import Merge
from .comparison import REFUSED, attempt, check_finite, check_shape, refused, shape_of
from .report import CheckError, Rules, expect
from .subject import RUNS, TRAINS, ComponentSubject

CHECKS: Rules[ComponentSubject] = Rules()


@CHECKS("float32 kept", *TRAINS, "storage", dtype=np.float32)
@CHECKS("float64 kept", *TRAINS, dtype=np.float64)
def dtype_kept(subject: ComponentSubject, dtype: type[np.float32] | type[np.float64]) -> None:
    """Outputs, gradients and buffers have the dtype that the object was cast to."""
    part = subject.prepared().astype(dtype)
    xs = subject.inputs(dtype=dtype)
    given = subject.trained(part, xs)
    arrays = {
        **{f"the {name}": array for name, array in given.arrays.items()},
        "the output of predict": part.predict(*xs),
        **{name: b.value for name, b in named(part, Buffer).items() if b.value.dtype.kind == "f"},
        **{name: p.value for name, p in part.named_parameters().items()},
    }
    for what, array in arrays.items():
        expect(
            array.dtype == dtype,
            f"{what}: expected {np.dtype(dtype)} after astype({np.dtype(dtype)}) for input of that dtype, "
            f"got {array.dtype}; does it meet an array that is always of another dtype?",
        )


@CHECKS("batch sizes", *TRAINS)
def batch_sizes(subject: ComponentSubject) -> None:
    """Prediction takes any number of rows, none included; training takes any from the smallest batch on.

    A training pass of no rows may be refused by a `ShapeError`, and needs no finite numbers.
    """
    for rows in (0, 1, 2, 3 * subject.rows):
        xs = subject.inputs(rows)
        part = subject.prepared()
        prediction = part.predict(*subject.inputs(rows))
        expect(
            prediction.ndim == 2 and len(prediction) == rows,
            f"predict of a batch of {rows}: expected {rows} rows, got {prediction.shape}",
        )
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
        check_shape(given.output, prediction.shape, f"forward of a batch of {rows}")
        for x, (name, dx) in zip(xs, given.inputs.items(), strict=True):
            check_shape(dx, x.shape, f"gradient of {name} of a batch of {rows}")
        if rows:
            check_finite(given, f"in a batch of {rows}")


@CHECKS("declared: smallest batch", *TRAINS, "batch sizes", when=lambda subject: subject.smallest_batch > 1)
def below_smallest_batch(subject: ComponentSubject) -> None:
    """A training pass of too few rows works, or is refused by a `ShapeError`; it never gives NaN."""
    for rows in range(1, subject.smallest_batch):
        call = partial(subject.trained, subject.prepared(), subject.inputs(rows))
        given = attempt(call, ShapeError, f"a batch of {rows}")
        if given is not REFUSED:
            check_finite(given, f"in a batch of {rows}, which is below smallest_batch")


@CHECKS("output_features", *TRAINS, "batch sizes")
def output_features_agree(subject: ComponentSubject) -> None:
    """`output_features` returns the width of the output."""
    part = subject.prepared()
    widths = [int(np.prod(x.shape[1:])) for x in subject.inputs()]
    said = part.output_features(*widths)
    for method in ("forward", "predict"):
        came = getattr(part, method)(*subject.inputs()).shape[1]
        expect(said == came, f"output_features({', '.join(map(str, widths))}) says {said}, but {method} gives {came}")


def _has_one_matrix(subject: ComponentSubject) -> bool:
    return isinstance(subject.part, Layer) and subject.inputs(1)[0].ndim == 2


@CHECKS("wrong width", *TRAINS, "batch sizes", when=_has_one_matrix)
def wrong_width(subject: ComponentSubject) -> None:
    """`forward` raises `minidl.errors.ShapeError` for rows too wide or too narrow, and for one row without a batch."""
    (x,) = subject.inputs()
    fixed = trait(subject.part, "in_features") is not None
    wrong = {"one column too many": np.concatenate([x, x[:, :1]], axis=1)}
    if x.shape[1] > 1:
        wrong["one column too few"] = x[:, :-1].copy()
    if fixed:
        wrong["one row without its batch, x[0]"] = x[0].copy()
    for what, bad in wrong.items():
        for method in ("forward", "predict"):
            part = subject.prepared()
            case = f"{method} of {what}, {bad.shape}"
            y = attempt(partial(getattr(part, method), bad.copy()), ShapeError, case)
            expect(not fixed or y is REFUSED, f"{case}: expected a ShapeError, got an output {shape_of(y)}")
            if y is not REFUSED and y.shape[1] != (width := part.output_features(bad.shape[1])):
                raise CheckError(
                    f"{case}: expected a ShapeError, or an output {width} wide as output_features says, got {y.shape}"
                )


@CHECKS("unequal rows", *RUNS, when=lambda subject: isinstance(subject.part, Merge))
def unequal_rows(subject: ComponentSubject) -> None:
    """Inputs with different numbers of rows are refused, not broadcast."""
    xs = subject.inputs()
    for place in range(len(xs)):
        uneven = tuple(x[:1] if k == place else x for k, x in enumerate(xs))
        case = f"inputs where x{place} has 1 row and the others {subject.rows}"
        refused(partial(subject.prepared().forward, *uneven), ShapeError, case, ValueError)


@CHECKS("unequal widths", *TRAINS, when=lambda subject: isinstance(subject.part, Merge))
def unequal_widths(subject: ComponentSubject) -> None:
    """An input of one column is refused, or its gradient has one column: it is never broadcast in silence."""
    xs = subject.inputs()
    for place in range(len(xs)):
        uneven = tuple(x[:, :1].copy() if k == place else x for k, x in enumerate(xs))
        case = f"x{place} of shape {uneven[place].shape}"
        part = subject.prepared()
        y = attempt(partial(part.forward, *uneven), ShapeError, case, ValueError)
        if y is not REFUSED:
            gradients = subject.backward(part, subject.weights(y.shape))
            for x, (name, dx) in zip(uneven, gradients.items(), strict=True):
                expect(
                    dx.shape == x.shape,
                    f"{case} was taken, but the gradient of {name} is of shape {dx.shape} where {name} is "
                    f"{x.shape}; refuse inputs of different widths by a ShapeError",
                )


@CHECKS("declared: input of any rank", *TRAINS, when=lambda subject: trait(subject.part, "takes_any_rank"))
def any_rank(subject: ComponentSubject) -> None:
    """A row may have several dimensions."""
    (x,) = subject.inputs()
    flat = x.reshape(len(x), -1)
    for shape in ((*flat.shape, 1), (len(x), 1, flat.shape[1], 1)):
        given = subject.trained(subject.prepared(), (flat.reshape(shape),))
        for dx in given.inputs.values():
            check_shape(dx, shape, "takes_any_rank is declared: gradient of x")
        expect(
            len(given.output) == len(x) and given.output.ndim == 2,
            f"takes_any_rank is declared: expected {len(x)} rows out of {shape}, got {given.output.shape}",
        )


@CHECKS(
    "declared: no gradient of the input", *TRAINS, when=lambda subject: not trait(subject.part, "has_input_gradient")
)
def no_input_gradient(subject: ComponentSubject) -> None:
    """The gradient of an input that is declared to have none is zero."""
    expect(
        not any(dx.any() for dx in subject.usual().inputs.values()),
        "has_input_gradient = False is declared: expected a gradient of zeros, got other numbers",
    )
