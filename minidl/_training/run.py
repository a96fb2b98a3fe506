"""The state of a run: what is trained, with what, and where it stands."""

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
from .sources import Fingerprint, Source

STRIDE = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Draws between the generators of two purposes, 2^128 divided by the golden ratio, as in ``PCG64.jumped``: no two of
them come near each other. Strides of a power of two give correlated streams."""


@dataclass
class Plan:
    """What a fit was asked to do, so that a resume can finish it; without a batch size it was fed by a stream."""

    epochs: int
    batch_size: int | None
    shuffle: bool
    micro_batch_size: int | None
    start: int = 0
    """How many epochs the history had when the fit began."""


@dataclass
class Position:
    """Where in the current epoch a run stands: batches done, their rows, and the sum of their losses by rows."""

    batch: int = 0
    rows: int = 0
    loss: float = 0.0


@dataclass
class CallbackState:
    """The class of a callback, and what it remembers."""

    kind: str
    state: dict[str, Any]


class Run:
    """The state of a run. `Trainer` starts it, the loop moves it, a checkpoint saves and restores it.

    Args:
        model: What is trained.
        loss: What is made small.
        optimizer: How.
        penalties: What is added to the loss.
        clip: What is done to the gradients before a step.
        rng: Generator or seed of all that is random in the run; one number is drawn from a Generator.

    Attributes:
        history: One number for each finished epoch.
        plan: What the fit was asked to do; None before the first.
        position: Where in the epoch it stands.
        callbacks: What else it does: objects of the class `minidl.callbacks.Callback`, which stands above this one.
        figures: Maps the name of each figure of an epoch to its direction.
        engine: Name of the engine that ran the last fit; None before the first.
        interrupted: Whether a signal or an error ended the last fit, rather than its last epoch or a callback.
        why_stop: Why it is to end after the current batch; empty while it goes on.
        start_state: The state of its generator, from which all its random numbers follow.
        source: Where the batches come from while it trains; None in between.
        fingerprint: What tells the data of the fit from other data; None where it is not known.
        saved_callbacks: The callbacks of a restored run, for those that `resume` is given.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        penalties: Sequence[Penalty],
        clip: Clip | None,
        rng: Seed,
    ) -> None:
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

    def generator(self, number: int) -> np.random.Generator:
        """Return the generator for one purpose: number 0 splits off validation data, number e + 1 shuffles epoch e.

        It depends on the seed of the run and on the number alone, so nothing has to be drawn again, or rewound, to
        enter an epoch a second time. The next call moves it to another place.
        """
        bits = self._generator.bit_generator
        assert isinstance(bits, np.random.PCG64)
        bits.state = self.start_state
        bits.advance(number * STRIDE % 2**128)
        return self._generator

    def start(self, plan: Plan, callbacks: Sequence[Any]) -> None:
        """Begin a new fit: what an interrupted one left of its epoch is given up."""
        self.plan, self.position, self.callbacks = plan, Position(), callbacks
        self.fingerprint, self.saved_callbacks = None, []
        for callback in callbacks:
            callback.reset()

    def plan_to_resume(self, *, streamed: bool) -> Plan:
        """Return the plan of the fit that is to be resumed.

        Raises:
            CallOrderError: there is none, or it was fed in the other way.
        """
        if self.plan is None:
            raise CallOrderError("resume: expected a fit that was interrupted, or restore(path) before it, got neither")
        if streamed != (self.plan.batch_size is None):
            kind, right = ("arrays", "resume") if streamed else ("a stream", "resume_batches")
            raise CallOrderError(f"resume: the fit was fed from {kind}; use {right}")
        return self.plan

    def go_on(self, source: Source, callbacks: Sequence[Any]) -> None:
        """Go on with a fit; a restored run gives its callbacks the state that was saved.

        Raises:
            DataError: the data is not that of the fit.
            ArgumentError: other callbacks than those that were saved.
        """
        if self.fingerprint is not None and (found := source.fingerprint()) != self.fingerprint:
            raise DataError(
                f"resume: expected the data of the fit, {self.fingerprint}, got {found}; give x, y, sample_weight and "
                "the fraction for validation as the fit had them"
            )
        saved = self.saved_callbacks
        kinds, wanted = [type(callback).__name__ for callback in callbacks], [entry.kind for entry in saved]
        if saved and kinds != wanted:
            raise ArgumentError(f"resume(callbacks): expected {wanted} as in the saved run, got {kinds}")
        for callback, entry in zip(callbacks, saved, strict=bool(saved)):
            callback.restore(entry.state)
        self.callbacks, self.saved_callbacks = callbacks, []

    def stop(self, why: str) -> None:
        """End the run after the current batch; the first reason counts."""
        self.why_stop = self.why_stop or why

    def know_data(self) -> Fingerprint | None:
        """Return what tells the data of the fit from other data: found when it is first needed, while data is there."""
        if self.fingerprint is None and self.source is not None:
            self.fingerprint = self.source.fingerprint()
        return self.fingerprint

    def count_epochs(self, source: Source) -> None:
        """Tell the optimizer at which step the current epoch began, its number, and how many steps it has."""
        count, first_step = source.steps_per_epoch(), self.optimizer.steps - self.position.batch
        self.optimizer.epochs = None if count is None else Epochs(first_step, len(self.history.loss), count)
