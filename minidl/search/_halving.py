"""Search for good settings by successive halving: many candidates for a short time, the best of them for longer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import listed, positive_int, real
from .._core.generators import Seed, generator
from .._core.picture import picture
from .._core.progress import Progress
from .._data import described
from .._drawing.tables import html_table, text_table
from .._training.validation import ValidationData, declared, named_metrics
from ..errors import ArgumentError, DTypeError
from ..metrics import Metric, Mode
from ..trainer import Trainer
from ._many import Outcome, Task, Team, arrays
from ._space import built, draw

PART = 3
"""Of so many candidates one goes on to the next rung."""

LINES = 10
"""Candidates in a printed table."""


@dataclass(eq=False)
class Candidate:
    """Settings that were tried.

    Attributes:
        settings: What ``build`` was given.
        trainer: Its Trainer, where it stopped.
        figures: What was compared, after each rung that it finished.
        epochs: Its epochs after each of these rungs.
        diverged: Why its training diverged; empty if it did not.

    Example:
        >>> from minidl.search import find_settings
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> def build(rate):
        ...     model = mlp([1, 4, 1], rng=0)
        ...     return Trainer(model, MeanSquaredError(), SGD(model.parameters(), rate), rng=0)
        >>> result = find_settings(build, {"rate": [0.001, 0.1]}, x, x, candidates=2, rungs=[(2, 1), (1, 1)], rng=0)
        >>> [(candidate.settings, candidate.epochs) for candidate in result.candidates]
        [({'rate': 0.001}, [1, 2]), ({'rate': 0.1}, [1])]
    """

    settings: dict[str, Any]
    trainer: Trainer
    figures: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    diverged: str = ""


def _shown(value: object) -> str:
    """Return a setting in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else getattr(value, "__name__", None) or repr(value)


@dataclass
class SearchResult:
    """The result of `find_settings`; printed, it is a table of the best candidates.

    Attributes:
        candidates: All of them, the best first, those that diverged last.
        rungs: The rungs that are complete, as pairs (candidates, epochs). Given again, they repeat the search.
        monitor: Name of the figure that was compared.
        mode: ``"min"`` or ``"max"``, which figure is best.
        stopped_by: Why the search ended: ``"rungs"`` if all were done, else the name of a signal.
        seconds: Time of the search.

    Example:
        >>> from minidl.search import find_settings
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> def build(rate):
        ...     model = mlp([1, 4, 1], rng=0)
        ...     return Trainer(model, MeanSquaredError(), SGD(model.parameters(), rate), rng=0)
        >>> result = find_settings(build, {"rate": [0.001, 0.1]}, x, x, candidates=2, rungs=[(2, 1), (1, 1)], rng=0)
        >>> result.settings
        {'rate': 0.001}
    """

    candidates: list[Candidate]
    rungs: list[tuple[int, int]]
    monitor: str
    mode: Mode
    stopped_by: str
    seconds: float

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the best candidate."""
        return self.candidates[0].settings

    @property
    def trainer(self) -> Trainer:
        """The Trainer of the best candidate; its `fit` goes on from where the search ended."""
        return self.candidates[0].trainer

    def __str__(self) -> str:
        heading, rows, more = self._table()
        return "\n".join([heading, *text_table(rows), *([more] if more else [])])

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        heading, rows, more = self._table()
        return html_table(rows, heading) + more

    def _table(self) -> tuple[str, list[list[str]], str]:
        """Return a heading, the rows of the best candidates, and how many are left out."""
        rows = [[self.monitor, "epochs", *self.settings]]
        for one in self.candidates[:LINES]:
            figure = "diverged" if one.diverged else f"{one.figures[-1]:.4g}"
            rows.append([figure, str(len(one.trainer.history)), *map(_shown, one.settings.values())])
        left_out = len(self.candidates) - LINES
        more = f"and {left_out} more" if left_out > 0 else ""
        return f"{self._summary()}, rungs {self.rungs}, {self.seconds:.1f} s", rows, more

    def __repr__(self) -> str:
        return f"SearchResult({self._summary()}, {self.monitor} {self.candidates[0].figures[-1]:.4g})"

    def _summary(self) -> str:
        diverged = sum(bool(one.diverged) for one in self.candidates)
        signal = f", stopped by {self.stopped_by}" * (self.stopped_by != "rungs")
        return f"{len(self.candidates)} candidates" + f", {diverged} diverged" * bool(diverged) + signal

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the figure of each candidate after each rung, over its epochs; needs Matplotlib.

        Args:
            path: File of the picture; None only returns the figure.

        Returns:
            The Matplotlib figure.

        Raises:
            ImportError: Matplotlib is not installed.
        """
        best, *others = [one for one in self.candidates if one.figures]
        ends = [(one.epochs[-1], one.figures[-1]) for one in others if one.diverged]
        settings = ", ".join(f"{name} {_shown(value)}" for name, value in best.settings.items())
        positive = all(number > 0 for one in self.candidates for number in one.figures)
        with picture("SearchResult.plot", 7.0, 4.5, path) as figure:
            axes = figure.subplots()
            for one in others:
                label = None if axes.lines else "the others"
                axes.plot(one.epochs, one.figures, "o-", color="#999999", lw=1, ms=3, label=label)
            if ends:
                axes.plot(*zip(*ends, strict=True), "x", color="#D55E00", ms=9, label="diverged after this")
            axes.plot(best.epochs, best.figures, "s-", color="#0072B2", lw=2.5, zorder=1, label=f"the best: {settings}")
            axes.set(xscale="log", yscale="log" if positive else "linear", xlabel="epochs", ylabel=self.monitor)
            axes.set_xticks(best.epochs, map(str, best.epochs))  # the ends of the rungs
            axes.set_xticks([], minor=True)
            axes.set_title(self._summary())
            figure.legend(loc="outside lower center")
        return figure


