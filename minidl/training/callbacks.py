"""What a run does besides training: stop early, keep checkpoints, lower the learning rate, write a log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..arrays import positive_int, real
from ..errors import ArgumentError, DTypeError
from ..typing import override

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from .trainer import Trainer


class Callback:
    """Take part in a run. A subclass overrides what it needs; `trainer.stop(why)` ends the run after the batch.

    What a callback must remember over a save and a restore it gives in `state` and takes back in `restore`; one that
    ends runs asks for the end again in `begin`, where what it remembers says so. A new fit begins with `reset`.
    """

    every_batches: int | None = None
    """How many batches may pass between two calls of `after_batches`; None leaves it to the Trainer."""

    def reset(self) -> None:
        """Forget what came before: a new fit begins, perhaps of another model."""

    def begin(self, trainer: Trainer) -> None:
        """Act before the first batch of a fit or a resume."""

    def after_batches(self, trainer: Trainer) -> None:
        """Act between two batches, every few dozen batches."""

    def after_epoch(self, trainer: Trainer) -> None:
        """Act when an epoch is in the history."""

    def finish(self, trainer: Trainer) -> None:
        """Act when the run ends, for whatever reason."""

    def state(self) -> dict[str, Any]:
        """Return what must be remembered: plain values, arrays, lists and dicts of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""


class Monitor(Callback):
    """Watch one figure of the history for its best value; the base of callbacks that wait for improvement.

    Args:
        monitor: ``"loss"``, ``"validation_loss"``, or the name of a metric.
        largest: Whether larger is better, as for an accuracy.
        least_improvement: What counts as better must be better by more than this.
    """

    def __init__(self, monitor: str, *, largest: bool = False, least_improvement: float = 0.0) -> None:
        self.monitor = monitor
        self.largest = largest
        self.least_improvement = real(least_improvement, f"{type(self).__name__}(least_improvement)", least=0)
        self.reset()

    @override
    def reset(self) -> None:
        self.best = -math.inf if self.largest else math.inf
        self.waited = 0

    @override
    def begin(self, trainer: Trainer) -> None:
        if self.monitor not in trainer.run.figures:
            raise ArgumentError(
                f"{type(self).__name__}(monitor): expected one of {trainer.run.figures}, got {self.monitor!r}"
                + ("; give fit(…, validation=…)" if self.monitor == "validation_loss" else "")
            )

    def improved(self, trainer: Trainer) -> bool:
        """Return whether the last epoch is the best so far, and count the epochs since then in `waited`."""
        value = trainer.history.series()[self.monitor][-1]
        gain = value - self.best if self.largest else self.best - value
        if gain > self.least_improvement or (math.isinf(self.best) and not math.isnan(value)):
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    @override
    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


