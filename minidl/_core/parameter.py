"""Parameters and buffers: the learned and the other state of a model."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError, CallOrderError, DTypeError, ShapeError
from .arrays import FLOATS, MANY, Array, dense, floating, ones, sum_of_rows
from .generators import Seed, first_draws, generator
from .initializer import Initializer


def _refuse_frozen(part: Freezable, frozen: bool) -> NoReturn:
    raise AttributeError(f"{type(part).__name__}.frozen cannot be assigned; call freeze() or unfreeze()")


class Freezable:
    """Base of parameters and buffers, which training changes unless they are frozen."""

    __slots__ = ("_frozen",)

    def __init__(self) -> None:
        self._frozen = False

    @property
    def frozen(self) -> bool:
        """Whether training leaves it as it is."""
        return self._frozen

    if not TYPE_CHECKING:
        # It is read in every pass: an attrgetter takes half the time.
        frozen = property(attrgetter("_frozen"), _refuse_frozen, doc=frozen.__doc__)

    def freeze(self) -> Self:
        """Keep the value as it is in training, until `unfreeze`."""
        self._frozen = True
        return self

    def unfreeze(self) -> Self:
        """Let training change it again."""
        self._frozen = False
        return self


class Parameter(Freezable):
    """Hold a learned array and the gradient of the error with respect to it.

    Made from a value, ``Parameter(1.0)``, or from an initializer and a shape,
    ``Parameter(GlorotUniform(), (4, 3))``. Gradients add up until an optimizer's ``step()`` uses them up;
    the first ``p.grad += g`` after that starts from zero again, so nobody has to zero them.
    What is frozen is not learned: optimizers and solvers skip it.

    Args:
        value: Initial value, or the initializer that draws it.
        shape: Shape to draw; only with an initializer.
        dtype: float64 or float32; None keeps the value's own, float64 where it has none.

    Raises:
        ArgumentError: a shape together with a value, an initializer without a shape, a negative size, or a Parameter.
        DTypeError: a value that is not made of real numbers.
    """

    # The array of the gradient is in one of three states:
    #   empty    neither flag: its numbers are old and count as zero; the next gradient is written over them.
    #   added    `_added`: a gradient was added since the last step.
    #   shared   `_shared`: somebody has read `grad` and may hold the array, so its numbers are always right: a step
    #            clears them, and they are a gradient where one is not zero, because p.grad[rows] += g sets no flag.
    # `_added` and `_shared` may both be true.
    __slots__ = ("_added", "_grad", "_initial", "_shared", "_value")

    def __init__(
        self,
        value: npt.ArrayLike | Initializer,
        shape: tuple[int, ...] | None = None,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        kind = None if dtype is None else float_dtype(dtype, "Parameter")
        self._initial: Array | Initializer
        if isinstance(value, Initializer):
            if shape is None:
                raise ArgumentError(f"Parameter: an initializer needs a shape: Parameter({value!r}, (4, 3))")
            if not all(isinstance(size, (int, np.integer)) and size >= 0 for size in np.atleast_1d(shape)):
                raise ArgumentError(f"Parameter(shape): expected whole numbers of at least 0, got {shape!r}")
            self._initial = value
            try:
                self._value: Array = np.empty(shape, kind or np.float64)
            except ValueError:
                raise ArgumentError(f"Parameter(shape): expected a shape that an array can have, got {shape}") from None
            self._value[...] = value.draw(self.shape, first_draws())
        else:
            if isinstance(value, Parameter):
                raise ArgumentError(
                    f"Parameter: expected a value or an initializer, got {value!r}; to share a parameter keep the "
                    "object itself in both places, for a copy of its numbers give its value"
                )
            if shape is not None:
                raise ArgumentError(f"Parameter: expected an initializer such as Zeros() with a shape, got {value!r}")
            self._value = np.array(floating(value, "Parameter", kind), order="C")
            self._initial = self._value.copy()
        super().__init__()
        self._grad: Array | None = None  # Made when it is needed: a model that only predicts has none.
        self._added = self._shared = False

    @property
    def value(self) -> Array:
        """The learned array. Assigning copies the new numbers into it."""
        return self._value

    @value.setter
    def value(self, value: npt.ArrayLike) -> None:
        new = floating(value, "Parameter.value", self.dtype)
        if new.shape != self.shape:
            raise ShapeError(f"Parameter.value: expected shape {self.shape}, got {new.shape}")
        if new is not self._value:
            self._value[...] = new

    if not TYPE_CHECKING:
        # Layers read it in every pass; this getter takes half the time.
        value = property(attrgetter("_value"), value.fset, doc=value.__doc__)

    @property
    def grad(self) -> Array:
        """The gradient gathered since the last step, zero when there is none. Reading it changes nothing."""
        grad = self._memory()
        if not (self._added or self._shared):
            grad.fill(0.0)
        self._shared = True
        return grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        if grad is None or grad is not self._grad:
            raise CallOrderError(
                "Parameter.grad: expected `p.grad += g`, got an assignment of another array; "
                "gradients add up, and an optimizer may hold this one"
            )
        self._added = True

    @property
    def has_grad(self) -> bool:
        """Whether a gradient was added since the last step."""
        return self._added or (self._shared and bool(self._memory().any()))

    def add_product(self, a: Array, b: Array) -> None:
        """Do ``p.grad += a @ b`` faster: the first product since the last step is written straight into place."""
        if self._added or self._shared:
            self.grad += a.dot(b)
        else:
            a.dot(b, self._memory() if self._grad is None else self._grad)
            self._added = True

    def add_rows(self, rows: Array) -> None:
        """Do ``p.grad += rows.sum(axis=0)`` faster, and for many rows of float32 more exactly."""
        if len(rows) > MANY:
            self.add_grad(sum_of_rows(rows))
        else:
            self.add_product(ones(len(rows), rows.dtype), rows)

    def add_grad(self, g: Array | np.floating[Any]) -> None:
        """Do ``p.grad += g`` faster: the first one since the last step is copied."""
        if self._added or self._shared or g.shape != self.shape:
            self.grad += g
        else:
            self._memory()[...] = g
            self._added = True

    def _memory(self) -> Array:
        """Return the array of the gradient; in the state "empty" its numbers mean nothing."""
        if self._grad is None:
            self._grad = np.empty_like(self._value)
        return self._grad

    def zero_grad(self) -> None:
        """Throw the gradient away."""
        self._added = False
        if self._shared:
            self._memory().fill(0.0)

    def initialize(self, rng: Seed = None) -> Self:
        """Draw the value again; one that was made from a value returns to it."""
        first, rng = self._initial, generator(rng, "model")
        drawn = first.draw(self.shape, rng) if isinstance(first, Initializer) else first
        self._value[...] = drawn
        self.zero_grad()
        return self

    def cast(self, dtype: npt.DTypeLike) -> None:
        """Move value and gradient to arrays of ``dtype``; an optimizer gathers them at its next step."""
        kind = float_dtype(dtype, "Parameter.cast")
        self._value = self._value.astype(kind)
        self._grad = self._grad.astype(kind) if self._grad is not None and self.has_grad else None
        self._shared = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value and of the gradient."""
        return self._value.shape

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self._value.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 or float32."""
        return self._value.dtype

    def __repr__(self) -> str:
        return f"Parameter{self.shape}{', frozen' if self.frozen else ''}"


class WithoutGradient(Parameter):
    """A parameter with a gradient that nobody needs: built-in layers then save the time to compute it."""

    __slots__ = ()

    def add_product(self, a: Array, b: Array) -> None:
        """Do nothing."""

    def add_rows(self, rows: Array) -> None:
        """Do nothing."""

    def add_grad(self, g: Array | np.floating[Any]) -> None:
        """Do nothing."""


def twin_of(parameter: Parameter, kind: type[Parameter]) -> Parameter:
    """Return a parameter of a class that shares the value, is not frozen, and has a gradient of its own."""
    twin = object.__new__(kind)
    twin._value, twin._initial, twin._grad = parameter._value, parameter._initial, None
    twin._added = twin._shared = twin._frozen = False
    return twin


class Buffer(Freezable):
    """Hold an array that is part of a model's state but not learned by gradients: running statistics.

    Args:
        value: The initial value, to which `reset` returns.

    Example:
        >>> count = Buffer(0.0)
        >>> count.value = count.value + 1
        >>> count.value
        array(1.)
        >>> count.reset()
        >>> count.value
        array(0.)
    """

    __slots__ = ("_initial", "_value")

    def __init__(self, value: npt.ArrayLike) -> None:
        super().__init__()
        self._value = np.array(dense(value, "Buffer"))
        self._initial = self._value.copy()

    @property
    def value(self) -> npt.NDArray[Any]:
        """The array. Assigning puts another in its place; a single number becomes an array without dimensions."""
        return self._value

    @value.setter
    def value(self, value: npt.ArrayLike) -> None:
        self._value = value if type(value) is np.ndarray else np.asarray(dense(value, "Buffer.value"))

    def reset(self) -> None:
        """Return to the initial value."""
        self.value = self._initial.astype(self.value.dtype)

    def cast(self, dtype: npt.DTypeLike) -> None:
        """Move a floating value to ``dtype``; counts stay whole numbers."""
        if self.value.dtype.kind == "f":
            self.value = self.value.astype(float_dtype(dtype, "Buffer.cast"))

    def __repr__(self) -> str:
        return f"Buffer{self.value.shape}{', frozen' if self.frozen else ''}"


def unique_parameters(parameters: Iterable[Parameter], where: str) -> list[Parameter]:
    """List each parameter once, in order; ``where`` names the argument in errors."""
    if hasattr(parameters, "parameters") or isinstance(parameters, np.ndarray) or not isinstance(parameters, Iterable):
        kind = type(parameters).__name__
        raise DTypeError(f"{where}: expected Parameter objects, got one {kind}; pass model.parameters()")
    found: dict[int, Parameter] = {}
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise DTypeError(
                f"{where}: expected Parameter objects, got {parameter!r}; pass model.parameters(), or a list such as "
                "[layer.weight]"
            )
        found.setdefault(id(parameter), parameter)
    if not found:
        raise ArgumentError(f"{where}: expected at least one parameter, got none; is there a layer that learns?")
    return list(found.values())


def float_dtype(dtype: npt.DTypeLike, where: str) -> np.dtype[Any]:
    """Return float64 or float32, or say that ``dtype`` is neither."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{where}: expected dtype float64 or float32, got {dtype!r}") from None
    if kind not in FLOATS:
        raise DTypeError(f"{where}: expected dtype float64 or float32, got {kind}")
    return kind
