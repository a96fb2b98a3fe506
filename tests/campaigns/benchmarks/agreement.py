"""The check that the peers do the same work: same first values and data, so the same numbers to rounding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.campaigns.benchmarks.networks import Array

TOLERANCES = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}
"""How far apart results may be, relative to the largest, after some updates."""


class DisagreementError(Exception):
    """The peers do not compute the same, so their times must not be compared."""


def check_same(work: str, results: Mapping[str, Array], dtype: type[np.floating]) -> None:
    """Compare every result with the first.

    Raises:
        DisagreementError: naming the work, the peer, and how far apart they are.
    """
    (first, wanted), *others = results.items()
    tolerance = TOLERANCES[np.dtype(dtype)]
    for name, found in others:
        if found.shape != wanted.shape:
            raise DisagreementError(f"{work}: {first} gives shape {wanted.shape}, {name} {found.shape}")
        apart = float(np.max(np.abs(found - wanted)) / np.max(np.abs(wanted)))
        if not apart <= tolerance:
            raise DisagreementError(f"{work}: {name} and {first} are {apart:.1e} apart, more than {tolerance:.0e}")


def check_learned(work: str, losses: Mapping[str, Array], dtype: type[np.floating]) -> None:
    """Refuse losses that hardly move: they would agree whatever the updates did.

    Raises:
        DisagreementError: the last loss is not clearly below the first.
    """
    for name, found in losses.items():
        if not np.all(found[-1] < found[0] * (1.0 - 20.0 * TOLERANCES[np.dtype(dtype)])):
            raise DisagreementError(f"{work}: {name} does not learn, its losses are {found}")