class EarlyStopping(Monitor):
    """Stop when a figure has not improved for ``patience`` epochs, and go back to the best weights.

    Args:
        patience: How many epochs without improvement are borne.
        monitor: What to watch: ``"validation_loss"``, ``"loss"``, or the name of a metric.
        largest: Whether larger is better.
        least_improvement: What counts as better must be better by more than this.
        restore_best: Whether the model returns to its best state when the fit ends, but for an interrupt; a `resume`
            goes on from the last state all the same.
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "validation_loss",
        *,
        largest: bool = False,
        least_improvement: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, largest=largest, least_improvement=least_improvement)
        self.patience = positive_int(patience, "EarlyStopping(patience)")
        self.restore_best = restore_best

    @override
    def reset(self) -> None:
        super().reset()
        self._best_state: dict[str, Any] | None = None
        self._last_state: dict[str, Any] | None = None

    @override
    def begin(self, trainer: Trainer) -> None:
        super().begin(trainer)
        if self._last_state is not None:
            restore_model_state(trainer, self._last_state)
            self._last_state = None
        # A run that ended by this callback has nothing left to do when it is resumed.
        if self.waited >= self.patience:
            self._stop(trainer)

    @override
    def after_epoch(self, trainer: Trainer) -> None:
        if self.improved(trainer):
            if self.restore_best:
                self._best_state = model_state(trainer)
        elif self.waited >= self.patience:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        trainer.stop(f"EarlyStopping: no better {self.monitor} for {self.patience} epochs")

    @override
    def finish(self, trainer: Trainer) -> None:
        # An interrupted run is going to be resumed from where it is, so it keeps its last weights.
        if self._best_state is not None and not trainer.interrupted:
            self._last_state = model_state(trainer)
            restore_model_state(trainer, self._best_state)

    @override
    def state(self) -> dict[str, Any]:
        return {**super().state(), "best_state": self._best_state, "last_state": self._last_state}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._best_state, self._last_state = state["best_state"], state["last_state"]


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when a figure has not improved for ``patience`` epochs.

    Args:
        factor: In (0, 1).
        patience: How many epochs without improvement are borne.
        monitor: What to watch.
        largest: Whether larger is better.
        least_improvement: What counts as better must be better by more than this.
        lowest: The rate below which it is not lowered.
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str = "validation_loss",
        *,
        largest: bool = False,
        least_improvement: float = 0.0,
        lowest: float = 0.0,
    ) -> None:
        super().__init__(monitor, largest=largest, least_improvement=least_improvement)
        self.factor = real(factor, "ReduceOnPlateau(factor)", above=0, below=1)
        self.patience = positive_int(patience, "ReduceOnPlateau(patience)")
        self.lowest = real(lowest, "ReduceOnPlateau(lowest)", least=0)

    @override
    def begin(self, trainer: Trainer) -> None:
        super().begin(trainer)
        if callable(trainer.optimizer.learning_rate):
            raise ArgumentError(
                "ReduceOnPlateau: expected an optimizer with a number as its learning rate, got the schedule "
                f"{trainer.optimizer.learning_rate!r}; the two would work against each other"
            )

    @override
    def after_epoch(self, trainer: Trainer) -> None:
        rate = trainer.optimizer.learning_rate
        if not self.improved(trainer) and self.waited >= self.patience and not callable(rate):
            trainer.optimizer.learning_rate = max(rate * self.factor, self.lowest)
            self.waited = 0


class StopAfter(Callback):
    """Stop a run when it has taken some time, over all saves and resumes.

    Args:
        seconds: How long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = real(seconds, "StopAfter(seconds)", above=0)
        self.reset()

    @override
    def reset(self) -> None:
        self._spent = 0.0
        self._since: float | None = None

    @override
    def begin(self, trainer: Trainer) -> None:
        self._since = time.monotonic()

    @override
    def after_batches(self, trainer: Trainer) -> None:
        if self._elapsed() >= self.seconds:
            trainer.stop(f"StopAfter: {self.seconds:g} seconds are over")

    @override
    def after_epoch(self, trainer: Trainer) -> None:
        self.after_batches(trainer)

    @override
    def finish(self, trainer: Trainer) -> None:
        self._spent, self._since = self._elapsed(), None

    def _elapsed(self) -> float:
        return self._spent + (0.0 if self._since is None else time.monotonic() - self._since)

    @override
    def state(self) -> dict[str, Any]:
        return {"spent": self._elapsed()}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self._spent = state["spent"]


