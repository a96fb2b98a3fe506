"""All that a layer promises, as named checks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .._core.arrays import Array
from ..layers._structure import check_part
from ..layers.base import Layer, trait
from . import parts, passes, shapes
from .report import Check, Checks, Report, conclude
from .subject import Inputs, Subject


def check_layer(
    layer: Layer,
    features: int | tuple[int, ...] | None = None,
    *,
    sample: Callable[[int, np.random.Generator], Array] | None = None,
    rows: int = 5,
    seed: int = 0,
) -> Report:
    """Check everything that a layer promises: gradients, purity, shapes, dtypes, prediction, copies, names.

    The layer itself is left alone; copies of it are run. Its parameters are moved a little first, since a weight
    of 1 or a bias of 0 would hide a missing factor. What the layer declares (`smallest_batch`, `couples_rows`,
    `has_input_gradient`, `takes_any_rank`, `picklable`), itself or in a layer that it holds, changes what is asked of
    it, and stands in the report.

    Args:
        layer: What to check.
        features: Width of the input, or the shape of a row; default the layer's own, 5 where it takes any.
        sample: Makes inputs, ``(rows, features)``, from a number of rows and a generator; default standard normal
            numbers. For a layer that takes codes, or numbers from some range only.
        rows: Rows of the usual batch.
        seed: Of the inputs.

    Returns:
        The report, where every check passed.

    Raises:
        ConformanceError: at least one failed; its text names every one, with the worst element.

    Example:
        >>> from minidl import Dense
        >>> check_layer(Dense(3, 2)).failed
        ()
    """
    subject = layer_subject(layer, features, sample, rows, seed)
    return conclude(layer_checks_of(subject), subject.name, layer_declared(subject))


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
    return layer_checks_of(layer_subject(layer, features, sample, rows, seed))


def layer_subject(
    layer: Layer,
    features: int | tuple[int, ...] | None,
    sample: Callable[[int, np.random.Generator], Array] | None,
    rows: int,
    seed: int,
) -> Subject:
    """Make the subject of the checks of a layer."""
    check_part(layer, Layer, "the conformance kit")
    width = features if features is not None else trait(layer, "in_features") or 5
    shape = width if isinstance(width, tuple) else (width,)

    def inputs(count: int, rng: np.random.Generator) -> Inputs:
        return (rng.standard_normal((count, *shape)) if sample is None else sample(count, rng),)

    return Subject(layer, inputs, rows, seed)


def layer_checks_of(subject: Subject) -> list[Check]:
    """List the checks of a layer."""
    layer = subject.part
    assert isinstance(layer, Layer)
    checks = Checks(subject.name)
    parts.add_common(checks, subject)
    trains = parts.TRAINS
    checks.add("backward_parameters", partial(passes.backward_parameters, subject), *trains, "gradients add up")
    if subject.inputs(1)[0].ndim == 2:
        checks.add("wrong width", partial(shapes.wrong_width, subject), *trains, "batch sizes")
    if subject.smallest_batch > 1:
        checks.add("declared: smallest batch", partial(shapes.below_smallest_batch, subject), *trains, "batch sizes")
    if subject.couples_rows:
        checks.add("declared: rows are coupled in training", partial(shapes.rows_coupled_as_declared, subject), *trains)
    else:
        checks.add("rows are alone in training", partial(shapes.rows_alone_in_training, subject), *trains)
    if trait(layer, "takes_any_rank"):
        checks.add("declared: input of any rank", partial(shapes.any_rank, subject), *trains)
    if not trait(layer, "has_input_gradient"):
        checks.add("declared: no gradient of the input", partial(shapes.no_input_gradient, subject), *trains)
    return checks.found


def layer_declared(subject: Subject) -> list[str]:
    """List what the layer declares, as far as it changes what is asked of it."""
    layer = subject.part
    assert isinstance(layer, Layer)
    few = f"smallest_batch = {subject.smallest_batch}: training passes of fewer rows may be refused"
    lines = {
        few: subject.smallest_batch > 1,
        "couples_rows = True: in training a row may depend on the others": subject.couples_rows,
        "has_input_gradient = False: the gradient of the input is not compared": not subject.has_input_gradient,
        "takes_any_rank = True: the numbers of a row may lie along several dimensions": trait(layer, "takes_any_rank"),
    }
    return [line for line, holds in lines.items() if holds] + parts.declared(subject)
