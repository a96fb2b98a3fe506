"""The figures of the end of a run: what it has learned of all rows, and whether it would still learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._training.run import Run
from ._figures import End, Look, skill
from ._look import copy_of, shuffled_loss, update
from ._rows import constant_loss

UPDATES = 200
"""Updates that a trial makes at each learning rate."""

FACTORS = 9
"""Learning rates that it tries at most."""

ROWS = 2000
"""Rows that it uses at most."""


def end_of(
    run: Run, data: tuple[Array, Any], weight: float, fair: bool, looks: Sequence[Look], limits: Mapping[str, float],
) -> End:
    """Judge a run with a copy, on all rows.

    Args:
        run: The run.
        data: x and y, checked, in random order.
        weight: The mean sample weight of the run.
        fair: Whether all rows have the same weight.
        looks: The looks.
        limits: The limits of the rules.
    """
    x, y = data
    losses = []
    with np.errstate(all="ignore"):
        for rows in np.array_split(np.arange(len(x)), max(1, min(20, len(x) // 8))):
            prediction = run.model.predict(x[rows])
            losses.append((run.loss(prediction, y[rows]), shuffled_loss(run.loss, prediction, y[rows])))
        own, others = np.array(losses).T
        loss, shuffled = float(own.mean()), float(others.mean())
        little = skill(loss, shuffled) < limits["nothing learned"]
        slow = little or looks[-1].moved < limits["moved"] or rate_fell(looks)
        trial = _trial(run, x[:ROWS], y[:ROWS], weight, looks, limits["still falls"]) if slow else (None, 0.0, "")
        copied, probe, wanted = copy_of(run), run.model.predict(x[:ROWS]), y[:ROWS]
        training = copied.loss(copied.model.forward(x[:ROWS]), wanted)
        constant = constant_loss(copied.loss, probe, wanted) if fair else np.inf
        values = wanted.shape == probe.shape and looks[0].targets is not None
        spread = np.var(wanted, axis=0) if values else np.zeros(0)
        missed = np.mean((probe - wanted) ** 2, axis=0) if values else spread
        columns = 1.0 - np.where(spread > 0, missed, 0.0) / np.where(spread > 0, spread, 1.0)
    brakes = [repr(run.clip)] if run.clip is not None else []
    brakes += [f"sample weights of mean {weight:.3g}"] if not 0.5 < weight < 2.0 else []
    return End(
        loss=loss, shuffled=shuffled, rows=len(x), probe=run.loss(probe, wanted), training=training,
        constant=constant, columns=columns.tolist(), stopped=run.why_stop,
        factor=trial[0], fall=trial[1], without=trial[2], brakes=" and ".join(brakes),
        noise=float(np.std(others - own) / np.sqrt(max(len(own) - 1, 1)) / (max(abs(loss), abs(shuffled)) or 1.0)),
        numbers=sum(parameter.size for parameter in run.model.parameters() if not parameter.frozen),
    )


def rate_fell(looks: Sequence[Look]) -> bool:
    """Whether the rate was small, for half of the looks or more, beside the largest one."""
    rates = [look.rate for look in looks]
    return bool(np.median(rates) < 0.01 * max(rates))


def _trial(
    run: Run, x: Array, y: Any, weight: float, looks: Sequence[Look], falls: float
) -> tuple[float | None, float, str]:
    """Return the smallest factor of the learning rate at which some updates make the loss fall, by what share,
    and without what: "clip" or "penalty" if they do so without it only.

    One half of the rows is trained on, and the other judged: a run at its best gains nothing there.
    """
    half = max(len(x) // 2, 1)
    other = slice(half if len(x) > 1 else 0, None)
    rate = max(look.rate for look in looks)
    size = min(run.plan.batch_size or half if run.plan else half, half)
    now = run.loss(run.model.predict(x[other]), y[other])
    decays = bool(run.penalties or run.optimizer._decaying)
    brakes = ["", *["clip"] * (run.clip is not None), *["penalty"] * decays]
    for factor, without in [*((1.0, brake) for brake in brakes), *((10.0**k, "") for k in range(1, FACTORS))]:
        copied = copy_of(run)
        if without == "clip":
            copied.clip = None
        elif without == "penalty":
            copied.penalties = ()
            copied.optimizer.set_group(copied.optimizer.vector.parameters, weight_decay=0.0)
        copied.optimizer.learning_rate = float(rate * factor)
        for k in range(UPDATES):
            rows = np.arange(k * size, (k + 1) * size) % half
            update(copied, x[rows], y[rows], weight)
        fall = (now - copied.loss(copied.model.predict(x[other]), y[other])) / (abs(now) or 1.0)
        if fall >= falls:
            return float(factor), float(fall), without
        if not fall > -0.1 and not without:
            break  # A rate that makes it worse; so will larger ones.
    return None, 0.0, ""
