"""The state of a run: its model, loss and optimizer, its plan, and its position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core.generators import Seed, child_generator, generator
from ..errors import ArgumentError, CallOrderError, DataError
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ..optimizers.clipping import Clip
from ..optimizers.penalties import Penalty
from ..schedules import Epochs
from .history import History
from .ranks import Ranks
from .sources import Fingerprint, Source

STRIDE = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Draws between the generators of two purposes: 2^128 divided by the golden ratio, as in ``PCG64.jumped``. So no two
generators overlap. A stride that is a power of two gives correlated streams."""


@dataclass
class Plan:
    """The arguments of a fit, with which `resume` can finish it; without a batch size the data is a stream."""

    epochs: int
    batch_size: int | None
    shuffle: bool
    micro_batch_size: int | None
    start: int = 0
    """Epochs in the history when the fit began."""
    class_weight: str | dict[str, float] | None = None
    """``"balanced"``, or the weight of each class, with its label as text."""


@dataclass
class Position:
    """Position of a run in the current epoch: finished batches, their rows, and the sum of the losses of these rows."""

    batch: int = 0
    rows: int = 0
    loss: float = 0.0


@dataclass
class CallbackState:
    """The class of a callback, and its state."""

    kind: str
    state: dict[str, Any]


class Run:
    """The state of a run. `Trainer` starts it, the loop advances it, a checkpoint saves and restores it.

    Args:
        model: The model to train.
        loss: The loss to minimise.
        optimizer: Its optimizer.
        penalties: Terms that are added to the loss.
        clip: Limits the gradients before a step.
        rng: Generator or seed of all random numbers of the run; one number is drawn from a Generator.
        ranks: Other processes that train the same model; None if there are none.

    Attributes:
        history: One number for each finished epoch.
        plan: The arguments of the fit; None before the first.
        position: Position in the epoch.
        callbacks: Objects of the class `minidl.callbacks.Callback`, which this module cannot import.
        figures: Maps the name of each figure of an epoch to its direction.
        engine: Name of the engine that ran the last fit; None before the first.
        interrupted: Whether a signal or an error ended the last fit.
        why_stop: The reason to end after the current batch; empty if there is none.
        start_state: The state of its generator, which determines all its random numbers.
        source: Gives the batches during training; None at other times.
        fingerprint: Identifies the data of the fit; None if it is not known.
        saved_callbacks: The saved states of the callbacks of a restored run; `resume` gives them to its callbacks.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        penalties: Sequence[Penalty],
        clip: Clip | None,
        rng: Seed,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks
        self.model, self.loss, self.optimizer, self.penalties, self.clip = model, loss, optimizer, penalties, clip
        own = generator(rng, "trainer")
        self._generator = child_generator(own) if own is rng else own
        self.start_state: Any = self._generator.bit_generator.state
        self.history = History()
        self.plan: Plan | None = None
        self.position = Position()
        self.callbacks: Sequence[Any] = []
        self.figures: dict[str, str | None] = {}
        self.engine: str | None = None
        self.interrupted = False
        self.why_stop = ""
        self.source: Source | None = None
        self.fingerprint: Fingerprint | None = None
        self.saved_callbacks: list[CallbackState] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave data and ranks out of a copy or pickle that a callback makes; the copy can go on without this run."""
        self.know_data()
        return {**vars(self), "source": None, "ranks": None}

    def generator(self, number: int) -> np.random.Generator:
        """Return the generator for one purpose: number 0 splits off validation data, number e + 1 shuffles epoch e.

        Its state depends only on the seed of the run and on the number, so a run can enter an epoch a second time
        without drawing again. The next call moves the same generator to another state.
        """
        bits = self._generator.bit_generator
        assert isinstance(bits, np.random.PCG64)
        bits.state = self.start_state
        bits.advance(number * STRIDE % 2**128)
        return self._generator

    def refuse_while_running(self, what: str) -> None:
        """Refuse what would change the run during training, in a callback or another thread.

        Raises:
            CallOrderError: the run is in training.
        """
        if self.source is not None:
            raise CallOrderError(
                f"{what}: expected a run that is not in training, got a call from one of its callbacks or another "
                f"thread; trainer.stop(why) ends the run, and {what} can follow it, or use another Trainer"
            )

    def start(self, plan: Plan, callbacks: Sequence[Any]) -> None:
        """Begin a new fit; discard the unfinished epoch of an interrupted one."""
        self.plan, self.position, self.callbacks = plan, Position(), callbacks
        self.fingerprint, self.saved_callbacks = None, []
        for callback in callbacks:
            callback.reset()

    def plan_to_resume(self, *, streamed: bool) -> Plan:
        """Return the plan of the fit to resume.

        Raises:
            CallOrderError: there is none, or its data came in the other way (arrays or a stream).
        """
        if self.plan is None:
            raise CallOrderError("resume: expected an interrupted fit, or restore(path) before it, got neither")
        if streamed != (self.plan.batch_size is None):
            kind, right = ("arrays", "resume") if streamed else ("a stream", "resume_batches")
            raise CallOrderError(f"resume: the fit was fed from {kind}; use {right}")
        return self.plan

    def go_on(self, source: Source, callbacks: Sequence[Any], figures: dict[str, str | None]) -> None:
        """Continue a fit; a restored run gives its callbacks the saved state.

        Raises:
            DataError: the data differs from the data of the fit.
            ArgumentError: the callbacks differ from the saved ones, or the figures of an epoch from those of the fit.
        """
        if self.fingerprint is not None and (found := source.fingerprint()) != self.fingerprint:
            raise DataError(
                f"resume: expected the data of the fit, {self.fingerprint}, got {found}; give x, y, sample_weight and "
                "validation as the fit had them"
            )
        if figures != self.figures:
            raise ArgumentError(
                f"resume: expected the figures of the fit, {self.figures}, got {figures}; give validation and metrics "
                "as the fit had them"
            )
        saved = self.saved_callbacks
        kinds, wanted = [type(callback).__name__ for callback in callbacks], [entry.kind for entry in saved]
        if saved and kinds != wanted:
            raise ArgumentError(f"resume(callbacks): expected {wanted} as in the saved run, got {kinds}")
        for callback, entry in zip(callbacks, saved, strict=bool(saved)):
            callback.restore(entry.state)
        self.callbacks, self.saved_callbacks = callbacks, []

    def stop(self, why: str) -> None:
        """End the run after the current batch; the first reason counts. Ranks agree on it before the next batch."""
        if self.ranks is None:
            self.why_stop = self.why_stop or why
        else:
            self.ranks.wish = self.ranks.wish or why

    def know_data(self) -> Fingerprint | None:
        """Return the fingerprint of the data; compute it at the first call, while the data is available."""
        if self.fingerprint is None and self.source is not None:
            self.fingerprint = self.source.fingerprint()
        return self.fingerprint

    def count_epochs(self, source: Source) -> None:
        """Tell the optimizer the current epoch: the step at which it began, its number, and its number of steps."""
        count, first_step = source.steps_per_epoch(), self.optimizer.steps - self.position.batch
        self.optimizer.epochs = None if count is None else Epochs(first_step, len(self.history.loss), count)
