"""Base class of optimizers: one equation for all parameters, which lie in one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, InitVar, dataclass
from functools import cache
from math import inf
from typing import Any, ClassVar, Self

import numpy as np

from .._core.arrays import Array, listed, real
from .._core.configuration import arguments
from .._core.parameter import Parameter, unique_parameters
from .._core.threads import in_blocks
from .._core.vector import ParameterVector
from ..errors import ArgumentError, CallOrderError, DTypeError
from ..schedules import Epochs, LearningRate, Schedule


def setting(default: float, *, slot: str = "", **bounds: float) -> Any:
    """Declare a number among the constructor's arguments that may be changed later; each assignment is checked.

    Args:
        default: Its default.
        slot: The slot that an optimizer has only if it was made with a number above 0: then 0 has to stay 0.
        bounds: As for `real`.
    """
    return _Setting(default, slot, bounds)


class _Setting:
    """A descriptor without ``__get__``: only assignments come here, reading takes the instance's own attribute."""

    def __init__(self, default: float, slot: str, bounds: dict[str, float]) -> None:
        self.default, self.slot, self.bounds = default, slot, bounds

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        if value is self:  # The argument was left out: a dataclass takes what stands in the class as the default.
            value = self.default
        kept, where = vars(optimizer), f"{type(optimizer).__name__}({self.name})"
        number = real(value, where, **self.bounds)
        if number and kept.get(self.slot, self) is None:
            raise ArgumentError(f"{where}: expected 0, because the optimizer was made without it and has no "
                                f"{self.slot}, got {value}; make a new optimizer")
        kept[self.name] = number
        if self.name == "weight_decay":
            optimizer._spread_decay()

    def __repr__(self) -> str:
        return repr(self.default)


def _checked_rate(optimizer: Optimizer, rate: Any) -> LearningRate:
    """Return a learning rate, or say why it is none."""
    where = f"{type(optimizer).__name__}(learning_rate)"
    if isinstance(rate, type):
        raise DTypeError(f"{where}: expected a number or a function of the step number, got a class; "
                         f"call it with its arguments: {rate.__name__}(…)")
    return rate if callable(rate) else real(rate, where, above=0)


class _Rate:
    """The learning rate among the constructor's arguments, with a default; each assignment is checked."""

    def __init__(self, default: float | None = None) -> None:
        self.default = default

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        vars(optimizer)["learning_rate"] = _checked_rate(optimizer, self.default if value is self else value)

    def __repr__(self) -> str:
        return repr(self.default)


def rate(default: float) -> Any:
    """Declare the learning rate of an optimizer that has a default for it."""
    return _Rate(default)


