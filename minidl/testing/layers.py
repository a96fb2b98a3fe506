"""Check a layer, an activation or a merge: the public functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .._core.arrays import Array
from ..layers._structure import check_part
from ..layers.base import Layer, trait
from ..layers.merges import Merge
from . import common, passes, persistence, shapes
from .gradients import gradient_rules
from .report import Check, Report, Rule, checks_of, conclude
from .subject import ComponentSubject, Inputs


def check_layer(
    layer: Layer,
    features: int | tuple[int, ...] | None = None,
    *,
    sample: Callable[[int, np.random.Generator], Array] | None = None,
    rows: int = 5,
    seed: int = 0,
) -> Report:
    """Check a layer: gradients, purity, shapes, dtypes, prediction, copies, names.

    Only copies of the layer are run. Their parameters are changed a little first, because a weight of 1 or a bias of 0
    would hide a missing factor. What the layer, or a layer in it, declares (`smallest_batch`, `couples_rows`,
    `has_input_gradient`, `takes_any_rank`, `picklable`) changes which checks are made; the report lists it.

    Args:
        layer: What to check.
        features: Width of the input, or the shape of a row; default the layer's own, 5 where it takes any.
        sample: Makes inputs, ``(rows, features)``, from a number of rows and a generator; default standard normal
            numbers. For a layer that takes codes, or numbers from some range only.
        rows: Rows of the usual batch.
        seed: Seed of the inputs.

    Returns:
        The report; every check has passed.

    Raises:
        ConformanceError: at least one check failed; the text lists all that failed, with the worst element.

    Example:
        >>> from minidl import Dense
        >>> check_layer(Dense(3, 2)).failed
        ()
    """
    return _examined(_layer(layer, features, sample, rows, seed))


def layer_checks(
    layer: Layer,
    features: int | tuple[int, ...] | None = None,
    *,
    sample: Callable[[int, np.random.Generator], Array] | None = None,
    rows: int = 5,
    seed: int = 0,
) -> list[Check]:
    """List the checks that `check_layer` makes, for ``pytest.mark.parametrize("check", …, ids=str)``.

    Args:
        layer: As for `check_layer`.
        features: As for `check_layer`.
        sample: As for `check_layer`.
        rows: As for `check_layer`.
        seed: As for `check_layer`.
    """
    return _checks(_layer(layer, features, sample, rows, seed))


def check_activation(
    activation: Layer,
    features: int | None = None,
    *,
    sample: Callable[[int, np.random.Generator], Array] | None = None,
    largest: float = 1e4,
    rows: int = 5,
    seed: int = 0,
) -> Report:
    """Check an activation: all checks of a layer, and those of an elementwise function.

    The output is as wide as the input, each output depends on one input, and up to ``largest`` the function and its
    derivative give no overflow, no division by zero and no NaN.

    Args:
        activation: What to check: `Activation` with a pair of functions, or a layer of your own.
        features: Width of the input; default the activation's own, 5 where it takes any.
        sample: Makes inputs, ``(rows, features)``, from a number of rows and a generator; default uniform in −6 … 6.
        largest: Largest absolute input.
        rows: Rows of the usual batch.
        seed: Seed of the inputs.

    Returns:
        The report; every check has passed.

    Raises:
        ConformanceError: at least one check failed; the text lists all that failed, with the worst element.

    Example:
        >>> from minidl import Activation
        >>> check_activation(Activation(np.sin, np.cos)).failed
        ()
    """
    return _examined(_layer(activation, features, sample, rows, seed, largest))


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

    Example:
        >>> for check in activation_checks(Tanh()):
        ...     check()
    """
    return _checks(_layer(activation, features, sample, rows, seed, largest))


def check_merge(
    merge: Merge,
    features: Sequence[int] = (3, 3, 3),
    *,
    sample: Callable[[int, np.random.Generator], Inputs] | None = None,
    rows: int = 5,
    seed: int = 0,
) -> Report:
    """Check a merge: as `check_layer`, with a gradient for each of several inputs.

    Args:
        merge: What to check.
        features: Width of each input.
        sample: Makes a tuple of inputs from a number of rows and a generator; default standard normal numbers.
        rows: Rows of the usual batch.
        seed: Seed of the inputs.

    Returns:
        The report; every check has passed.

    Raises:
        ConformanceError: at least one check failed; the text lists all that failed, with the worst element.

    Example:
        >>> from minidl import Concat
        >>> check_merge(Concat(), features=(2, 4)).failed
        ()
    """
    return _examined(_merge(merge, features, sample, rows, seed))


def merge_checks(
    merge: Merge,
    features: Sequence[int] = (3, 3, 3),
    *,
    sample: Callable[[int, np.random.Generator], Inputs] | None = None,
    rows: int = 5,
    seed: int = 0,
) -> list[Check]:
    """List the checks that `check_merge` makes, for ``pytest.mark.parametrize("check", …, ids=str)``.

    Args:
        merge: As for `check_merge`.
        features: As for `check_merge`.
        sample: As for `check_merge`.
        rows: As for `check_merge`.
        seed: As for `check_merge`.

    Example:
        >>> for check in merge_checks(Add()):
        ...     check()
    """
    return _checks(_merge(merge, features, sample, rows, seed))


def _layer(
    layer: Layer,
    features: int | tuple[int, ...] | None,
    sample: Callable[[int, np.random.Generator], Array] | None,
    rows: int,
    seed: int,
    largest: float | None = None,
) -> ComponentSubject:
    check_part(layer, Layer, "the conformance kit")
    width = features if features is not None else trait(layer, "in_features") or 5
    shape = width if isinstance(width, tuple) else (width,)

    def numbers(count: int, rng: np.random.Generator) -> Array:
        if largest is None:
            return rng.standard_normal((count, *shape))
        return rng.uniform(-6.0, 6.0, (count, *shape))

    make = sample or numbers
    return ComponentSubject(layer, lambda count, rng: (make(count, rng),), rows, seed, largest)


def _merge(
    merge: Merge,
    features: Sequence[int],
    sample: Callable[[int, np.random.Generator], Inputs] | None,
    rows: int,
    seed: int,
) -> ComponentSubject:
    check_part(merge, Merge, "the conformance kit")

    def numbers(count: int, rng: np.random.Generator) -> Inputs:
        return tuple(rng.standard_normal((count, width)) for width in features)

    return ComponentSubject(merge, sample or numbers, rows, seed)


def _checks(subject: ComponentSubject) -> list[Check]:
    """Make the checks of a layer, activation or merge."""
    rules: list[Rule[ComponentSubject]] = [
        *persistence.CHECKS,
        *passes.CHECKS,
        *gradient_rules(subject),
        *common.CHECKS,
        *shapes.CHECKS,
    ]
    return checks_of(subject, subject.name, rules)


def _examined(subject: ComponentSubject) -> Report:
    return conclude(_checks(subject), subject.name, subject.declared)
