"""Jacobians of a model: its outputs with respect to its inputs or its parameters, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, dense, finite, floating
from .._core.blas import one_blas_thread
from .._core.parameter import Parameter, WithoutGradient, twin_of
from .._data import check_parts
from ..errors import ShapeError
from ..layers._parts import with_parts
from ..layers.activations import PReLU
from ..layers.base import Component, Layer
from ..layers.dense import Dense
from ..layers.embedding import Embedding
from ..layers.graph import Graph
from ..layers.merges import Merge
from ..layers.normalization import LayerNorm, RMSNorm
from ..layers.parallel import Parallel
from ..layers.residual import Residual
from ..layers.sequential import Sequential
from ._problem import checked_rows, chosen_parameters, couples, forward_by_rows, refuse_coupling_layers, refuse_random


def jacobian(model: Layer, x: npt.ArrayLike) -> Array:
    """Differentiate `predict` with respect to its input: Jᵢⱼₖ = ∂yᵢⱼ / ∂xᵢₖ for row i.

    All rows go through the network at once, with one backward pass for each output. The model and the gradients of its
    parameters do not change. The codes of an `Embedding` are not quantities; the derivative with respect to them is 0.

    Args:
        model: Any layer.
        x: Input at which to differentiate, ``(rows, inputs)``.

    Returns:
        ``(rows, outputs, inputs)``; the inputs of a row are flattened in C order.

    Raises:
        StructureError: a layer that draws random numbers or couples rows even in prediction.

    Example:
        >>> from minidl import Activation
        >>> jacobian(Activation(np.square, lambda x: 2 * x), [[1.0, 3.0]])
        array([[[2., 0.],
                [0., 6.]]])
    """
    own, rows, copies = _private("jacobian", model, x, WithoutGradient)
    with _threads(copies, rows):
        y = forward_by_rows("jacobian", own, rows)
        found: Array = np.empty((len(rows), y.shape[1], rows[0].size), rows.dtype)
        for output in range(y.shape[1]):
            if output:
                own.forward(rows)
            found[:, output] = own.backward(_select(y, output)).reshape(len(rows), -1)
    return found


def parameter_jacobian(model: Layer, x: npt.ArrayLike, parameters: Iterable[Parameter] | None = None) -> Array:
    """Differentiate `predict` with respect to the parameters: Jᵢⱼₖ = ∂yᵢⱼ / ∂wₖ for row i.

    The model and the gradients of its parameters do not change.

    Args:
        model: Any layer that learns.
        x: Input at which to differentiate, ``(rows, inputs)``.
        parameters: The parameters w, in this order; default `model.parameters()`. Each is flattened in C order, as in
            ``np.concatenate([p.value.ravel() for p in parameters])``.

    Returns:
        ``(rows, outputs, numbers in the parameters)``.

    Raises:
        StructureError: a layer that draws random numbers or couples rows even in prediction.
        ArgumentError: parameters that the model does not hold.
    """
    check_parts("parameter_jacobian", model=(model, Layer))
    chosen = chosen_parameters("parameter_jacobian", model, parameters)
    own, rows, copies = _private("parameter_jacobian", model, x, Parameter)
    with _threads(copies, rows):
        outputs = forward_by_rows("parameter_jacobian", own, rows).shape[1]
    gradients = RowGradients(own, [copies.get(parameter, parameter) for parameter in chosen])
    with _threads(copies, rows):
        found: Array = np.zeros((len(rows), outputs, gradients.size), rows.dtype)
        gradients.evaluate(rows, found)
    return found


def value_and_grad(model: Layer, x: npt.ArrayLike, direction: npt.ArrayLike) -> tuple[Any, Array]:
    """Compute c · y of a prediction y, and its gradient with respect to the input, (∂y/∂x)ᵀ c.

    It takes about the time of one forward and one backward pass; `jacobian` makes two for each output. The model and
    the gradients of its parameters do not change.

    Args:
        model: Any layer.
        x: One row of input, ``(inputs,)``, or several, ``(rows, inputs)``.
        direction: c, a number for each output, ``(outputs,)``; for several rows also ``(rows, outputs)``.

    Returns:
        For one row a float and ``(inputs,)``, as `scipy.optimize.minimize` with ``jac=True`` needs them. For several
        rows ``(rows,)``, and an array of the shape of x.

    Raises:
        StructureError: a layer that draws random numbers or couples rows even in prediction.
        ShapeError: x does not fit the model, or the direction its outputs.

    Example:
        >>> from minidl import Activation
        >>> value_and_grad(Activation(np.square, lambda x: 2 * x), [1.0, 3.0], [1.0, 0.5])
        (5.5, array([2., 3.]))
    """
    check_parts("value_and_grad", model=(model, Layer))
    given = dense(x, "value_and_grad(x)")
    x = given[None] if given.ndim == 1 else given
    own, rows, copies = _private("value_and_grad", model, x, WithoutGradient)
    weights = floating(direction, "value_and_grad(direction)", rows.dtype)
    finite(weights, "value_and_grad(direction)")
    with _threads(copies, rows):
        y = forward_by_rows("value_and_grad", own, rows)
        if weights.shape not in (y.shape[1:], y.shape):
            raise ShapeError(f"value_and_grad(direction): expected a number for each output, shape {y.shape[1:]}, got "
                             f"{weights.shape}")
        grad = np.empty_like(y)
        grad[...] = weights
        values, dx = np.vecdot(y, grad), own.backward(grad)
    return (float(values[0]), dx[0]) if given.ndim == 1 else (values, dx)


class RowGradients:
    """Compute the gradient of each output of each row with respect to the parameters.

    The passes run in a copy of the model that shares its parameters. In the copy every part that learns is wrapped. The
    wrapper records the part's input x and the gradient g = ∂y/∂(its output) of all rows in one pass. For row i the
    gradient of the part's parameters depends only on xᵢ and gᵢ. It is computed by the layer's equation if `RULES` has
    it, else by a run of the part on that one row. Such a part may also be a container that the user has written.

    Args:
        model: A model that treats each row alone.
        parameters: The parameters with respect to which to differentiate.

    Attributes:
        size: Numbers in all parameters together.
    """

    def __init__(self, model: Layer, parameters: list[Parameter]) -> None:
        self._seen: list[_SeenLayer | _SeenMerge] = []
        wrapped = _wrapped(model, self._seen)
        assert isinstance(wrapped, Layer)
        self._model = wrapped
        self._places: dict[Parameter, slice] = {}
        self.size = 0
        for parameter in parameters:
            self._places[parameter] = slice(self.size, self.size + parameter.size)
            self.size += parameter.size

    def evaluate(self, x: Array, out: Array) -> Array:
        """Write the Jacobian into ``out``, ``(rows, outputs, size)``; return the outputs, ``(rows, outputs)``."""
        out.fill(0.0)
        for output in range(out.shape[1]):
            for seen in self._seen:
                seen.passes.clear()
            y = self._model.forward(x)
            self._model.backward_parameters(_select(y, output))
            for seen in self._seen:
                for inputs, grad in seen.passes:
                    for parameter, rows in _row_gradients(seen.part, inputs, grad):
                        if parameter in self._places:
                            out[:, output, self._places[parameter]] += rows.reshape(len(rows), -1)
        return y


def _select(y: Array, output: int) -> Array:
    """Return the gradient of output ``output`` of each row with respect to all outputs: a column of ones."""
    grad = np.zeros_like(y)
    grad[:, output] = 1.0
    return grad


def _private(
    where: str, model: Layer, x: npt.ArrayLike, kind: type[Parameter]
) -> tuple[Layer, Array, dict[Parameter, Parameter]]:
    """Return a copy of the model for prediction, the checked input, and the copy of each parameter.

    The copies are of the class ``kind``. They share their values, because nothing changes them.
    """
    rows = checked_rows(where, model, x)
    copies: dict[Parameter, Parameter] = {}
    refused = []

    def separate(_: str, part: Any) -> Any:
        if isinstance(part, Parameter):
            return copies.setdefault(part, twin_of(part, kind))
        if isinstance(part, np.random.Generator) or couples(part):
            refused.append(part)
        return with_parts(part, separate) if isinstance(part, Component) else part

    own: Layer = separate("", model.inference())
    if refused:
        refuse_random(where, own)
        refuse_coupling_layers(where, own)
    return own, rows, copies


def _threads(copies: dict[Parameter, Parameter], rows: Array) -> AbstractContextManager[None]:
    """Return a context for passes of all rows: BLAS uses one thread in it if they are small."""
    return one_blas_thread(len(rows) * max([parameter.size for parameter in copies], default=0))


GradientPairs: TypeAlias = "Iterator[tuple[Parameter, Array]]"


def _row_gradients(part: Layer | Merge, inputs: tuple[Array, ...], grad: Array) -> GradientPairs:
    rule = RULES.get(type(part))
    return _one_by_one(part, inputs, grad) if rule is None else rule(part, inputs[0], grad)


def _one_by_one(part: Layer | Merge, inputs: tuple[Array, ...], grad: Array) -> GradientPairs:
    """Run the part on each row alone, and let its own ``backward`` give the gradient."""
    parameters = part.parameters()
    found = [np.empty((len(grad), *p.shape), p.dtype) for p in parameters]
    for row in range(len(grad)):
        alone = slice(row, row + 1)
        for parameter in parameters:
            parameter.zero_grad()
        part.forward(*(x[alone] for x in inputs))
        part.backward(grad[alone])
        for parameter, rows in zip(parameters, found, strict=True):
            rows[row] = parameter.grad
    yield from zip(parameters, found, strict=True)


def _dense(part: Dense, x: Array, grad: Array) -> GradientPairs:
    """∂y/∂W = g xᵀ and ∂y/∂b = g, equations (5) and (6) before the sum over the batch."""
    yield part.weight, grad[:, :, None] * x[:, None, :]
    if part.bias is not None:
        yield part.bias, grad


def _prelu(part: PReLU, x: Array, grad: Array) -> GradientPairs:
    """∂y/∂a = Σ over x ≤ 0 of x g, or x g of each feature."""
    below = grad * np.minimum(x, 0.0)
    yield part.weight, below if part.features else np.add.reduce(below, axis=1)


def _layer_norm(part: LayerNorm, x: Array, grad: Array) -> GradientPairs:
    """∂y/∂w = g ∘ x̂ and ∂y/∂b = g."""
    variance = x.var(axis=1, keepdims=True)
    yield part.weight, grad * (x - x.mean(axis=1, keepdims=True)) / np.sqrt(variance + part.epsilon)
    yield part.bias, grad


def _rms_norm(part: RMSNorm, x: Array, grad: Array) -> GradientPairs:
    """∂y/∂w = g ∘ x̂."""
    yield part.weight, grad * x / np.sqrt((x * x).mean(axis=1, keepdims=True) + part.epsilon)


def _embedding(part: Embedding, x: Array, grad: Array) -> GradientPairs:
    """∂y/∂W has g in the row of the code, for each column its part of g."""
    rows = np.zeros((len(x), *part.weight.shape), grad.dtype)
    rows[np.arange(len(x))[:, None], part.rows_of(x)] = grad.reshape(len(x), -1, part.out_features)
    yield part.weight, rows


RULES: dict[type[Component], Callable[[Any, Array, Array], GradientPairs]] = {
    Dense: _dense, PReLU: _prelu, LayerNorm: _layer_norm, RMSNorm: _rms_norm, Embedding: _embedding
}
"""Compute the gradient of one row from its x and g; exact types only, because a subclass may compute otherwise."""

CONTAINERS = (Sequential, Residual, Parallel, Graph)
"""Layers that only call their parts, so that a wrapper can replace a part; exact types again."""


class _Seen:
    """Wrap a layer or merge and record its inputs and gradients."""

    def __init__(self, part: Any) -> None:
        self.part = part
        self.passes: list[tuple[tuple[Array, ...], Array]] = []

    def forward(self, *xs: Array) -> Array:
        self._inputs = xs
        y: Array = self.part.forward(*xs)
        return y

    def backward(self, grad: Array) -> Any:
        self.passes.append((self._inputs, grad))
        return self.part.backward(grad)

    def backward_parameters(self, grad: Array) -> None:
        self.passes.append((self._inputs, grad))

    def __repr__(self) -> str:
        return repr(self.part)


class _SeenLayer(_Seen, Layer):
    pass


class _SeenMerge(_Seen, Merge):
    pass


def _wrapped(part: Component, seen: list[_SeenLayer | _SeenMerge]) -> Component:
    """Wrap a part if it learns; return a container as a copy that holds wrapped parts."""
    if not part.parameters():
        return part
    if type(part) in CONTAINERS:
        clone: Component = with_parts(
            part, lambda _, inner: _wrapped(inner, seen) if isinstance(inner, Component) else inner
        )
        return clone
    assert isinstance(part, (Layer, Merge))
    seen.append(_SeenLayer(part) if isinstance(part, Layer) else _SeenMerge(part))
    return seen[-1]
