"""All that an activation promises: what a layer does, each number alone, and silence at the extremes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .._core.arrays import Array
from ..layers.base import Layer, trait
from .layers import layer_checks_of, layer_declared, layer_subject
from .parts import RUNS, TRAINS
from .report import Check, CheckError, Checks, Report, conclude, described
from .subject import Subject

EXTREMES = (0.0, 1e-300, 1e-7, 1.0, 30.0, 88.0, 104.0, 709.0, 745.0, 1e4)
"""Sizes at which exponentials, their sums and their reciprocals overflow, underflow or cancel."""


def check_activation(
    activation: Layer,
    features: int | None = None,
    *,
    sample: Callable[[int, np.random.Generator], Array] | None = None,
    largest: float = 1e4,
    rows: int = 5,
    seed: int = 0,
) -> Report:
    """Check everything that a layer promises, and what an elementwise function promises beyond it.

    The width is kept, each output depends on its own number alone, and up to ``largest`` the function and its
    derivative are finite and quiet: no overflow, no division by zero, no NaN.

    Args:
        activation: What to check: `Activation` with a pair of functions, or a layer of your own.
        features: Width of the input; default the activation's own, 5 where it takes any.
        sample: Makes inputs, ``(rows, features)``, from a number of rows and a generator; default uniform in −6 … 6.
        largest: Size of the largest numbers that it is to be given.
        rows: Rows of the usual batch.
        seed: Of the inputs.

    Returns:
        The report, where every check passed.

    Raises:
        ConformanceError: at least one failed; its text names every one, with the worst element.

    Example:
        >>> from minidl import Activation
        >>> check_activation(Activation(np.sin, np.cos)).failed
        ()
    """
    subject = layer_subject(activation, features, sample or _wide(activation, features), rows, seed)
    return conclude(_checks(subject, largest), subject.name, layer_declared(subject))


def activation_checks(
    activation: Layer,
    features: int | None = None,
    *,
    sample: Callable[[int, np.random.Generator], Array] | None = None,
    largest: float = 1e4,
    rows: int = 5,
    seed: int = 0,
) -> list[Check]:
    """List the checks that `check_activation` makes, for ``pytest.mark.parametrize("check", …, ids=str)``.

    Args:
        activation: As for `check_activation`.
        features: As for `check_activation`.
        sample: As for `check_activation`.
        largest: As for `check_activation`.
        rows: As for `check_activation`.
        seed: As for `check_activation`.
    """
    return _checks(layer_subject(activation, features, sample or _wide(activation, features), rows, seed), largest)


def _wide(activation: Layer, features: int | None) -> Callable[[int, np.random.Generator], Array]:
    width = features or trait(activation, "in_features") or 5
    return lambda rows, rng: rng.uniform(-6.0, 6.0, (rows, width))


def _checks(subject: Subject, largest: float) -> list[Check]:
    checks = Checks(subject.name, layer_checks_of(subject))
    checks.add("each number alone", partial(_each_number_alone, subject), *TRAINS)
    checks.add("extremes", partial(_extremes, subject, largest), *RUNS)
    return checks.found


def _each_number_alone(subject: Subject) -> None:
    """As many features come out as go in, and a change of one number changes only what comes out in its place."""
    (x,), (other,) = subject.inputs(), subject.inputs(number=1)
    first = subject.trained(subject.prepared(), (x,))
    if first.output.shape != x.shape:
        raise CheckError(f"expected an output of the shape of x, {x.shape}, got {first.output.shape}")
    for column in range(x.shape[1]):
        changed = x.copy()
        changed[:, column] = other[:, column]
        second = subject.trained(subject.prepared(), (changed,))
        for what, a, b in (("output", first.output, second.output), ("gradient", first.inputs[0], second.inputs[0])):
            changes = ~np.isclose(a, b, rtol=1e-9, atol=1e-12)
            elsewhere = [k for k in range(x.shape[1]) if k != column and changes[:, k].any()]
            if elsewhere:
                raise CheckError(f"a change of column {column} of x changed column {elsewhere[0]} of the {what}")


def _extremes(subject: Subject, largest: float) -> None:
    """Function and derivative are finite at 0, at tiny and at large numbers, without a floating-point warning."""
    sizes = np.array([size for size in EXTREMES if size <= largest])
    values = np.concatenate([-sizes[::-1], sizes])
    width = subject.inputs(1)[0].shape[1]
    for value in values:
        x = np.full((subject.rows, width), value)
        for method in ("forward", "backward", "predict"):
            part = subject.prepared()
            y = part.forward(x) if method == "backward" else x
            try:
                with np.errstate(over="raise", divide="raise", invalid="raise", under="ignore"):
                    result = getattr(part, method)(np.ones_like(y) if method == "backward" else x)
            except FloatingPointError as error:
                raise CheckError(
                    f"{method} at x = {value:g}: {described(error)}\nwrite it so that nothing overflows and nothing is "
                    "divided by zero, or say how far it is meant to go: largest=…"
                ) from error
            if not np.isfinite(result).all():
                raise CheckError(f"{method} at x = {value:g}: expected a finite number, got {result.flat[0]}")
