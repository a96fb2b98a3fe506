"""Checks of training passes: their order, the memory that they use, and what each row depends on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._core.arrays import Array
from .._core.parameter import Buffer
from ..errors import CallOrderError
from ..layers._container import call_order_error
from ..layers._parts import named
from ..layers.base import Layer
from .basics import TRAINS
from .comparison import (
    OF_THE_CALLER,
    RETURNED,
    Pass,
    Snapshot,
    check_apart,
    explained,
    gradients_of,
    same,
    same_arrays,
)
from .persistence import rebuilt
from .report import CheckError, Rules, described
from .subject import ComponentSubject, Part, gradients, rewinding

CHECKS: Rules[ComponentSubject] = Rules()


@CHECKS("gradients add up", *TRAINS)
def gradients_add_up(subject: ComponentSubject) -> None:
    """Two passes give twice the gradient, and a gradient that is there already stays in the sum."""
    once = subject.usual()
    grad = subject.weights(once.output.shape)

    def twice(part: Part) -> None:
        subject.trained(part, subject.inputs())

    def earlier(part: Part) -> None:
        for parameter in part.parameters():
            parameter.zero_grad()
            parameter.grad += np.random.default_rng(5).standard_normal(parameter.shape)

    for use, what in ((twice, "after two passes"), (earlier, "on top of a gradient that was there")):
        part = subject.prepared(use)
        before = gradients(part)
        part.forward(*subject.inputs())
        subject.backward(part, grad.copy())
        wanted = {name: before[name] + g for name, g in once.parameters.items()}
        same_arrays(gradients_of(wanted), gradients_of(gradients(part)), what)


@CHECKS("backward again", *TRAINS)
def backward_again(subject: ComponentSubject) -> None:
    """A second backward gives the same gradient: the first used nothing up."""
    part = subject.prepared()
    once = subject.trained(part, subject.inputs())
    again = subject.backward(part, subject.weights(once.output.shape))
    same_arrays(gradients_of(once.inputs), gradients_of(again), "of a second backward")


@CHECKS("last forward counts", *TRAINS)
def last_forward_counts(subject: ComponentSubject) -> None:
    """Backward belongs to the last forward, whatever ran before it."""
    part = subject.prepared(lambda part: part.forward(*subject.others()))
    found = subject.trained(part, subject.inputs())
    same_arrays(subject.usual().arrays, found.arrays, "after another forward before it")


@CHECKS("backward before forward", *TRAINS)
def backward_before_forward(subject: ComponentSubject) -> None:
    """Backward before any forward misses what forward keeps, which containers make a `CallOrderError`."""
    grad = subject.weights(subject.usual().output.shape)
    problem = "got a result; let backward read something that forward has kept"
    for make in (subject.original, lambda: rebuilt(subject.original())):  # the original may have been used before
        try:
            make().backward(grad)
        except Exception as error:
            if isinstance(error, CallOrderError) or call_order_error(error) is not None:
                return
            problem = described(error)
    raise CheckError(
        f"expected a missing attribute, or CallOrderError, for a backward before forward; {problem}\n"
        "forward keeps what backward needs in attributes that start with _, and __init__ does not make them"
    )


@CHECKS("backward_parameters", *TRAINS, "gradients add up", when=lambda subject: isinstance(subject.part, Layer))
def backward_parameters(subject: ComponentSubject) -> None:
    """`backward_parameters` gives the gradients of `backward`, from zero and on top of others."""
    once = subject.usual()
    part = subject.prepared()
    assert isinstance(part, Layer)
    rewind = rewinding(part)
    for times in (1, 2):
        rewind()
        y = part.forward(*subject.inputs())
        part.backward_parameters(subject.weights(y.shape))
        wanted = gradients_of({name: times * g for name, g in once.parameters.items()})
        same_arrays(wanted, gradients_of(gradients(part)), f"of backward_parameters called {times}×")


@CHECKS("arguments unmodified", *TRAINS)
def arguments_unmodified(subject: ComponentSubject) -> None:
    """Forward, backward and predict leave the arrays that they are given as they were."""
    part = subject.prepared()
    xs = subject.inputs()
    arguments = dict(zip(subject.input_names, xs, strict=True))
    snapshot = Snapshot(arguments, OF_THE_CALLER)
    grad = subject.weights(part.forward(*xs).shape)
    snapshot.check("forward")
    snapshot = Snapshot({"the gradient that it was given": grad, **arguments}, OF_THE_CALLER)
    part.backward(grad)
    snapshot.check("backward")
    part.predict(*xs)
    snapshot.check("predict")


@CHECKS("no aliasing", *TRAINS)
def no_aliasing(subject: ComponentSubject) -> None:
    """A returned array shares no memory with an input or a parameter, and is never written to later."""
    part = subject.prepared()
    xs, others = subject.inputs(), subject.inputs(number=1)
    held = dict(zip(subject.input_names, xs, strict=True))
    held |= {name: buffer.value for name, buffer in named(part, Buffer).items()}
    for name, parameter in part.named_parameters().items():
        held |= {name: parameter.value, f"{name}.grad": parameter.grad}
    y = part.forward(*xs)
    grad = subject.weights(y.shape)
    snapshot = Snapshot({"the output of forward": y}, RETURNED)
    given = subject.backward(part, grad)
    snapshot.check("backward")
    returned = {"the output of forward": y, "the output of predict": part.predict(*xs)}
    returned |= {f"the {name}": dx for name, dx in gradients_of(given).items()}
    snapshot = Snapshot(returned, RETURNED)
    check_apart(returned, held)
    part.forward(*others)
    snapshot.check("a later forward")
    part.backward(-grad)
    snapshot.check("a later backward")
    part.predict(*others)
    snapshot.check("a later predict")


@CHECKS("layouts", *TRAINS, "arguments unmodified")
def layouts(subject: ComponentSubject) -> None:
    """The order of an array in memory changes nothing, and read-only arrays are accepted."""
    for layout, lay in LAYOUTS.items():
        xs = tuple(np.ascontiguousarray(lay(x)) for x in subject.inputs())
        grad = lay(subject.weights(subject.usual().output.shape))
        reference, part = subject.prepared(), subject.prepared()
        wanted = subject.trained(reference, xs, np.ascontiguousarray(grad))
        with explained(f"for {layout} input or gradient: "):
            y = part.forward(*(lay(x) for x in subject.inputs()))
            found = Pass(y, subject.backward(part, grad), gradients(part))
            prediction = part.predict(*(lay(x) for x in subject.inputs()))
        same_arrays(wanted.arrays, found.arrays, f"for {layout} input and gradient")
        same(reference.predict(*xs), prediction, f"predict for {layout} input")


@CHECKS("rows are alone in training", *TRAINS, when=lambda subject: not subject.couples_rows)
def rows_alone_in_training(subject: ComponentSubject) -> None:
    """A change of one row changes nothing of the others."""
    row = _coupled_row(subject)
    if row is not None:
        raise CheckError(
            f"a change of row 0 changed row {row} of the output or of the gradient of x; "
            "if that is meant, say so in the class: couples_rows = True"
        )


@CHECKS("declared: rows are coupled in training", *TRAINS, when=lambda subject: subject.couples_rows)
def rows_coupled_as_declared(subject: ComponentSubject) -> None:
    """The output of a row depends on other rows, as it is declared."""
    if _coupled_row(subject) is None:
        raise CheckError("couples_rows is declared, but a change of one row changes nothing of the others")


def _coupled_row(subject: ComponentSubject) -> int | None:
    """Find a row that changes with row 0: of the output, or of ∂e/∂x."""
    xs, others = subject.inputs(), subject.inputs(number=1)
    changed = tuple(np.concatenate([o[:1], x[1:]]) for x, o in zip(xs, others, strict=True))
    first, second = subject.usual(), subject.trained(subject.prepared(), changed)
    for a, b in zip((first.output, *first.inputs.values()), (second.output, *second.inputs.values()), strict=True):
        different = ~np.isclose(a[1:], b[1:], rtol=1e-9, atol=1e-12).reshape(len(a) - 1, -1).all(axis=1)
        if different.any():
            return int(np.argmax(different)) + 1
    return None


def _strided(x: Array) -> Array:
    wide: Array = np.full(tuple(2 * n for n in x.shape), np.nan, x.dtype)
    inner = wide[tuple(slice(0, 2 * n, 2) for n in x.shape)]
    inner[...] = x
    return inner


def _read_only(x: Array) -> Array:
    y = x.copy()
    y.flags.writeable = False
    return y


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran-ordered": np.asfortranarray,
    "strided": _strided,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "read-only": _read_only,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
}
