"""The state of a run in memory, to which a run returns when it has diverged."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._core.parameter import Buffer
from ..layers._parts import named
from ..layers.base import Layer
from ..optimizers import Optimizer


class Snapshot:
    """Copy all that a step changes: parameters, buffers, generators, and what the optimizer remembers.

    Args:
        model: The model, before a batch.
        optimizer: Its optimizer.
    """

    def __init__(self, model: Layer, optimizer: Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._generators = list(named(model, np.random.Generator).values())
        self._buffers = list(named(model, Buffer).values())
        self._slots = list(optimizer.slots().values())
        self._values = optimizer.vector.values.copy()
        self._slot_copies = [slot.copy() for slot in self._slots]
        self.take()

    def take(self) -> None:
        """Copy the state as it is now."""
        self._values[...] = self._optimizer.vector.values
        for slot, kept in zip(self._slots, self._slot_copies, strict=True):
            kept[...] = slot
        self._numbers = self._optimizer.numbers()
        self._buffer_copies = [buffer.value.copy() for buffer in self._buffers]
        self._states: list[Any] = [copy.deepcopy(own.bit_generator.state) for own in self._generators]

    def restore(self) -> None:
        """Put the state back as it was when it was taken, and throw gradients away."""
        self._optimizer.vector.values[...] = self._values
        for slot, kept in zip(self._slots, self._slot_copies, strict=True):
            slot[...] = kept
        self._optimizer.restore_numbers(self._numbers)
        for buffer, kept_buffer in zip(self._buffers, self._buffer_copies, strict=True):
            buffer.value = kept_buffer.copy()
        for own, state in zip(self._generators, self._states, strict=True):
            own.bit_generator.state = state
        for parameter in self._model.parameters():
            parameter.zero_grad()
