"""A chain of layers, which is a layer itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from ..arrays import Array, features
from ..errors import ArgumentError, DTypeError, ShapeError
from ..initializers import Initializer
from .activation import ReLU
from .component import Child
from .dense import Dense
from .layer import Layer
from .structure import chain_widths, locate, refuse_repeated_layers, summary_lines

if TYPE_CHECKING:
    from ..arrays import Seed


class Sequential(Layer):
    """Chain layers: the output of each is the input of the next.

    It is a sequence of its layers as well: ``model[0]``, ``model[:-1]``, ``len(model)``, ``for layer in model``.

    Args:
        layers: At least one layer; they may be chains themselves.

    Raises:
        StructureError: widths that do not chain, or the same layer at two places.
        DTypeError: something that is not a layer.
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ArgumentError("Sequential: expected at least one layer, got none")
        for place, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                hint = f"; did you forget the parentheses of {layer.__name__}()?" if isinstance(layer, type) else ""
                raise DTypeError(f'Sequential: expected a Layer at "{place}", got {layer!r}{hint}')
        self._layers = layers
        refuse_repeated_layers(self)
        self._in_features, self._out_features = chain_widths(layers)
        learning = [place for place, layer in enumerate(layers) if layer.parameters()]
        self._first_to_learn = learning[0] if learning else 0
        self._sample = layers[learning[0]].parameters()[0] if learning else None

    @property
    @override
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the first parameter; None where nothing is learned."""
        return None if self._sample is None else self._sample.dtype

    @override
    def children(self) -> Iterator[tuple[str, Child]]:
        for place, layer in enumerate(self._layers):
            yield str(place), layer

    @override
    def forward(self, x: Array) -> Array:
        x = features(x, "Sequential", self._in_features, self.dtype)
        layer: Layer = self
        try:
            for layer in self._layers:
                x = layer.forward(x)
        except Exception as error:
            locate(error, self, layer)
            raise
        self._output_shape = x.shape
        return x

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        layer: Layer = self
        try:
            for layer in reversed(self._layers):
                grad = layer.backward(grad)
        except Exception as error:
            locate(error, self, layer)
            raise
        return grad

    @override
    def backward_parameters(self, grad: Array) -> None:
        self._check_gradient(grad)
        layer: Layer = self
        try:
            for layer in self._layers[:self._first_to_learn:-1]:
                grad = layer.backward(grad)
            layer = self._layers[self._first_to_learn]
            layer.backward_parameters(grad)
        except Exception as error:
            locate(error, self, layer)
            raise

    @override
    def predict(self, x: npt.ArrayLike) -> Array:
        y = features(x, "Sequential", self._in_features, self.dtype)
        layer: Layer = self
        try:
            for layer in self._layers:
                y = layer.predict(y)
        except Exception as error:
            locate(error, self, layer)
            raise
        return y

    @override
    def __call__(self, x: npt.ArrayLike) -> Array:
        return self.predict(x)

    @override
    def input_features(self) -> int | None:
        return self._in_features

    @override
    def output_features(self, input_features: int) -> int:
        return chain_widths(self._layers, input_features)[1] or input_features

    def _check_gradient(self, grad: Array) -> None:
        if grad.shape != self._output_shape:
            raise ShapeError(f"Sequential: expected a gradient of shape {self._output_shape}, got {grad.shape}")

    @overload
    def __getitem__(self, index: int) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        return Sequential(*self._layers[index]) if isinstance(index, slice) else self._layers[index]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    @override
    def __repr__(self) -> str:
        return "\n".join(summary_lines(self))


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[], Layer] = ReLU,
    output: Callable[[], Layer] | None = None,
    weight_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    dtype: npt.DTypeLike = np.float64,
    rng: Seed = None,
) -> Sequential:
    """Make a plain network: Dense layers of the given sizes with an activation between them.

    Args:
        sizes: Widths from the input to the output, ``[1, 20, 20, 1]``.
        activation: What makes the activation between two Dense layers: ``Sigmoid``, ``lambda: ELU(0.5)``.
        output: What makes the activation after the last one; None for none, as losses from logits need.
        weight_initializer: First values of the weights.
        bias_initializer: First values of the biases.
        dtype: float64 or float32.
        rng: Generator or seed of the first values.

    Raises:
        ArgumentError: fewer than two sizes, or one below 1.

    Example:
        >>> mlp([2, 8, 1], rng=0)
        Sequential(
          0: Dense(2 → 8)                         24
          1: ReLU()
          2: Dense(8 → 1)                          9
        )  33 parameters
    """
    if len(sizes) < 2:
        raise ArgumentError(f"mlp(sizes): expected at least an input and an output size, got {list(sizes)}")
    layers: list[Layer] = []
    for place, (wide, out) in enumerate(pairwise(sizes)):
        layers.append(Dense(wide, out, weight_initializer=weight_initializer, bias_initializer=bias_initializer,
                            dtype=dtype))
        maker = output if place == len(sizes) - 2 else activation
        if maker is not None:
            layers.append(_made(maker))
    return Sequential(*layers).initialize(rng)


def _made(maker: Callable[[], Layer]) -> Layer:
    if not callable(maker) or (isinstance(maker, Layer)):
        raise DTypeError(f"mlp: expected an activation class or a function that makes one, got {maker!r}")
    return maker()
