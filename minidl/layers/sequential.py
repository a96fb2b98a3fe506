"""A chain of layers, which is a layer itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, real
from .._core.generators import Seed
from .._core.initializer import Initializer
from ..errors import ArgumentError, DTypeError
from ._container import Container, located
from ._parts import first_parameter
from ._structure import chain_widths, check_layers, check_part, refuse_repeated_layers
from .activations import ReLU
from .base import Layer, backward_alone, prediction, trait
from .dense import Dense
from .dropout import Dropout


class Sequential(Container):
    """Chain layers: the output of each is the input of the next.

    Forward:
        y = fₙ(… f₂(f₁(x)))
    Backward:
        ∂e/∂x = ∂e/∂y ∂fₙ/∂fₙ₋₁ … ∂f₂/∂f₁ ∂f₁/∂x

    It is a sequence of its layers as well: ``model[0]``, ``model[:-1]``, ``len(model)``, ``for layer in model``.

    Args:
        layers: At least one layer; they may be chains themselves.

    Attributes:
        layers: The layers, as a tuple.

    Raises:
        StructureError: widths that do not chain, or the same layer at two places.
        DTypeError: something that is not a layer.
    """

    _unnamed = "layers"

    def __init__(self, *layers: Layer) -> None:
        check_layers(layers, "Sequential")
        self.layers = layers
        refuse_repeated_layers(self)
        self.in_features: int | None = chain_widths(layers)[0]

    @override
    def forward(self, x: Array) -> Array:
        x = self._checked_input(x)
        with located:
            for part in self.layers:
                x = part.forward(x)
        self._output_shape = x.shape
        return x

    @override
    def backward(self, grad: Array) -> Array:
        self._check_gradient(grad)
        with located:
            for part in reversed(self.layers):
                grad = part.backward(grad)
        return grad

    def add_gradients(self, grad: Array) -> None:
        """Do what `backward` does, but without ∂e/∂x."""
        self._check_gradient(grad)
        for first, layer in enumerate(self.layers):  # noqa: B007 - the layers before it need no gradient
            if first_parameter(layer, learning=True):
                break
        with located:
            for part in self.layers[:first:-1]:
                grad = part.backward(grad)
            part = self.layers[first]
            backward_alone(part, grad)

    def compute(self, x: npt.ArrayLike) -> Array:
        """Predict by each layer in turn."""
        y = self._checked_input(x)
        with located:
            for part in self.layers:
                y = prediction[type(part)](part, y)
        return y

    @property
    def takes_any_rank(self) -> bool:
        """Whether the first layer takes rows of more than one dimension."""
        return bool(trait(self.layers[0], "takes_any_rank"))

    @property
    def initializer_before(self) -> Initializer:
        """First values of a Dense layer before the first layer."""
        found: Initializer = trait(self.layers[0], "initializer_before")
        return found

    @override
    def output_features(self, input_features: int) -> int:
        return chain_widths(self.layers, input_features)[1] or input_features

    @override
    def _wiring(self) -> Mapping[str, tuple[str, ...]]:
        names = list(map(str, range(len(self.layers))))
        return {name: (before,) for before, name in pairwise(["x", *names])}

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


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[], Layer] = ReLU,
    output: Callable[[], Layer] | None = None,
    normalization: Callable[[int], Layer] | None = None,
    dropout: float = 0.0,
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
        normalization: What makes a layer between each hidden Dense layer and its activation, from their width:
            ``BatchNorm``, ``lambda width: LayerNorm(width, epsilon=1e-3)``; None for none.
        dropout: Rate of a `Dropout` after each hidden activation, in [0, 1); 0 for none.
        weight_initializer: First values of the weights; by default what suits the activation after them (its
            ``initializer_before``): He uniform for rectifiers such as ReLU, Glorot uniform for the others and for none.
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
    if not isinstance(sizes, (Sequence, np.ndarray)) or getattr(sizes, "ndim", 1) == 0:
        raise DTypeError(f"mlp(sizes): expected a list of widths such as [1, 20, 1], got {sizes!r}")
    if len(sizes) < 2:
        raise ArgumentError(f"mlp(sizes): expected at least an input and an output size, got {list(sizes)}")
    rate = real(dropout, "mlp(dropout)", least=0, below=1)
    layers: list[Layer] = []
    for place, (wide, out) in enumerate(pairwise(sizes)):
        hidden = place < len(sizes) - 2
        maker = activation if hidden else output
        after = None if maker is None else _made(maker)
        suited = trait(after, "initializer_before") if weight_initializer is None else weight_initializer
        layers.append(Dense(wide, out, weight_initializer=suited, bias_initializer=bias_initializer, dtype=dtype))
        if hidden and normalization is not None:
            layers.append(_made(normalization, out).astype(dtype))
        if after is not None:
            layers.append(after)
        if hidden and rate:
            layers.append(Dropout(rate))
    return Sequential(*layers).initialize(rng)


def _made(maker: Callable[..., Layer], *width: int) -> Layer:
    kind = "normalization" if width else "activation"
    if not callable(maker) or (isinstance(maker, Layer)):
        name = type(maker).__name__ if isinstance(maker, Layer) else "BatchNorm" if width else "Tanh"
        raise DTypeError(f"mlp({kind}): expected a class of layers or a function that makes one, got {maker!r}; "
                         f"give a class such as {name}, without quotes or parentheses")
    layer = maker(*width)
    check_part(layer, Layer, f"mlp({kind})")
    return layer
