"""Clipping: limit gradients that are too large, between ``backward`` and ``step``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from math import hypot, isfinite, sqrt
from typing import ClassVar

import numpy as np
from typing_extensions import override

from .._core.arrays import Array, real, sum_of_squares
from .._core.parameter import Parameter, unique_parameters
from .._core.vector import ParameterVector
from ..errors import CallOrderError, GradientError


class Clip(ABC):
    """Limit gradients that are too large, in place.

    A clip is called with a `ParameterVector`, such as ``optimizer.vector``, or with a list of parameters::

        clip = ClipGlobalNorm(1.0)

        model.backward(loss.backward())
        clip(optimizer.vector)
        optimizer.step()

    A subclass writes `measure` and `shrink`.

    Args:
        limit: The largest size that is left as it is, above 0.
    """

    joined: ClassVar[bool] = True
    """Whether the gradients may be taken together as one vector, which is faster than one array for each parameter."""

    def __init__(self, limit: float) -> None:
        self.limit: float = real(limit, f"{type(self).__name__}(limit)", above=0)

    @abstractmethod
    def measure(self, gradients: list[Array]) -> float:
        """Return the size that is limited; it is not finite where a gradient is not."""

    @abstractmethod
    def shrink(self, gradients: list[Array], size: float) -> None:
        """Bring gradients of a size above the limit down to it, in place."""

    def __call__(self, parameters: ParameterVector | Iterable[Parameter]) -> float:
        """Clip, and return the size from before.

        Raises:
            GradientError: a gradient is not finite; none is changed.
            CallOrderError: no parameter has a gradient.
        """
        if isinstance(parameters, ParameterVector):
            parameters.complete()
            chosen = parameters.parameters
            gradients = [parameters.gradients] if self.joined else parameters.split(parameters.gradients)
        else:
            chosen = unique_parameters(parameters, repr(self))
            if not any(parameter.has_grad for parameter in chosen):
                raise CallOrderError(f"{self}: no parameter has a gradient; call model.backward before it")
            gradients = [parameter.grad for parameter in chosen]
        size = self.measure(gradients)
        if not isfinite(size):
            raise self._not_finite(chosen, size)
        if size > self.limit:
            self.shrink(gradients, size)
        return size

    def _not_finite(self, parameters: list[Parameter], size: float) -> GradientError:
        for place, parameter in enumerate(parameters):
            bad = parameter.grad[~np.isfinite(parameter.grad)]
            if bad.size:
                return GradientError(
                    f"{self}: expected finite gradients, got {bad[0]} in that of parameter {place}, {parameter!r} "
                    f"({bad.size} of {parameter.size} numbers); try a smaller learning rate"
                )
        return GradientError(f"{self}: expected gradients with a finite norm, got {size}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.limit:g})"


class ClipValue(Clip):
    """Limit each number of the gradients. The size is the largest |g|.

    Update:
        g ← max(−c, min(g, c))

    Example:
        >>> weight = Parameter(np.zeros(2))
        >>> weight.grad += [-3.0, 0.5]
        >>> clip = ClipValue(1.0)
        >>> clip([weight])
        3.0
        >>> weight.grad
        array([-1. ,  0.5])
    """

    @override
    def measure(self, gradients: list[Array]) -> float:
        return float(np.max([largest(gradient) for gradient in gradients]))

    @override
    def shrink(self, gradients: list[Array], size: float) -> None:
        for gradient in gradients:
            np.clip(gradient, -self.limit, self.limit, out=gradient)


class ClipNorm(Clip):
    """Limit the norm of the gradient of each parameter. The size is the largest norm.

    Update:
        g ← g c / ‖g‖ if ‖g‖ > c, else g

    Example:
        >>> weight = Parameter(np.zeros(2))
        >>> weight.grad += [3.0, 4.0]
        >>> clip = ClipNorm(1.0)
        >>> clip([weight])
        5.0
        >>> weight.grad
        array([0.6, 0.8])
    """

    joined = False

    @override
    def measure(self, gradients: list[Array]) -> float:
        return float(np.max([norm(gradient) for gradient in gradients]))

    @override
    def shrink(self, gradients: list[Array], size: float) -> None:
        for gradient in gradients:
            own = norm(gradient)
            if own > self.limit:
                gradient *= self.limit / own


class ClipGlobalNorm(Clip):
    """Limit the norm of all gradients together, which keeps their direction (Pascanu et al. 2013, algorithm 1).

    Update:
        g ← g c / ‖g‖ if ‖g‖ > c, else g

    Here g is one vector of all gradients. The size is ‖g‖.
    """

    @override
    def measure(self, gradients: list[Array]) -> float:
        return hypot(*[norm(gradient) for gradient in gradients])

    @override
    def shrink(self, gradients: list[Array], size: float) -> None:
        for gradient in gradients:
            gradient *= self.limit / size


def largest(gradient: Array) -> float:
    """Compute max |g|, NaN where there is one."""
    return max(float(gradient.max(initial=0.0)), -float(gradient.min(initial=0.0)))


def norm(gradient: Array) -> float:
    """Compute ‖g‖ = √Σ g², also where the squares are too large or too small for numbers."""
    flat = gradient.reshape(-1)
    with np.errstate(all="ignore"):
        square = sum_of_squares(flat)
    tiny = float(np.finfo(flat.dtype).tiny)
    if tiny / np.finfo(flat.dtype).eps < square < float("inf"):
        return sqrt(square)
    scale = largest(gradient)
    if scale == 0.0 or not isfinite(scale):
        return scale
    scaled = flat / flat.dtype.type(scale)
    return scale * sqrt(sum_of_squares(scaled))
