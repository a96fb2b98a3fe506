"""The state of a model and its optimizer in memory, to which a run returns when it has diverged."""

from __future__ import annotations

import copy

import numpy as np

from .._core.arrays import all_finite
from .._core.parameter import Buffer, Parameter
from ..layers._parts import Holder, named
from ..layers.base import Layer
from ..optimizers import Optimizer


class Snapshot:
    """Copy all that a step changes: parameters, buffers, generators, and what the optimizer remembers.

    Args:
        model: The model, before a batch.
        optimizer: Its optimizer; parameters that another one has moved are gathered again.

    Attributes:
        parameters: Maps the path of each parameter to it.
        not_held: Those of them that the optimizer does not hold.
        holders: The model, and all layers and merges in it.
        may_grow: Whether a layer is of a class that is not built in: its `forward` may make parameters.
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
        """Look up the parts of the model; a callback may have put others into it."""
        found = named(self._model, object)
        held = set(map(id, self._optimizer.vector.parameters))
        self.parameters = {path: part for path, part in found.items() if isinstance(part, Parameter)}
        self.not_held = {path: part for path, part in self.parameters.items() if id(part) not in held}
        self._found_buffers = [part for part in found.values() if isinstance(part, Buffer)]
        self._found_generators = [part for part in found.values() if isinstance(part, np.random.Generator)]
        self.holders = [self._model, *(part for part in found.values() if isinstance(part, Holder))]
        self.may_grow = {type(part).__module__.split(".")[0] for part in self.holders} != {"minidl"}

    def take(self) -> None:
        """Copy the state as it is now.

        Raises:
            CallOrderError: a slot of the optimizer was replaced.
        """
        self._optimizer.slots()
        for vector, kept in self._vectors:
            kept[...] = vector
        self._numbers = self._optimizer.numbers()
        self._buffers = [(buffer, buffer.value.copy()) for buffer in self._found_buffers]
        self._generators = [(own, copy.deepcopy(own.bit_generator.state)) for own in self._found_generators]

    def finite(self) -> bool:
        """Return whether all that a step changes is finite now, or was not when the snapshot was taken."""
        pairs = [*self._vectors, *((buffer.value, before) for buffer, before in self._buffers)]
        for now, before in pairs:  # noqa: SIM110 - `any` and its generator would be two more calls in each fit
            if now.dtype.kind == "f" and not all_finite(now) and all_finite(before):
                return False
        return True

    def restore(self) -> None:
        """Put the state back as it was when it was taken, and throw gradients away."""
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
