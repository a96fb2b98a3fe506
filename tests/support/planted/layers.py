"""Layers with one fault each."""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from typing import Any, Self

import numpy as np
from typing_extensions import override

from minidl import Array, Dense, Dropout, Layer, Parameter, Sequential, Tanh
from minidl.errors import ShapeError
from tests.support.planted.right import HandsOver, PredictsByItself, Scale


class Linear(Layer):
    """y = x Wᵀ, with a square W."""

    def __init__(self, features: int = 4) -> None:
        self.features = self.in_features = features
        self.weight = Parameter(np.random.default_rng(0).standard_normal((features, features)))

    @override
    def forward(self, x: Array) -> Array:
        if x.shape[1:] != (self.features,):
            raise ShapeError(f"{self}: expected x of shape (batch, {self.features}), got {x.shape}")
        self._x = x
        y: Array = x @ self.weight.value.T
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += grad.T @ self._x
        dx: Array = grad @ self.weight.value
        return dx


# Wrong gradients.


class MissingTranspose(Linear):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += grad.T @ self._x
        dx: Array = grad @ self.weight.value.T
        return dx


class TransposedWeightGradient(Linear):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += self._x.T @ grad
        dx: Array = grad @ self.weight.value
        return dx


class DividesByTheRows(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += np.mean(grad * self._x, axis=0)
        self.bias.grad += np.sum(grad, axis=0)
        return grad * self.weight.value


class WrongSign(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += np.sum(grad * self._x, axis=0)
        self.bias.grad -= np.sum(grad, axis=0)
        return grad * self.weight.value


class ForgetsTheBias(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += np.sum(grad * self._x, axis=0)
        return grad * self.weight.value


class ForgetsTheWeight(Scale):
    """Wrong only where the weight is not 1: a kit that takes initial values as they are would not see it."""

    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self.weight = Parameter(np.ones(features))

    @override
    def backward(self, grad: Array) -> Array:
        super().backward(grad)
        return grad


class TinySlip(Scale):
    """Wrong by a part in 10⁸, which differences cannot see."""

    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(grad) * (1 + 1e-8)


class DerivativeAtTheOutput(Layer):
    """y = sin x, with the cosine taken of y."""

    @override
    def forward(self, x: Array) -> Array:
        self._y: Array = np.sin(x)
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = grad * np.cos(self._y)
        return dx


class WrongSideOfTheKink(Layer):
    """y = |x|, whose code is not for complex numbers, with a derivative that is 1 everywhere."""

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        y: Array = np.abs(x)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = grad * np.ones_like(self._x)
        return dx


class IgnoresTheOtherRows(Layer):
    """y = x − mean of the batch, the mean taken as a constant."""

    couples_rows = True

    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        y: Array = x - x.sum(axis=0) / max(len(x), 1)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad

    @override
    def inference(self) -> Layer:
        return HandsOver()


class HalfOfTheBatch(Scale):
    """The gradient of the weight looks at the first two rows alone."""

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += np.sum((grad * self._x)[:2], axis=0)
        self.bias.grad += np.sum(grad, axis=0)
        return grad * self.weight.value


class OneWrongAmongMany(Linear):
    """A single weight of 144 has no gradient."""

    def __init__(self, features: int = 12) -> None:
        super().__init__(features)

    @override
    def backward(self, grad: Array) -> Array:
        gradient = grad.T @ self._x
        gradient[3, 5] = 0.0
        self.weight.grad += gradient
        dx: Array = grad @ self.weight.value
        return dx


class CancelsDigits(Scale):
    """Loses five digits on the way: enough of them in float64, not in float32."""

    @override
    def backward(self, grad: Array) -> Array:
        return (super().backward(grad) + 3e5) - 3e5


# Gradients that do not add up, and memory that is wrong.


class Overwrites(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad[...] = np.sum(grad * self._x, axis=0)
        self.bias.grad += np.sum(grad, axis=0)
        return grad * self.weight.value


class AssignsTheGradient(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad = np.sum(grad * self._x, axis=0)
        return grad * self.weight.value


class SlipInTheFastPath(Scale):
    """`backward_parameters` forgets the bias."""

    @override
    def backward_parameters(self, grad: Array) -> None:
        self.weight.grad += np.sum(grad * self._x, axis=0)


class AccumulatesOnce(Scale):
    """`backward_parameters` throws away what was there."""

    @override
    def backward_parameters(self, grad: Array) -> None:
        self.weight.zero_grad()
        self.bias.zero_grad()
        self.backward(grad)


class UsesItsMemoryUp(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        dx = super().backward(grad)
        del self._x
        return dx


class KeepsTheFirstInput(Scale):
    """A cache that is filled once."""

    @override
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        if not hasattr(self, "_first"):
            self._first = x
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._x = self._first
        return super().backward(grad)


class MemoryFromTheStart(Scale):
    """`__init__` makes what forward should, so that a backward before forward is no `CallOrderError`."""

    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self._x: Any = None


class NeedsNoForward(Layer):
    """y = 2 x, with a backward that nothing stops."""

    @override
    def forward(self, x: Array) -> Array:
        return 2 * x

    @override
    def backward(self, grad: Array) -> Array:
        return 2 * grad


# Arrays that are somebody else's.


class WritesIntoItsInput(Scale):
    @override
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self._x = x.copy()
        x *= 0.0
        return y


class WritesIntoTheGradient(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += np.sum(grad * self._x, axis=0)
        self.bias.grad += np.sum(grad, axis=0)
        grad *= self.weight.value
        return grad


class ReturnsItsInput(Layer):
    @override
    def forward(self, x: Array) -> Array:
        self._rows = len(x)
        return x

    @override
    def backward(self, grad: Array) -> Array:
        self._rows  # noqa: B018
        return grad


class ReusesItsOutput(Scale):
    """One array for all outputs of one size, as if that were faster."""

    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self._outputs: dict[str, Array] = {}

    @override
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        key = f"{y.shape} {y.dtype}"
        self._outputs.setdefault(key, y)[...] = y
        return self._outputs[key]

    @override
    def inference(self) -> Layer:
        clone = Scale(self.features)
        clone.weight, clone.bias = self.weight, self.bias
        return clone


class WritesIntoItsOutput(Layer):
    """y = tanh x; backward turns the output it had returned into the derivative."""

    @override
    def forward(self, x: Array) -> Array:
        self._y: Array = np.tanh(x)
        self._is_derivative = False
        return self._y

    @override
    def backward(self, grad: Array) -> Array:
        if not self._is_derivative:
            np.subtract(1.0, self._y * self._y, out=self._y)
            self._is_derivative = True
        return grad * self._y


class ReturnsItsWeight(Layer):
    """A table of one row for each row of a batch of no more than eight: a view of the weight."""

    def __init__(self) -> None:
        self.weight = Parameter(np.random.default_rng(0).standard_normal((1, 3)))

    @override
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        return np.broadcast_to(self.weight.value, (len(x), 3))

    @override
    def backward(self, grad: Array) -> Array:
        self.weight.grad += grad.sum(axis=0, keepdims=True)
        return np.zeros(self._shape, grad.dtype)


class TrustsTheLayout(Scale):
    """Reads the memory of x as if it lay row by row."""

    @override
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        if x.flags.f_contiguous and not x.flags.c_contiguous:
            self._x = x.ravel(order="K").reshape(x.shape)
        return y


# Shapes and dtypes.


class AlwaysDoublePrecision(Scale):
    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self.shift = np.ones(features)

    @override
    def forward(self, x: Array) -> Array:
        return super().forward(x) + self.shift


class AlwaysSinglePrecision(Scale):
    """∂e/∂x goes through float32 on its way."""

    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(grad).astype(np.float32)


class BreaksOnOneRow(Scale):
    """Squeezes a batch of one row."""

    @override
    def forward(self, x: Array) -> Array:
        return np.squeeze(super().forward(x))


class BreaksOnNoRows(Scale):
    """Looks at the first row, where there may be none."""

    @override
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self._first = x[0]
        return y


class BroadcastsItsInput(Scale):
    """Takes any width that NumPy can stretch."""

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * self.weight.value + self.bias.value


class FlatInputGradient(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(grad).ravel()


class SaysAnotherWidth(Scale):
    @override
    def output_features(self, input_features: int) -> int:
        return input_features + 1


class CouplesRowsUnsaid(Layer):
    """y = x − mean of the batch, in training and in prediction."""

    @override
    def forward(self, x: Array) -> Array:
        self._rows = max(len(x), 1)
        y: Array = x - x.sum(axis=0) / self._rows
        return y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = grad - grad.sum(axis=0) / self._rows
        return dx


class CouplesRowsNot(Scale):
    """Declares what is not so."""

    couples_rows = True


class NoSpreadOfOneRow(Layer):
    """y = x rows / (rows − 1), without a declared smallest batch."""

    @override
    def forward(self, x: Array) -> Array:
        rows = len(x)
        self._factor = np.nan if rows == 1 else rows / (rows - 1)
        y: Array = x * self._factor
        return y

    @override
    def backward(self, grad: Array) -> Array:
        dx: Array = grad * self._factor
        return dx

    @override
    def inference(self) -> Layer:
        return HandsOver()


class NaNBelowTheSmallestBatch(NoSpreadOfOneRow):
    """The smallest batch is declared, but not held."""

    smallest_batch = 2


# Prediction.


class PredictsByForward(Scale):
    """Prediction runs over the memory of training."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return self.forward(x)


class PredictsFromMemory(Scale):
    """Prediction depends on whether there was a training pass before it."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return self.inference().forward(x) + float("_x" in vars(self))


class CountsPredictions(Scale):
    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self.log: list[int] = []

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        self.log.append(len(x))
        return super().predict(x)


class PredictsInOnePlace(Scale):
    """Prediction passes through an attribute that it puts back: right alone, wrong among threads."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        if x.shape[1:] != (self.features,):
            raise ShapeError("width")
        self._row = x
        time.sleep(0.0002)
        y: Array = self._row * self.weight.value + self.bias.value
        vars(self).pop("_row", None)
        return y


class ForwardPastPredict(PredictsByItself):
    """Overrides forward, but predict stays that of its base, which knows nothing of it."""

    @override
    def forward(self, x: Array) -> Array:
        return super().forward(x) + 1


class PredictsAnother(Scale):
    """The shortened prediction forgets the bias."""

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        if x.shape[1:] != (self.features,):
            raise ShapeError("width")
        return x * self.weight.value


class SharesItsMemory(Scale):
    """A queue, shared by the shallow copy that predicts."""

    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self.queue: deque[Array] = deque(maxlen=1)

    @override
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.queue.append(x)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        self._x = self.queue[-1] if hasattr(self, "_x") else self._x
        return super().backward(grad)


class TouchesItsLayers(Layer):
    """Its prediction runs over the memory of the layers that it holds."""

    in_features = 4

    def __init__(self) -> None:
        self.layers = [Dense(4, 3).initialize(0), Tanh()]

    @override
    def forward(self, x: Array) -> Array:
        return self.layers[1].forward(self.layers[0].forward(x))

    @override
    def backward(self, grad: Array) -> Array:
        return self.layers[0].backward(self.layers[1].backward(grad))

    @override
    def inference(self) -> Layer:
        return copy.copy(self)


class MemoryOfTheClass(Layer):
    """y = tanh x, what is kept for backward kept for all objects at once."""

    kept: dict[str, Array] = {}

    @override
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        self.kept["y"] = np.tanh(x)
        return self.kept["y"].copy()

    @override
    def backward(self, grad: Array) -> Array:
        self._shape  # noqa: B018
        dx: Array = grad * (1.0 - self.kept["y"] ** 2)
        return dx


class MemoryOfTheModule(Layer):
    """y = tanh x, what is kept for backward kept where no snapshot of the layer shows it."""

    @override
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        _KEPT["y"] = np.tanh(x)
        return _KEPT["y"].copy()

    @override
    def backward(self, grad: Array) -> Array:
        self._shape  # noqa: B018
        dx: Array = grad * (1.0 - _KEPT["y"] ** 2)
        return dx


_KEPT: dict[str, Array] = {}


class InferenceInTraining(Dropout):
    """Prediction draws masks."""

    @override
    def inference(self) -> Layer:
        return self

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return self.forward(x)


class InferenceForgetsTheDerivative(Scale):
    """What predicts is differentiated as if it were the identity."""

    @override
    def inference(self) -> Layer:
        clone = _ScaleWithoutDerivative(self.features)
        clone.weight, clone.bias = self.weight, self.bias
        return clone


class _ScaleWithoutDerivative(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        super().backward(grad)
        return grad


class InferenceOwnsCopies(Scale):
    @override
    def inference(self) -> Layer:
        return copy.deepcopy(self)


# State, copies and files.


class DrawsFromNowhere(Layer):
    """Noise from a generator that nobody can find."""

    @override
    def forward(self, x: Array) -> Array:
        self._mask: Array = np.random.default_rng().uniform(0.5, 1.5, x.shape)
        return x * self._mask

    @override
    def backward(self, grad: Array) -> Array:
        return grad * self._mask

    @override
    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        return x.copy()

    @override
    def inference(self) -> Layer:
        return HandsOver()


class KeepsAView(Scale):
    """The weight, taken once in `__init__`."""

    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self._w = self.weight.value

    @override
    def forward(self, x: Array) -> Array:
        super().forward(x)
        return x * self._w + self.bias.value


class KeepsACopy(Scale):
    """A copy of the weight, taken in the first pass."""

    @override
    def forward(self, x: Array) -> Array:
        super().forward(x)
        if not hasattr(self, "_w"):
            self._w = self.weight.value.copy()
        return x * self._w + self.bias.value


class KeepsTheFirstWeights(Scale):
    """A copy of the weight, taken in `__init__`."""

    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self._w = self.weight.value.copy()

    @override
    def forward(self, x: Array) -> Array:
        super().forward(x)
        return (x * self._w + self.bias.value).astype(x.dtype)


class HidesAParameter(Layer):
    """y = s x, with the scale in an object that is no part of a model."""

    def __init__(self) -> None:
        self.box = _Box()

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return self.box.scale.value * x

    @override
    def backward(self, grad: Array) -> Array:
        self.box.scale.grad += np.sum(grad * self._x)
        return self.box.scale.value * grad


class _Box:
    def __init__(self) -> None:
        self.scale = Parameter(np.float32(1.5))


class RenamesItsArgument(Scale):
    def __init__(self, features: int = 4, gain: float = 2.0) -> None:
        super().__init__(features)
        self._gain = gain

    @override
    def forward(self, x: Array) -> Array:
        return self._gain * super().forward(x)

    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(self._gain * grad)


class ChangesItsArgument(Scale):
    def __init__(self, features: int = 4, gain: float = 2.0) -> None:
        super().__init__(features)
        self.gain = gain / 2

    @override
    def forward(self, x: Array) -> Array:
        return self.gain * super().forward(x)

    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(self.gain * grad)


class HoldsALambda(Scale):
    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self._double = lambda x: x + x

    @override
    def forward(self, x: Array) -> Array:
        return self._double(super().forward(x))  # type: ignore[no-any-return, no-untyped-call]

    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(2 * grad)


class PicklesAfterAll(Scale):
    picklable = False


class HoldsALock(Scale):
    def __init__(self, features: int = 4) -> None:
        super().__init__(features)
        self.lock = threading.Lock()


class CopiesToItself(Scale):
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class InitializesByChance(Scale):
    @override
    def initialize(self, rng: Any = None) -> Self:
        self.weight.value = np.random.default_rng().standard_normal(self.features)
        return self


class ForwardRaises(Scale):
    @override
    def forward(self, x: Array) -> Array:
        return x @ self.weight.value.reshape(2, 3)


class ForwardReturnsAList(Scale):
    @override
    def forward(self, x: Array) -> Array:
        return super().forward(x).tolist()  # type: ignore[no-any-return]


class GivesNaN(Layer):
    """y = log x of numbers that may be negative."""

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        with np.errstate(all="ignore"):
            y: Array = np.log(x)
        return y

    @override
    def backward(self, grad: Array) -> Array:
        return grad / self._x


class HasNoInputGradient(Scale):
    """Declares that its input has none, but gives one."""

    has_input_gradient = False


class ContainerOfAFault(Sequential):
    """The fault is in the second layer of a chain."""

    def __init__(self) -> None:
        super().__init__(Scale(), WrongSign(), Tanh())

    @override
    def config(self) -> dict[str, Any]:
        return {}


class WrongErrorForOrder(Scale):
    @override
    def backward(self, grad: Array) -> Array:
        try:
            return super().backward(grad)
        except AttributeError:
            raise RuntimeError("call forward first") from None
