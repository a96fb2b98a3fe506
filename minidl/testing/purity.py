"""Checks of what forward, backward and predict do to arrays that are not theirs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._core.arrays import Array
from .._core.parameter import Buffer, Parameter
from ..layers._parts import walk
from .agreement import same, same_passes, unmodified
from .report import CheckError, described
from .subject import Part, Pass, Subject, backward, gradients


def arguments_unmodified(subject: Subject) -> None:
    """Forward, backward and predict leave the arrays that they are given as they were."""
    part = subject.prepared()
    xs = subject.inputs()
    kept = tuple(x.copy() for x in xs)
    y = part.forward(*xs)
    unmodified(subject, kept, xs, "forward")
    grad = subject.weights(y.shape)
    kept_grad = grad.copy()
    backward(part, grad)
    if not np.array_equal(grad, kept_grad):
        raise CheckError("backward wrote into the gradient that it was given, which somebody else may hold")
    unmodified(subject, kept, xs, "backward")
    part.predict(*xs)
    unmodified(subject, kept, xs, "predict")


def no_aliasing(subject: Subject) -> None:
    """What is returned is the caller's: no memory of an input or a parameter, and never written to later."""
    part = subject.prepared()
    xs, others = subject.inputs(), subject.inputs(number=1)
    held = {**dict(zip(subject.input_names, xs, strict=True)), **_state(part)}
    returned = {"the output of forward": part.forward(*xs)}
    kept = {name: array.copy() for name, array in returned.items()}
    grad = subject.weights(returned["the output of forward"].shape)
    given = backward(part, grad)
    _unchanged(returned, kept, "backward")
    returned["the output of predict"] = part.predict(*xs)
    returned |= {f"the gradient of {name}": dx for name, dx in zip(subject.input_names, given, strict=True)}
    kept = {name: array.copy() for name, array in returned.items()}
    for what, array in returned.items():
        for name, other in held.items():
            if np.shares_memory(array, other):
                raise CheckError(f"{what} shares memory with {name}; return an array of its own, such as a .copy()")
    part.forward(*others)
    _unchanged(returned, kept, "a later forward")
    backward(part, -grad)
    _unchanged(returned, kept, "a later backward")
    part.predict(*others)
    _unchanged(returned, kept, "a later predict")


def layouts(subject: Subject) -> None:
    """The order of an array in memory changes nothing, and an array that cannot be written to is enough."""
    contiguous = subject.inputs()
    for layout, lay in LAYOUTS.items():
        like = tuple(np.ascontiguousarray(lay(x)) for x in contiguous)
        wanted_part, part = subject.prepared(), subject.prepared()
        wanted = subject.trained(wanted_part, like)
        grad = lay(subject.weights(wanted.output.shape))
        wanted = subject.trained(subject.prepared(), like, np.ascontiguousarray(grad))
        try:
            output = part.forward(*(lay(x) for x in contiguous))
            found = Pass(output, backward(part, grad), gradients(part))
            prediction = part.predict(*(lay(x) for x in contiguous))
        except Exception as error:
            raise CheckError(f"for {layout} input or gradient: {described(error)}") from error
        same_passes(subject, wanted, found, f"for {layout} input and gradient")
        same(wanted_part.predict(*like), prediction, f"predict for {layout} input")


def _state(part: Part) -> dict[str, Array]:
    """Map names to the arrays of parameters and buffers."""
    held: dict[str, Array] = {}
    for path, child in walk(part):
        if isinstance(child, Parameter):
            held |= {path: child.value, f"{path}.grad": child.grad}
        elif isinstance(child, Buffer):
            held[path] = child.value
    return held


def _unchanged(returned: dict[str, Array], kept: dict[str, Array], method: str) -> None:
    for what, array in returned.items():
        if not np.array_equal(array, kept[what]):
            raise CheckError(
                f"{method} wrote into {what}, which somebody else may hold; make a fresh array in each call"
            )


def _strided(x: Array) -> Array:
    wide: Array = np.full(tuple(2 * n for n in x.shape), np.nan, x.dtype)
    inner = wide[tuple(slice(0, 2 * n, 2) for n in x.shape)]
    inner[...] = x
    return inner


def _reversed(x: Array) -> Array:
    return x[::-1].copy()[::-1]


def _read_only(x: Array) -> Array:
    y = x.copy()
    y.flags.writeable = False
    return y


def _one_row(x: Array) -> Array:
    return np.broadcast_to(x[:1], x.shape)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran-ordered": np.asfortranarray,
    "strided": _strided,
    "reversed": _reversed,
    "read-only": _read_only,
    "broadcast": _one_row,
}
