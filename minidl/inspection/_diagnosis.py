"""The rules by which Watch judges a run, and the findings.

Figures of training are medians over the looks after the first. A cause is named before its consequences: data, first
values, learning rate, layers, and what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from ._figures import Look, Part, Scale


class Limits(NamedTuple):
    """What is still normal."""

    smallest_scale: float = 0.01  # of the largest column of inputs or targets
    largest_scale: float = 30.0  # of the largest column
    largest_output: float = 100.0  # of a layer with weights, at the first look
    unequal: float = 100.0  # the largest column of inputs over the median of the columns
    spread: float = 0.02  # of a column, its standard deviation over its root mean square
    commonest: float = 0.99  # share of the most common target
    outside: float = 0.05  # share of the targets outside of the range of the last layer
    saturated: float = 0.85  # share of flat outputs of an activation with two flat ends
    dead: float = 0.6  # share of units of another activation that are flat in every row
    vanishing: float = 1e-3  # the smallest error of a layer with weights, over that of the last one
    exploding: float = 100.0  # the largest of them, over that of the last one
    shrunk: float = 0.02  # the weights of a layer over those of the first look
    learned: float = 0.9  # skill above which a run has learned: rates and vanishing errors are then no illness
    nothing: float = 0.2  # skill below which it has learned nothing
    grown: float = 1.5  # loss of the second half of the run over the first loss
    jump: float = 2.0  # loss after one update over the loss before it
    large_update: float = 0.2  # one update over the size of the weights
    moved_far: float = 5.0  # distance of the weights from the first ones, over their size
    moved: float = 0.05  # the same, for a run that is over


LIMITS = Limits()


@dataclass(frozen=True, repr=False)
class Finding:
    """One thing that is wrong with a run; printed, it is two sentences.

    Attributes:
        what: Its name, such as ``"dead units"``.
        where: The layer, the data, or the run.
        seen: The number that was seen.
        normal: What is normal.
        advice: What to do.
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
    """What the rules read: the looks at a run, and medians of their figures."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks, self.first, self.last = looks, looks[0], looks[-1]
        self.late = looks[1:] or looks
        self.half = looks[len(looks) // 2 :]
        self.skill = typical(look.skill for look in self.half)
        self.learned = self.skill >= LIMITS.learned
        self.places = range(min(len(look.parts) for look in looks))
        self.weighted = [place for place in self.places if self.first.parts[place].weights is not None]

    def part(self, place: int, figure: Callable[[Part], float | None]) -> float | None:
        """Return the median of one figure of a part over the late looks."""
        return typical_of(self.late, place, figure)

    def at(self, place: int) -> str:
        """Name a part and its path."""
        part = self.first.parts[place]
        return f'{part.name} at "{part.path}"' if part.path else part.name

    def largest_update(self) -> float:
        """Return the largest update of the weights of a layer, in any look."""
        return max([part.update for look in self.looks for part in look.parts if part.update is not None], default=0.0)


def typical_of(looks: Sequence[Look], place: int, figure: Callable[[Part], float | None]) -> float | None:
    """Return the median of one figure of a part over some looks; None if there is no such figure."""
    found = [figure(look.parts[place]) for look in looks]
    known = [number for number in found if number is not None]
    return typical(known) if known else None


def _error(part: Part) -> float | None:
    return part.error


def typical(numbers: Iterator[float] | Sequence[float]) -> float:
    """Return the median; NaN counts as infinite."""
    return median([number if number == number else np.inf for number in numbers])


def diagnose(looks: Sequence[Look]) -> list[Finding]:
    """Return what is wrong, the likeliest cause first; what a cause explains is left out."""
    if not looks:
        return []
    case = Case(looks)
    data = [*_inputs(case), *_targets(case)]
    start = [*_alike(case)] or [*_flat(case, from_the_start=True)]
    if not data:
        start = start or [*_large_from_the_start(case)] or [*_shrunk(case)]
    later = [] if start else [*_rate_too_large(case), *_flat(case, from_the_start=False)]
    if not start + later:
        later = [*_vanishing(case)] or [*_rate_too_small(case)]
    return data + start + later + [*_idle(case)] or [*_nothing_learned(case)]


# ---------------------------------------------------------------------------------------------------- data


STANDARDIZE = "Standardize {0}: ({0} - {0}.mean(axis=0)) / {0}.std(axis=0), with the figures of the training data"


def _inputs(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        scale, where = case.first.parts[place].inputs, f"what goes into {case.at(place)}"
        if scale is None:
            continue
        size = np.array(scale.size)
        middle = float(np.median(size[size > 0])) if size.any() else 0.0
        if middle and size.max() > LIMITS.unequal * middle:
            yield Finding(
                "inputs on unequal scales", where, f"the root mean square of feature {size.argmax()} is {size.max():.3g}, "
                f"and the median of all features {middle:.3g}", f"a ratio up to {LIMITS.unequal:g}",
                STANDARDIZE.format("x"),
            )
        else:
            yield from _size(scale, "inputs", "feature", where)
        yield from _spread(scale, "inputs", "feature", where)


def _size(scale: Scale, what: str, column: str, where: str) -> Iterator[Finding]:
    top = int(np.argmax(scale.size))
    if not LIMITS.smallest_scale <= scale.size[top] <= LIMITS.largest_scale:
        yield Finding(
            f"{what} on a bad scale", where, f"{column} {top}, the largest, has the root mean square "
            f"{scale.size[top]:.3g}", f"{LIMITS.smallest_scale:g} to {LIMITS.largest_scale:g}, best 1",
            STANDARDIZE.format("x" if what == "inputs" else "y"),
        )


def _spread(scale: Scale, what: str, column: str, where: str) -> Iterator[Finding]:
    low = int(np.argmin(scale.spread))
    spread, constant = scale.spread[low], scale.spread[low] < 1e-9
    if spread < LIMITS.spread:
        yield Finding(
            f"constant {what}" if constant else f"{what} far from 0", where,
            f"the standard deviation of {column} {low} is {spread:.2g} of its size {scale.size[low]:.3g}",
            f"at least {LIMITS.spread:g}",
            "Leave it out: it says nothing" if constant else STANDARDIZE.format("x" if what == "inputs" else "y"),
        )


def _targets(case: Case) -> Iterator[Finding]:
    first = case.first
    if first.commonest >= LIMITS.commonest:
        yield Finding(
            "targets all the same", "y", f"{first.commonest:.0%} of the rows have the same target",
            f"less than {LIMITS.commonest:.0%}", "Look at y: is it the right column, and are all classes in it",
        )
    elif first.targets is not None:
        yield from _size(first.targets, "targets", "output", "y")
        if max(first.targets.spread) < LIMITS.spread:  # An output of several may well be constant.
            yield from _spread(first.targets, "targets", "output", "y")
    if first.outside > LIMITS.outside:
        yield Finding(
            "targets out of reach", f"y, and {case.at(case.places[-1])}",
            f"{first.outside:.0%} of the targets are numbers that the last layer cannot give",
            f"at most {LIMITS.outside:.0%}", "Scale y into the range of the last layer, or leave that layer out",
        )


# -------------------------------------------------------------------------------------------- first values


def _alike(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        share = float(np.mean([look.parts[place].alike for look in case.late]))
        if share > 0.5:
            yield Finding(
                "units all alike", case.at(place), f"its units have equal weights in {share:.0%} of the looks",
                "different weights", "Draw the first weights at random, by the default initializer for example",
            )
            return


def _flat_places(case: Case) -> Iterator[tuple[int, bool]]:
    """Yield place, and whether it was so at the first look, of activations that are mostly flat."""
    for place in case.places:
        first = case.first.parts[place]
        figure: Callable[[Part], float | None]
        figure, most = (_flat_share, LIMITS.saturated) if first.two_ended else (_dead_share, LIMITS.dead)
        sure = place == case.places[-1] and case.learned  # A classifier that is sure and right has a flat last layer.
        if (case.part(place, figure) or 0.0) > most and not sure:
            yield place, (figure(first) or 0.0) > most


def _flat_share(part: Part) -> float | None:
    return part.flat


def _dead_share(part: Part) -> float | None:
    return part.dead


def _flat(case: Case, *, from_the_start: bool) -> Iterator[Finding]:
    if from_the_start:
        advice = "It was so before the first update: draw smaller first weights and biases for the layer before it, "
        advice += "by the default initializers for example, or scale its inputs"
    else:
        advice = "It became so in training: take a smaller learning rate"
    for place, was_flat in _flat_places(case):
        if was_flat == from_the_start and case.first.parts[place].two_ended:
            yield Finding(
                "saturated units", case.at(place), f"{case.part(place, _flat_share):.0%} of its outputs lie where "
                "it is nearly flat, so that the error hardly gets through", f"at most {LIMITS.saturated:.0%}", advice,
            )
        elif was_flat == from_the_start:
            yield Finding(
                "dead units", case.at(place), f"{case.part(place, _dead_share):.0%} of its units are flat in "
                "every row, so that the weights before them do not learn", f"at most {LIMITS.dead:.0%}", advice,
            )


def _large_from_the_start(case: Case) -> Iterator[Finding]:
    advice = "Draw smaller first weights, by the default initializer for example, or put a BatchNorm behind the layer"
    for place in case.weighted:
        size, first = case.part(place, lambda part: part.output) or 0.0, case.first.parts[place].output
        if min(size, first) > LIMITS.largest_output:
            yield Finding("exploding outputs", case.at(place), f"its output has the root mean square {first:.3g} at "
                          "the first look", f"at most {LIMITS.largest_output:g}", advice)
            return
    start, later = _error_ratio(case, max, case.looks[:1]), _error_ratio(case, max, case.late)
    if start and later and min(start[1], later[1]) > LIMITS.exploding:
        yield Finding("exploding errors", case.at(start[0]), f"the error that comes back to it is {start[1]:.3g} times "
                      "that of the last layer", f"at most {LIMITS.exploding:g} times", advice)


def _error_ratio(
    case: Case, best: Callable[..., tuple[float, int]], looks: Sequence[Look]
) -> tuple[int, float] | None:
    """Return the layer with weights that has the largest or smallest error, and the error over that of the last one."""
    errors = [(size, place) for place in case.weighted if (size := typical_of(looks, place, _error)) is not None]
    if len(errors) < 2 or not 0.0 < errors[-1][0] < np.inf:
        return None
    error, place = best(errors)
    return place, error / errors[-1][0]


def _shrunk(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        first, now = case.first.parts[place].weights, case.part(place, lambda part: part.weights)
        if first and now is not None and now < LIMITS.shrunk * first and not case.learned:
            yield Finding(
                "weights shrunk to nothing", case.at(place), f"its weights have {now / first:.2g} of their first size",
                f"at least {LIMITS.shrunk:g}", "Make weight_decay or the penalty smaller",
            )
            return


# ------------------------------------------------------------------------------------------- learning rate


SMALL = "0.01 % to 10 % for one update"


def _rate_too_large(case: Case) -> Iterator[Finding]:
    grown = typical([look.loss for look in case.half]) / abs(case.first.loss or 1.0)
    jump = typical([look.after / look.loss if look.loss else 1.0 for look in case.late])
    steady = max([case.part(place, lambda part: part.update) or 0.0 for place in case.weighted], default=0.0)
    largest = case.largest_update()
    seen, normal = "", "a loss that falls"
    if case.learned:
        pass
    elif grown > LIMITS.grown and len(case.looks) > 2:
        seen = f"the loss has grown to {grown:.3g} times the first one"
    elif jump > LIMITS.jump:
        seen = f"one update makes the loss {jump:.3g} times as large"
    elif steady > LIMITS.large_update:
        seen, normal = f"one update changes the weights of a layer by {steady:.0%} of their size", SMALL
    elif case.last.moved > LIMITS.moved_far and largest > LIMITS.large_update:
        seen = f"one update changed the weights of a layer by {largest:.0%}; in all the weights have moved by "
        seen, normal = f"{seen}{case.last.moved:.3g} times their size", SMALL
    if not seen and largest > 0.5 * LIMITS.large_update and any(not was for _, was in _flat_places(case)):
        seen = f"one update changed the weights of a layer by {largest:.0%}, and units that worked at first became flat"
        normal = SMALL
    if not seen:
        return
    yield Finding("learning rate too large", f"rate {case.last.rate:.3g}", seen, normal,
                  "Take a smaller one, a tenth for a start; compare_rates tries several. If none helps, check the "
                  "gradients of your own layers by check_layer")


def _rate_too_small(case: Case) -> Iterator[Finding]:
    updates = case.last.step - case.first.step
    if updates and case.last.moved < LIMITS.moved and not case.learned:
        yield Finding(
            "learning rate too small", f"rate {case.last.rate:.3g}",
            f"{updates:,} updates moved the weights by {case.last.moved:.2g} of their size",
            f"at least {LIMITS.moved:g}",
            "Take a larger rate, ten times for a start, a looser clip, or more epochs; compare_rates tries several",
        )


def _vanishing(case: Case) -> Iterator[Finding]:
    ratio = _error_ratio(case, min, case.late)
    if ratio is not None and ratio[1] < LIMITS.vanishing and not case.learned:
        yield Finding(
            "vanishing errors", case.at(ratio[0]), f"the error that comes back to it is {ratio[1]:.2g} of that of the "
            "last layer", f"at least {LIMITS.vanishing:g}",
            "Take fewer layers, ReLU in place of Sigmoid, Residual around layers, BatchNorm, or larger first weights",
        )


def _idle(case: Case) -> Iterator[Finding]:
    for place in case.places:
        idle = case.last.parts[place].idle
        if idle is not None:
            advice = "call unfreeze()" if idle == "frozen" else "make the optimizer from model.parameters()"
            yield Finding("layer that does not learn", case.at(place), f"its parameters are {idle}",
                          "the optimizer changes all layers", f"If that is not meant, {advice}")


def _nothing_learned(case: Case) -> Iterator[Finding]:
    if case.skill < LIMITS.nothing:
        yield Finding(
            "nothing learned", "the loss", f"it is {case.last.loss:.3g}, and {case.last.shuffled:.3g} with the targets "
            "of other rows", f"a ratio below {1 - LIMITS.nothing:g}",
            "Check that row i of y belongs to row i of x; then try another network or rate, or more epochs",
        )