def find_settings(
    build: Callable[..., Trainer],
    space: Mapping[str, Any],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    candidates: int = 64,
    seconds: float = 10.0,
    rungs: Sequence[tuple[int, int]] | None = None,
    batch_size: int = 32,
    validation: ValidationData | None = None,
    monitor: str | Metric | None = None,
    executor: Executor | None = None,
    rng: Seed = None,
    progress: bool | None = None,
) -> SearchResult:
    """Find good settings: train many candidates for a short time, the best third for longer, and so on.

    The candidates are a Latin hypercube. One that goes on does not begin again. Models are compiled if their engine
    allows it, even for a short training.

    Ctrl-C and SIGTERM end the search; the result has the best candidate of the rungs that were complete. A second
    Ctrl-C stops at once.

    Args:
        build: Makes a new Trainer; the names in the space are its arguments. It is called in this process only.
        space: Maps names to frozen distributions, such as ``scipy.stats.loguniform(0.001, 1)``, or lists of values.
        x: Input, ``(rows, features)``.
        y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
        candidates: How many settings are tried.
        seconds: About how long the search takes. Every rung has at least one epoch.
        rungs: In place of seconds: pairs (candidates, epochs), such as ``result.rungs``. A pair (4, 100) trains the
            best 4 candidates for 100 epochs more.
        batch_size: Rows of one update.
        validation: (x, y) or (x, y, sample_weight), on which candidates are compared.
        monitor: What is compared: ``"loss"``, the training loss of the last epoch; ``"validation_loss"``; or a metric
            such as `minidl.metrics.r2`, on the validation data, or without any on the training data. None for the
            loss on the validation data, or without any for the training loss.
        executor: Any ``concurrent.futures.Executor``; None for a thread on each core. Trainers and data travel to
            other processes by pickle.
        rng: Generator or seed that draws the candidates.
        progress: A bar: True, False, or None for one on a terminal.

    Raises:
        ShapeError, DTypeError, DataError, ArgumentError: something does not fit; found before any training.
        ArgumentError: all candidates diverged.
        KeyboardInterrupt: Ctrl-C before the first rung was complete.
    """
    where = "find_settings"
    count = positive_int(candidates, f"{where}(candidates)")
    limit: float = real(seconds, f"{where}(seconds)", above=0)
    pairs = None if rungs is None else _checked_rungs(rungs, count)
    task = Task(*arrays(where, x, y), positive_int(batch_size, f"{where}(batch_size)"))
    name, mode = _watched(monitor, validation)
    if name != "loss":
        task = replace(task, held_out=(task.x, task.y) if validation is None else validation,
                       metrics=[monitor] if callable(monitor) else ())
    given = generator(rng, "search")
    own = deepcopy(given)  # A call that is refused draws nothing from the generator of the user.
    settings = draw(space, count, own)
    search = _Search(Team(where, list(built(build, settings)), task, None, executor), task, settings, name, mode)
    sizes = _sizes(count) if pairs is None else [size for size, _ in pairs]
    with Progress(len(sizes), where, progress, "rung") as bar:
        given.bit_generator.state = own.bit_generator.state
        began = time.perf_counter()
        for place, size in enumerate(sizes):
            share = (limit - time.perf_counter() + began) / (len(sizes) - place)
            search.rung(size, search.parts(share) if pairs is None else [pairs[place][1]])
            if search.stopped_by != "rungs":
                break
            bar.advance(f"{name} {search.ranked()[0].figures[-1]:.4g}")
    took = time.perf_counter() - began
    return SearchResult(search.ranked(), search.rungs, name, mode, search.stopped_by, took)


