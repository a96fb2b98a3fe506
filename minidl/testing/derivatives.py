"""Derivatives found from the forward pass alone: by complex step, and by central differences away from kinks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .report import CENTRAL_DIFFERENCES, COMPLEX_STEP, TOLERANCES

Point: TypeAlias = "list[npt.NDArray[Any]]"
"""The arrays that a function depends on: inputs, then parameters."""

Direction: TypeAlias = "dict[int, Array]"
"""A direction in the space of points: maps the numbers of the arrays that change to the changes."""

PROBED = 32
"""Elements of an array with a separate derivative each; the total gradient covers all elements."""

DRAWS = 20
"""Points that are tried in the search for one without a kink nearby."""

STEP = 1e-3
"""Step of the central differences relative to the size of an array; their error is of its fourth power."""

SMOOTH = 0.1
"""Roughness, relative to the slope, up to which a point counts as away from kinks."""


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


@dataclass(frozen=True)
class Slope:
    """The derivative of e = Σ gᵢ yᵢ along a direction, from differences.

    Attributes:
        value: The derivative.
        size: Σ |gᵢ ∂yᵢ|; roughness is relative to it.
        rough: How much the differences over two steps differ, and those of the two sides.
    """

    value: float
    size: float
    rough: float


@dataclass(frozen=True)
class Differentiator:
    """Differentiates e = Σ gᵢ yᵢ, y = function(point), with respect to the arrays of a point.

    The complex step is used if it agrees with central differences. Otherwise the differences are used: the
    function is not analytic, for instance because it takes an absolute value.

    Args:
        function: y of a list of arrays, real or complex.
        varied: Which arrays of the point to differentiate for.
        weigh: g of the shape of y.
    """

    function: Callable[[Point], npt.NDArray[Any]]
    varied: Sequence[bool]
    weigh: Callable[[tuple[int, ...]], Array]

    def at_a_smooth_point(self, draw: Callable[[int], Point]) -> Differentiated:
        """Differentiate at the first of some points that has no kink nearby, or else at the smoothest.

        Args:
            draw: Makes the point of a number.
        """
        tried: list[_Slopes] = []
        for number in range(DRAWS):
            point = draw(number)
            weights = self.weigh(self.function(point).shape)
            slopes = _Slopes(point, weights, self.slope(point, self._random_direction(point), weights))
            tried.append(slopes)
            if slopes.roughness() < SMOOTH:
                self._along_elements(slopes)
                if slopes.roughness() < SMOOTH:
                    break
        best = min(tried, key=_Slopes.roughness)
        if not best.single:
            self._along_elements(best)
        return self._differentiated(best)

    def _along_elements(self, slopes: _Slopes) -> None:
        """Find the slopes along single elements of each array."""
        slopes.single = [
            [self.slope(slopes.point, direction, slopes.weights) for direction in self._directions(slopes.point, k)]
            for k in range(len(slopes.point))
        ]

    def _differentiated(self, slopes: _Slopes) -> Differentiated:
        """Combine all results at one point."""
        point = slopes.point
        values = [abs(s.value) / size_of(v) for v, array in zip(point, slopes.single, strict=True) for s in array]
        floor = max(1e-2 * max(values, default=0.0), 1e-6)
        arrays = [
            self._derivative(slopes, self._directions(point, k), slopes.single[k], _places(v), size_of(v), floor)
            if self.varied[k]
            else None
            for k, v in enumerate(point)
        ]
        along = self._random_direction(point)
        places = np.zeros(1, np.intp)
        total = self._derivative(slopes, [along], [slopes.total], places, 1.0, max(slopes.total.size, floor))
        direction = [along.get(k, np.zeros(v.shape)) for k, v in enumerate(point)]
        return Differentiated(point, slopes.weights, arrays, direction, total)

    def slope(self, point: Point, direction: Direction, weights: Array) -> Slope:
        """Differentiate along a direction by differences over two steps, extrapolated to the fourth order."""

        def at(t: float) -> npt.NDArray[Any]:
            moved = [v + (t * direction[k]).astype(v.dtype) if k in direction else v for k, v in enumerate(point)]
            return self.function(moved).astype(np.float64)

        h = STEP
        above, below = at(h / 2), at(-h / 2)
        far, near = (at(h) - at(-h)) / (2 * h), (above - below) / h
        both_sides = (above - 2 * at(0.0) + below) / (h / 2)
        size = np.abs(weights)
        return Slope(
            value=float(np.sum(weights * (4 * near - far) / 3)),
            size=float(np.sum(size * np.abs(near))),
            rough=float(np.sum(size * np.maximum(np.abs(far - near) / h, np.abs(both_sides)))),
        )

    def complex_step(self, point: Point, direction: Direction, weights: Array) -> float | None:
        """Differentiate along a direction by Im f(v + i h d) / h, exact to rounding; None if f cannot do that.

        All arrays that may be varied are made complex, so that a container accepts them.

        Source: Squire and Trapp 1998.
        """
        h = 1e-30
        moved = [
            v + 1j * h * direction.get(k, np.zeros(())) if vary else v
            for k, (v, vary) in enumerate(zip(point, self.varied, strict=True))
        ]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                y = self.function(moved)
            except Exception:
                return None
        return float(np.sum(weights * y.imag)) / h if y.dtype.kind == "c" else None

    def _derivative(
        self,
        at: _Slopes,
        directions: list[Direction],
        slopes: list[Slope],
        places: npt.NDArray[np.intp],
        length: float,
        floor: float,
    ) -> Derivative:
        """Combine slopes along directions of one length: by complex step if that agrees with differences."""
        differences = np.array([slope.value for slope in slopes]) / length
        scale = max(float(np.max(np.abs(differences), initial=0.0)), floor)
        exact = [self.complex_step(at.point, direction, at.weights) for direction in directions]
        if all(value is not None for value in exact):
            values = np.array(exact, np.float64) / length
            if np.all(np.abs(values - differences) <= TOLERANCES[CENTRAL_DIFFERENCES] * scale):
                return Derivative(places, values, COMPLEX_STEP, scale)
        return Derivative(places, differences, CENTRAL_DIFFERENCES, scale)

    def _directions(self, point: Point, k: int) -> list[Direction]:
        """List the directions along single elements of array k, each as long as the usual size of its elements."""
        directions = []
        for place in _places(point[k]) if self.varied[k] else ():
            direction: Array = np.zeros(point[k].shape)
            direction.flat[place] = size_of(point[k])
            directions.append({k: direction})
        return directions

    def _random_direction(self, point: Point) -> Direction:
        """Make a random direction over all arrays, each at its own scale, about as long as one element."""
        rng = np.random.default_rng(len(point))
        length = np.sqrt(max(sum(v.size for v, vary in zip(point, self.varied, strict=True) if vary), 1))
        return {k: size_of(v) / length * rng.standard_normal(v.shape) for k, v in enumerate(point) if self.varied[k]}


@dataclass
class _Slopes:
    """Differences at one point: along a random direction, and along single elements of each array."""

    point: Point
    weights: Array
    total: Slope
    single: list[list[Slope]] = field(default_factory=list)

    def roughness(self) -> float:
        """Return the greatest roughness relative to the slope."""
        every = [self.total, *(slope for array in self.single for slope in array)]
        largest = max(slope.size for slope in every)
        return max(slope.rough / max(slope.size, 1e-2 * largest, 1e-12) for slope in every)


def _places(array: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Choose the elements to look at one by one: all, or some spread over the array."""
    if array.size <= PROBED:
        return np.arange(array.size)
    return np.sort(np.random.default_rng(array.size).choice(array.size, PROBED, replace=False)).astype(np.intp)


def size_of(array: npt.NDArray[Any]) -> float:
    """Return the usual size of a number of an array, 1 where all are zero."""
    return float(np.sqrt(np.mean(np.abs(array.astype(np.float64)) ** 2))) or 1.0 if array.size else 1.0
