"""What the rules of Watch read and return: limits, findings, and the medians of the figures of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from ._figures import End, Look

LIMITS = {
    "smallest scale": 0.01,  # root mean square of the largest column of inputs, or of targets
    "largest scale": 30.0,  # the same
    "unequal scales": 100.0,  # root mean square of the largest column of either, over the median of the columns
    "spread": 0.02,  # standard deviation of a column, over its root mean square
    "outlier": 100.0,  # largest distance from the median of a column of inputs or targets, in interquartile ranges
    "grouped": 0.5,  # share of the variance of targets that lies between the batches of a run that does not shuffle
    "rare weight": 0.1,  # mean weight of a rare class, over that of all rows
    "rows": 8.0,  # rows of a batch with a BatchNorm
    "out of reach": 0.05,  # share of the targets outside of the range of the last layer
    "saturated": 0.85,  # share of flat outputs, of an activation with two flat ends
    "dead": 0.6,  # share of units that are flat in every row, of another activation
    "exploding output": 100.0,  # root mean square of the output of a layer with weights
    "exploding error": 100.0,  # largest error of a layer with weights, over that of the last of them
    "vanishing error": 1e-3,  # smallest error of a layer with weights, over that of the last of them
    "shrunk": 0.02,  # size of the weights of a layer, over that at the first look
    "wrong gradient": 0.05,  # relative difference to a numeric gradient, of a layer or loss of the user's
    "kept rows": 0.1,  # different rows in the output of a layer, over those in its input
    "dropout": 0.75,  # rate of a Dropout
    "momentum": 0.99,  # momentum of the optimizer
    "grown loss": 1.5,  # loss in the second half of the run, over that at the first look
    "jump": 2.0,  # loss after one update, over that before it
    "large update": 0.2,  # one update of the weights of a layer, over their size
    "moved far": 5.0,  # distance of all weights from those at the first look, over their size
    "moved": 0.05,  # the same, at the end of a run
    "still falls": 0.1,  # share of the loss that more updates would take away
    "learned": 0.9,  # skill from which the rate is right and errors do not vanish
    "columns not learned": 0.3,  # share of the columns of targets that are not learned, while others are
    "worse than a constant": 0.05,  # share by which the loss is above that of the best constant output
    "nothing learned": 0.2,  # skill at the end up to which nothing may be learned
}
"""What is still normal. Figures of the training are medians over the looks after the first."""


@dataclass(frozen=True, repr=False)
class Finding:
    """One thing that is wrong with a run; printed, it is a short paragraph.

    Attributes:
        what: Its name, such as ``"dead units"``.
        where: The layer, the data, or the learning rate.
        seen: The number that was seen.
        normal: What is normal.
        advice: What to do.

    Example:
        >>> from minidl.inspection import Watch
        >>> x = np.linspace(0, 10_000, 200)[:, None]
        >>> model = mlp([1, 8, 1], rng=0)
        >>> watch = Watch(x, np.sin(x))
        >>> trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 1e-9), rng=0)
        >>> history = trainer.fit(x, np.sin(x), epochs=2, callbacks=[watch])
        >>> watch.diagnosis()[0].what
        'inputs on a bad scale'
    """

    what: str
    where: str
    seen: str
    normal: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}, {self.where}: {self.seen} (normal: {self.normal}). {self.advice}."

    __repr__ = __str__


class Case:
    """What the rules read: the looks at a run, medians of their figures, and its end; None while it runs."""

    def __init__(self, looks: Sequence[Look], end: End | None) -> None:
        self.looks, self.end = looks, end
        self.first, self.last = looks[0], looks[-1]
        self.late = looks[1:] or looks
        self.half = looks[len(looks) // 2 :]
        self.skill = typical([look.skill for look in self.half])
        self.learned = self.skill >= LIMITS["learned"]
        self.places = range(min(len(look.parts) for look in looks))
        self.weighted = [place for place in self.places if self.first.parts[place].weights is not None]

    def median(self, place: int, figure: str, looks: Sequence[Look] | None = None) -> float:
        """Return the median of one figure of a part, over the late looks or others; 0 where there is no such figure."""
        found = [getattr(look.parts[place], figure) for look in looks or self.late]
        return typical([number for number in found if number is not None] or [0.0])

    def at(self, place: int) -> str:
        """Name a part and its path."""
        return f'{self.first.parts[place].name} at "{self.first.parts[place].path}"'

    def flat_places(self, *, from_the_start: bool) -> Iterator[tuple[int, str, float]]:
        """Yield place, kind and share of each activation that is mostly flat, at the first look already or not."""
        gains = self.end is not None and self.end.gain > 0.0
        for place in self.places:
            kind, figure = ("saturated", "flat") if self.first.parts[place].two_ended else ("dead", "dead")
            share, sure = self.median(place, figure), place == self.places[-1] and (self.learned or gains)
            was_flat = (getattr(self.first.parts[place], figure) or 0.0) > LIMITS[kind]
            if share > LIMITS[kind] and was_flat == from_the_start and not sure:  # One that is sure and right is flat.
                yield place, kind, share

    def error_ratio(self, extreme: Callable[..., tuple[float, int]], looks: Sequence[Look]) -> tuple[float, int]:
        """Return the largest or smallest error of a layer with weights over that of the last one, and its place."""
        errors = [(self.median(place, "error", looks), place) for place in self.weighted]
        if not errors or not 0.0 < errors[-1][0] < np.inf:
            return 1.0, 0
        error, place = extreme(errors)
        return error / errors[-1][0], place


def typical(numbers: Sequence[float]) -> float:
    """Return the median; NaN counts as infinite."""
    return median([number if number == number else np.inf for number in numbers])
