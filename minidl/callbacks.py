"""Callbacks: stop early, save checkpoints, lower the learning rate, write a log."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ._core.arrays import flag, one_of, path_ending, path_text, positive_int, real
from ._core.parameter import Buffer
from ._data import nearest
from .errors import ArgumentError, DTypeError
from .layers._parts import named
from .metrics import Mode
from .trainer import Callback, Trainer

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "LogFile", "Monitor", "ReduceOnPlateau", "StopAfter"]


class Monitor(Callback):
    """Watch one figure of the history for its best value; the base of callbacks that wait for improvement.

    Args:
        monitor: ``"loss"``, ``"validation_loss"``, or the name of a metric.
        mode: ``"min"`` or ``"max"``, which value is best; None for the direction in ``trainer.figures``: ``"min"`` for
            a loss, and what `minidl.metrics.metric` declares for a metric.
        min_delta: Smallest change that counts as an improvement, as an absolute difference; an improvement is larger
            than this.

    Raises:
        ArgumentError: when the run begins, a figure that it does not have, or a mode of None and a metric that declares
            nothing.

    Example:
        >>> class Beep(Monitor):
        ...     def on_epoch_end(self, trainer):
        ...         if self.improved(trainer):
        ...             print(f"epoch {len(trainer.history)}: better")
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> model = mlp([1, 8, 1], rng=0)
        >>> trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters(), 0.01), rng=0)
        >>> history = trainer.fit(x, x, epochs=2, callbacks=[Beep("loss")])
        epoch 1: better
        epoch 2: better
    """

    best: float | None = None
    waited: int = 0

    def __init__(self, monitor: str, *, mode: Mode | None = None, min_delta: float = 0.0) -> None:
        one_of(mode, ("min", "max", None), f"{type(self).__name__}(mode)")
        if not isinstance(monitor, str):
            name = getattr(monitor, "__name__", "loss")
            raise DTypeError(f"{type(self).__name__}(monitor): expected the name of a figure, got {monitor!r}; "
                             f'write monitor="{name}"')
        self.monitor = monitor
        self.mode = mode
        self.min_delta: float = real(min_delta, f"{type(self).__name__}(min_delta)", least=0)
        self.reset()

    @override
    def reset(self) -> None:
        self.best, self.waited = None, 0

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        self._direction(trainer)

    def improved(self, trainer: Trainer) -> bool:
        """Return whether the last epoch is the best so far, and count the epochs since then in `waited`."""
        value = trainer.history.series()[self.monitor][-1]
        sign = 1.0 if self._direction(trainer) == "max" else -1.0
        if not math.isnan(value) and (self.best is None or sign * (value - self.best) > self.min_delta):
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    def _direction(self, trainer: Trainer) -> str:
        """Return ``"min"`` or ``"max"``; refuse a figure that the run does not have, or that has no direction."""
        where, figures = f"{type(self).__name__}(monitor)", list(trainer.figures)
        if self.monitor not in figures:
            hint = _monitor_hint(self.monitor, figures)
            raise ArgumentError(f"{where}: expected one of {figures}, got {self.monitor!r}{hint}")
        direction = self.mode or trainer.figures[self.monitor]
        if direction is None:
            raise ArgumentError(
                f"{where}: expected a metric that declares its direction, got {self.monitor!r}, which does not; "
                'give mode="min" or mode="max", or declare the metric with minidl.metrics.metric'
            )
        return direction

    @override
    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


class EarlyStopping(Monitor):
    """Stop when a figure has not improved for ``patience`` epochs, and go back to the best weights.

    Args:
        patience: Epochs to wait for an improvement.
        monitor: What to watch: ``"validation_loss"``, ``"loss"``, or the name of a metric.
        mode: As in `Monitor`.
        min_delta: Smallest change that counts as an improvement, as an absolute difference.
        restore_best: Restore the best weights at the end, also when all epochs have run or the run diverged (not after
            an interrupt). `resume` continues from the last weights.
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "validation_loss",
        *,
        mode: Mode | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.patience: int = positive_int(patience, "EarlyStopping(patience)")
        self.restore_best: bool = flag(restore_best, "EarlyStopping(restore_best)")

    @override
    def reset(self) -> None:
        super().reset()
        self._best_state: dict[str, Any] | None = None
        self._last_state: dict[str, Any] | None = None

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        super().on_train_begin(trainer)
        if self._last_state is not None:
            restore_copied(trainer, self._last_state)
            self._last_state = None
        # A run that ended by this callback has nothing left to do when it is resumed.
        if self.waited >= self.patience:
            self._stop(trainer)

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.improved(trainer):
            if self.restore_best:
                self._best_state = copied_state(trainer)
        elif self.waited >= self.patience:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        trainer.stop(f"EarlyStopping: no better {self.monitor} for {self.patience} epochs")

    @override
    def on_train_end(self, trainer: Trainer) -> None:
        # An interrupted run is going to be resumed from where it is, so it keeps its last weights.
        ended = not trainer.interrupted or trainer.history.stopped_by == "divergence"
        if self._best_state is not None and ended:
            self._last_state = copied_state(trainer)
            restore_copied(trainer, self._best_state)

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
        patience: Epochs to wait for an improvement.
        monitor: What to watch.
        mode: As in `Monitor`.
        min_delta: Smallest change that counts as an improvement, as an absolute difference.
        min_learning_rate: Smallest rate that it sets. A rate that is below it already stays as it is.
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str = "validation_loss",
        *,
        mode: Mode | None = None,
        min_delta: float = 0.0,
        min_learning_rate: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.factor: float = real(factor, "ReduceOnPlateau(factor)", above=0, below=1)
        self.patience: int = positive_int(patience, "ReduceOnPlateau(patience)")
        self.min_learning_rate: float = real(min_learning_rate, "ReduceOnPlateau(min_learning_rate)", least=0)

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        super().on_train_begin(trainer)
        if callable(trainer.optimizer.learning_rate):
            raise ArgumentError(
                "ReduceOnPlateau: expected an optimizer with a number as its learning rate, got the schedule "
                f"{trainer.optimizer.learning_rate!r}; the two would work against each other"
            )

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        rate = trainer.optimizer.learning_rate
        if not self.improved(trainer) and self.waited >= self.patience and not callable(rate):
            trainer.optimizer.learning_rate = min(rate, max(rate * self.factor, self.min_learning_rate)) or rate
            self.waited = 0


