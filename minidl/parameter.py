"""What a model learns, and the flat vectors in which an optimizer keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .arrays import FLOATS, Array, floating, generator
from .errors import ArgumentError, CallOrderError, DTypeError, ShapeError
from .initializers import Initializer

if TYPE_CHECKING:
    from .arrays import Seed


class Parameter:
    """Hold a learned array and the gradient of the error with respect to it.

    Made from a value, ``Parameter(1.0)``, or from an initializer and a shape,
    ``Parameter(GlorotUniform(), (4, 3))``. Gradients add up until an optimizer's ``step()`` uses them up;
    the first ``p.grad += g`` after that starts from zero again, so nobody has to zero them.

    Args:
        value: Initial value, or the initializer that draws it.
        shape: Shape to draw; only with an initializer.
        dtype: float64 or float32; None keeps the value's own, float64 where it has none.
        rng: Generator or seed for the first draw.

    Raises:
        ArgumentError: a shape together with a value, an initializer without a shape, a negative size, or a Parameter.
        DTypeError: a value that is not made of real numbers.
    """

    __slots__ = ("_grad", "_initial", "_used", "_value")

    def __init__(
        self,
        value: npt.ArrayLike | Initializer,
        shape: tuple[int, ...] | None = None,
        *,
        dtype: npt.DTypeLike | None = None,
        rng: Seed = None,
    ) -> None:
        kind = None if dtype is None else float_dtype(dtype, "Parameter")
        self._initial: Array | Initializer
        if isinstance(value, Initializer):
            if shape is None:
                raise ArgumentError(f"Parameter: an initializer needs a shape: Parameter({value!r}, (4, 3))")
            if not all(isinstance(size, (int, np.integer)) and size >= 0 for size in np.atleast_1d(shape)):
                raise ArgumentError(f"Parameter(shape): expected whole numbers of at least 0, got {shape!r}")
            self._initial = value
            self._value: Array = np.empty(shape, kind or np.float64)
            self.initialize(generator(rng, "model"))
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
        self._grad: Array | None = None  # Made when it is needed: a model that only predicts has none.
        self._used = True

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

    @property
    def grad(self) -> Array:
        """The gradient gathered since the last step, zero when there is none."""
        grad = self._gradient()
        if self._used:
            grad.fill(0.0)
            self._used = False
        return grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        if grad is None or grad is not self._grad:
            raise CallOrderError(
                "Parameter.grad: expected `p.grad += g`, got an assignment of another array; "
                "gradients add up, and an optimizer may hold this one"
            )

    @property
    def has_grad(self) -> bool:
        """Whether a gradient was written since the last step."""
        return not self._used

    def accumulate(self, function: Callable[..., Any], *arguments: Array) -> None:
        """Add ``function(*arguments)`` to the gradient.

        The first one after a step is written straight into place by ``function(*arguments, out=…)``, which
        saves a temporary array and an addition; ``p.grad += function(*arguments)`` gives the same.
        """
        grad = self._gradient()
        if self._used:
            function(*arguments, out=grad)
            self._used = False
        else:
            grad += function(*arguments)

    def _gradient(self) -> Array:
        """Return the memory of the gradient, whatever stands in it."""
        if self._grad is None:
            self._grad = np.empty_like(self._value)
        return self._grad

    def zero_grad(self) -> None:
        """Throw the gradient away."""
        self._used = True

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the value again; one that was made from a value returns to it."""
        if isinstance(self._initial, Initializer):
            self._value[...] = self._initial.draw(self.shape, rng)
        else:
            self._value[...] = self._initial

    def cast(self, dtype: npt.DTypeLike) -> None:
        """Move value and gradient to arrays of ``dtype``; an optimizer gathers them at its next step."""
        kind = float_dtype(dtype, "Parameter.cast")
        self._value = self._value.astype(kind)
        self._grad = None if self._used or self._grad is None else self._grad.astype(kind)

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
        return f"Parameter{self.shape}"


