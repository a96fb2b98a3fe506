"""The contract of a layer: forward, backward, predict."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod

import numpy as np

from ..arrays import Array
from ..initializers import GlorotUniform, Initializer
from .component import Component


class Layer(Component, ABC):
    """Turn rows of features into rows of features, and a gradient of the output into one of the input.

    A subclass writes `forward` and `backward`, and keeps what it learns as `Parameter` attributes::

        class ScaledTanh(Layer):
            def __init__(self, scale: float = 1.0) -> None:
                self.scale = Parameter(scale)

            def forward(self, x: Array) -> Array:
                self._tanh: Array = np.tanh(x)
                return self.scale.value * self._tanh

            def backward(self, grad: Array) -> Array:
                self.scale.grad += np.sum(grad * self._tanh)
                return grad * self.scale.value * (1.0 - self._tanh**2)

    A layer that takes one width only says so with an attribute ``in_features``. What else is special about it, it
    declares by the attributes below.
    """

    smallest_batch: int = 1
    """Rows that a training pass needs at least."""

    couples_rows: bool = False
    """Whether the output of a row depends on the other rows in training."""

    has_input_gradient: bool = True
    """Whether the output is a differentiable function of the input; False for codes that select a row of a table."""

    takes_any_rank: bool = False
    """Whether the input may have more than two dimensions, as images have."""

    initializer_before: Initializer = GlorotUniform()
    """From which values the weights of the Dense layer before it start, where `mlp` builds both."""

    keeps_width: bool = False
    """Whether a row comes out with as many numbers as it goes in with, whatever their number."""

    def __init_subclass__(cls) -> None:
        """Keep a subclass of a layer from inheriting a short cut past what it overrides."""
        super().__init_subclass__()
        for method, short_cut in (("backward", "backward_parameters"), ("forward", "predict")):
            if _place(cls, method) < _place(cls, short_cut):
                setattr(cls, short_cut, getattr(Layer, short_cut))

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Compute the output in training, and keep on ``self`` what `backward` needs.

        Args:
            x: Input, ``(batch, in_features)``; it is not written to, and must stay unchanged until `backward`, as the
                layer may keep it.

        Returns:
            A fresh array, ``(batch, out_features)``.
        """

    @abstractmethod
    def backward(self, grad: Array) -> Array:
        """Turn ∂e/∂y of the last `forward` into ∂e/∂x, and add to each parameter's gradient.

        Args:
            grad: ∂e/∂y, ``(batch, out_features)``; it is not written to.

        Returns:
            ∂e/∂x, ``(batch, in_features)``.

        Raises:
            CallOrderError: before `forward`.
        """

    def backward_parameters(self, grad: Array) -> None:
        """Do what `backward` does when nobody needs ∂e/∂x, as in the first layer of a network."""
        self.backward(grad)

    def inference(self) -> Layer:
        """Return the layer as prediction sees it: the same parameters, a memory of its own.

        Its `forward` computes what `predict` computes, and its `backward` differentiates that.
        """
        clone = super().inference()
        assert isinstance(clone, Layer)
        return clone

    def predict(self, x: Array) -> Array:
        """Compute the output for use, changing nothing on the layer, so that any thread may call it.

        Args:
            x: Input, ``(batch, in_features)``.

        Returns:
            Output, ``(batch, out_features)``; each row depends on its own row of ``x`` alone.
        """
        return self.inference().forward(x)

    def __call__(self, x: Array) -> Array:
        """Predict: see `predict`."""
        return self.predict(x)

    def input_features(self) -> int | None:
        """Return the width that the layer takes, or None where it takes any."""
        width: int | None = getattr(self, "in_features", None)
        return width

    def output_features(self, input_features: int) -> int:
        """Return the width that comes out when ``input_features`` go in; found by predicting no rows."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = self.predict(np.zeros((0, input_features), self.dtype))
        return int(y.shape[1])


def _place(cls: type[Layer], method: str) -> int:
    """Return which class in the order of look-up a method comes from; a mixin stands before what it is mixed into."""
    return next(place for place, base in enumerate(cls.__mro__) if method in vars(base))
