"""A chain of layers, which is a layer itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..errors import ArgumentError, DTypeError
from ..initializers import Initializer
from ..typing import override
from .activation import ReLU
from .component import Child
from .container import Container
from .dense import Dense
from .layer import Layer
from .structure import chain_widths, check_part, locate, summary_lines

if TYPE_CHECKING:
    from ..arrays import Seed


class Sequential(Container):
    """Chain layers: the output of each is the input of the next.

    It is a sequence of its layers as well: ``model[0]``, ``model[:-1]``, ``len(model)``, ``for layer in model``.

    Args:
        layers: At least one layer; they may be chains themselves.

    Attributes:
        layers: The layers, as a tuple.

    Raises:
        StructureError: widths that do not chain, or the same layer at two places.
        DTypeError: something that is not a layer.
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ArgumentError("Sequential: expected at least one layer, got none")
        for place, layer in enumerate(layers):
            check_part(layer, Layer, f'Sequential: "{place}"')
        self.layers = layers
        self.takes_any_rank = layers[0].takes_any_rank
        self.initializer_before = layers[0].initializer_before
        self._settle()
        self._in_features, _ = chain_widths(layers)
        learning = [place for place, layer in enumerate(layers) if layer.parameters()]
        self._first_to_learn = learning[0] if learning else 0

    @override
    def children(self) -> Iterator[tuple[str, Child]]:
        for place, layer in enumerate(self.layers):
            yield str(place), layer

    @override
    def forward(self, x: Array) -> Array:
        x = self._enter(x)
        layer: Layer = self
        try:
            for layer in self.layers:
                x = layer.forward(x)
        except Exception as error:
            locate(error, self, layer)
            raise
        return self._leave(x)

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        layer: Layer = self
        try:
            for layer in reversed(self.layers):
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
            for layer in self.layers[:self._first_to_learn:-1]:
                grad = layer.backward(grad)
            layer = self.layers[self._first_to_learn]
            layer.backward_parameters(grad)
        except Exception as error:
            locate(error, self, layer)
            raise

    @override
    def predict(self, x: npt.ArrayLike) -> Array:
        y = self._enter(x)
        layer: Layer = self
        try:
            for layer in self.layers:
                y = layer.predict(y)
        except Exception as error:
            locate(error, self, layer)
            raise
        return y

    @override
    def output_features(self, input_features: int) -> int:
        return chain_widths(self.layers, input_features)[1] or input_features

    @overload
    def __getitem__(self, index: int) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

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
        weight_initializer: First values of the weights; by default what suits the activation after them (its
            ``initializer_before``): He uniform for ReLU and its kin, Glorot uniform for the others and for none.
        bias_initializer: First values of the biases.
        dtype: float64 or float32.
        rng: Generator or seed of the first values.

    Raises:
        ArgumentError: fewer than two sizes, or one below 1.
        DTypeError: no list of sizes, or one that is not a whole number.

    Example:
        >>> mlp([2, 8, 1], rng=0)
        Sequential(
          0: Dense(2 -> 8)                        24
          1: ReLU()
          2: Dense(8 -> 1)                         9
        )  33 parameters
    """
    if not isinstance(sizes, (Sequence, np.ndarray)):
        raise DTypeError(f"mlp(sizes): expected a list of widths such as [1, 20, 1], got {sizes!r}")
    if len(sizes) < 2:
        raise ArgumentError(f"mlp(sizes): expected at least an input and an output size, got {list(sizes)}")
    layers: list[Layer] = []
    for place, (wide, out) in enumerate(pairwise(sizes)):
        maker = output if place == len(sizes) - 2 else activation
        after = None if maker is None else _made(maker)
        suited = weight_initializer or getattr(after, "initializer_before", Layer.initializer_before)
        layers.append(Dense(wide, out, weight_initializer=suited, bias_initializer=bias_initializer, dtype=dtype))
        if after is not None:
            layers.append(after)
    return Sequential(*layers).initialize(rng)


def _made(maker: Callable[[], Layer]) -> Layer:
    if not callable(maker) or (isinstance(maker, Layer)):
        raise DTypeError(f"mlp: expected an activation class or a function that makes one, got {maker!r}")
    layer = maker()
    check_part(layer, Layer, "mlp(activation)")
    return layer
