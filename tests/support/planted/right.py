"""Layers that are right, in ways that a kit might take for wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from minidl import Array, Dense, Dropout, Layer, Parameter, Sequential, Tanh
from minidl.errors import ShapeError


class Scale(Layer):
    """y = x ∘ w + b."""

    def __init__(self, features: int = 4) -> None:
        self.features = self.in_features = features
        self.weight = Parameter(np.linspace(0.5, 1.5, features))
        self.bias = Parameter(np.zeros(features))

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (self.features,):
            raise ShapeError(f"{self}: expected x of shape (batch, {self.features}), got {x.shape}")
        self._x = x
        return x * self.weight.value + self.bias.value

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += np.sum(grad * self._x, axis=0)
        self.bias.grad += np.sum(grad, axis=0)
        return grad * self.weight.value


class PredictsByItself(Scale):
    """Right: its prediction does not need a copy."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        if x.shape[1:] != (self.features,):
            raise ShapeError("width")
        return x * self.weight.value + self.bias.value


class KeepsItsStateInAList(Layer):
    """y = x², remembered in a list."""

    @override
    def forward(self, x: Array) -> Array:
        self._kept = [x]
        return x * x

    @override
    def backward(self, grad: Array) -> Array:
        return 2 * grad * self._kept[-1]


class HandsTheGradientOn(Layer):
    """y = x + 1: backward returns the very array that it is given."""

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        return x + 1

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad


class RefusesNoRows(Layer):
    """y = x: training on no rows is refused, prediction is not."""

    @override
    def forward(self, x: Array) -> Array:
        if not len(x):
            raise ShapeError(f"{self}: expected at least one row")
        self._rows = len(x)
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad.copy()

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return x.copy()

    @override
    def inference(self) -> Layer:
        return HandsOver()


class HandsOver(Layer):
    """y = x."""

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        return x.copy()

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad


class Absolute(Layer):
    """y = |x|, in code that gives nonsense for complex numbers."""

    @override
    def forward(self, x: Array) -> Array:
        self._sign: Array = np.sign(x)
        y: Array = np.abs(x)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        return grad * self._sign


class Maximum(Layer):
    """y = the greatest number of each row: kinks where two are equal."""

    @override
    def forward(self, x: Array) -> Array:
        self._shape, self._winner = x.shape, x.argmax(axis=1)
        y: Array = x[np.arange(len(x)), self._winner][:, None]
        return y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = np.zeros(self._shape, grad.dtype)
        dx[np.arange(len(dx)), self._winner] = grad[:, 0]
        return dx


class GaussianNoise(Layer):
    """y = x + noise in training, y = x in prediction."""

    def __init__(self, deviation: float = 0.1, *, rng: np.random.Generator | None = None) -> None:
        self.deviation = deviation
        self.rng = rng or np.random.default_rng(3)

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        noise: Array = self.rng.standard_normal(x.shape).astype(x.real.dtype)
        return x + self.deviation * noise

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad

    @override
    def inference(self) -> Layer:
        return HandsOver()


class Mixture(Layer):
    """y = Σ over experts of fₖ(x), the experts in a dict, their scales in a list."""

    def __init__(self, features: int = 3) -> None:
        self.features = self.in_features = features
        self.experts: dict[str, Layer] = {
            "plain": Dense(features, 2).initialize(1),
            "bent": Sequential(Dense(features, 2).initialize(2), Tanh(), Dropout(0.2).initialize(3)),
        }
        self.scales = [Parameter(1.0), Parameter(-0.5)]

    @override
    def forward(self, x: Array) -> Array:
        self._outputs = [expert.forward(x) for expert in self.experts.values()]
        y: Array = np.add.reduce([s.value * y for s, y in zip(self.scales, self._outputs, strict=True)])
        return y

    @override
    def backward(self, grad: Array) -> Array:
        gradients = []
        for expert, scale, y in zip(self.experts.values(), self.scales, self._outputs, strict=True):
            scale.grad += np.sum(grad * y)
            gradients.append(expert.backward(scale.value * grad))
        dx: Array = np.add.reduce(gradients)
        return dx


class TiedDense(Layer):
    """y = x W for a W that is another layer's: the parameter comes from outside."""

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight
        self.in_features = weight.shape[0]

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (self.in_features,):
            raise ShapeError(f"{self}: expected x of shape (batch, {self.in_features}), got {x.shape}")
        self._x = x
        y: Array = x @ self.weight.value
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += self._x.T @ grad
        dx: Array = grad @ self.weight.value.T
        return dx


class DeclaredLambda(Layer):
    """y = x / 2, through a lambda, and it says so."""

    picklable = False

    def __init__(self) -> None:
        self._half: Any = lambda x: 0.5 * x

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        y: Array = self._half(x)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return 0.5 * grad


class FixedMatrix(Layer):
    """y = x M for a fixed M, kept as a plain array that follows the dtype of x."""

    def __init__(self) -> None:
        self.in_features = 3
        self._matrix = np.arange(6.0).reshape(3, 2)

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (3,):
            raise ShapeError(f"{self}: expected x of shape (batch, 3), got {x.shape}")
        self._rows = len(x)
        return x @ self._matrix.astype(x.dtype)

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad @ self._matrix.T.astype(grad.dtype)


class NoLearningForZero(Layer):
    """y = x w, with a gradient of w that is right and zero: the output is normalised by w again."""

    def __init__(self) -> None:
        self.weight = Parameter(2.0)

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        return x * self.weight.value / self.weight.value

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        self.weight.grad += 0.0
        return grad


class NamesAParameterX(Layer):
    """y = x + the parameter x."""

    def __init__(self) -> None:
        self.x = Parameter(0.5)

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        return x + self.x.value

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        self.x.grad += np.sum(grad)
        return grad


def used() -> Layer:
    """A layer that has been trained with before it is checked, in float32."""
    model = Sequential(Dense(3, 4).initialize(1), Tanh(), Dense(4, 2).initialize(2)).astype(np.float32)
    model.backward(np.ones_like(model.forward(np.ones((6, 3), np.float32))))
    return model


def hides_its_mask() -> Layer:
    """Random, but with an output that hardly shows it: another mask changes the gradients alone."""
    dense = Dense(3, 1).initialize(1)
    dense.weight.value *= 1e-3
    dense.bias.value += 3.0
    return Sequential(Dropout(0.5).initialize(2), dense)


RIGHT: dict[str, Layer] = {
    **{
        kind.__name__: kind()
        for kind in (
            KeepsItsStateInAList,
            HandsTheGradientOn,
            RefusesNoRows,
            HandsOver,
            Absolute,
            Maximum,
            GaussianNoise,
            Mixture,
            DeclaredLambda,
            FixedMatrix,
            NoLearningForZero,
            NamesAParameterX,
        )
    },
    "TiedDense": TiedDense(Parameter(np.linspace(-1, 1, 6).reshape(3, 2))),
    "used before": used(),
    "hides its mask": hides_its_mask(),
    "draws in two dtypes": Sequential(Dropout(0.5).initialize(1), GaussianNoise(), Dense(3, 2).initialize(3)),
    "PredictsByItself": PredictsByItself(3),
}
