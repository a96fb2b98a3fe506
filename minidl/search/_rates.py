"""Compare learning rates by a short training at each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import inf
from os import PathLike
from typing import Any

import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import listed, positive_int, real
from .._core.picture import picture
from .._data import batch_count, described
from .._drawing.tables import text_table
from ..errors import ArgumentError, DTypeError
from ..trainer import Callback, Trainer
from ._many import Task, Team, arrays
from ._space import call

RATES = [*(float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 2, 5)), 10.0]
"""The rates that are compared if none are given."""


@dataclass
class Rates:
    """The result of `compare_rates`; printed, it is a table.

    Attributes:
        rates: The learning rates, the smallest first.
        before: The loss on all rows before the training.
        after: The same after it; infinite if the training diverged.

    Example:
        >>> from minidl.search import compare_rates
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> def build(rate):
        ...     model = mlp([1, 4, 1], rng=0)
        ...     return Trainer(model, MeanSquaredError(), SGD(model.parameters(), rate), rng=0)
        >>> rates = compare_rates(build, x, x, rates=[0.001, 0.1], updates=20)
        >>> rates.best
        0.1
    """

    rates: list[float]
    before: list[float]
    after: list[float]

    @property
    def best(self) -> float:
        """The rate with the smallest loss after the updates."""
        return self.rates[self.after.index(min(self.after))]

    @property
    def largest_stable(self) -> float | None:
        """The largest rate up to which every rate made the loss smaller; None if the smallest did not."""
        found = None
        for rate, before, after in zip(self.rates, self.before, self.after, strict=True):
            if not after < before:
                break
            found = rate
        return found

    def __str__(self) -> str:
        rows = [["learning rate", "loss before", "after", ""]]
        for rate, before, after in zip(self.rates, self.before, self.after, strict=True):
            notes = {"diverged": after == inf, "best": rate == self.best, "largest stable": rate == self.largest_stable}
            rows.append([f"{rate:g}", f"{before:.4g}", "-" if after == inf else f"{after:.4g}",
                         ", ".join(note for note, holds in notes.items() if holds)])
        return "\n".join(text_table(rows))

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the loss after the updates over the rates; needs Matplotlib.

        Args:
            path: File of the picture; None only returns the figure.

        Returns:
            The Matplotlib figure.

        Raises:
            ImportError: Matplotlib is not installed.
        """
        finite = [(rate, after) for rate, after in zip(self.rates, self.after, strict=True) if after < inf]
        diverged = [rate for rate, after in zip(self.rates, self.after, strict=True) if after == inf]
        with picture("Rates.plot", 7.0, 4.5, path) as figure:
            axes = figure.subplots()
            axes.plot(*zip(*finite, strict=True), "o-", label="after the updates")
            axes.plot(self.rates, self.before, "--", color="black", label="before")
            axes.plot([self.best], [min(self.after)], "*", color="#D55E00", ms=16, label=f"best: {self.best:g}")
            for rate in diverged:
                axes.axvline(rate, ls=":", color="#999999", label="diverged" if rate == diverged[0] else None)
            if (stable := self.largest_stable) is not None:
                axes.axvline(stable, ls="-.", color="#009E73", label=f"largest stable: {stable:g}")
            axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss")
            figure.legend(loc="outside lower center", ncols=3)
        return figure


class _StopAt(Callback):
    """Stop within the first epoch of a fit."""

    def __init__(self, batches: int) -> None:
        self.every_batches = batches

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if trainer.position.batch == self.every_batches:
            trainer.stop("compare_rates")


def compare_rates(
    build: Callable[[float], Trainer],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    rates: Iterable[float] | None = None,
    updates: int = 400,
    batch_size: int = 32,
    executor: Executor | None = None,
) -> Rates:
    """Train a new model at each of several learning rates for a few updates.

    Ctrl-C raises ``KeyboardInterrupt``.

    Args:
        build: Makes a new Trainer from a learning rate. It is called in this process only.
        x: Input, ``(rows, features)``.
        y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
        rates: The learning rates; None for 1, 2 and 5 in each power of ten, from 1e-5 to 10.
        updates: Updates of each model.
        batch_size: Rows of one update.
        executor: Any ``concurrent.futures.Executor``; None for a thread on each core.

    Raises:
        ShapeError, DTypeError, DataError, ArgumentError: something does not fit; found before any training.
        ArgumentError: the training diverged at every rate.
    """
    where = "compare_rates"
    given = RATES if rates is None else listed(rates, f"{where}(rates)", "numbers")
    tried = sorted({real(rate, f"{where}(rates)", above=0) for rate in given})
    if not tried:
        raise ArgumentError(f"{where}(rates): expected at least one number, got none")
    count = positive_int(updates, f"{where}(updates)")
    if not callable(build):
        raise DTypeError(f"{where}(build): expected a function that makes a Trainer, got {described(build)}")
    task = Task(*arrays(where, x, y), positive_int(batch_size, f"{where}(batch_size)"))
    team = Team(where, [call(build, rate) for rate in tried], task, count * len(tried), executor)
    before = [trainer.evaluate(task.x, task.y)["loss"] for trainer in team.trainers]
    whole, rest = divmod(count, batch_count(len(task.x), task.batch_size))
    running, after = list(range(len(tried))), [inf] * len(tried)
    steps = [replace(task, epochs=whole)] * bool(whole)
    steps += [replace(task, callbacks=[_StopAt(rest)])] * bool(rest)
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        outcomes, signal = team.train(running, replace(step, held_out=(task.x, task.y) if last else None))
        if signal:
            raise KeyboardInterrupt(f"{where}: {signal}")
        for place, outcome in zip(running, outcomes, strict=True):
            after[place] = outcome.figures.get("loss", inf)
        why = outcomes[0].diverged
        running = [place for place, outcome in zip(running, outcomes, strict=True) if not outcome.diverged]
        if not running:
            raise ArgumentError(f"{where}: expected a rate at which the training stays finite, got {tried}; "
                                f"try smaller ones, or scale the data. The first: {why}")
    return Rates(tried, before, [value if value < inf else inf for value in after])  # NaN, if predictions overflow
