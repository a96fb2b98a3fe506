"""Train many Trainers on the same data, in threads or in the workers of an executor."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pickle import PicklingError
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from .._core.arrays import dense, listed, positive_int
from .._core.interrupts import Interrupts
from .._core.parameter import Parameter
from .._core.progress import Progress
from .._data import Rows, check_lengths, described
from .._training.compiled_engine import UPDATES, WORK, EngineName
from .._training.validation import Validation, ValidationData
from ..errors import ArgumentError, CompileError, DivergenceError, DTypeError
from ..metrics import Metric
from ..trainer import Callback, Trainer

_ENDED = (CancelledError, BrokenExecutor, KeyboardInterrupt)
"""How the futures of a search end after Ctrl-C, which the processes of a pool receive as well."""


@dataclass
class Task:
    """What is done with every Trainer.

    Attributes:
        x: Input.
        y: Target.
        batch_size: Rows of one update.
        epochs: Passes over the data.
        validation: As in `Trainer.fit`.
        held_out: Data to compute the loss and `metrics` on at the end; None to compute nothing.
        metrics: What is computed besides the loss.
        callbacks: As in `Trainer.fit`.
        run: Identifies the call that all its fits belong to.
    """

    x: Rows
    y: Rows
    batch_size: int
    epochs: int = 1
    validation: ValidationData | float | None = None
    held_out: ValidationData | None = None
    metrics: Sequence[Metric] = ()
    callbacks: Sequence[Callback] = ()
    run: str = field(default_factory=lambda: uuid4().hex)


_ended: set[str] = set()
"""The runs that Ctrl-C has ended in this process. The queue of a pool may still hold fits of them."""


@dataclass
class Outcome:
    """What became of a Trainer.

    Attributes:
        trainer: The Trainer, or the copy that came back.
        figures: The loss and the metrics on the held-out data, if there is any.
        diverged: The text of the error if the training diverged, else empty.
        done: Whether the task came to its end.
    """

    trainer: Trainer
    figures: dict[str, float] = field(default_factory=dict)
    diverged: str = ""
    done: bool = True


def work(trainer: Trainer, engine: EngineName, task: Task) -> Outcome:
    """Train one Trainer; this runs in a thread, in another process or on another machine."""
    if task.run in _ended:
        return Outcome(trainer, done=False)
    wanted, trainer.engine = trainer.engine, engine
    try:
        history = trainer.fit(task.x, task.y, epochs=task.epochs, batch_size=task.batch_size,
                              validation=task.validation, callbacks=task.callbacks, progress=False)
        if history.stopped_by in ("SIGINT", "SIGTERM"):
            _ended.add(task.run)
            return Outcome(trainer, done=False)
    except DivergenceError as error:
        return Outcome(trainer, diverged=str(error))
    finally:
        trainer.engine = wanted
    outcome = Outcome(trainer)
    if task.held_out is not None:
        with np.errstate(all="ignore"):
            outcome.figures = trainer.evaluate(*task.held_out[:2], sample_weight=(*task.held_out, None)[2],
                                               metrics=task.metrics)
    return outcome


class Team:
    """Trainers that are trained together, on data that they all have been checked with.

    Args:
        where: The function that was called, for errors.
        trainers: The Trainers; each has parameters of its own.
        task: The data. Its validation data is checked too.
        updates: Updates of all together, by which ``engine="auto"`` decides; None for more than enough.
        executor: Where they are trained; None for threads of this process.

    Raises:
        DTypeError, ArgumentError: something that is no Trainer, one with ranks, or two that share parameters.
        ShapeError, DataError: data that does not fit one of them.
    """

    def __init__(
        self, where: str, trainers: Sequence[object], task: Task, updates: int | None, executor: Executor | None
    ) -> None:
        self.where, self._executor = where, executor
        if executor is not None and not callable(getattr(executor, "submit", None)):
            raise DTypeError(
                f"{where}(executor): expected a concurrent.futures.Executor, such as ProcessPoolExecutor(), "
                f"got {described(executor)}"
            )
        self.trainers: list[Trainer] = []
        owners: dict[Parameter, int] = {}
        for number, trainer in enumerate(trainers):
            if not isinstance(trainer, Trainer):
                raise DTypeError(f"{where}: expected Trainers, got {described(trainer)} as number {number}; "
                                 "a function that makes one must also return it")
            if trainer.ranks is not None:
                raise ArgumentError(f"{where}: expected Trainers without ranks, got {trainer.ranks!r} in number "
                                    f"{number}; let each rank train some of the models, or give an executor")
            for parameter in trainer.model.parameters():
                if owners.setdefault(parameter, number) != number:
                    raise ArgumentError(
                        f"{where}: expected a new model in each Trainer, got the same parameters in number "
                        f"{owners[parameter]} and number {number}; make model, optimizer and Trainer anew for each"
                    )
            self.trainers.append(trainer)
            with self.naming(number):
                data = Validation(trainer.model, trainer.loss, {})
                data.split(task.x, task.y, None, task.validation if task.held_out is None else task.held_out, None)
        enough = updates is None or updates >= UPDATES
        self._engines = [_engine(trainer, task, enough) for trainer in self.trainers]

    @contextmanager
    def naming(self, number: int) -> Iterator[None]:
        """Add the number of a Trainer to an error."""
        try:
            yield
        except Exception as error:
            error.add_note(f"in {self.where}, Trainer number {number}")
            raise

    def train(
        self, numbers: Sequence[int], task: Task, ended: Callable[[], None] = lambda: None
    ) -> tuple[list[Outcome], str]:
        """Train some of the Trainers, and put in their place those that came back.

        Args:
            numbers: Which.
            task: What to do.
            ended: Called as each one ends.

        Returns:
            Their outcomes in the same order, and the name of the signal that ended the training early, or "".
        """
        own = ThreadPoolExecutor(_cores()) if self._executor is None else None
        executor = own or self._executor
        assert executor is not None
        futures: dict[Future[Outcome], int] = {}
        outcomes = {number: Outcome(self.trainers[number], done=False) for number in numbers}
        with Interrupts() as interrupts:
            try:
                for number in numbers:
                    futures[executor.submit(work, self.trainers[number], self._engines[number], task)] = number
                waiting = set(futures)
                while waiting:
                    done, waiting = wait(waiting, 0.1, FIRST_COMPLETED)
                    for future in done:
                        with suppress(*_ENDED if interrupts.received else ()):
                            outcomes[futures[future]] = self._result(future, futures[future])
                            ended()
                    if interrupts.received:
                        self._stop(waiting, futures, interrupts.received)
            except BaseException as error:
                self._stop(futures, futures, f"{self.where}: {type(error).__name__}")
                raise
            finally:
                if own is not None:
                    own.shutdown(cancel_futures=True)
        for number in numbers:
            self.trainers[number] = outcomes[number].trainer
        ends = {outcome.trainer.history.stopped_by for outcome in outcomes.values() if not outcome.done}
        return [outcomes[number] for number in numbers], interrupts.received or max(ends, default="")

    def _stop(self, some: Iterable[Future[Outcome]], futures: dict[Future[Outcome], int], why: str) -> None:
        """Let no fit begin any more, and those end that run in threads of this process."""
        for future in some:
            if not future.cancel():
                self.trainers[futures[future]].stop(why)

    def _result(self, future: Future[Outcome], number: int) -> Outcome:
        """Return an outcome; explain an error that came on the way to the worker."""
        with self.naming(number):
            try:
                return future.result()
            except (PicklingError, AttributeError, TypeError) as error:
                if "pickle" not in str(error):
                    raise
                raise DTypeError(
                    f"{self.where}(executor): expected Trainers and data that can be pickled, because the executor "
                    f"sends them to other processes, got: {error}; use classes and functions from the top of a "
                    "module, or leave executor out for threads"
                ) from error


def _engine(trainer: Trainer, task: Task, enough: bool) -> EngineName:
    """Return the engine of a Trainer.

    A copy of it takes one update of the same size: so the program is compiled here, once, before many threads need it.
    """
    if trainer.engine == "numpy":
        return "numpy"
    rows = min(task.batch_size, len(task.x))
    if trainer.engine == "auto" and not (enough and rows * trainer.optimizer.vector.values.size <= WORK):
        return "numpy"
    trial = deepcopy(trainer)
    trial.engine = "compiled"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # They come when the Trainer itself is trained.
            trial.fit(task.x[:rows], task.y[:rows], epochs=1, batch_size=rows, progress=False)
    except CompileError:
        if trainer.engine == "compiled":
            raise
        return "numpy"
    except DivergenceError:
        pass
    return "compiled"


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def arrays(where: str, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Rows, Rows]:
    """Return data as arrays, so that all Trainers share it."""
    found = dense(x, f"{where}(x)"), dense(y, f"{where}(y)")
    check_lengths(x=found[0], y=found[1])
    return found


def fit_all(
    trainers: Iterable[Trainer],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    epochs: int,
    batch_size: int = 32,
    validation: ValidationData | float | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> list[Trainer]:
    """Train several models on the same data: an ensemble, seeds, settings.

    Each gets what ``trainer.fit`` gives it alone, to the bit on the same engine. ``engine="auto"`` compiles where that
    is possible and all together take 30,000 updates or more.

    Ctrl-C and SIGTERM end the training; all Trainers are returned, some of them unfinished: ``trainer.resume`` finishes
    one that had begun. A second Ctrl-C stops at once.

    Args:
        trainers: The Trainers; no two may share a model.
        x: Input, ``(rows, features)``.
        y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
        epochs: Passes over the data.
        batch_size: Rows of one update.
        validation: As in `Trainer.fit`.
        executor: Any ``concurrent.futures.Executor``; None for a thread on each core. Trainers and data travel to
            other processes by pickle.
        progress: A bar: True, False, or None for one on a terminal.

    Returns:
        The trained Trainers, in the order given. Threads train the given ones; other executors train copies, and the
        given ones stay as they were.

    Raises:
        ShapeError, DTypeError, DataError, ArgumentError: something does not fit; found before anything is changed.

    Warns:
        UserWarning: some diverged; the others went on. Their ``history.stopped_by`` is ``"divergence"``.
    """
    given = listed(trainers, "fit_all(trainers)", "Trainers")
    size = positive_int(batch_size, "fit_all(batch_size)")
    task = Task(*arrays("fit_all", x, y), size, positive_int(epochs, "fit_all(epochs)"), validation)
    team = Team("fit_all", given, task, len(given) * task.epochs * -(-len(task.x) // size), executor)
    with Progress(len(given), "fit_all", progress, "model") as bar:
        outcomes, _ = team.train(range(len(given)), task, lambda: bar.advance(""))
    bad = [number for number, outcome in enumerate(outcomes) if outcome.diverged]
    if bad:
        message = (f"fit_all: the training of {len(bad)} of {len(given)} models diverged, numbers "
                   f"{', '.join(map(str, bad))}; leave them out, or lower the learning rate. "
                   f"The first: {outcomes[bad[0]].diverged}")
        warnings.warn(message, stacklevel=2)
    return team.trainers
