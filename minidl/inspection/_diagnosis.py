"""The rules by which Watch judges a run. A cause is named before its consequences, or in place of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ._case import LIMITS, Case, Finding, typical
from ._end import UPDATES, rate_fell
from ._figures import End, Look, Scale, skill


def diagnose(looks: Sequence[Look], end: End | None) -> list[Finding]:
    """Return what is wrong, the likeliest cause first; what a cause explains is left out."""
    if not looks:
        return []
    case = Case(looks, end)
    # A wrong gradient can cause anything that follows.
    if wrong := [*_wrong_gradients(case)]:
        return wrong
    data = [*_inputs(case), *_targets(case), *_setup(case)]
    start = [*_alike(case)]
    # Data on a bad scale makes units flat and outputs large, so those are named with good data only.
    if not data and not start:
        rules = (_flat_at_first, _exploding, _shrunk, _lost, _dropped, _momentum)
        start = next((found for rule in rules if (found := [*rule(case)])), [])
    # A bad start makes updates large or useless, so the rate is named after a good one only.
    worse = [*_worse(case)]
    later = worse if end is not None and end.training < end.constant else []  # Training went well.
    if not (start or later):
        later = [*_rate_too_large(case), *_flat(case, from_the_start=False)]
    if not (data or start or later or case.learned):
        later = [*_vanishing(case)] or [*_too_slow(case)]
    found = [*data, *start, *later, *_idle(case)]
    return found or [*_column(case)] or worse or [*_nothing_learned(case)]


def _percent(share: float) -> str:
    return f"{100.0 * share:.4g} %"


def _wrong_gradients(case: Case) -> Iterator[Finding]:
    for part in case.first.wrong:
        wrong = typical([look.wrong.get(part, 0.0) for look in case.looks])
        if wrong > LIMITS["wrong gradient"] and not case.learned:
            yield Finding("wrong gradients", part, f"what its backward returns or adds differs by {_percent(wrong)} "
                          "from a numeric gradient", f"up to {_percent(LIMITS['wrong gradient'])}",
                          "Check it by minidl.testing: check_layer, check_activation, check_merge or check_loss")
            return


def _inputs(case: Case) -> Iterator[Finding]:
    for place in case.weighted:
        scale, where = case.first.parts[place].inputs, f"what goes into {case.at(place)}"
        if scale is not None:
            yield from _size(scale, "inputs", where)
            yield from _spread(scale, "inputs", where)
            yield from _outliers(case, scale, "inputs", where, "A value that is repeated may stand for a missing one, "
                                 "such as -999: put the median in its place, before you standardize. Clip others, or "
                                 "take their logarithm")


def _targets(case: Case) -> Iterator[Finding]:
    first = case.first
    if first.one_target:
        yield Finding("targets all the same", "y", "all rows have the same target", "targets that differ",
                      "Look at y: is it the column that was meant, and does it have rows of all classes")
    elif first.targets is not None:
        yield from _size(first.targets, "targets", "y")
        yield from _outliers(case, first.targets, "targets", "y", "If they are right, take the logarithm of y, or the "
                             "loss Huber; else leave those rows out")
        if max(first.targets.spread) < LIMITS["spread"]:  # One output of several may well be constant.
            yield from _spread(first.targets, "targets", "y")
    if first.outside > LIMITS["out of reach"]:
        yield Finding("targets out of reach", f"y and {case.at(case.places[-1])}", f"the last layer cannot give "
                      f"{_percent(first.outside)} of the targets", f"at most {_percent(LIMITS['out of reach'])}",
                      "Scale y into the range of the last layer, or leave that layer out")

def _setup(case: Case) -> Iterator[Finding]:
    """Find what is wrong with batches, weights of rows, the order of the rows, and the end of the model."""
    first, behind = case.first, max(case.weighted, default=len(case.places)) + 1
    unsure = not (case.learned if case.end is None else case.end.gain >= LIMITS["learned"])
    mixing = [case.at(place) for place in case.places if first.parts[place].mixes_rows]
    dropping = [case.at(place) for place in case.places[behind:] if first.parts[place].dropped]
    for holds, what, where, seen, normal, advice in (
        (unsure and first.grouped > LIMITS["grouped"], "rows in order", "y and shuffle=False",
         f"rows with like targets follow each other: {_percent(first.grouped)} of the variance of y lies between the "
         "batches", f"at most {_percent(LIMITS['grouped'])}", "Leave shuffle=False out, or put the rows in random "
         "order once"),
        (first.rare_weight < LIMITS["rare weight"], "weights inverted", "class_weight or sample_weight",
         f"the weight of a rare class is {first.rare_weight:.2g} of the mean weight of all rows", "at least "
         f"{LIMITS['rare weight']:g}, mostly above 1", "Give the rare class the larger weight, for example "
         'class_weight="balanced"'),
        (unsure and bool(mixing) and 0 < first.batch < LIMITS["rows"], "BatchNorm with tiny batches", mixing[:1],
         f"it standardizes by the mean and variance of {first.batch} rows", f"at least {LIMITS['rows']:g} rows",
         "Take a larger batch_size, or LayerNorm in place of BatchNorm"),
        (bool(dropping), "dropout of the output", dropping[:1], "it stands behind the last weights, so it sets "
         "predictions to 0 in training", "Dropout between layers with weights", "Leave it out, or put it in front of "
         "the last layer with weights"),
        (first.capped and not case.learned, "output that is held back", case.at(case.places[-1]), "the loss takes any "
         "number as the output, and the last layer gives only some", "no activation behind the last weights", "Leave "
         "it out: the loss makes probabilities or rates from the output by itself"),
    ):
        if holds:
            yield Finding(what, "".join(where), seen, normal, advice)


def _standardize(what: str) -> str:
    name = "x" if what == "inputs" else "y"
    return f"Standardize each column: {name} = ({name} - mean) / std, both taken from the training data"


def _size(scale: Scale, what: str, where: str) -> Iterator[Finding]:
    sizes = np.array(scale.size)
    top, low, high = int(sizes.argmax()), LIMITS["smallest scale"], LIMITS["largest scale"]
    middle = float(np.quantile(sizes[sizes > 0], 0.5, method="lower")) if sizes.any() else 0.0
    if middle and sizes[top] > LIMITS["unequal scales"] * middle:
        yield Finding(f"{what} on unequal scales", where, f"the root mean square of column {top} is {sizes[top]:.3g}, "
                      f"and the median of all columns {middle:.3g}", f"a ratio up to {LIMITS['unequal scales']:g}",
                      _standardize(what))
    elif not low <= sizes[top] <= high:
        yield Finding(f"{what} on a bad scale", where, f"the root mean square of column {top}, the largest, is "
                      f"{sizes[top]:.3g}", f"{low:g} to {high:g}, best 1", _standardize(what))


def _outliers(case: Case, scale: Scale, what: str, where: str, advice: str) -> Iterator[Finding]:
    worst = int(np.argmax(scale.far))
    if scale.far[worst] > LIMITS["outlier"] and not case.learned:
        rows = f"in {scale.repeats[worst]} rows" if scale.repeats[worst] > 1 else "in a row"
        yield Finding(f"outliers in {what}", where, f"column {worst} has {scale.farthest[worst]:.3g} {rows}, "
                      f"{scale.far[worst]:.3g} interquartile ranges from its median", f"up to {LIMITS['outlier']:g}",
                      advice)


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
            yield Finding("units all alike", case.at(place), "all units have equal weights in "
                          f"{_percent(share)} of the looks", "different weights", "Draw the first weights at random, "
                          "by the default initializer for example")
            return


def _flat(case: Case, *, from_the_start: bool) -> Iterator[Finding]:
    advice = "It became so in training: take a smaller learning rate"
    if from_the_start:
        advice = "It was so before the first update: draw smaller first weights and biases for the layer before it, " \
                 "by the default initializers for example, or scale its inputs"
    for place, kind, share in case.flat_places(from_the_start=from_the_start):
        flat = "flat, with a slope below 5 % of the steepest,"
        seen = f"{_percent(share)} of its units are {flat} in every row, so that the weights before them do not learn"
        if kind == "saturated":
            seen = f"{_percent(share)} of its outputs are {flat} so that the error hardly gets through"
        if place == case.places[-1] and kind == "dead":
            advice = "It is the last layer: leave it out, or the weights before it stop where all outputs are flat"
        yield Finding(f"{kind} units", case.at(place), seen, f"at most {_percent(LIMITS[kind])}", advice)


def _flat_at_first(case: Case) -> Iterator[Finding]:
    return _flat(case, from_the_start=True)


def _exploding(case: Case) -> Iterator[Finding]:
    advice = "Draw smaller first weights, by the default initializer for example, or put a BatchNorm behind the layer"
    limit = LIMITS["exploding output"]
    for place in case.weighted:
        size = case.first.parts[place].output
        if min(size, case.median(place, "output")) > limit:
            yield Finding("exploding outputs", case.at(place), f"at the first look the root mean square of its output "
                          f"is {size:.3g}", f"at most {limit:g}", advice)
            return
    ratio, place = case.error_ratio(max, case.looks[:1])
    later, _ = case.error_ratio(max, case.late)
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


def _lost(case: Case) -> Iterator[Finding]:
    for place in case.places:
        kept = case.first.parts[place].kept
        if kept is not None and kept < LIMITS["kept rows"] and not case.learned:
            yield Finding("information lost", case.at(place), f"of the different rows that go in, {_percent(kept)} "
                          "differ when they come out", f"at least {_percent(LIMITS['kept rows'])}", "Leave the layer "
                          "out. LayerNorm of two features leaves only which is larger; to standardize the inputs, use "
                          "the mean and std of each column of the training data")


def _dropped(case: Case) -> Iterator[Finding]:
    for place in case.places:
        rate = case.first.parts[place].dropped or 0.0
        if rate > LIMITS["dropout"] and not case.learned:
            yield Finding("too much dropout", case.at(place), f"it sets {_percent(rate)} of its inputs to 0",
                          f"at most {_percent(LIMITS['dropout'])}", "Take a smaller rate, 0.2 for a start: it is the "
                          "share that is dropped, not the share that is kept")


def _momentum(case: Case) -> Iterator[Finding]:
    momentum = case.last.momentum
    if momentum > LIMITS["momentum"] and not case.learned:
        yield Finding("momentum too large", "the optimizer", f"with momentum {momentum:g}, a gradient acts for "
                      f"{1.0 / (1.0 - momentum):,.0f} updates", f"at most {LIMITS['momentum']:g}", "Take 0.9")


def _rate(case: Case) -> str:
    """Name the learning rate, and what else makes updates small or large."""
    brakes = case.end.brakes if case.end else ""
    return f"rate {max(look.rate for look in case.looks):.3g}" + (f" with {brakes}" if brakes else "")


def _rate_too_large(case: Case) -> Iterator[Finding]:
    grown = typical([look.loss for look in case.half]) / abs(case.first.loss or 1.0)
    jump = typical([look.after / look.loss if look.loss else 1.0 for look in case.late])
    steady, fast = max([(case.median(place, "update"), place) for place in case.weighted], default=(0.0, 0))
    updates = [(look.parts[place].update or 0.0, place) for look in case.looks for place in case.places]
    largest, place = max(updates, default=(0.0, 0))
    size = f"one update changed the weights of {case.at(place)} by {_percent(largest)}"
    falls, small = "a loss that falls", "0.01 % to 10 %"  # What is normal.
    share, unsure = LIMITS["large update"], not case.learned
    became_flat = largest > 0.5 * share and any(
        place < case.places[-1] for place, *_ in case.flat_places(from_the_start=False))
    for holds, seen, normal in (
        (unsure and grown > LIMITS["grown loss"] and len(case.looks) > 2, f"the loss grew {grown:.3g} times", falls),
        (unsure and jump > LIMITS["jump"], f"one update makes the loss {jump:.3g} times as large", falls),
        (unsure and steady > share,
         f"one update changes the weights of {case.at(fast)} by {_percent(steady)} of their size", small),
        (unsure and case.last.moved > LIMITS["moved far"] and largest > share,
         f"{size}; in all, the weights moved by {case.last.moved:.3g} times their size", small),
        (became_flat, f"{size}, and units that worked at first became flat", small),
    ):
        if holds:
            yield Finding("learning rate too large", _rate(case), seen, normal, "Take a smaller one, a tenth for a "
                          "start; minidl.search.compare_rates tries several")
            return


def _too_slow(case: Case) -> Iterator[Finding]:
    end = case.end
    updates = case.last.step - case.first.step
    if not updates or end is None or end.factor is None:
        return
    rate = end.factor * max(look.rate for look in case.looks)
    how = f"without the {end.without}" if end.without else f"with a rate of {rate:.3g}"
    seen = f"in {updates:,} updates the weights moved by {case.last.moved:.2g} of their size; {UPDATES} more {how} "
    what = "learning rate too small"
    others = [advice for word, advice in (("Clip", "a looser clip"), ("weights", "larger sample weights"))
              if word in end.brakes]
    advice = f"Take {', or '.join(['a larger rate', *others])}; minidl.search.compare_rates tries several"
    if end.without == "penalty":
        what, advice = "penalty too strong", "Make weight_decay or the penalty smaller"
    elif end.without:
        what, advice = "clip cuts every update", "Take a larger limit: a clip is for the few largest gradients"
    elif rate_fell(case.looks):
        what, advice = "learning rate fell too early", "Let the schedule fall later: does it count in updates or epochs"
    elif end.factor == 1.0:
        what, advice = "too few updates", "Train for more epochs, or in smaller batches: more updates"
        if end.stopped:
            advice = f"A callback ended the fit, {end.stopped}: let it wait longer, or leave it out"
    yield Finding(what, _rate(case), f"{seen}make the loss smaller by {_percent(end.fall)}",
                  "a loss that has stopped falling", advice)


def _vanishing(case: Case) -> Iterator[Finding]:
    ratio, place = case.error_ratio(min, case.late)
    if ratio < LIMITS["vanishing error"]:
        yield Finding("vanishing errors", case.at(place), f"the error that comes back to it is {ratio:.2g} of that of "
                      "the last layer", f"at least {LIMITS['vanishing error']:g}", "Take the default first weights if "
                      "yours are smaller, fewer layers, ReLU in place of Sigmoid, Residual around layers, or BatchNorm")


def _idle(case: Case) -> Iterator[Finding]:
    for place in case.places:
        if idle := case.last.parts[place].idle:
            advice = "call unfreeze()" if idle == "frozen" else "make the optimizer from model.parameters()"
            yield Finding("layer that does not learn", case.at(place), f"its parameters are {idle}",
                          "the optimizer changes all layers", f"If that is not meant, {advice}")


def _column(case: Case) -> Iterator[Finding]:
    if (end := case.end) is None or len(end.columns) < 2 or case.first.targets is None:
        return
    low, most = int(np.argmin(end.columns)), max(end.columns)
    chance = min(LIMITS["nothing learned"], 3.0 / end.rows**0.5 + 4.0 * end.numbers / end.rows)
    if np.mean(np.array(end.columns) < chance) >= LIMITS["columns not learned"] and most > 0.5:
        scales = np.array(case.first.targets.size) * case.first.targets.spread
        yield Finding("column of targets not learned", f"column {low} of y", f"the predictions explain "
                      f"{_percent(max(end.columns[low], 0.0))} of its variance, and of another {_percent(most)}; its "
                      f"standard deviation is {scales[low]:.3g}, and the largest {scales.max():.3g}",
                      f"more than {_percent(chance)}", _standardize("targets") if scales[low] < 0.1 * scales.max() else
                      "Possible causes: x says little about this column; its rows are in another order")


def _worse(case: Case) -> Iterator[Finding]:
    if (end := case.end) is None or skill(end.probe, end.constant) > -LIMITS["worse than a constant"]:
        return
    modes = [case.at(place) for place in case.places
             if case.first.parts[place].dropped or case.first.parts[place].mixes_rows]
    advice = "Check that the last layer fits the loss and the targets (a softmax is for one class of several, a " \
             "sigmoid for each column alone), look at the rows with the largest errors, and try a smaller learning rate"
    if modes and abs(skill(end.probe, end.training)) > 0.2:
        advice = f"Training and prediction differ by {' and '.join(modes)}: leave that out"
    yield Finding("worse than a constant", "the loss", f"the loss of the predictions is {end.probe:.4g}, that of the "
                  f"best constant output {end.constant:.4g}, and that in training mode {end.training:.4g}",
                  "a smaller loss than a constant output has", advice)


def _nothing_learned(case: Case) -> Iterator[Finding]:
    if (end := case.end) is None:
        return
    # A linear model with p numbers gains about 2 p / N by fitting N rows of noise.
    gain, chance = end.skill, 3.0 * end.noise
    by_heart = 4.0 * end.numbers / end.rows
    if gain < min(LIMITS["nothing learned"], max(chance, by_heart)):
        yield Finding("nothing learned", "the loss", f"it is {end.loss:.4g} at the end, and {end.shuffled:.4g} with "
                      f"the targets of other rows: a model with {end.numbers:,} numbers gains that much by chance or "
                      f"by learning {end.rows:,} rows by heart", f"a ratio below {1 - LIMITS['nothing learned']:g}",
                      "Found right: the scales of x and y, the first weights, the errors and updates of all layers, "
                      "the learning rate, the penalty, gradients of your own layers. Possible causes: x says little "
                      "about y; the network is too small or narrow, or has no activations; the rows of y are in "
                      "another order than those of x")
