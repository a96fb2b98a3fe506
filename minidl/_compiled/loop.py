"""Run a compiled program over batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Parameter
from ..layers.base import Layer
from ..optimizers import Optimizer
from .cache import compiled
from .feed import Data, Draws
from .language import Argument
from .program import TrainingProgram

AT_ONCE = 1 << 18
"""About how many bytes of random numbers, and of rows in an unusual layout, are put together for one call."""


class CompiledLoop:
    """Forward, loss, backward and step for many batches in one call of compiled code.

    Args:
        program: The program.
        layers: The chain that it was written for.
        optimizer: The optimizer that it was written for.
        functions: The functions of the user in it, compiled.
    """

    def __init__(
        self, program: TrainingProgram, layers: list[Layer], optimizer: Optimizer, functions: dict[str, Any]
    ) -> None:
        self.source = program.source
        """The program that is compiled: the loop at its end, over one kernel for each layer."""
        self._layers, self._optimizer, self._arguments = layers, optimizer, program.arguments
        self._train = compiled(program.source, "train", functions)
        self._draws = Draws(
            [(name, a.owner.rng, a.number) for name, a in self._arguments.items() if a.kind == "uniform"]
        )
        self._changing = {name: a for name, a in self._arguments.items() if a.kind in ("number", "buffer")}
        self._widths: list[int] = []
        self._rows = 0
        self._gradients: dict[Parameter, Array] = {}
        self._values: dict[Parameter, Array] = {}
        self._memory: dict[str, Array] = {}
        self._bound: dict[str, Any] = {}
        self._given: tuple[npt.NDArray[Any], ...] = ()
        self._data = Data(())

    def run(
        self,
        arrays: tuple[npt.NDArray[Any], ...],
        order: npt.NDArray[np.intp] | None,
        *,
        begin: int,
        rows: int,
        count: int,
        total: float = 0.0,
    ) -> tuple[float, int]:
        """Train on ``count`` batches of ``rows`` rows each.

        Nothing is checked here: the Trainer has, and compiled code reads and writes where it is told to.

        Args:
            arrays: Input ``(n, features)``; target ``(n, outputs)``, or labels ``(n,)``; and wᵢ of each row, ``(n,)``,
                if they are not all 1. All in the dtype of the model but labels.
            order: Which row comes when, or None for the order of the data.
            begin: Where in the order the first batch begins.
            rows: Rows of each batch.
            count: How many batches.
            total: The sum of losses to continue.

        Returns:
            The sum over the batches of loss times rows, and the number of the first batch whose loss is not finite, -1
            for none. Of that batch the weights know nothing; running statistics and random generators may.
        """
        if arrays is not self._given:
            self._given, self._data = arrays, Data(arrays)
        data, optimizer = self._data, self._optimizer
        optimizer.vector.use_up()  # The program writes its gradients over what stands there.
        self._bind(arrays[0].shape[1], rows)
        at_once = max(1, AT_ONCE // (self._bytes_a_row(arrays) * rows + 1))
        for done in range(0, count, at_once):
            number = min(at_once, count - done)
            self._bound |= self._draws.draw(number, rows, self._widths, arrays[0].dtype)
            rates = self._rates(number)
            total, bad = self._train(
                *data.rows(begin + done * rows, number * rows, order),
                rates,
                optimizer.steps + 1,
                total,
                *self._bound.values(),
            )
            steps = number if bad < 0 else bad
            optimizer.steps += steps
            if steps:
                optimizer.last_rate = float(rates[steps - 1])
            if bad >= 0:
                return total, done + bad
        return total, -1

    def _bytes_a_row(self, arrays: tuple[npt.NDArray[Any], ...]) -> int:
        """Return what is put together for one row before a call: random numbers, and data in an unusual layout."""
        drawn = self._draws.width(self._widths) * arrays[0].itemsize
        return drawn + (0 if self._data.in_place else sum(array.nbytes // len(array) for array in arrays))

    def _bind(self, width: int, rows: int) -> None:
        """Look up the arguments of the program, as far as they may have changed since the last time."""
        moved = not self._values or any(parameter.value is not value for parameter, value in self._values.items())
        if moved or rows != self._rows or width != self._widths[0]:
            self._widths = [width]
            for layer in self._layers:
                self._widths.append(layer.output_features(self._widths[-1]))
            self._rows = rows
            if moved:
                self._gather()
            self._bound = {name: self._resolved(name, argument) for name, argument in self._arguments.items()}
        else:
            self._bound |= {name: self._resolved(name, argument) for name, argument in self._changing.items()}

    def _gather(self) -> None:
        """Find where the parameters are, and where the optimizer keeps their gradients."""
        vector = self._optimizer.vector
        vector.gather()
        vector.gradients.fill(0.0)
        gradients = zip(vector.parameters, vector.split(vector.gradients), strict=True)
        self._gradients = {parameter: gradient for parameter, gradient in gradients if not parameter.frozen}
        used = [getattr(a.owner, a.name) for a in self._arguments.values() if a.kind == "parameter"]
        self._values = {parameter: parameter.value for parameter in [*vector.parameters, *used]}

    def _resolved(self, name: str, argument: Argument) -> Any:
        """Return what an argument stands for."""
        owner = argument.owner
        match argument.kind:
            case "number":
                return float(getattr(owner, argument.name))
            case "parameter":
                return getattr(owner, argument.name).value
            case "gradient":
                parameter = getattr(owner, argument.name.removesuffix("_grad"))
                kept = self._gradients.get(parameter)
                return self._room(name, *parameter.shape) if kept is None else kept
            case "buffer":
                # A copy, so that who holds the array of now goes on seeing it unchanged, as on the NumPy path.
                buffer = getattr(owner, argument.name)
                buffer.value = np.array(buffer.value)
                return buffer.value if buffer.value.ndim else buffer.value.reshape(1)
            case "vector":
                flat = argument.name in ("values", "gradients")
                return getattr(owner.vector if flat else owner, argument.name)
            case "uniform":
                return None
            case "learning":
                vector = self._optimizer.vector
                places = zip(vector.parameters, vector.slices(), strict=True)
                return np.array([(place.start, place.stop) for parameter, place in places if not parameter.frozen])
        width = self._widths[argument.number]
        match argument.annotation:
            case "Row":
                return self._room(name, width)
            case "Column":
                return self._room(name, self._rows)
            case "Vector":
                return self._room(name, self._rows, width).reshape(-1)
        return self._room(name, self._rows, width)

    def _room(self, name: str, *shape: int) -> Array:
        """Return an array to work in, the same memory whenever it is large enough."""
        room = self._memory.get(name)
        if room is None or room.shape[1:] != shape[1:] or len(room) < shape[0]:
            room = self._memory[name] = np.empty(shape, self._optimizer.vector.values.dtype)
        return room[: shape[0]]

    def _rates(self, number: int) -> Array:
        """Return the learning rates of the next steps."""
        optimizer = self._optimizer
        if not callable(optimizer.learning_rate):
            return np.full(number, optimizer.learning_rate)
        begin, rates = optimizer.steps, np.empty(number)
        try:
            for k in range(number):
                optimizer.steps = begin + k
                rates[k] = optimizer.current_rate()
        finally:
            optimizer.steps = begin
        return rates
