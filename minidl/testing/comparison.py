"""Compare found arrays with expected ones, and name the worst element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .derivatives import Derivative
from .report import TOLERANCES, CheckError, Measurement, described_error, expect

# Arrays.


@dataclass(frozen=True)
class Pass:
    """The results of one forward and backward.

    Attributes:
        output: y, or the value of a loss.
        inputs: ∂e/∂x of each input, by name.
        parameters: The gradient of each parameter, by name.
    """

    output: Array
    inputs: dict[str, Array]
    parameters: dict[str, Array] = field(default_factory=dict)

    @property
    def gradients(self) -> dict[str, Array]:
        """Map the names of inputs and parameters to their gradients."""
        return {**self.inputs, **self.parameters}

    @property
    def arrays(self) -> dict[str, Array]:
        """Map the description of each array to the array."""
        return {"output of forward": self.output, **gradients_of(self.gradients)}


def gradients_of(gradients: Mapping[str, Array]) -> dict[str, Array]:
    """Say in the names that these are gradients."""
    return {f"gradient of {name}": gradient for name, gradient in gradients.items()}


def same(wanted: npt.ArrayLike, found: npt.ArrayLike, what: str, tolerance: float = 1e-10) -> None:
    """Raise a `CheckError` that names the worst element where two arrays are not the same to rounding."""
    a, b = np.asarray(wanted), np.asarray(found)
    expect(a.shape == b.shape, f"{what}: expected shape {a.shape}, got {b.shape}")
    off = np.asarray(np.abs(a - b))
    off[np.isnan(off)] = np.inf
    if (off > tolerance * max(float(np.abs(a).max(initial=0.0)), 1e-6)).any():
        place = _index(a, int(np.argmax(off)))
        at = f" at {list(place)}" if place else ""
        bits, digits = ("", 6) if tolerance else ("the same bits, ", 17)
        raise CheckError(f"{what}: expected {bits}{a[place]:.{digits}g}{at}, got {b[place]:.{digits}g}")


def same_arrays(wanted: Mapping[str, Array], found: Mapping[str, Array], what: str) -> None:
    """Compare arrays by name."""
    for name, array in wanted.items():
        same(array, found[name], f"{name} {what}")


def check_finite(given: Pass, what: str) -> None:
    """Refuse NaN and infinity in the results of a pass."""
    for name, array in given.arrays.items():
        expect(np.isfinite(array).all(), f"{name} {what}: expected finite numbers, got NaN or infinity")


def shape_of(value: object) -> str:
    """Describe the shape of an array, or the type of another value."""
    if isinstance(value, tuple):
        return f"({', '.join(shape_of(item) for item in value)})"
    return str(value.shape) if isinstance(value, np.ndarray) else type(value).__name__


def check_shape(value: object, shape: tuple[int, ...], what: str) -> None:
    """Refuse a value that is not an array of one shape."""
    expect(shape_of(value) == str(shape), f"{what}: expected shape {shape}, got {shape_of(value)}")


# Memory.

OF_THE_CALLER = "which is the caller's array; work on a copy"
RETURNED = "which somebody else may hold; make a fresh array in each call"


class WriteGuard:
    """Copies of arrays, to see later whether something wrote into one.

    Args:
        arrays: The arrays by name.
        advice: What the message says after the name.
    """

    def __init__(self, arrays: Mapping[str, Array], advice: str) -> None:
        self._arrays = {name: (array, array.copy()) for name, array in arrays.items()}
        self._advice = advice

    def check(self, method: str) -> None:
        """Refuse a change; the message names the method that made it."""
        for name, (now, then) in self._arrays.items():
            expect(np.array_equal(now, then), f"{method} wrote into {name}, {self._advice}")


# Errors.

REFUSED: Final = object()
"""What `attempt` returns where a call was refused."""


@contextmanager
def explained(before: str, after: str = "") -> Iterator[None]:
    """Turn an error that is raised in this context into a `CheckError` with more text."""
    try:
        yield
    except Exception as error:
        raise CheckError(f"{before}{described_error(error)}{after}") from error


def attempt(call: Callable[[], Any], kind: type[Exception], what: str, *also: type[Exception]) -> Any:
    """Return the result of a call, or `REFUSED` where it raised one kind of error.

    Args:
        call: What to call.
        kind: The error.
        what: What should be refused, for the message.
        also: Other kinds that count.

    Raises:
        CheckError: the call raised another error.
    """
    with explained(f"{what}: expected a {kind.__name__}; "):
        try:
            return call()
        except (kind, *also):
            return REFUSED


def refused(call: Callable[[], Any], kind: type[Exception], what: str, *also: type[Exception], got: str = "") -> None:
    """Raise a `CheckError` where a call does not raise one kind of error."""
    result = attempt(call, kind, what, *also)
    expect(result is REFUSED, f"{what}: expected a {kind.__name__}, got {got or f'an output {shape_of(result)}'}")


# Gradients.


def compare(name: str, found: npt.NDArray[Any], wanted: Derivative, rows: int, method: str = "") -> Measurement:
    """Return the relative error of a gradient.

    Args:
        name: Of the array.
        found: Its gradient, as `backward` gave it.
        wanted: The derivative from the forward pass.
        rows: Rows of the batch; for the hint if the gradient is wrong by this factor.
        method: The method that gives the tolerance; "" for that of the derivative.

    Raises:
        CheckError: the error is above the tolerance; the message names the worst element.
    """
    method = method or wanted.method
    values = found.ravel()[wanted.places].astype(np.float64)
    errors = np.where(np.isfinite(values), np.abs(values - wanted.values) / wanted.scale, np.inf)
    error = float(errors.max(initial=0.0))
    if error > TOLERANCES[method]:
        worst = int(np.argmax(errors))
        at = f"gradient of {name}{list(_index(found, int(wanted.places[worst]))) or ''}"
        if not np.isfinite(error):
            raise CheckError(f"{at}: expected a finite number, got {values[worst]}")
        raise CheckError(
            f"{at}: expected {wanted.values[worst]:.6g}, got {values[worst]:.6g} "
            f"(relative error {error:.2g} by {wanted.method}, at most {TOLERANCES[method]:.0e})"
            + _resemblance(values, wanted.values, found.shape, rows)
        )
    return Measurement(method, error)


def _index(array: npt.NDArray[Any], flat: int) -> tuple[int, ...]:
    """Return a flat index as an index of the array."""
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def _resemblance(values: Array, expected: Array, shape: tuple[int, ...], rows: int) -> str:
    """Say what a wrong gradient looks like: zero, the negative, a multiple, the transpose."""
    largest = float(np.abs(values).max())
    if not largest:
        return "\nit is zero everywhere: does backward add anything to it?"
    if np.max(np.abs(expected)) < 1e-9 * largest:
        return "\nthe output does not depend on it at all: does forward read the value anew in each call?"
    looks = {"only its sign is wrong": -expected}
    if rows > 1:
        factor = f"1/{rows}, the number of rows: the mean over the batch is the loss's"
        looks[f"it is wrong by a factor {factor}"] = expected / rows
        looks[f"it is wrong by a factor {rows}, the number of rows"] = expected * rows
    if len(shape) == 2 and shape[0] == shape[1] and expected.size == shape[0] * shape[1]:
        looks["it is the transpose of what is expected"] = expected.reshape(shape).T.ravel()
    looks["it is right to a few digits: does forward use a constant that backward does not?"] = expected
    if expected.size > 1:
        ratio = float(np.dot(values, expected) / np.dot(expected, expected))
        looks[f"it is {ratio:.4g} times what is expected, everywhere"] = ratio * expected
    near = 1e-4 * max(largest, 1e-12)
    return next((f"\n{text}" for text, like in looks.items() if np.all(np.abs(values - like) <= near)), "")
