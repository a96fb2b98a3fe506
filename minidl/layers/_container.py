"""Base class of containers: layers made of layers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, features
from ..errors import CallOrderError, MinidlError
from ._parts import children, first_parameter
from ._structure import one_line, summary_lines
from .base import Component, Layer, kept, not_kept, refuse_gradient, returned_none, trait


class Container(Layer):
    """A layer made of layers: it checks and casts its input, and adds the place to an error that a layer raises.

    `in_features` is the width of the input; None accepts any.
    """

    in_features: int | None
    _output_shape: tuple[int, ...] = kept()

    def _checked_input(self, x: npt.ArrayLike) -> Array:
        """Return the input as a floating array in the dtype of the model."""
        parameter = first_parameter(self)
        # The input of a training step fits already; this test takes half the time of calling `features`.
        if (
            parameter is not None
            and type(x) is np.ndarray
            and x.ndim == 2
            and x.dtype is parameter.value.dtype
            and x.shape[1] == (self.in_features or x.shape[1])
        ):
            return x
        dtype = None if parameter is None else parameter.dtype
        return features(x, type(self).__name__, self.in_features, dtype, trait(self, "takes_any_rank"))

    def _check_gradient(self, grad: Array) -> None:
        if grad.shape != self._output_shape:
            refuse_gradient(type(self).__name__, grad, self._output_shape)

    @override
    def __repr__(self) -> str:
        return "\n".join(summary_lines(self))

    if TYPE_CHECKING:  # A container accepts everything that NumPy can turn into an array.

        @override
        def predict(self, x: npt.ArrayLike, *, batch_size: int | None = None) -> Array: ...

        @override
        def __call__(self, x: npt.ArrayLike) -> Array: ...


class _Located(AbstractContextManager[None]):
    """Add the place in the container to any error that is raised in this context.

    ::

        with located:
            for part in self.layers:
                x = part.forward(x)

    Container and part are the local variables ``self`` and ``part`` of the method: a pass without an error notes
    nothing. An attribute that no `forward` has kept is a `CallOrderError`.
    """

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, Exception) or trace is None:
            return
        variables = trace.tb_frame.f_locals
        part = variables.get("part", variables["self"])
        early: MinidlError | None = call_order_error(error)
        if (forgetful := _returned_none(variables, part, error, trace)) is not None:
            part, early = forgetful, returned_none(forgetful, "backward" if "grad" in variables else "forward")
        # An error of NumPy or of a user's layer may not name the shape of the input: that is added.
        named = isinstance(early or error, MinidlError) or "grad" in variables or not isinstance(part, Layer)
        inputs = [] if named else [variables[name] for name in ("given", "y", "rows", "x") if name in variables]
        note_place(early or error, variables["self"], part, *inputs[:1])
        if early is not None:
            raise early from None


located = _Located()


def _returned_none(variables: Mapping[str, Any], part: Any, error: Exception, trace: TracebackType) -> Any:
    """Return the part that made the error because it returned None in place of an array; None for any other error."""
    value = next((variables[name] for name in ("grad", "y", "x") if name in variables), part)
    if value is None:  # A chain gave it to the next part.
        layers = list(variables["self"].layers)
        place = next(place for place, layer in enumerate(layers) if layer is part)
        return layers[place + (1 if "grad" in variables else -1)]
    return part if trace.tb_next is None and "NoneType" in str(error) else None


def call_order_error(error: Exception) -> CallOrderError | None:
    """Return the error for an attribute that `forward` has not kept; None for any other error."""
    if not isinstance(error, AttributeError) or isinstance(error, CallOrderError):
        return None
    name = str(error.name)
    return not_kept(error.obj, name) if isinstance(error.obj, Component) and name.startswith("_") else None


def note_place(error: Exception, container: Component, part: Component, *given: Any) -> None:
    """Add a note to an error that names the part of the container; nested containers make one path."""
    place = next((name for name, child in children(container) if child is part), "?")
    notes = getattr(error, "__notes__", [])
    if notes and notes[-1].startswith('at layer "'):
        error.__notes__[-1] = notes[-1].replace('at layer "', f'at layer "{place}.', 1)
    else:
        shape = "".join(f" with x of shape {np.shape(x[0] if isinstance(x, list) else x)}" for x in given)
        error.add_note(f'at layer "{place}": {one_line(part)}{shape}')
