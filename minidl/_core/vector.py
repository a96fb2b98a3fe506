"""The flat vectors in which an optimizer keeps its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import CallOrderError, DTypeError
from .arrays import Array
from .parameter import Parameter, unique_parameters


class ParameterVector:
    """Keep parameters in one contiguous vector of values and one of gradients, each a view into them.

    One vector operation then updates all layers.

    Args:
        parameters: What to gather; a shared one counts once. Gradients that they have are kept.

    Raises:
        ArgumentError: no parameter at all.
        DTypeError: something else than a Parameter, or float32 and float64 mixed.

    Attributes:
        values: Vector of all values.
        gradients: Vector of all gradients; right from `complete` to `use_up`.
        largest: Size of the largest parameter.
        frozen: Places of the frozen parameters, as of the last `complete`.

    Example:
        >>> model = mlp([2, 3, 1], rng=0)
        >>> vector = ParameterVector(model.parameters())
        >>> vector.values.size
        13
        >>> vector.values[:] = 0.0
        >>> float(np.abs(model[0].weight.value).max())
        0.0
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters: list[Parameter] = unique_parameters(parameters, "ParameterVector")
        sizes = [p.size for p in self.parameters]
        size = sum(sizes)
        self.largest: int = max(sizes)
        self.values: Array = np.empty(size, self.parameters[0].dtype)
        self.gradients: Array = np.zeros(size, self.parameters[0].dtype)
        self.frozen: list[slice] = []
        self._views: list[tuple[Parameter, Array, Array]] = []
        self.gather()

    def gather(self) -> None:
        """Copy every parameter into its place, and make it a view of that place."""
        views = list(zip(self.parameters, self.split(self.values), self.split(self.gradients), strict=True))
        for parameter in self.parameters:
            if parameter.dtype != self.values.dtype:
                raise DTypeError(
                    f"ParameterVector: expected every parameter in {self.values.dtype}, got {parameter!r} in "
                    f"{parameter.dtype}; cast the model with astype before making the optimizer"
                )
        for parameter, value, gradient in views:
            value[...] = parameter._value
            parameter._added = parameter.has_grad
            if parameter._added:
                gradient[...] = parameter._memory()
            parameter._shared = False
            parameter._value, parameter._grad = value, gradient
        self._views = views

    def complete(self) -> None:
        """Make `values` and `gradients` complete, with zeros for what is frozen, and note what is frozen.

        Parameters that no longer lie here (another optimizer, a copy, unpickling) are gathered again.

        Raises:
            CallOrderError: no parameter has a gradient, or all of those that have one are frozen.
        """
        for parameter, value, gradient in self._views:
            if parameter._value is not value or parameter._grad is not gradient:
                self.gather()
                break
        written = False
        self.frozen = []
        for parameter, _, gradient in self._views:
            if parameter._frozen:
                parameter._added = False
                gradient.fill(0.0)
                self.frozen = [where for p, where in zip(self.parameters, self.slices(), strict=True) if p.frozen]
            elif parameter._added or (parameter._shared and gradient.any()):
                written = True
            else:
                gradient.fill(0.0)
        if not written:
            why = "all of them are frozen" if len(self.frozen) == len(self.parameters) else (
                "call loss.forward, model.forward and model.backward(loss.backward()) before it")
            raise CallOrderError(f"step(): no parameter has a gradient; {why}")

    def use_up(self) -> None:
        """Count the gradients as used: the next ones start from zero."""
        for parameter, _, gradient in self._views:
            parameter._added = False
            if parameter._shared:
                gradient.fill(0.0)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A view that is copied or pickled comes back as an array of its own.
        vars(self).update(state)
        self.gather()

    def split(self, vector: Array) -> list[Array]:
        """Cut a vector such as `gradients` into one view for each parameter, in its shape."""
        pairs = zip(self.parameters, self.slices(), strict=True)
        return [vector[place].reshape(parameter.shape) for parameter, place in pairs]

    def slices(self) -> list[slice]:
        """Return the place of each parameter in the vectors."""
        places, start = [], 0
        for parameter in self.parameters:
            places.append(slice(start, start + parameter.size))
            start += parameter.size
        return places
