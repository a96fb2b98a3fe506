"""All that a merge promises, as named checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..layers._structure import check_part
from ..layers.merges import Merge
from . import parts, shapes
from .report import Check, Checks, Report, conclude
from .subject import Inputs, Subject


def check_merge(
    merge: Merge,
    features: Sequence[int] = (3, 3, 3),
    *,
    sample: Callable[[int, np.random.Generator], Inputs] | None = None,
    rows: int = 5,
    seed: int = 0,
) -> Report:
    """Check everything that a merge promises: as `check_layer`, with a gradient for each of several inputs.

    Args:
        merge: What to check.
        features: Width of each input.
        sample: Makes a tuple of inputs from a number of rows and a generator; default standard normal numbers.
        rows: Rows of the usual batch.
        seed: Of the inputs.

    Returns:
        The report, where every check passed.

    Raises:
        ConformanceError: at least one failed; its text names every one, with the worst element.

    Example:
        >>> from minidl import Concat
        >>> check_merge(Concat(), features=(2, 4)).failed
        ()
    """
    subject = _subject(merge, features, sample, rows, seed)
    return conclude(_checks(subject), subject.name, parts.declared(subject))


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
    """
    return _checks(_subject(merge, features, sample, rows, seed))


def _subject(
    merge: Merge,
    features: Sequence[int],
    sample: Callable[[int, np.random.Generator], Inputs] | None,
    rows: int,
    seed: int,
) -> Subject:
    check_part(merge, Merge, "the conformance kit")

    def inputs(count: int, rng: np.random.Generator) -> Inputs:
        return tuple(rng.standard_normal((count, width)) for width in features)

    return Subject(merge, sample or inputs, rows, seed)


def _checks(subject: Subject) -> list[Check]:
    checks = Checks(subject.name)
    parts.add_common(checks, subject)
    checks.add("rows are alone in training", partial(shapes.rows_alone_in_training, subject), *parts.TRAINS)
    checks.add("unequal rows", partial(shapes.unequal_rows, subject), *parts.RUNS)
    checks.add("unequal widths", partial(shapes.unequal_widths, subject), *parts.TRAINS)
    return checks.found