class StopAfter(Callback):
    """Stop a run when it has taken some time, over all saves and resumes.

    Args:
        seconds: How long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds: float = real(seconds, "StopAfter(seconds)", above=0)
        self.reset()

    @override
    def reset(self) -> None:
        self._spent = 0.0
        self._since: float | None = None

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        self._since = time.monotonic()

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if self._elapsed() >= self.seconds:
            trainer.stop(f"StopAfter: {self.seconds:g} seconds are over")

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        self.on_batches_end(trainer)

    @override
    def on_train_end(self, trainer: Trainer) -> None:
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
        monitor: The figure that decides which one is best, over all fits that are given this object; None to keep no
            best one.
        mode: As in `Monitor`.
    """

    saves = writes = True

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        every_epochs: int | None = 1,
        every_batches: int | None = None,
        every_minutes: float | None = None,
        keep_last: int = 3,
        monitor: str | None = None,
        mode: Mode | None = None,
    ) -> None:
        super().__init__("loss" if monitor is None else monitor, mode=mode)
        self.folder: Path = _path(folder)
        self.every_epochs: int | None = (
            None if every_epochs is None else positive_int(every_epochs, "Checkpoint(every_epochs)")
        )
        self.every_batches: int | None = (
            None if every_batches is None else positive_int(every_batches, "Checkpoint(every_batches)")
        )
        self.every_minutes: float | None = (
            None if every_minutes is None else real(every_minutes, "Checkpoint(every_minutes)", above=0)
        )
        self.keep_last: int = positive_int(keep_last, "Checkpoint(keep_last)")
        self.keeps_best: bool = monitor is not None

    @override
    def reset(self) -> None:
        # The best one stays in its file, so that a second fit that is worse does not replace it.
        self._written: list[str] = []

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        super().on_train_begin(trainer)
        from ._files.model import model_state as try_to_save

        try_to_save(trainer.model)
        self.folder = self.folder.absolute()  # The program may change its folder during the run.
        self.folder.mkdir(parents=True, exist_ok=True)
        self._saved_at = time.monotonic()  # The time since the callback was made does not count.

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        minutes = (time.monotonic() - self._saved_at) / 60
        in_time = self.every_minutes is not None and minutes >= self.every_minutes
        if in_time or (self.every_batches is not None and trainer.position.batch % self.every_batches == 0):
            self._save(trainer)

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.keeps_best and self.improved(trainer):
            trainer.save(self.folder / "best.safetensors")
        if self.every_epochs is not None and len(trainer.history) % self.every_epochs == 0:
            self._save(trainer)

    def files(self) -> list[Path]:
        """List the checkpoints of this run that are kept, the newest last, without the best one."""
        return [self.folder / name for name in self._written]

    def _save(self, trainer: Trainer) -> None:
        name = f"epoch-{len(trainer.history):06d}-batch-{trainer.position.batch:07d}.safetensors"
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

    A resumed run continues its file, and a new run begins it anew when its first epoch ends. Where a figure is missing
    a table has an empty field, and a line of JSON has null.

    Args:
        path: A ``.csv`` file, or a ``.jsonl`` file with one JSON object a line.
    """

    writes = True

    def __init__(self, path: str | PathLike[str]) -> None:
        path_ending(path, (".csv", ".jsonl"), "LogFile(path)")
        self.path: Path = _path(path)

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        self.path = self.path.absolute()
        self.path.open("a").close()  # Find now that it cannot be written; a run that is refused leaves it as it was.
        # An earlier process may have written epochs that this run repeats: the first epoch writes the file anew.
        self._columns: list[str] = []

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        # The first time all is written anew: an earlier process may have written epochs that this run repeats.
        same = self._columns == ["epoch", *trainer.history.series()]
        self._write(trainer, range(len(trainer.history) - 1 if same else 0, len(trainer.history)))

    def _write(self, trainer: Trainer, epochs: range) -> None:
        """Write epochs: a new file from the first one on, later ones at the end."""
        import csv
        import json

        series = trainer.history.series()
        self._columns = ["epoch", *series]
        # JSON has neither NaN nor infinity.
        rows = [[epoch, *(n[epoch] if math.isfinite(n[epoch]) else None for n in series.values())] for epoch in epochs]
        with self.path.open("a" if epochs.start else "w", newline="", encoding="utf-8") as file:
            if self.path.suffix == ".jsonl":
                file.writelines(json.dumps(dict(zip(self._columns, row, strict=True))) + "\n" for row in rows)
            elif rows:
                csv.writer(file).writerows(rows if epochs.start else [self._columns, *rows])


def copied_state(trainer: Trainer) -> dict[str, Any]:
    """Copy the values of all parameters and buffers of the model of a run."""
    model = trainer.model
    return {
        "parameters": {path: parameter.value.copy() for path, parameter in model.named_parameters().items()},
        "buffers": {path: buffer.value.copy() for path, buffer in named(model, Buffer).items()},
    }


def restore_copied(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put back what `copied_state` copied."""
    for path, parameter in trainer.model.named_parameters().items():
        parameter.value = state["parameters"][path]
    for path, buffer in named(trainer.model, Buffer).items():
        buffer.value = state["buffers"][path].copy()


def _monitor_hint(name: str, figures: list[str]) -> str:
    """Say what to do about a monitor that a run does not have."""
    plain = name.removeprefix("validation_").removeprefix("val_")
    hint = "; did you mean 'validation_loss'?" if name == "val_loss" else ""
    if name == plain or plain not in figures:
        return nearest(name, figures, 0.8) or "; if it is a metric, give fit(..., metrics=[...])"
    if "validation_loss" not in figures:
        return f"{hint}; give fit(..., validation=...)"
    return hint or f"; {plain} is of the validation data already"


def _path(path: str | PathLike[str]) -> Path:
    from pathlib import Path  # it costs as much as a tenth of the import of minidl

    return Path(path_text(path))
