"""What layers and merges have in common: their parts, found by looking, and their state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from ..arrays import Array, generator, reseed
from ..configuration import config_of
from ..errors import CallOrderError, ShapeError
from ..parameter import Buffer, Parameter

if TYPE_CHECKING:
    from ..arrays import Seed

Child: TypeAlias = Union["Component", Parameter, Buffer, "np.random.Generator"]


class Component:
    """A part of a model that finds its own parts.

    A subclass keeps parameters, layers and generators as plain attributes, alone or in lists, tuples and
    dicts; there is nothing to register and no ``super().__init__()`` to call.
    """

    picklable: bool = True
    """Whether pickle takes it; False for one that holds a lambda. The conformance kit asks, nothing else does."""

    def children(self) -> Iterator[tuple[str, Child]]:
        """Yield (name, part) for each part that the attributes hold, in the order in which they were made."""
        for name, value in vars(self).items():
            yield from _parts(name, value)

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Child]]:
        """Yield (path, part) of every part at any depth; a part that is held twice comes twice."""
        for name, child in self.children():
            yield prefix + name, child
            if isinstance(child, Component):
                yield from child.walk(f"{prefix}{name}.")

    def named_parameters(self) -> dict[str, Parameter]:
        """Map the path of each parameter, such as ``"0.weight"``, to it; a shared one has its first path."""
        return _first_paths(self.walk(), Parameter)

    def parameters(self) -> list[Parameter]:
        """List each parameter once."""
        return list(self.named_parameters().values())

    def named_buffers(self) -> dict[str, Buffer]:
        """Map the path of each buffer to it."""
        return _first_paths(self.walk(), Buffer)

    def named_generators(self) -> dict[str, np.random.Generator]:
        """Map the path of each random generator to it."""
        return _first_paths(self.walk(), np.random.Generator)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the first parameter; None where nothing is learned."""
        for _, child in self.walk():
            if isinstance(child, Parameter):
                return child.dtype
        return None

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
        for buffer in self.named_buffers().values():
            if not buffer.frozen:
                buffer.reset()
        for own in self.named_generators().values():
            reseed(own, rng)
        return self

    def freeze(self) -> Self:
        """Freeze every parameter and buffer: training leaves them as they are, until `unfreeze`.

        Optimizers and solvers skip them, and normalization uses its running statistics.

        Returns:
            The component itself, so that ``Sequential(body.freeze(), head)`` reads as one expression.
        """
        for part in state_parts(self):
            part.freeze()
        return self

    def unfreeze(self) -> Self:
        """Let training change every parameter and buffer again."""
        for part in state_parts(self):
            part.unfreeze()
        return self

    def _frozen_mark(self) -> str:
        """Return what a repr says of a part that is frozen."""
        parameters = self.parameters()
        return ", frozen" if parameters and all(parameter.frozen for parameter in parameters) else ""

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Return a copy that computes in ``dtype``; the original and its optimizer stay as they are."""
        clone = copy.deepcopy(self)
        for parameter in clone.parameters():
            parameter.cast(dtype)
        for buffer in clone.named_buffers().values():
            buffer.cast(dtype)
        return clone

    def config(self) -> dict[str, Any]:
        """Map the constructor's arguments to the values that this part was made with, without the learned ones.

        Raises:
            ArgumentError: an argument that is not kept as an attribute of its name.
        """
        return config_of(self)

    def inference(self) -> Component:
        """Return the part as prediction sees it: the same parameters, a memory of its own."""
        clone = copy.copy(self)
        for name, value in vars(clone).items():
            vars(clone)[name] = replaced(value, lambda part: part.inference())
        return clone

    def _check(self, grad: Array, shape: tuple[int, ...]) -> None:
        """Refuse a gradient of another shape than the output, which NumPy might broadcast."""
        if grad.shape != shape:
            raise ShapeError(f"{self!r}: expected a gradient of shape {shape} like the output, got {grad.shape}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __init_subclass__(cls) -> None:
        """Say what is missing when a backward of the class comes before its forward."""
        super().__init_subclass__()
        for name in ("backward", "backward_parameters"):
            if name in vars(cls):
                setattr(cls, name, _after_forward(vars(cls)[name]))


def state_parts(component: Component) -> list[Parameter | Buffer]:
    """List every parameter and buffer once."""
    return [*component.parameters(), *component.named_buffers().values()]


def _after_forward(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the look-up of what `forward` would have kept into a `CallOrderError`.

    A `__getattr__` would be simpler to write, but a class that has one looks up all of its attributes more slowly: it
    cost 5 % of an update of 1-20-20-1.
    """

    @wraps(backward)
    def checked(self: Component, *arguments: Any) -> Any:
        try:
            return backward(self, *arguments)
        except AttributeError as error:
            if error.obj is self and str(error.name).startswith("_") and not isinstance(error, CallOrderError):
                raise _not_kept(self, str(error.name)) from None
            raise

    return checked


def _not_kept(part: Component, name: str) -> CallOrderError:
    """Make the error for a backward that looks for what is not there: too early, or under a name that is misspelt."""
    from difflib import get_close_matches

    close = get_close_matches(name, [kept for kept in vars(part) if kept.startswith("_")], 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return CallOrderError(
        f"{type(part).__name__}: expected forward before backward; forward has not kept {name!r}{hint}"
    )


def _parts(name: str, value: object) -> Iterator[tuple[str, Child]]:
    """Yield the parts in an attribute, through lists, tuples and dicts."""
    if isinstance(value, (Component, Parameter, Buffer, np.random.Generator)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _parts(f"{name}.{index}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(f"{name}.{key}", item)


def replaced(value: object, replace: Callable[[Component], Component]) -> object:
    """Return an attribute with each part in it replaced, through lists, tuples and dicts."""
    if isinstance(value, Component):
        return replace(value)
    if type(value) is list:
        return [replaced(item, replace) for item in value]
    if type(value) is tuple:
        return tuple(replaced(item, replace) for item in value)
    if type(value) is dict:
        return {key: replaced(item, replace) for key, item in value.items()}
    return value


def _first_paths(walk: Iterable[tuple[str, Child]], kind: type[Any]) -> dict[str, Any]:
    """Map the first path of each part of one kind to it."""
    found: dict[int, tuple[str, Any]] = {}
    for path, child in walk:
        if isinstance(child, kind):
            found.setdefault(id(child), (path, child))
    return dict(found.values())
