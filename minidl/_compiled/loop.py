"""Run a compiled program over batches."""

from __future__ import annotations

from contextlib import suppress
from math import inf, prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Parameter
from .._data import batch_count
from ..errors import CallOrderError
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers import Clip, Optimizer, Penalty
from ..schedules import Schedule
from .cache import compiled
from .chain import widths_of
from .feed import Data, draw
from .kernels.language import Argument
from .kernels.optimizers import step_of
from .program import TrainingProgram

ALIGNED = 64
"""Bytes to which memory is aligned: a line of the cache. Else the time of a small network depends on where its arrays
happen to lie."""

PART = 1 << 12
"""Most numbers of a part of the vectors: several arrays of this size stay in the first cache."""

BYTES_AT_ONCE = 1 << 18
"""Approximate bytes of random numbers, and of copied rows, for one call."""


class CompiledLoop:
    """Forward, loss, backward and step for many batches in one call of compiled code.

    The program is compiled when it first runs. This takes some seconds for a new structure (kinds of layers, loss,
    optimizer, dtype; not sizes), and a fraction of a second if the cache on disk has the program.

    Args:
        model: A `Sequential`, nested ones included, or a single layer.
        loss: A built-in loss.
        optimizer: A built-in optimizer.
        one_row: Whether each batch will be a single row.
        penalties: Built-in penalties on parameters of the optimizer.
        clip: A built-in clip.

    Raises:
        CompileError: something cannot be compiled; the message names it.

    Attributes:
        source: The program that is compiled: the loop at its end, over one kernel for each layer.
        rates: The learning rates of the batches of the last call of `run`.
    """

    program: ClassVar[type[TrainingProgram]] = TrainingProgram

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        one_row: bool = False,
        penalties: tuple[Penalty, ...] = (),
        clip: Clip | None = None,
    ) -> None:
        program = self.program(model, loss, optimizer, one_row=one_row, penalties=penalties, clip=clip)
        self.source = program.source
        self._links, self._arguments, self._optimizer = program.links, program.arguments, optimizer
        self._steps = step_of(optimizer)
        self._train = compiled(program.source, "train", program.functions)
        self.rates: Array = np.empty(0)
        self._uniform = self._of_kind("uniform")
        self._sequences = self._of_kind("sequence")
        self._changing = self._of_kind("number", "buffer", "vector", "penalty")
        self._widths: list[int] = []
        self._rows = 0
        self._gradients: dict[Parameter, Array] = {}
        self._values: dict[Parameter, Array] = {}
        self._memory: dict[str, Array] = {}
        self._bound: dict[str, Any] = {}
        self._given: tuple[npt.NDArray[Any], ...] = ()
        self._data = Data(())

    def _of_kind(self, *kinds: str) -> dict[str, Argument]:
        return {name: argument for name, argument in self._arguments.items() if argument.kind in kinds}

    def is_current(self) -> bool:
        """Whether the program still does the steps of the optimizer: they depend on weight decay and momentum."""
        return self._steps == step_of(self._optimizer)

    def run(
        self,
        arrays: tuple[npt.NDArray[Any], ...],
        orders: npt.NDArray[np.intp],
        *,
        begin: int,
        size: int,
        count: int,
        totals: Array,
    ) -> int:
        """Train on ``count`` batches; the last batch of an epoch may have more or fewer rows, as in `batches`.

        This method checks nothing, because the Trainer has checked the data. With wrong sizes compiled code would read
        and write outside of its arrays.

        Args:
            arrays: Input ``(n, features)``; target ``(n, outputs)``, or labels ``(n,)``; and wᵢ of each row, ``(n,)``,
                if they are not all 1. All in the dtype of the model but labels.
            orders: The row numbers in the order of training, ``(epochs, n)``; or ``(epochs, 0)``.
            begin: Position in the first epoch at which the first batch begins.
            size: Rows of a batch.
            count: How many batches.
            totals: For each epoch the sum over its batches of loss times rows, which is continued, ``(epochs,)``.

        Returns:
            The number of the first batch with a loss that is not finite, -1 for none. That batch did not change the
            weights; it may have changed running statistics and generators.
        """
        if arrays is not self._given:
            self._given, self._data = arrays, Data(arrays)
        data, optimizer, rows = self._data, self._optimizer, len(arrays[0])
        optimizer.vector.use_up()  # The program overwrites the old gradients.
        self._bind(arrays[0].shape[1], min(size + (size > 1), rows))
        per_epoch = batch_count(rows, size)
        last = rows - (per_epoch - 1) * size
        one_epoch = not data.in_place or (bool(self._uniform) and last != size)
        bytes_a_row = sum(self._widths[argument.place] for argument in self._uniform.values()) * arrays[0].itemsize
        if not data.in_place:
            bytes_a_row += sum(array.nbytes // len(array) for array in arrays)
        at_once = max(1, BYTES_AT_ONCE // (bytes_a_row * size + 1))
        done, self.rates = 0, np.empty(count)
        while done < count:
            epoch, batch = divmod(begin // size + done, per_epoch)
            number = min(at_once, count - done, per_epoch - batch if one_epoch else count)
            ends = batch + number == per_epoch
            coming = {name: getattr(optimizer, f"_{name}s")(number) for name in self._sequences}
            self._bound |= coming | draw(
                self._uniform, number, size, last if ends else size, self._widths, arrays[0].dtype
            )
            rates = self.rates[done : done + number]
            self._set_rates(rates)
            bad = self._call(
                *data.rows(batch * size, rows if ends else (batch + number) * size, orders[epoch:]),
                size,
                rates,
                optimizer.steps + 1,
                totals[epoch:],
            )
            steps = number if bad < 0 else bad
            optimizer.steps += steps
            if steps:
                optimizer.last_rate = float(rates[steps - 1])
                optimizer.restore_numbers({name: float(numbers[steps - 1]) for name, numbers in coming.items()})
            if bad >= 0:
                return done + bad
            done += number
        return -1

    def _call(self, *given: Any) -> int:
        """Call the program; return the number of the first batch with a loss that is not finite, -1 for none."""
        return int(self._train(*given, *self._bound.values()))

    def _bind(self, width: int, rows: int) -> None:
        """Look up the arguments of the program that may have changed since the last call."""
        moved = not self._values or any(parameter.value is not value for parameter, value in self._values.items())
        changed = self._changing
        if moved or rows != self._rows or width != self._widths[0]:
            self._widths, self._rows, changed = widths_of(self._links, width), rows, self._arguments
            if moved:
                self._gather()
        self._bound |= {name: self._resolved(name, argument) for name, argument in changed.items()}

    def _gather(self) -> None:
        """Find the arrays of the parameters, and of their gradients in the optimizer."""
        vector = self._optimizer.vector
        vector.gather()
        vector.gradients.fill(0.0)
        gradients = zip(vector.parameters, vector.split(vector.gradients), strict=True)
        self._gradients = {parameter: gradient for parameter, gradient in gradients if not parameter.frozen}
        used = [argument.value for argument in self._of_kind("parameter").values()]
        self._values = {parameter: parameter.value for parameter in [*vector.parameters, *used]}

    def _resolved(self, name: str, argument: Argument) -> Any:
        """Return the value of an argument."""
        vector = self._optimizer.vector
        match argument.kind:
            case "number":
                return float(argument.value)
            case "array":
                return np.array(argument.value, vector.values.dtype)
            case "parameter":
                return argument.value.value
            case "gradient":
                parameter = argument.value
                kept = self._gradients.get(parameter)
                return self._working(name, *parameter.shape) if kept is None else kept
            case "buffer":
                # A copy, as on the NumPy path: an array that the user may hold does not change.
                buffer = argument.value
                buffer.value = np.array(buffer.value)
                return buffer.value if buffer.value.ndim else buffer.value.reshape(1)
            case "vector":
                size = vector.values.size
                if np.size(argument.value) != size:
                    where = type(argument.owner).__name__
                    raise CallOrderError(
                        f"{where}: expected {argument.name!r} to be the vector of {size} numbers that slot() made, "
                        f"got {argument.value!r}; write into it: {argument.name}[...] = ..."
                    )
                return argument.value
            case "learning":
                places = zip(vector.parameters, vector.slices(), strict=True)
                return np.array([
                    (begin, min(begin + PART, place.stop))
                    for parameter, place in places if not parameter.frozen
                    for begin in range(place.start, place.stop, PART)
                ])
            case "places":
                slices = [slice(0, vector.values.size)] if argument.owner.joined else vector.slices()
                return np.array([(part.start, part.stop) for part in slices])
            case "penalty":
                return np.concatenate([
                    np.full(own.size, sum(p.strength for p in argument.owner if own in p.parameters), own.dtype)
                    for own in vector.parameters
                ])
            case "memory":
                sizes = {"rows": self._rows, "features": self._widths[argument.place]}
                return self._working(name, *(sizes[dimension] for dimension in argument.shape))
            case "target":
                return self._working(name, self._rows, argument.owner.target_features(self._widths[-1]))
        return None  # Random numbers and sequences are made for each call.

    def _working(self, name: str, *shape: int) -> Array:
        """Return an array to work in; use the same memory again if it is large enough."""
        memory = self._memory.get(name)
        if memory is None or memory.shape[1:] != shape[1:] or len(memory) < shape[0]:
            memory = self._memory[name] = aligned(shape, self._optimizer.vector.values.dtype)
        return memory[: shape[0]]

    def _set_rates(self, rates: Array) -> None:
        """Compute the learning rates of the next steps."""
        optimizer = self._optimizer
        rate, begin = optimizer.learning_rate, optimizer.steps
        if not callable(rate):
            rates.fill(rate)
            return
        if isinstance(rate, Schedule):
            # Half of the time of `current_rate`, whose checks then find the rate that is wrong.
            with suppress(OverflowError):
                found = [rate.at(step, optimizer.epochs) for step in range(begin, begin + len(rates))]
                rates[:] = found
                if set(map(type, found)) == {float} and rates.min() >= 0.0 and rates.max() < inf:
                    return
        try:
            for k in range(len(rates)):
                optimizer.steps = begin + k
                rates[k] = optimizer.current_rate()
        finally:
            optimizer.steps = begin


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array whose memory begins at a line of the cache."""
    size = prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    begin = -memory.ctypes.data % ALIGNED
    found: Array = memory[begin : begin + size].view(dtype).reshape(shape)
    return found
