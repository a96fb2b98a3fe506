"""The contract of a layer: forward, backward, predict; and the common base of layers and merges."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, dense, positive_int
from .._core.configuration import config_of
from .._core.generators import Seed, generator, reseed
from .._core.parameter import Buffer, Parameter, float_dtype
from ..errors import CallOrderError, DTypeError, MinidlError, ShapeError
from ..initializers import GlorotUniform
from ._parts import ByClass, Holder, first_parameter, goes_past, named, with_parts
from ._picture import html_of


class Component(Holder):
    """Base of layers and merges: finds its own parts.

    A subclass keeps parameters, layers and generators as plain attributes, alone or in lists, tuples and
    mappings; there is nothing to register and no ``super().__init__()`` to call.
    """

    _shapes: ClassVar[Mapping[str, tuple[str | int, ...]]] = {}
    """The shape of each array of a built-in layer, in names of constructor arguments and numbers.

    `load` compares them with the file before it makes the layer, so no file can make an array larger than itself.
    """

    _text: ClassVar[str] = ""
    """The arguments in the repr of a layer, as a `str.format` text; the layer is argument 0."""

    @classmethod
    def _array_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Return the shape of each array of a built-in layer that is made with some arguments, which are not checked.

        Raises:
            KeyError, TypeError: a shape needs an argument that is missing, or of another type.
        """
        return {
            name: tuple(arguments[size] if isinstance(size, str) else size for size in sizes)
            for name, sizes in cls._shapes.items()
        }

    def named_parameters(self) -> dict[str, Parameter]:
        """Map the path of each parameter, such as ``"0.weight"``, to it; a shared one has its first path."""
        return named(self, Parameter)

    def parameters(self) -> list[Parameter]:
        """List each parameter once."""
        return list(self.named_parameters().values())

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the first parameter; None where nothing is learned."""
        parameter = first_parameter(self)
        return None if parameter is None else parameter.dtype

    def initialize(self, rng: Seed = None) -> Self:
        """Draw every parameter again, reset the running statistics, and reseed the random layers.

        What is frozen stays as it is.

        Args:
            rng: Generator, seed, or None for a fresh one.

        Returns:
            The component itself, so that ``Sequential(...).initialize(rng=0)`` reads as one expression.
        """
        rng = generator(rng, "model")
        for parameter in self.parameters():
            if not parameter.frozen:
                parameter.initialize(rng)
        for buffer in named(self, Buffer).values():
            if not buffer.frozen:
                buffer.reset()
        for own in named(self, np.random.Generator).values():
            reseed(own, rng)
        return self

    def freeze(self) -> Self:
        """Freeze every parameter and buffer: training leaves them as they are, until `unfreeze`.

        Optimizers and solvers skip them, and normalization uses its running statistics.

        Returns:
            The component itself, so that ``Sequential(body.freeze(), head)`` reads as one expression.
        """
        for part in named(self, (Parameter, Buffer)).values():
            part.freeze()
        return self

    def unfreeze(self) -> Self:
        """Let training change every parameter and buffer again."""
        for part in named(self, (Parameter, Buffer)).values():
            part.unfreeze()
        return self

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Return a copy that computes in ``dtype``; the original and its optimizer stay as they are."""
        kind, clone = float_dtype(dtype, f"{type(self).__name__}.astype"), copy.deepcopy(self)
        for part in named(clone, (Parameter, Buffer)).values():
            part.cast(kind)
        return clone

    def config(self) -> dict[str, Any]:
        """Map the constructor's arguments to the values that this part was made with, without the learned ones.

        Raises:
            ArgumentError: an argument that is not kept as an attribute of its name.
        """
        return config_of(self)

    def inference(self) -> Component:
        """Return a copy as prediction sees it, with the same parameters."""
        return with_parts(self, inference_of)

    def _frozen_mark(self) -> str:
        """Return the mark in the repr of a part that is frozen, partly or wholly."""
        frozen = [part.frozen for part in named(self, (Parameter, Buffer)).values()]
        return "" if not any(frozen) else ", frozen" if all(frozen) else ", partly frozen"

    def _repr_html_(self) -> str:
        """Show the model in a notebook: a picture, the number of parameters, and the repr to unfold."""
        return html_of(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._text.format(self)}{self._frozen_mark() if self._text else ''})"


