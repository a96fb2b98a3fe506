"""Checks of activations: each number alone, and no overflow at the extremes."""

from __future__ import annotations

import numpy as np

from .basics import RUNS, TRAINS
from .comparison import explained
from .report import CheckError, Rules
from .subject import ComponentSubject

CHECKS: Rules[ComponentSubject] = Rules()

EXTREMES = (0.0, 1e-300, 1e-7, 1.0, 30.0, 88.0, 104.0, 709.0, 745.0, 1e4)
"""Sizes at which exponentials, their sums and their reciprocals overflow, underflow or cancel."""


def _is_activation(subject: ComponentSubject) -> bool:
    return subject.largest is not None


@CHECKS("each number alone", *TRAINS, when=_is_activation)
def each_number_alone(subject: ComponentSubject) -> None:
    """The output has the shape of x, and each of its numbers depends only on the number of x in its place."""
    (x,), (other,) = subject.inputs(), subject.inputs(number=1)
    first = subject.usual()
    if first.output.shape != x.shape:
        raise CheckError(f"expected an output of the shape of x, {x.shape}, got {first.output.shape}")
    for column in range(x.shape[1]):
        changed = x.copy()
        changed[:, column] = other[:, column]
        second = subject.trained(subject.prepared(), (changed,))
        (dx,), (other_dx,) = first.inputs.values(), second.inputs.values()
        for what, a, b in (("output", first.output, second.output), ("gradient", dx, other_dx)):
            same = np.isclose(a, b, rtol=1e-9, atol=1e-12)
            elsewhere = [k for k in range(x.shape[1]) if k != column and not same[:, k].all()]
            if elsewhere:
                raise CheckError(f"a change of column {column} of x changed column {elsewhere[0]} of the {what}")


@CHECKS("extremes", *RUNS, when=_is_activation)
def extremes(subject: ComponentSubject) -> None:
    """Function and derivative are finite at 0, at tiny and at large numbers, without a floating-point warning."""
    assert subject.largest is not None
    sizes = np.array([size for size in EXTREMES if size <= subject.largest])
    hint = (
        "\nwrite it so that nothing overflows and nothing is divided by zero, "
        "or give the largest number that it is meant for: largest=…"
    )
    for value in np.concatenate([-sizes[::-1], sizes]):
        x = np.full(subject.inputs()[0].shape, value)
        for method in ("forward", "backward", "predict"):
            part = subject.prepared()
            given = np.ones_like(part.forward(x)) if method == "backward" else x
            with explained(f"{method} at x = {value:g}: ", hint), np.errstate(all="raise", under="ignore"):
                result = getattr(part, method)(given)
            if not np.isfinite(result).all():
                raise CheckError(f"{method} at x = {value:g}: expected a finite number, got {result.flat[0]}")