class Checkpoint(Monitor):
    """Save the whole run every few epochs or minutes; keep the last ones, and the best.

    Files are ``<folder>/epoch-000012-batch-0000000.safetensors``, after 12 epochs and no batch of the next, and
    ``<folder>/best.safetensors``; `Trainer.restore` takes each of them.

    Args:
        folder: Where to save; it is made if it does not exist.
        every_epochs: Save after every so many epochs; None not to.
        every_batches: Save after every so many batches as well; None not to.
        every_minutes: Save when so many minutes have passed since the last save; None not to.
        keep_last: How many are kept of those that this run wrote; what other runs left in the folder stays.
        monitor: What decides about the best; None to keep no best one.
        largest: Whether larger is better.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        every_epochs: int | None = 1,
        every_batches: int | None = None,
        every_minutes: float | None = None,
        keep_last: int = 3,
        monitor: str | None = None,
        largest: bool = False,
    ) -> None:
        super().__init__(monitor or "loss", largest=largest)
        self.folder = _path(folder)
        self.every_epochs = None if every_epochs is None else positive_int(every_epochs, "Checkpoint(every_epochs)")
        self.every_batches = None if every_batches is None else positive_int(every_batches, "Checkpoint(every_batches)")
        if every_minutes is not None:
            every_minutes = real(every_minutes, "Checkpoint(every_minutes)", above=0)
        self.every_minutes = every_minutes
        self.keep_last = positive_int(keep_last, "Checkpoint(keep_last)")
        self.keeps_best = monitor is not None
        self._saved_at = time.monotonic()

    @override
    def reset(self) -> None:
        super().reset()
        self._written: list[str] = []

    @override
    def begin(self, trainer: Trainer) -> None:
        super().begin(trainer)
        from ..storage.models import model_state as try_to_save

        try_to_save(trainer.model)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._saved_at = time.monotonic()

    @override
    def after_batches(self, trainer: Trainer) -> None:
        minutes = (time.monotonic() - self._saved_at) / 60
        in_time = self.every_minutes is not None and minutes >= self.every_minutes
        if in_time or (self.every_batches is not None and trainer.run.position.batch % self.every_batches == 0):
            self._save(trainer)

    @override
    def after_epoch(self, trainer: Trainer) -> None:
        if self.keeps_best and self.improved(trainer):
            trainer.save(self.folder / "best.safetensors")
        if self.every_epochs is not None and len(trainer.history) % self.every_epochs == 0:
            self._save(trainer)

    def files(self) -> list[Path]:
        """List the checkpoints of this run that are kept, the newest last, without the best one."""
        return [self.folder / name for name in self._written]

    def _save(self, trainer: Trainer) -> None:
        name = f"epoch-{len(trainer.history):06d}-batch-{trainer.run.position.batch:07d}.safetensors"
        self._written = [*(other for other in self._written if other != name), name]
        trainer.save(self.folder / name)
        self._saved_at = time.monotonic()
        for old in self._written[: -self.keep_last]:
            (self.folder / old).unlink(missing_ok=True)
        self._written = self._written[-self.keep_last :]

    @override
    def state(self) -> dict[str, Any]:
        return {**super().state(), "written": self._written}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._written = list(state["written"])


class LogFile(Callback):
    """Write the figures of each epoch to a file as it ends.

    A resumed run continues its file, and a new run begins it anew. Where a figure is missing a table has an empty
    field, and a line of JSON has null.

    Args:
        path: A ``.csv`` file, or a ``.jsonl`` file with one JSON object a line.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = _path(path)
        if self.path.suffix not in (".csv", ".jsonl"):
            raise ArgumentError(f"LogFile(path): expected a name that ends in .csv or .jsonl, got {str(path)!r}")

    @override
    def begin(self, trainer: Trainer) -> None:
        # What an earlier process wrote after the state from which this run goes on would come twice.
        self._columns: list[str] = []
        self._write(trainer, range(len(trainer.history)))

    @override
    def after_epoch(self, trainer: Trainer) -> None:
        same = self._columns == ["epoch", *trainer.history.series()]
        self._write(trainer, range(len(trainer.history) - 1 if same else 0, len(trainer.history)))

    def _write(self, trainer: Trainer, epochs: range) -> None:
        """Write epochs: a new file from the first one on, later ones at the end."""
        import csv
        import json

        series = trainer.history.series()
        self._columns = ["epoch", *series]
        rows = [[epoch, *(_or_none(numbers[epoch]) for numbers in series.values())] for epoch in epochs]
        with self.path.open("a" if epochs.start else "w", newline="", encoding="utf-8") as file:
            if self.path.suffix == ".jsonl":
                file.writelines(json.dumps(dict(zip(self._columns, row, strict=True))) + "\n" for row in rows)
            elif rows:
                csv.writer(file).writerows(rows if epochs.start else [self._columns, *rows])


def _or_none(number: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON does not have."""
    return number if math.isfinite(number) else None


def model_state(trainer: Trainer) -> dict[str, Any]:
    """Copy the values of all parameters and buffers of the model of a run."""
    model = trainer.model
    return {
        "parameters": {path: parameter.value.copy() for path, parameter in model.named_parameters().items()},
        "buffers": {path: buffer.value.copy() for path, buffer in model.named_buffers().items()},
    }


def restore_model_state(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put back what `model_state` copied."""
    for path, parameter in trainer.model.named_parameters().items():
        parameter.value = state["parameters"][path]
    for path, buffer in trainer.model.named_buffers().items():
        buffer.value = state["buffers"][path].copy()


def check_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return callbacks, those that save last, so that they save what the others have just done.

    Raises:
        DTypeError: something that is not a callback.
    """
    if isinstance(callbacks, Callback):
        raise DTypeError(f"fit(callbacks): expected a list of callbacks, got one; write callbacks=[{callbacks!r}]")
    found = list(callbacks)
    for callback in found:
        if not isinstance(callback, Callback):
            hint = f"; did you forget the parentheses of {callback.__name__}(…)?" if isinstance(callback, type) else ""
            raise DTypeError(f"fit(callbacks): expected Callback objects, got {callback!r}{hint}")
    return sorted(found, key=lambda callback: isinstance(callback, Checkpoint))


def _path(path: str | PathLike[str]) -> Path:
    from pathlib import Path  # it costs as much as a tenth of the import of minidl

    return Path(path)
