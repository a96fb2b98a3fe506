"""The state of a model and its optimizer in memory, to which a run returns when it has diverged."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._core.arrays import all_finite
from .._core.parameter import Buffer, Parameter
from ..layers._parts import Holder, named
from ..layers.base import Layer
from ..optimizers import Optimizer


class Parts:
    """The parts of a model, found in one walk.

    Attributes:
        parameters: Maps the path of each parameter to it.
        buffers: All buffers.
        generators: All random generators.
        may_grow: Whether a layer is of a class that is not built in: its `forward` may make parameters.
    """

    def __init__(self, model: Layer) -> None:
        found = named(model, object)
        self.parameters = {path: part for path, part in found.items() if isinstance(part, Parameter)}
        self.buffers = [part for part in found.values() if isinstance(part, Buffer)]
        self.generators = [part for part in found.values() if isinstance(part, np.random.Generator)]
        holders = [model, *(part for part in found.values() if isinstance(part, Holder))]
        self.may_grow = {type(part).__module__.split(".")[0] for part in holders} != {"minidl"}

    def not_held_by(self, optimizer: Optimizer) -> dict[str, Parameter]:
        """Map the path of each parameter that an optimizer does not hold to it."""
        held = set(map(id, optimizer.vector.parameters))
        return {path: parameter for path, parameter in self.parameters.items() if id(parameter) not in held}


class Snapshot:
    """Copy all that a step changes: parameters, buffers, generators, and what the optimizer remembers.

    Args:
        parts: The parts of the model, before a batch.
        optimizer: Its optimizer; parameters that another one has moved are gathered again.

    Attributes:
        not_held: Maps the path of each parameter that the optimizer does not hold to it.
    """

    def __init__(self, parts: Parts, optimizer: Optimizer) -> None:
        self.parts, self._optimizer = parts, optimizer
        self.not_held = parts.not_held_by(optimizer)
        if {id(parameter.value.base) for parameter in optimizer.vector.parameters} != {id(optimizer.vector.values)}:
            optimizer.vector.gather()
        self._vectors = [optimizer.vector.values, *optimizer.slots().values()]
        self._copies = [np.empty_like(vector) for vector in self._vectors]
        self.take()

    def take(self) -> None:
        """Copy the state as it is now."""
        for vector, kept in zip(self._vectors, self._copies, strict=True):
            kept[...] = vector
        self._numbers = self._optimizer.numbers()
        self._buffers = [buffer.value.copy() for buffer in self.parts.buffers]
        self._states: list[Any] = [copy.deepcopy(own.bit_generator.state) for own in self.parts.generators]

    def finite(self) -> bool:
        """Return whether all that a step changes is finite now: a file that is not is refused by `restore`."""
        for array in self._vectors + [buffer.value for buffer in self.parts.buffers]:
            if array.dtype.kind == "f" and not all_finite(array):
                return False
        return True

    def restore(self) -> None:
        """Put the state back as it was when it was taken, and throw gradients away."""
        for vector, kept in zip(self._vectors, self._copies, strict=True):
            vector[...] = kept
        self._optimizer.restore_numbers(self._numbers)
        for buffer, kept in zip(self.parts.buffers, self._buffers, strict=True):
            buffer.value = kept.copy()
        for own, state in zip(self.parts.generators, self._states, strict=True):
            own.bit_generator.state = state
        self.clear_gradients()

    def clear_gradients(self) -> None:
        """Throw gradients away."""
        self._optimizer.vector.use_up()
        for parameter in self.not_held.values():
            parameter.zero_grad()
