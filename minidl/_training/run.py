"""Where a run stands, and what it takes to go on from there with the same bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .._core.generators import Seed, child_generator, generator, plain_state
from ..callbacks import Callback, check_callbacks
from ..errors import ArgumentError, CallOrderError, DataError
from .sources import Source

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


@dataclass
class Position:
    """Where in the current epoch a run stands: batches done, their rows, and the sum of their losses by rows."""

    batch: int = 0
    rows: int = 0
    loss: float = 0.0


class Run:
    """The plan of a fit, its position, its random state, its callbacks.

    Args:
        rng: Generator or seed of all that is random in the run; one number is drawn from a Generator.

    Attributes:
        plan: What the fit was asked to do; None before the first.
        position: Where in the epoch it stands.
        callbacks: What else it does.
        why_stop: Why it is to end after the current batch; empty while it goes on.
    """

    def __init__(self, rng: Seed) -> None:
        own = generator(rng, "trainer")
        self._generator = child_generator(own) if own is rng else own
        self._start: Any = self._generator.bit_generator.state
        self.plan: Plan | None = None
        self.position = Position()
        self.callbacks: list[Callback] = []
        self.why_stop = ""
        self._fingerprint: dict[str, Any] = {}
        self._saved_callbacks: list[dict[str, Any]] = []

    def generator(self, number: int) -> np.random.Generator:
        """Return the generator for one purpose: number 0 splits off validation data, number e + 1 shuffles epoch e.

        It depends on the seed of the run and on the number alone, so nothing has to be drawn again, or rewound, to
        enter an epoch a second time. The next call moves it to another place.
        """
        bits = self._generator.bit_generator
        assert isinstance(bits, np.random.PCG64)
        bits.state = self._start
        bits.advance(number * STRIDE % 2**128)
        return self._generator

    def start(self, plan: Plan, callbacks: list[Callback]) -> None:
        """Begin a new fit: what an interrupted one left of its epoch is given up."""
        self.plan, self.callbacks, self._saved_callbacks = plan, callbacks, []
        self._fingerprint = {}
        self.position = Position()
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

    def take_callbacks(self, callbacks: Iterable[Callback] | None) -> None:
        """Go on with the callbacks at hand, or with new ones in the state of those that were saved.

        Raises:
            ArgumentError: other callbacks than those that were saved.
        """
        given = self.callbacks if callbacks is None else check_callbacks(callbacks)
        saved = self._saved_callbacks
        kinds, wanted = [type(callback).__name__ for callback in given], [entry["kind"] for entry in saved]
        if saved and kinds != wanted:
            raise ArgumentError(f"resume(callbacks): expected {wanted} as in the saved run, got {kinds}")
        for callback, entry in zip(given, saved, strict=bool(saved)):
            callback.restore(entry["state"])
        self.callbacks, self._saved_callbacks = given, []

    def check_data(self, source: Source) -> None:
        """Remember what tells the data of the fit from other data; refuse a resume on other data.

        Raises:
            DataError: the data is not that of the fit.
        """
        found = source.fingerprint()
        if self._fingerprint and found != self._fingerprint:
            raise DataError(
                f"resume: expected the data of the fit, {_brief(self._fingerprint)}, got {_brief(found)}; give x, y, "
                "sample_weight and the fraction for validation as the fit had them"
            )
        self._fingerprint = found

    def state(self) -> dict[str, Any]:
        """Return where the run stands as plain values."""
        return {
            "plan": None if self.plan is None else asdict(self.plan),
            "position": asdict(self.position),
            "rng": plain_state(self._start),
            "fingerprint": self._fingerprint,
            "callbacks": self._saved_callbacks
            or [{"kind": type(c).__name__, "state": c.state()} for c in self.callbacks],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; the callbacks' part waits for `take_callbacks`."""
        self.plan = None if state["plan"] is None else Plan(**state["plan"])
        self.position = Position(**state["position"])
        self._start = state["rng"]
        self._fingerprint = state["fingerprint"]
        self.callbacks, self._saved_callbacks = [], state["callbacks"]


def _brief(fingerprint: dict[str, Any]) -> str:
    """Show a fingerprint in a few words."""
    shapes = ", ".join(str(tuple(shape)) for shape in fingerprint.get("shapes", ()))
    return f"{shapes or 'a stream'} with hash {str(fingerprint['sha256'])[:8]}…"
