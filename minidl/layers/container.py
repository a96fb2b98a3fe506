"""What containers have in common: a door at which arrays are checked and cast, and the width behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, features
from ..errors import ShapeError
from ..typing import override
from .layer import Layer
from .structure import refuse_repeated_layers


class Container(Layer):
    """A layer made of layers. Leaves compute on what they are given; a container checks and casts at its door."""

    _in_features: int | None

    def _settle(self) -> None:
        """Refuse repeated layers, and remember a parameter whose dtype is the dtype of the container."""
        refuse_repeated_layers(self)
        self._sample = next(iter(self.parameters()), None)

    def _enter(self, x: npt.ArrayLike) -> Array:
        # What training hands over at every step fits already; this look costs half as much as asking `features`.
        if (
            type(x) is np.ndarray
            and x.ndim == 2
            and x.shape[1] == self._in_features
            and self._sample is not None
            and x.dtype is self._sample.dtype
        ):
            return x
        return features(x, type(self).__name__, self._in_features, self.dtype, self.takes_any_rank)

    def _leave(self, y: Array) -> Array:
        """Remember the shape of the output, for the gradient that comes back."""
        self._output_shape = y.shape
        return y

    def _check_gradient(self, grad: Array) -> None:
        if grad.shape != self._output_shape:
            raise ShapeError(
                f"{type(self).__name__}: expected a gradient of shape {self._output_shape}, got {grad.shape}"
            )

    @property
    @override
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the first parameter; None where nothing is learned."""
        return None if self._sample is None else self._sample.dtype

    @override
    def input_features(self) -> int | None:
        return self._in_features

    @override
    def __call__(self, x: npt.ArrayLike) -> Array:
        return self.predict(x)  # type: ignore[arg-type]  # the door takes what NumPy can make an array of
