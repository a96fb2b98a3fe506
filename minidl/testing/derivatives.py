"""Derivatives found from the forward pass alone: by complex step, and by central differences away from kinks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from .report import CENTRAL_DIFFERENCES, COMPLEX_STEP, TOLERANCES, Failure, Measurement

Point: TypeAlias = "list[npt.NDArray[Any]]"
"""The arrays that a function depends on: inputs, then parameters."""

Function: TypeAlias = "Callable[[Point], npt.NDArray[Any]]"

PROBED = 32
"""Elements of an array whose derivatives are taken one by one; the total gradient sees all of them."""

DRAWS = 20
"""Points that are tried in the search for one without a kink nearby."""

STEP = 1e-3
"""Step of the central differences relative to the size of an array; their error is of its fourth power."""


@dataclass(frozen=True)
class Slope:
    """Derivative of e = Σ gᵢ yᵢ along a direction.

    Attributes:
        value: The derivative.
        size: Σ |gᵢ ∂yᵢ|, against which roughness is judged.
        rough: How much the differences of two steps, and of both sides, contradict one another.
    """

    value: float
    size: float
    rough: float


@dataclass(frozen=True)
class Derivative:
    """∂e/∂v of one array v, at some of its places.

    Attributes:
        places: Flat indices into v.
        values: The derivative at each.
        method: How it was found.
        scale: What an error is relative to.
    """

    places: npt.NDArray[np.intp]
    values: Array
    method: str
    scale: float


@dataclass(frozen=True)
class Differentiated:
    """A point and the derivatives of e = Σ gᵢ yᵢ there.

    Attributes:
        point: The arrays.
        weights: g, what `backward` is to be given.
        arrays: The derivative with respect to each array; None for one that is not varied.
        direction: A random direction over all arrays that are varied.
        total: The derivative along it.
    """

    point: Point
    weights: Array
    arrays: list[Derivative | None]
    direction: Point
    total: Derivative


def differentiate(
    function: Function,
    draw: Callable[[int], Point],
    varied: Sequence[bool],
    *,
    weigh: Callable[[tuple[int, ...]], Array],
    step: float = STEP,
    complex_too: bool = True,
) -> Differentiated:
    """Differentiate e = Σ gᵢ yᵢ, y = function(point), with respect to the arrays of a point.

    Complex step is believed where it agrees with central differences; a function that is not analytic
    in its code, such as one that takes an absolute value, is judged by the differences.

    Args:
        function: y of a list of arrays, real or complex.
        draw: The point of a given number; further ones are drawn where there is a kink nearby.
        varied: Which arrays of the point to differentiate for.
        weigh: g of the shape of y.
        step: Of the differences.
        complex_too: Whether to try the complex step.
    """
    best: tuple[float, Point, Array, list[list[Slope]], Slope] | None = None
    for number in range(DRAWS):
        point = draw(number)
        weights = weigh(function(point).shape)
        slopes = [
            [central(function, point, _unit(point, k, i), weights, step * _size(point[k])) for i in _places(point[k])]
            if vary else []
            for k, vary in enumerate(varied)
        ]
        total = central(function, point, _direction(point, varied), weights, step)
        every = [*(slope for array in slopes for slope in array), total]
        size = max((slope.size for slope in every), default=0.0)
        rough = max((slope.rough / max(slope.size, 1e-2 * size, 1e-12) for slope in every), default=0.0)
        if best is None or rough < best[0]:
            best = rough, point, weights, slopes, total
        if rough < 0.1:
            break
    assert best is not None
    _, point, weights, slopes, total = best
    floor = max([1e-2 * abs(s.value) for array in slopes for s in array] + [1e-6])
    arrays = [
        _derivative(function, point, weights, [_unit(point, k, i) for i in _places(point[k])], slopes[k],
                    _places(point[k]), floor, varied if complex_too else None) if vary else None
        for k, vary in enumerate(varied)
    ]
    direction = _direction(point, varied)
    along = _derivative(function, point, weights, [direction], [total], np.zeros(1, np.intp),
                        max(total.size, floor), varied if complex_too else None)
    return Differentiated(point, weights, arrays, direction, along)


def central(function: Function, point: Point, direction: Point, weights: Array, step: float) -> Slope:
    """Differentiate along a direction by differences over two steps, extrapolated to the fourth order."""

    def at(t: float) -> npt.NDArray[Any]:
        moved = [v if not d.any() else v + (t * d).astype(v.dtype) for v, d in zip(point, direction, strict=True)]
        return function(moved).astype(np.float64)

    far, near = (at(step) - at(-step)) / (2 * step), (at(step / 2) - at(-step / 2)) / step
    middle = at(0.0)
    sides = (at(step / 2) - 2 * middle + at(-step / 2)) / (step / 2)
    size = np.abs(weights)
    return Slope(
        value=float(np.sum(weights * (4 * near - far) / 3)),
        size=float(np.sum(size * np.abs(near))),
        rough=float(np.sum(size * np.maximum(1e3 * np.abs(far - near), np.abs(sides)))),
    )


def complex_step(
    function: Function, point: Point, direction: Point, weights: Array, varied: Sequence[bool]
) -> float | None:
    """Differentiate along a direction by Im f(v + i h d) / h, exact to rounding; None where f is not for that.

    All arrays that may be varied are made complex, so that a container lets them in.

    Source: Squire and Trapp 1998.
    """
    h = 1e-30
    moved = [v + 1j * h * d if vary else v for v, d, vary in zip(point, direction, varied, strict=True)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            y = function(moved)
        except Exception:
            return None
    if y.dtype.kind != "c":
        return None
    return float(np.sum(weights * y.imag)) / h


def _derivative(
    function: Function, point: Point, weights: Array, directions: list[Point], slopes: list[Slope],
    places: npt.NDArray[np.intp], floor: float, complex_for: Sequence[bool] | None,
) -> Derivative:
    """Put the slopes of one array together, by complex step where it agrees with the differences."""
    differences = np.array([slope.value for slope in slopes])
    scale = max(float(np.max(np.abs(differences), initial=0.0)), floor)
    exact = [None if complex_for is None else complex_step(function, point, d, weights, complex_for)
             for d in directions]
    if all(value is not None for value in exact):
        values = np.array(exact, np.float64)
        if np.all(np.abs(values - differences) <= TOLERANCES[CENTRAL_DIFFERENCES] * scale):
            return Derivative(places, values, COMPLEX_STEP, scale)
    return Derivative(places, differences, CENTRAL_DIFFERENCES, scale)


def compare(name: str, found: npt.NDArray[Any], wanted: Derivative, rows: int, method: str = "") -> Measurement:
    """Return the relative error of a gradient.

    Args:
        name: Of the array.
        found: Its gradient, as `backward` gave it.
        wanted: What the forward pass says.
        rows: Of the batch; for the hint where the error is a factor of it.
        method: Whose tolerance holds, where it is not that of the derivative.

    Raises:
        Failure: the error is above the tolerance; naming the worst element.
    """
    method = method or wanted.method
    values = found.ravel()[wanted.places].astype(np.float64)
    if not np.isfinite(values).all():
        place = index_in(found, int(wanted.places[np.argmin(np.isfinite(values))]))
        raise Failure(f"{name}{place}: expected a finite number, got {found[place]}")
    errors = np.abs(values - wanted.values) / wanted.scale
    worst = int(np.argmax(errors)) if errors.size else 0
    error = float(errors[worst]) if errors.size else 0.0
    if error > TOLERANCES[method]:
        place = index_in(found, int(wanted.places[worst]))
        at = f"{name}{list(place)}" if place else name
        raise Failure(
            f"∂e/∂{at}: expected {wanted.values[worst]:.6g}, got {values[worst]:.6g}: a relative error of {error:.1e} "
            f"against {wanted.method}, where {TOLERANCES[method]:.0e} is allowed"
            + _resemblance(values, wanted, found, rows)
        )
    return Measurement(method, error)


def index_in(array: npt.NDArray[Any], flat: int) -> tuple[int, ...]:
    """Return a flat index as an index of the array."""
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def _resemblance(values: Array, wanted: Derivative, found: npt.NDArray[Any], rows: int) -> str:
    """Say what a wrong gradient looks like: zero, the negative, a multiple, the transpose."""

    def alike(candidate: npt.NDArray[Any]) -> bool:
        return bool(np.all(np.abs(values - candidate) <= 1e-4 * max(float(np.abs(values).max()), 1e-12)))

    expected = wanted.values
    if not values.any():
        return "\nit is zero everywhere: does backward add anything to it?"
    if np.max(np.abs(expected)) < 1e-9 * np.max(np.abs(values)):
        return "\nthe output does not depend on it at all: does forward read the value anew in each call?"
    if alike(-expected):
        return "\nit is right but for its sign"
    if rows > 1 and alike(expected / rows):
        return f"\nit is right but for a factor 1/{rows}, the number of rows: the mean over the batch is the loss's"
    square = found.ndim == 2 and found.shape[0] == found.shape[1] and expected.size == found.size
    if square and alike(expected.reshape(found.shape).T.ravel()):
        return "\nit is the transpose of what is expected"
    ratio = float(np.dot(values, expected) / np.dot(expected, expected))
    if expected.size > 1 and alike(ratio * expected):
        return f"\nit is {ratio:.4g} times what is expected, everywhere"
    return ""


def _places(array: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Choose the elements to look at one by one: all, or some spread over the array."""
    if array.size <= PROBED:
        return np.arange(array.size)
    return np.sort(np.random.default_rng(array.size).choice(array.size, PROBED, replace=False)).astype(np.intp)


def _size(array: npt.NDArray[Any]) -> float:
    """Return the usual size of a number of an array, 1 where all are zero."""
    return float(np.sqrt(np.mean(np.abs(array.astype(np.float64)) ** 2))) or 1.0 if array.size else 1.0


def _unit(point: Point, k: int, place: int) -> Point:
    """Make the direction along one element of array k, of length 1."""
    direction = [np.zeros(v.shape) for v in point]
    direction[k].flat[place] = 1.0
    return direction


def _direction(point: Point, varied: Sequence[bool]) -> Point:
    """Make a random direction over all arrays that are varied, each at its own scale."""
    rng = np.random.default_rng(len(point))
    return [_size(v) * rng.standard_normal(v.shape) if vary else np.zeros(v.shape)
            for v, vary in zip(point, varied, strict=True)]
