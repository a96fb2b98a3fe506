"""The table in Markdown: minidl's time or memory, and those of its peers as multiples of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Times = Mapping[str, Sequence[float]]
"""Seconds, or bytes, of each peer in each round."""

NOT_TIMED = "–"

CAPTION = (
    "The figures of a peer are multiples of minidl's in the same round: above 1, minidl is faster, or smaller. Each is "
    "the median over the rounds, with the middle half of the rounds in brackets."
)


def header(peers: Sequence[str]) -> str:
    """Make the two header lines; the first peer is minidl itself."""
    return f"| work | {' | '.join(peers)} |\n|---|{'---:|' * len(peers)}"


def row(name: str, times: Times, peers: Sequence[str], written: Callable[[float], str] | None = None) -> str:
    """Make one line: the first peer's amount, as ``written``, and each other's as a multiple of it."""
    base = np.asarray(times[peers[0]])
    ratios = [ratio(np.asarray(times[peer]) / base) if peer in times else NOT_TIMED for peer in peers[1:]]
    return f"| {' | '.join([name, (written or duration)(float(np.median(base))), *ratios])} |"


def duration(seconds: float) -> str:
    """Write a time with three digits, in the unit that fits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds * 1e9)} ns"


def ratio(ratios: npt.NDArray[np.float64]) -> str:
    """Write the median of some ratios and their quartiles."""
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return f"{significant(middle)} ({significant(low)}–{significant(high)})"


def significant(value: float) -> str:
    """Write a number with three digits, without an exponent."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