@dataclass(eq=False, repr=False)
class Optimizer(ABC):
    """Move parameters against their gradients.

    A subclass writes `update`. Vectors that it remembers from step to step are made by `slot`, and numbers that change
    from step to step are named in `changing`; both are saved with a run::

        class Momentum(Optimizer):
            def __init__(self, parameters: list[Parameter], learning_rate: float) -> None:
                super().__init__(parameters, learning_rate)
                self.velocity = self.slot()

            def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
                self.velocity *= 0.9
                self.velocity += gradients
                values -= learning_rate * self.velocity

    Settings may be changed between two steps; one that cannot be honoured raises an error.

    Args:
        parameters: What to learn; those that are frozen are skipped.
        learning_rate: η > 0, a schedule, or a function of the number of steps taken so far.
        weight_decay: λ ≥ 0, how strongly the decayed parameters are drawn towards zero.
        decayed: Which parameters decay; default the weights, that is, those of two or more dimensions.

    Attributes:
        vector: The parameters' values and gradients as two vectors.
        steps: How many steps have been taken.
        last_rate: The learning rate of the last step.
        epochs: How the steps make up epochs; a Trainer sets it for schedules in epochs, and it is in no file.
    """

    parameters: InitVar[Iterable[Parameter]]
    learning_rate: LearningRate
    _: KW_ONLY
    weight_decay: float = setting(0.0, least=0)
    decayed: InitVar[Iterable[Parameter] | None] = None

    changing: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that are numbers and change from step to step."""

    def __post_init__(self, parameters: Iterable[Parameter], decayed: Iterable[Parameter] | None) -> None:
        name = type(self).__name__
        self.learning_rate = _checked_rate(self, self.learning_rate)  # A class may have a default, which nobody set.
        own = unique_parameters(parameters, f"{name}(parameters)")
        weights = [p for p in own if len(p.shape) >= 2]
        self._decayed = weights if decayed is None else listed(decayed, f"{name}(decayed)", "parameters")
        for parameter in self._decayed:
            if not any(parameter is other for other in own):
                raise ArgumentError(f"{name}(decayed): {parameter!r} is not among the parameters")
        self.vector: ParameterVector = ParameterVector(own)  # It moves the parameters, so it comes after all checks.
        self.steps: int = 0
        self.last_rate: float = 0.0
        self.epochs: Epochs | None = None
        self._slots: list[Array] = []
        self._factors: dict[Parameter, float] = {}
        self._decays: dict[Parameter, float] = {}
        self._held_back: Array | None = None
        self._scratch = np.empty_like(self.vector.values)  # Work memory of `update`: nothing in it is remembered.
        self._spread_decay()

    @abstractmethod
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        """Change ``values`` in place; ``gradients`` is not written to.

        Args:
            values: All parameters in one vector.
            gradients: ∂e/∂values.
            learning_rate: η of this step.
        """

    def step(self) -> None:
        """Update the parameters once, and use up their gradients.

        Raises:
            CallOrderError: no parameter has a gradient since the last step.
        """
        vector, rate = self.vector, self.learning_rate
        vector.complete()
        self.last_rate = rate = self.current_rate() if callable(rate) else rate
        values, gradients = vector.values, vector.gradients
        # An update is one equation for all numbers: afterwards frozen values and their slots are put back.
        moved = [values, *self.slots().values()] if vector.frozen else ()
        held = [(part[place], part[place].copy()) for part in moved for place in vector.frozen] if moved else ()
        if self._held_back is not None:
            self._before[...] = values
        if self._decaying:
            gradients = self.decay(values, gradients, self._decay, rate)
        self.update(values, gradients, rate)
        if self._held_back is not None:
            self._hold_back(values, self._held_back)
        for part, value in held:
            part[...] = value
        vector.use_up()
        self.steps += 1

    def set_group(
        self,
        parameters: Iterable[Parameter],
        *,
        rate_factor: float | None = None,
        weight_decay: float | None = None,
    ) -> Self:
        """Give some of the parameters a learning rate and a weight decay of their own.

        It may be called more than once, also between two steps.

        Args:
            parameters: Those of one group, such as ``body.parameters()``.
            rate_factor: f > 0: their learning rate is f η, with η the rate of the optimizer. None leaves it as it is.
            weight_decay: Their λ ≥ 0, which does not depend on ``decayed``. None leaves it as it is.

        Returns:
            The optimizer itself.

        Raises:
            ArgumentError: a parameter that the optimizer does not hold.

        Example:
            >>> from minidl import AdamW, mlp
            >>> body, head = mlp([2, 8, 8]), mlp([8, 1])
            >>> optimizer = AdamW(body.parameters() + head.parameters(), 0.001)
            >>> optimizer = optimizer.set_group(body.parameters(), rate_factor=0.1, weight_decay=0)
        """
        where = f"{type(self).__name__}.set_group"
        group = unique_parameters(parameters, f"{where}(parameters)")
        for parameter in group:
            if not any(parameter is own for own in self.vector.parameters):
                raise ArgumentError(f"{where}(parameters): expected parameters of this optimizer, got another "
                                    f"{parameter!r}")
        factor = None if rate_factor is None else real(rate_factor, f"{where}(rate_factor)", above=0)
        decay = None if weight_decay is None else real(weight_decay, f"{where}(weight_decay)", least=0)
        if factor is not None:
            self._factors |= dict.fromkeys(group, factor)
            self._before, self._held_back = np.empty_like(self.vector.values), np.zeros_like(self.vector.values)
            for parameter, part in zip(self.vector.parameters, self.vector.split(self._held_back), strict=True):
                part[...] = 1.0 - self._factors.get(parameter, 1.0)
        if decay is not None:
            self._decays |= dict.fromkeys(group, decay)
            self._spread_decay()
        return self

    def decay(self, values: Array, gradients: Array, strengths: Array, learning_rate: float) -> Array:
        """Draw the decayed parameters towards zero before the update: g + λ W, where λ W is the gradient of ½ λ ‖W‖².

        Args:
            values: All parameters in one vector.
            gradients: ∂e/∂values; it is not written to.
            strengths: λ of each number, zero for what does not decay.
            learning_rate: η of this step.

        Returns:
            The gradients that `update` is given.
        """
        decayed = self._decayed_gradients
        return np.add(np.multiply(strengths, values, out=decayed), gradients, out=decayed)

    def _hold_back(self, values: Array, held_back: Array) -> None:
        """Make the step f times as long: W ← W − (1 − f) (W − its value before the step)."""
        def hold_back(w: Array, before: Array, part: Array, work: Array) -> None:
            w -= np.multiply(np.subtract(w, before, out=work), part, out=work)

        in_blocks(hold_back, (values, self._before, held_back), self._scratch)

    def current_rate(self) -> float:
        """Return the learning rate of the next step.

        Raises:
            CallOrderError: it is a schedule in epochs, and no Trainer has said how many steps an epoch has.
        """
        rate = self.learning_rate
        if not callable(rate):
            return rate
        found = rate(self.steps, self.epochs) if isinstance(rate, Schedule) else rate(self.steps)
        if type(found) is float and 0.0 <= found < inf:  # `real` takes longer than a step of a small network.
            return found
        return real(found, f"{type(self).__name__}: learning rate at step {self.steps}", least=0)

    def slot(self) -> Array:
        """Make a vector of zeros like ``vector.values`` that is remembered from step to step and saved with a run.

        Keep it as an attribute, and write into it: ``self.velocity *= 0.9``.
        """
        vector = np.zeros_like(self.vector.values)
        self._slots.append(vector)
        return vector

    def slots(self) -> dict[str, Array]:
        """Map the name of each vector that `slot` made to it.

        Raises:
            CallOrderError: an attribute without an underscore is another array of that shape. It looks like state, but
                would not be saved.
        """
        declared = set(map(id, self._slots))
        found = {}
        for name, value in vars(self).items():
            if id(value) in declared:
                found[name] = value
            elif name[0] != "_" and isinstance(value, np.ndarray) and value.shape == self.vector.values.shape:
                raise CallOrderError(
                    f"{type(self).__name__}: expected {name!r} to be the vector that slot() made, got another array; "
                    f"write self.{name} = self.slot() in __init__, and then into it: self.{name}[...] = ...; "
                    f"if it is not remembered from step to step, call it _{name}"
                )
        return found

    def numbers(self) -> dict[str, float]:
        """Return the numbers that change from step to step, and the learning rate, which a callback may lower."""
        names = ("learning_rate", "steps", "last_rate", *self.changing)
        return {name: number for name in names if not callable(number := getattr(self, name))}

    def settings(self) -> dict[str, Any]:
        """Return what stays from step to step: which parameters learn and decay, and the constructor's arguments.

        Of the arguments there are those that are kept as attributes of their names.
        """
        own, changing = vars(self), self.numbers()
        names = sorted(_constructor_arguments(type(self)) - changing.keys() - {"parameters", "decayed"})
        decayed = {id(parameter) for parameter in self._decayed if self.weight_decay}
        groups = {"rate_factors": self._factors, "weight_decays": self._decays}
        return {
            **{name: own[name] for name in names if name in own},
            "parameters": list(self.vector.parameters),
            "decayed": [parameter for parameter in self.vector.parameters if id(parameter) in decayed],
            **{name: list(numbers.items()) for name, numbers in groups.items() if numbers},
        }

    def restore_numbers(self, numbers: dict[str, float]) -> None:
        """Take back what `numbers` gave."""
        vars(self).update(numbers)

    def _spread_decay(self) -> None:
        """Write λ, which was set, to the numbers that decay."""
        kept = vars(self)
        if "_decays" not in kept:
            return
        common = dict.fromkeys(self._decayed, self.weight_decay)
        numbers = common | self._decays
        self._decaying = any(numbers.values())
        if self._decaying and "_decay" not in kept:
            self._decay = np.zeros_like(self.vector.values)
            self._decayed_gradients = np.empty_like(self.vector.values)
        if "_decay" in vars(self):
            for parameter, strengths in zip(self.vector.parameters, self.vector.split(self._decay), strict=True):
                strengths[...] = numbers.get(parameter, 0.0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vector.values.size:,} numbers, learning_rate={self.learning_rate})"


# In the body of the class it would be a default, so that the argument could be left out.
setattr(Optimizer, "learning_rate", _Rate())  # noqa: B010


@cache
def _constructor_arguments(kind: type) -> frozenset[str]:
    """Name the arguments of a class's constructor and of those of its bases."""
    return frozenset(name for base in kind.__mro__ if "__init__" in vars(base) for name in arguments(base))


# Work memory: a new array for each operation costs 5 % of an update of 64-128-10 with Adam, and far more beyond the
# cache. The equations of the optimizers are therefore written for a block, with one vector to work in.


def follow(mean: Array, newest: Array, kept: float, work: Array) -> None:
    """Update mean ← kept · mean + (1 − kept) · newest; ``newest`` may be ``work``."""
    mean *= kept
    mean += np.multiply(newest, 1.0 - kept, out=work)


def descend(w: Array, direction: Array, square: Array, rate: float, epsilon: float, work: Array) -> None:
    """Update w ← w − rate · direction / (√square + epsilon)."""
    np.sqrt(square, out=work)
    work += epsilon
    np.divide(direction, work, out=work)
    work *= rate
    w -= work