def inference_of(_: str, part: Any) -> Any:
    """Return a part as prediction sees it."""
    return part.inference() if isinstance(part, Component) else part


def kept() -> Any:
    """Declare, as a class attribute, what `forward` keeps for `backward`: reading it too early is a `CallOrderError`.

    It is optional. Without it a missing attribute is Python's AttributeError, which containers turn into a
    `CallOrderError`.
    """
    return _Kept()


class _Kept:
    """A descriptor that the instance's own attribute hides as soon as `forward` has set it."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    def __get__(self, part: Any, owner: type[Any]) -> Any:
        if part is None:
            return self
        raise not_kept(part, self.name)


def forget(holders: Iterable[Holder]) -> None:
    """Remove at the end of a run the attributes declared by `kept`, so that no data stays in the model."""
    for holder in holders:
        for name in _kept_names[type(holder)]:
            vars(holder).pop(name, None)


@ByClass
def _kept_names(kind: type[Any]) -> list[str]:
    return [name for base in kind.__mro__ for name, value in vars(base).items() if isinstance(value, _Kept)]


def not_kept(part: Any, name: str) -> CallOrderError:
    """Make the error for a backward that reads what no forward has kept: it came too early, or the name is misspelt."""
    from difflib import get_close_matches

    close = get_close_matches(name, [kept for kept in vars(part) if kept.startswith("_")], 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    error = CallOrderError(
        f"{type(part).__name__}: expected forward before backward; forward has not kept {name!r}{hint}"
    )
    error.name, error.obj = name, part
    return error


def refuse_gradient(part: object, grad: Array, shape: tuple[int, ...]) -> NoReturn:
    """Raise the error for a gradient of another shape than the output, which NumPy might broadcast."""
    raise ShapeError(f"{part}: expected a gradient of shape {shape}, got {grad.shape}")


def returned_none(part: object, method: str) -> DTypeError:
    """Return the error for a method of a layer that returned None in place of an array."""
    name = type(part).__name__
    return DTypeError(f"{name}.{method}: expected an array, got None; did you forget return?")


TRAITS: dict[str, Any] = {
    "in_features": None,
    "smallest_batch": 1,
    "couples_rows": False,
    "has_input_gradient": True,
    "takes_any_rank": False,
    "initializer_before": GlorotUniform(),
    "keeps_width": False,
    "picklable": True,
}
"""Properties that a layer may declare by an attribute, and their defaults."""


def trait(part: object, name: str) -> Any:
    """Return what a part declares, or the default."""
    return getattr(part, name, TRAITS[name])


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

    Other properties are attributes of the class or of the object:

    - ``in_features``: the only width that it takes;
    - ``smallest_batch = 1``: rows that a training pass needs at least;
    - ``couples_rows = False``: whether the output of a row depends on the other rows in training;
    - ``has_input_gradient = True``: False for codes that select a row of a table;
    - ``takes_any_rank = False``: whether the input may have more than two dimensions, as images have;
    - ``keeps_width = False``: whether the output is as wide as the input, for every width;
    - ``initializer_before = GlorotUniform()``: first values of the Dense layer before it, where `mlp` makes both;
    - ``picklable = True``: False for one that holds a lambda; only the conformance kit asks.

    Two methods save time; neither is used past a `forward` or `backward` that a subclass overrides:

    - ``compute(x)``: the output, keeping nothing; `predict` then needs no copy of the layer;
    - ``add_gradients(grad)``: what `backward` does, without ∂e/∂x.
    """

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
        gradients_alone[type(self)](self, grad)

    @override
    def inference(self) -> Layer:
        """Return a copy as prediction sees it, with the same parameters.

        Its `forward` computes what `predict` computes, and its `backward` differentiates that.
        """
        return with_parts(self, inference_of)

    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        """Compute the output for use, changing nothing on the layer, so that any thread may call it.

        Args:
            x: Input, ``(batch, in_features)``.
            batch_size: Rows that go through the layer at a time; None for all. With it, large data needs little memory
                beside the output: ``x`` may be a memory-mapped file. The output has the same bits for the same
                ``batch_size``. For another one a matrix product may round otherwise; layers without matrix products
                give the same bits for all.

        Returns:
            Output, ``(batch, out_features)``; each row depends on its own row of ``x`` alone. NaN in ``x`` gives NaN.
        """
        if batch_size is None:
            return inherited_prediction[type(self)](self, x)
        where = f"{type(self).__name__}.predict"
        size, rows = positive_int(batch_size, f"{where}(batch_size)"), dense(x, f"{where}: x")
        if rows.ndim == 0 or len(rows) <= size:
            return self.predict(rows)
        first = self.predict(rows[:size])
        y: Array = np.empty((len(rows), *first.shape[1:]), first.dtype)
        y[:size] = first
        for begin in range(size, len(rows), size):
            try:
                y[begin : begin + size] = self.predict(rows[begin : begin + size])
            except MinidlError as error:
                error.add_note(f"in the rows from {begin} on, counted from {begin} as row 0")
                raise
        return y

    def __call__(self, x: Array) -> Array:
        """Predict: see `predict`."""
        return prediction[type(self)](self, x)

    def output_features(self, input_features: int) -> int:
        """Return the width that comes out when ``input_features`` go in; found by predicting no rows."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = self.predict(np.zeros((0, input_features), self.dtype))
        if y is None:
            raise returned_none(self, "forward")
        return int(y.shape[1])


# How a layer predicts, and how it adds gradients without ∂e/∂x, depends on its class alone. A short cut that a class
# writes belongs to its own `forward` or `backward`, and not to one that a subclass overrides.


@ByClass
def prediction(kind: type[Any]) -> Callable[..., Array]:
    """How containers, the Trainer and ``layer(x)`` predict: by ``predict``, if it belongs to ``forward``."""
    plain = kind.predict is Layer.predict or goes_past(kind, "predict", "forward")
    predict: Callable[..., Array] = kind.predict
    return computation[kind] if plain else predict


@ByClass
def computation(kind: type[Any]) -> Callable[..., Array]:
    """``compute``, if it belongs to ``forward``; else a forward pass of a copy."""
    return _computation(kind.__mro__)


@ByClass
def inherited_prediction(kind: type[Any]) -> Callable[..., Array]:
    """What `Layer.predict` does; a class with a ``predict`` of its own came here by ``super().predict(x)``."""
    own = [place for place, base in enumerate(kind.__mro__) if "predict" in vars(base) and base is not Layer]
    return _computation(kind.__mro__[own[-1] + 1 :]) if own else computation[kind]


def _computation(bases: tuple[type[Any], ...]) -> Callable[..., Array]:
    """Return what the nearest of some classes computes: ``compute``, or ``forward`` of a copy."""
    nearest = next(vars(base) for base in bases if "compute" in vars(base) or "forward" in vars(base))
    if "compute" in nearest:
        compute: Callable[..., Array] = nearest["compute"]
        return compute
    forward = nearest["forward"]
    return lambda part, *xs: part.inference().forward(*xs) if bases[0] is type(part) else forward(part.inference(), *xs)


@ByClass
def gradients_alone(kind: type[Any]) -> Callable[..., object]:
    """``add_gradients``, if it belongs to ``backward``; else ``backward``."""
    own = hasattr(kind, "add_gradients") and not goes_past(kind, "add_gradients", "backward")
    method: Callable[..., object] = kind.add_gradients if own else kind.backward
    return method


def backward_alone(layer: Layer, grad: Array) -> None:
    """Do without ∂e/∂x, in containers and the Trainer: by `backward_parameters`, if it belongs to ``backward``."""
    if _needs_backward[type(layer)]:
        layer.backward(grad)
    else:
        layer.backward_parameters(grad)


@ByClass
def _needs_backward(kind: type[Any]) -> bool:
    own = kind.backward_parameters is not Layer.backward_parameters
    return own and goes_past(kind, "backward_parameters", "backward")