class ParameterVector:
    """Keep parameters in one contiguous vector of values and one of gradients, each a view into them.

    One vector operation then updates everything, whatever the number of layers.

    Args:
        parameters: What to gather; a shared one counts once. Their gradients are thrown away.

    Raises:
        ArgumentError: no parameter at all.
        DTypeError: something else than a Parameter, or float32 and float64 mixed.

    Attributes:
        values: Vector of all values.
        gradients: Vector of all gradients; complete after `collect` or `complete`.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = unique_parameters(parameters)
        size = sum(p.size for p in self.parameters)
        self.values: Array = np.empty(size, self.parameters[0].dtype)
        self.gradients: Array = np.zeros(size, self.parameters[0].dtype)
        self._views: list[tuple[Parameter, Array, Array]] = []
        self.gather()
        for parameter in self.parameters:
            parameter.zero_grad()

    def gather(self) -> None:
        """Copy every parameter into its place, and make it a view of that place."""
        views = []
        for parameter, place in zip(self.parameters, self.slices(), strict=True):
            if parameter.dtype != self.values.dtype:
                raise DTypeError(
                    f"ParameterVector: expected every parameter in {self.values.dtype}, got {parameter!r} in "
                    f"{parameter.dtype}; cast the model with astype before making the optimizer"
                )
            value = self.values[place].reshape(parameter.shape)
            gradient = self.gradients[place].reshape(parameter.shape)
            if parameter._value is not value:
                value[...] = parameter._value
                if not parameter._used:
                    gradient[...] = parameter.grad
            parameter._value, parameter._grad = value, gradient
            views.append((parameter, value, gradient))
        self._views = views

    def collect(self) -> None:
        """Make `values` and `gradients` complete, and count the gradients as used up.

        Parameters that no longer lie here (another optimizer, a copy, unpickling) are gathered again.

        Raises:
            CallOrderError: no parameter has a gradient.
        """
        for parameter, value, gradient in self._views:
            if parameter._value is not value or parameter._grad is not gradient:
                self.gather()
                break
        written = False
        for parameter, _, gradient in self._views:
            if parameter._used:
                gradient.fill(0.0)
            else:
                parameter._used = True
                written = True
        if not written:
            raise CallOrderError(
                "step(): no parameter has a gradient; call loss.forward, model.forward and "
                "model.backward(loss.backward()) before it"
            )

    def complete(self) -> None:
        """Make `values` and `gradients` complete for a look or a change before the step, which still uses them up.

        Raises:
            CallOrderError: no parameter has a gradient.
        """
        self.collect()
        for parameter in self.parameters:
            parameter._used = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A view that is copied or pickled comes back as an array of its own.
        vars(self).update(state)
        self.gather()

    def slices(self) -> list[slice]:
        """Say where each parameter lies in the vectors."""
        places, start = [], 0
        for parameter in self.parameters:
            places.append(slice(start, start + parameter.size))
            start += parameter.size
        return places


class Buffer:
    """Hold an array that is part of a model's state but not learned by gradients: running statistics.

    Args:
        value: The initial value, to which `reset` returns.
    """

    __slots__ = ("_initial", "_value")

    def __init__(self, value: npt.ArrayLike) -> None:
        self._value = np.array(value)
        self._initial = self._value.copy()

    @property
    def value(self) -> npt.NDArray[Any]:
        """The array. Assigning puts another in its place; a single number becomes an array without dimensions."""
        return self._value

    @value.setter
    def value(self, value: npt.ArrayLike) -> None:
        self._value = np.asarray(value)

    def reset(self) -> None:
        """Return to the initial value."""
        self.value = self._initial.astype(self.value.dtype)

    def cast(self, dtype: npt.DTypeLike) -> None:
        """Move a floating value to ``dtype``; counts stay whole numbers."""
        if self.value.dtype.kind == "f":
            self.value = self.value.astype(float_dtype(dtype, "Buffer.cast"))

    def __repr__(self) -> str:
        return f"Buffer{self.value.shape}"


def unique_parameters(parameters: Iterable[Parameter]) -> list[Parameter]:
    """List each parameter once, in order."""
    if not isinstance(parameters, Iterable):
        raise DTypeError(f"expected a list of Parameter objects, got {parameters!r}; pass model.parameters()")
    found: dict[int, Parameter] = {}
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise DTypeError(
                f"expected Parameter objects, got {parameter!r}; pass model.parameters(), or a list of layer.weight"
            )
        found.setdefault(id(parameter), parameter)
    if not found:
        raise ArgumentError("expected at least one parameter, got none; is there a layer that learns?")
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
