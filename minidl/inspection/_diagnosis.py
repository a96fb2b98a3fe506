"""The rules by which Watch judges a run. A cause is named before its consequences, or in place of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from ._figures import Look, Scale

LIMITS = {
    "smallest scale": 0.01,  # root mean square of the largest column of inputs, or of targets
    "largest scale": 30.0,  # the same
    "unequal scales": 100.0,  # root mean square of the largest column of inputs, over the median of the columns
    "spread": 0.02,  # standard deviation of a column, over its root mean square
    "same target": 0.99,  # share of the rows that have the most common target
    "out of reach": 0.05,  # share of the targets outside of the range of the last layer
    "saturated": 0.85,  # share of flat outputs, of an activation with two flat ends
    "dead": 0.6,  # share of units that are flat in every row, of another activation
    "exploding output": 100.0,  # root mean square of the output of a layer with weights
    "exploding error": 100.0,  # largest error of a layer with weights, over that of the last of them
    "vanishing error": 1e-3,  # smallest error of a layer with weights, over that of the last of them
    "shrunk": 0.02,  # size of the weights of a layer, over that at the first look
    "grown loss": 1.5,  # loss in the second half of the run, over that at the first look
    "jump": 2.0,  # loss after one update, over that before it
    "large update": 0.2,  # one update of the weights of a layer, over their size
    "moved far": 5.0,  # distance of all weights from those at the first look, over their size
    "moved": 0.05,  # the same, at the end of a run
    "learned": 0.9,  # skill from which the rate is right and errors do not vanish
    "nothing learned": 0.2,  # skill up to which nothing was learned
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
        self.late, self.half = looks[1:] or looks, looks[len(looks) // 2 :]
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
        for place in self.places:
            kind, figure = ("saturated", "flat") if self.first.parts[place].two_ended else ("dead", "dead")
            share, sure = self.median(place, figure), self.learned and place == self.places[-1]
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


def diagnose(looks: Sequence[Look]) -> list[Finding]:
    """Return what is wrong, the likeliest cause first; what a cause explains is left out."""
    if not looks:
        return []
    case = Case(looks)
    data = [*_inputs(case), *_targets(case)]
    start = [*_alike(case)]
    if not data:
        start = start or [*_flat(case, from_the_start=True)] or [*_exploding(case)] or [*_shrunk(case)]
    later = [] if start else [*_rate_too_large(case), *_flat(case, from_the_start=False)]
    if not (data or start or later or case.learned):
        later = [*_vanishing(case)] or [*_rate_too_small(case)]
    return data + start + later + [*_idle(case)] or [*_nothing_learned(case)]


def _inputs(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        scale, where = case.first.parts[place].inputs, f"what goes into {case.at(place)}"
        if scale is not None:
            sizes = np.array(scale.size)
            middle = float(np.quantile(sizes[sizes > 0], 0.5, method="lower")) if sizes.any() else 0.0
            if middle and sizes.max() > LIMITS["unequal scales"] * middle:
                seen = f"the root mean square of column {sizes.argmax()} is {sizes.max():.3g}, and the median of all "
                yield Finding("inputs on unequal scales", where, f"{seen}columns {middle:.3g}",
                              f"a ratio up to {LIMITS['unequal scales']:g}", _standardize("inputs"))
            else:
                yield from _size(scale, "inputs", where)
            yield from _spread(scale, "inputs", where)


def _targets(case: Case) -> Iterator[Finding]:
    first = case.first
    if first.commonest >= LIMITS["same target"]:
        yield Finding("targets all the same", "y", f"{first.commonest:.0%} of the rows have the same target",
                      f"less than {LIMITS['same target']:.0%}", "Look at y: is it the column that was meant, and "
                      "does it have rows of all classes")
    elif first.targets is not None:
        yield from _size(first.targets, "targets", "y")
        if max(first.targets.spread) < LIMITS["spread"]:  # One output of several may well be constant.
            yield from _spread(first.targets, "targets", "y")
    if first.outside > LIMITS["out of reach"]:
        yield Finding("targets out of reach", f"y and {case.at(case.places[-1])}", f"the last layer cannot give "
                      f"{first.outside:.0%} of the targets", f"at most {LIMITS['out of reach']:.0%}",
                      "Scale y into the range of the last layer, or leave that layer out")


def _standardize(what: str) -> str:
    name = "x" if what == "inputs" else "y"
    return f"Standardize each column: {name} = ({name} - mean) / std, both taken from the training data"


def _size(scale: Scale, what: str, where: str) -> Iterator[Finding]:
    top, low, high = int(np.argmax(scale.size)), LIMITS["smallest scale"], LIMITS["largest scale"]
    if not low <= scale.size[top] <= high:
        yield Finding(f"{what} on a bad scale", where, f"the root mean square of column {top}, the largest, is "
                      f"{scale.size[top]:.3g}", f"{low:g} to {high:g}, best 1", _standardize(what))


def _spread(scale: Scale, what: str, where: str) -> Iterator[Finding]:
    low = int(np.argmin(scale.spread))
    if scale.spread[low] < LIMITS["spread"]:
        constant = scale.spread[low] < 1e-9
        yield Finding(f"constant {what}" if constant else f"{what} far from 0", where, f"the standard deviation of "
                      f"column {low} is {scale.spread[low]:.2g} of its size {scale.size[low]:.3g}",
                      f"at least {LIMITS['spread']:g}",
                      "Leave it out: it says nothing" if constant else _standardize(what))


def _alike(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        if (share := float(np.mean([look.parts[place].alike for look in case.late]))) > 0.5:
            yield Finding("units all alike", case.at(place), f"all units have equal weights in {share:.0%} of the "
                          "looks", "different weights", "Draw the first weights at random, by the default initializer "
                          "for example")
            return


def _flat(case: Case, *, from_the_start: bool) -> Iterator[Finding]:
    advice = "It became so in training: take a smaller learning rate"
    if from_the_start:
        advice = "It was so before the first update: draw smaller first weights and biases for the layer before it, " \
                 "by the default initializers for example, or scale its inputs"
    for place, kind, share in case.flat_places(from_the_start=from_the_start):
        seen = f"{share:.0%} of its units are flat in every row, so that the weights before them do not learn"
        if kind == "saturated":
            seen = f"{share:.0%} of its outputs lie where it is nearly flat, so that the error hardly gets through"
        yield Finding(f"{kind} units", case.at(place), seen, f"at most {LIMITS[kind]:.0%}", advice)


def _exploding(case: Case) -> Iterator[Finding]:
    advice = "Draw smaller first weights, by the default initializer for example, or put a BatchNorm behind the layer"
    limit = LIMITS["exploding output"]
    for place in case.weighted:
        size = case.first.parts[place].output
        if min(size, case.median(place, "output")) > limit:
            yield Finding("exploding outputs", case.at(place), f"at the first look the root mean square of its output "
                          f"is {size:.3g}", f"at most {limit:g}", advice)
            return
    (ratio, place), (later, _) = case.error_ratio(max, case.looks[:1]), case.error_ratio(max, case.late)
    if min(ratio, later) > LIMITS["exploding error"]:
        yield Finding("exploding errors", case.at(place), f"at the first look the error that comes back to it is "
                      f"{ratio:.3g} times that of the last layer", f"at most {LIMITS['exploding error']:g}", advice)


def _shrunk(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        share = case.median(place, "weights") / (case.first.parts[place].weights or np.inf)
        if 0.0 < share < LIMITS["shrunk"] and not case.learned:
            yield Finding("weights shrunk to nothing", case.at(place), f"its weights have {share:.2g} of their first "
                          "size", f"at least {LIMITS['shrunk']:g}", "Make weight_decay or the penalty smaller")
            return


def _rate_too_large(case: Case) -> Iterator[Finding]:
    grown = typical([look.loss for look in case.half]) / abs(case.first.loss or 1.0)
    jump = typical([look.after / look.loss if look.loss else 1.0 for look in case.late])
    steady = max([case.median(place, "update") for place in case.weighted], default=0.0)
    largest = max([part.update or 0.0 for look in case.looks for part in look.parts], default=0.0)
    share, falls, small = LIMITS["large update"], "a loss that falls", "0.01 % to 10 %"
    unsure, size = not case.learned, f"one update changed the weights of a layer by {largest:.0%}"
    became_flat = largest > 0.5 * share and any(case.flat_places(from_the_start=False))
    for holds, seen, normal in (
        (unsure and grown > LIMITS["grown loss"] and len(case.looks) > 2, f"the loss grew {grown:.3g} times", falls),
        (unsure and jump > LIMITS["jump"], f"one update makes the loss {jump:.3g} times as large", falls),
        (unsure and steady > share, f"one update changes the weights of a layer by {steady:.0%} of their size", small),
        (unsure and case.last.moved > LIMITS["moved far"] and largest > share,
         f"{size}; in all, the weights moved by {case.last.moved:.3g} times their size", small),
        (became_flat, f"{size}, and units that worked at first became flat", small),
    ):
        if holds:
            yield Finding("learning rate too large", f"rate {case.last.rate:.3g}", seen, normal,
                          "Take a smaller one, a tenth for a start; compare_rates tries several. If none helps, check "
                          "the gradients of your own layers by check_layer")
            return


def _rate_too_small(case: Case) -> Iterator[Finding]:
    updates = case.last.step - case.first.step
    if updates and case.last.moved < LIMITS["moved"]:
        yield Finding("learning rate too small", f"rate {case.last.rate:.3g}", f"{updates:,} updates moved the weights "
                      f"by {case.last.moved:.2g} of their size", f"at least {LIMITS['moved']:g}", "Take a larger rate, "
                      "ten times for a start, a looser clip, or more epochs; compare_rates tries several")


def _vanishing(case: Case) -> Iterator[Finding]:
    ratio, place = case.error_ratio(min, case.late)
    if ratio < LIMITS["vanishing error"]:
        yield Finding("vanishing errors", case.at(place), f"the error that comes back to it is {ratio:.2g} of that of "
                      "the last layer", f"at least {LIMITS['vanishing error']:g}", "Take fewer layers, ReLU in place "
                      "of Sigmoid, Residual around layers, BatchNorm, or larger first weights")


def _idle(case: Case) -> Iterator[Finding]:
    for place in case.places:
        if idle := case.last.parts[place].idle:
            advice = "call unfreeze()" if idle == "frozen" else "make the optimizer from model.parameters()"
            yield Finding("layer that does not learn", case.at(place), f"its parameters are {idle}",
                          "the optimizer changes all layers", f"If that is not meant, {advice}")


def _nothing_learned(case: Case) -> Iterator[Finding]:
    if case.skill < LIMITS["nothing learned"]:
        yield Finding("nothing learned", "the loss", f"it is {case.last.loss:.3g}, and {case.last.shuffled:.3g} with "
                      "the targets of other rows", f"a ratio below {1 - LIMITS['nothing learned']:g}", "Check that row "
                      "i of y belongs to row i of x; then try another network or rate, or more epochs")