class _Search:
    """The candidates, and the rungs that are complete."""

    def __init__(self, team: Team, task: Task, settings: list[dict[str, Any]], name: str, mode: Mode) -> None:
        self._team, self._task, self._name, self._sign = team, task, name, -1.0 if mode == "max" else 1.0
        self._candidates = [Candidate(*pair) for pair in zip(settings, team.trainers, strict=True)]
        self._rate = 0.0
        self.rungs: list[tuple[int, int]] = []
        self.stopped_by = "rungs"

    def ranked(self) -> list[Candidate]:
        """Return the candidates: those that came furthest first, the best first among them, the diverged last."""
        return sorted(self._candidates, key=self._key)

    def _key(self, one: Candidate) -> tuple[bool, int, float]:
        return bool(one.diverged), -len(one.figures), self._sign * one.figures[-1] if one.figures else inf

    def parts(self, seconds: float) -> Iterator[int]:
        """Yield numbers of epochs for a rung of about so many seconds; each is timed while the rung is trained."""
        began, done = time.perf_counter(), 0
        # Fewer candidates than in the rung before: an epoch of them takes no longer.
        part = max(1, int(seconds * self._rate))
        while part > 0:
            yield part
            done, spent = done + part, time.perf_counter() - began
            self._rate = done / spent
            part = min(int((seconds - spent) * self._rate), 8 * done)

    def rung(self, size: int, parts: Iterable[int]) -> None:
        """Train the best candidates for some epochs more, which come in one or several parts."""
        best = self.ranked()[:size]
        running = [number for number, one in enumerate(self._candidates) if one in best and not one.diverged]
        count, done = len(running), 0
        for part in parts:
            outcomes, signal = self._team.train(running, replace(self._task, epochs=part))
            ended = [self._candidates[number] for number in running]
            figures = [self._noted(one, outcome) for one, outcome in zip(ended, outcomes, strict=True)]
            if signal:
                self.stopped_by = signal
                if not self.rungs:
                    raise KeyboardInterrupt(f"find_settings: {signal} before the first rung was complete")
                return
            done += part
            running = [number for number in running if not self._candidates[number].diverged]
        if all(one.diverged for one in self._candidates):
            raise ArgumentError(
                f"find_settings: expected settings with which the training stays finite, got {len(self._candidates)} "
                "candidates that all diverged; take smaller learning rates into the space, or scale the data. The "
                f"first: {self._candidates[0].diverged}"
            )
        self.rungs.append((count, done))
        for one, figure in zip(ended, figures, strict=True):
            if not one.diverged:
                one.epochs.append(len(one.trainer.history))
                one.figures.append(figure)

    def _noted(self, one: Candidate, outcome: Outcome) -> float:
        """Note in a candidate what became of it, and return its figure."""
        one.trainer, one.diverged = outcome.trainer, outcome.diverged
        if one.diverged or not outcome.done:
            return inf
        figures = outcome.figures
        wanted = "loss" if self._name == "validation_loss" else self._name
        figure = figures[wanted] if figures else one.trainer.history.loss[-1]
        if not isfinite(figure):
            one.diverged = f"{self._name} is {figure}"
        return figure


def _sizes(count: int) -> list[int]:
    """Return how many candidates each rung has."""
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append(max(1, sizes[-1] // PART))
    return sizes


def _checked_rungs(rungs: object, candidates: int) -> list[tuple[int, int]]:
    where = "find_settings(rungs)"
    pairs = []
    for pair in listed(rungs, where, "pairs (candidates, epochs)"):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise DTypeError(f"{where}: expected pairs (candidates, epochs), such as (16, 100), got {described(pair)}")
        pairs.append((positive_int(pair[0], where), positive_int(pair[1], where)))
    sizes = [size for size, _ in pairs]
    if sizes[:1] != [candidates]:
        raise ArgumentError(f"{where}: expected a first rung of all {candidates} candidates, got sizes {sizes}; "
                            "give the same number as candidates=")
    if sizes != sorted(sizes, reverse=True):
        raise ArgumentError(f"{where}: expected rungs with fewer and fewer candidates, got sizes {sizes}")
    return pairs


def _watched(monitor: object, validation: object) -> tuple[str, Mode]:
    """Return the name and the direction of the figure by which candidates are compared."""
    where = "find_settings(monitor)"
    if isinstance(validation, (int, float, np.number)):
        raise DTypeError(
            f"find_settings(validation): expected data (x, y) that all candidates share, got {validation!r}; "
            "hold rows out yourself: find_settings(build, space, x[:800], y[:800], validation=(x[800:], y[800:]))"
        )
    if monitor is None:
        return "loss" if validation is None else "validation_loss", "min"
    if isinstance(monitor, str) and monitor in ("loss", "validation_loss"):
        if (monitor == "loss") != (validation is None):
            wanted = "no validation data, which nothing would use" if monitor == "loss" else "validation=(x, y)"
            raise ArgumentError(f'{where}: expected with "{monitor}" {wanted}, got validation={described(validation)}')
        return monitor, "min"
    if not callable(monitor):
        raise ArgumentError(
            f'{where}: expected "loss", "validation_loss" or a metric, got {described(monitor)}; '
            "give a metric as a function: monitor=metrics.r2"
        )
    (name,) = named_metrics([monitor])
    mode = declared(monitor, "mode")
    if mode not in ("min", "max"):
        raise ArgumentError(f"{where}: expected a metric that declares its direction, got {name!r}, which does not; "
                            "declare it with minidl.metrics.metric")
    return name, mode  # type: ignore[return-value]
