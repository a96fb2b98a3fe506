"""A copy of the state of a model and its optimizer in memory; a run that diverges returns to it."""

from __future__ import annotations

import copy

import numpy as np

from .._core.arrays import all_finite
from .._core.parameter import Buffer, Parameter
from .._core.threads import in_blocks
from ..layers._parts import Holder, named
from ..layers.base import Layer
from ..optimizers import Optimizer


class Snapshot:
    """Copy all that a step changes: parameters, buffers, generators, and the state of the optimizer.

    Args:
        model: The model, before a batch.
        optimizer: Its optimizer; it gathers parameters again that another optimizer has moved.

    Attributes:
        parameters: Maps the path of each parameter to the parameter.
        not_held: Parameters that the optimizer does not hold.
        holders: The model, and all layers and merges in it.
        may_grow: Whether a layer has a class that is not built in: its `forward` may make parameters.
    """

    def __init__(self, model: Layer, optimizer: Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self.find_parts()
        vector = optimizer.vector
        if {id(parameter.value.base) for parameter in vector.parameters} != {id(vector.values)}:
            vector.gather()
        self._vectors = [(array, np.empty_like(array)) for array in (vector.values, *optimizer.slots().values())]
        self.take()

    def find_parts(self) -> None:
        """Look up the parts of the model again; a callback may have replaced some."""
        found = named(self._model, object)
        held = set(map(id, self._optimizer.vector.parameters))
        self.parameters = {path: part for path, part in found.items() if isinstance(part, Parameter)}
        self.not_held = {path: part for path, part in self.parameters.items() if id(part) not in held}
        self._found_buffers = [part for part in found.values() if isinstance(part, Buffer)]
        self._found_generators = [part for part in found.values() if isinstance(part, np.random.Generator)]
        self.holders = [self._model, *[part for part in found.values() if isinstance(part, Holder)]]
        self.may_grow = {type(part).__module__.split(".")[0] for part in self.holders} != {"minidl"}

    def take(self) -> None:
        """Copy the present state.

        Raises:
            CallOrderError: a slot of the optimizer was replaced.
        """
        self._optimizer.slots()
        for vector, kept in self._vectors:
            in_blocks(np.copyto, (kept, vector))
        self._numbers = self._optimizer.numbers()
        self._buffers = [(buffer, buffer.value.copy()) for buffer in self._found_buffers]
        self._generators = [(own, copy.deepcopy(own.bit_generator.state)) for own in self._found_generators]

    def finite(self) -> bool:
        """Return whether each array that a step changes is finite, or equal to that in the snapshot."""
        pairs = [*self._vectors, *((buffer.value, before) for buffer, before in self._buffers)]
        for now, before in pairs:
            if now.dtype.kind == "f" and not all_finite(now) and not np.array_equal(now, before, equal_nan=True):
                return False
        return True

    def restore(self) -> None:
        """Restore the state of the snapshot, and discard the gradients."""
        for vector, kept in self._vectors:
            vector[...] = kept
        self._optimizer.restore_numbers(self._numbers)
        for buffer, value in self._buffers:
            buffer.value = value.copy()
        for own, state in self._generators:
            own.bit_generator.state = state
        self.clear_gradients()

    def clear_gradients(self) -> None:
        """Throw gradients away."""
        self._optimizer.vector.use_up()
        for parameter in self.not_held.values():
            parameter.zero_grad()
