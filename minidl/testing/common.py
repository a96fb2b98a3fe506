"""Checks for layers, merges and losses alike: repeated passes, order of calls, arrays that must not change."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.parameter import Buffer, Parameter
from .comparison import (
    OF_THE_CALLER,
    REFUSED,
    RETURNED,
    Pass,
    WriteGuard,
    attempt,
    explained,
    gradients_of,
    same,
    same_arrays,
)
from .report import CheckError, Rules, expect
from .state import difference, fingerprint, through_pickle
from .subject import RUNS, TRAINS, Subject, gradients, parts_of, rewinding

CHECKS: Rules[Subject[Any]] = Rules()


@CHECKS("repeatable", "deepcopy", "parts are found", "forward")
def repeatable(subject: Subject[Any]) -> None:
    """The same state and input give the same bits."""
    for method, call in (("forward", subject.forward), (subject.predicting, subject.predict)):
        part = subject.prepared()
        rewind = rewinding(part)
        first = call(part, subject.inputs()).copy()
        rewind()
        expect(
            np.array_equal(first, call(part, subject.inputs()), equal_nan=True),
            f"{method} gave another output for the same input and state{subject.randomness}",
        )


@CHECKS("backward again", *TRAINS)
def backward_again(subject: Subject[Any]) -> None:
    """A second backward gives the same gradient as the first."""
    part = subject.prepared()
    once = subject.trained(part)
    first = {name: dx.copy() for name, dx in once.inputs.items()}
    again = subject.backward(part, subject.weights(once.output.shape))
    same_arrays(gradients_of(first), gradients_of(again), "of a second backward")


@CHECKS("last forward counts", *TRAINS)
def last_forward_counts(subject: Subject[Any]) -> None:
    """Backward uses the values of the last forward, not of an earlier one."""
    part = subject.prepared(lambda part: subject.forward(part, subject.others()))
    same_arrays(subject.usual().arrays, subject.trained(part).arrays, "after another forward before it")


@CHECKS("arguments unmodified", *TRAINS)
def arguments_unmodified(subject: Subject[Any]) -> None:
    """No method changes the arrays that are passed to it."""
    part = subject.prepared()
    xs = subject.arguments()
    guard = WriteGuard(dict(zip(subject.input_names, xs, strict=True)), OF_THE_CALLER)
    grad = subject.weights(subject.forward(part, xs).shape)
    given = WriteGuard({"the gradient that it was given": grad}, OF_THE_CALLER)
    guard.check("forward")
    subject.backward(part, grad)
    given.check("backward")
    guard.check("backward")
    subject.predict(part, xs)
    guard.check(subject.predicting)


@CHECKS("no aliasing", *TRAINS)
def no_aliasing(subject: Subject[Any]) -> None:
    """A returned array shares no memory with inputs or parameters, and later calls do not change it."""
    part = subject.prepared()
    xs, others = subject.inputs(), subject.inputs(number=1)
    held = dict(zip(subject.input_names, xs, strict=False))
    held |= {name: buffer.value for name, buffer in parts_of(part, Buffer).items()}
    for name, parameter in parts_of(part, Parameter).items():
        held |= {name: parameter.value, f"{name}.grad": parameter.grad}
    y = subject.forward(part, xs)
    grad = subject.weights(y.shape)
    guard = WriteGuard({"the output of forward": y}, RETURNED)
    given = subject.backward(part, grad)
    guard.check("backward")
    returned = {"the output of forward": y, f"the output of {subject.predicting}": subject.predict(part, xs)}
    returned |= {f"the {name}": dx for name, dx in gradients_of(given).items()}
    guard = WriteGuard(returned, RETURNED)
    for (what, array), (name, other) in product(returned.items(), held.items()):
        expect(
            not np.shares_memory(array, other),
            f"{what} shares memory with {name}; return an array of its own, such as a .copy()",
        )
    subject.forward(part, others)
    guard.check("a later forward")
    subject.backward(part, -grad)
    guard.check("a later backward")
    subject.predict(part, others)
    guard.check(f"a later {subject.predicting}")


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran-ordered": np.asfortranarray,
    "strided": lambda x: np.stack([x, np.full_like(x, np.nan)], axis=-1)[..., 0],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
}


@CHECKS("layouts", *TRAINS, "arguments unmodified")
def layouts(subject: Subject[Any]) -> None:
    """The memory layout of an array does not change the result; read-only arrays are accepted."""
    for layout, lay in LAYOUTS.items():
        xs = tuple(np.ascontiguousarray(lay(x)) for x in subject.inputs())
        grad = lay(subject.weights(subject.usual().output.shape))
        reference, part = subject.prepared(), subject.prepared()
        wanted = subject.trained(reference, xs, grad)
        with explained(f"for {layout} input or gradient: "):
            y = subject.forward(part, tuple(lay(x) for x in subject.inputs()))
            found = Pass(y, subject.backward(part, grad), gradients(part))
            prediction = subject.predict(part, tuple(lay(x) for x in subject.inputs()))
        same_arrays(wanted.arrays, found.arrays, f"for {layout} input and gradient")
        same(subject.predicted(reference, xs), prediction, f"{subject.predicting} for {layout} input")


@CHECKS("pickle", *TRAINS, "predict leaves the state", when=lambda subject: subject.picklable)
def pickled(subject: Subject[Any]) -> None:
    """A pickled copy gives the same results."""
    hint = (
        "\nuse functions that are defined by def at the top of a module; "
        "where that is not wanted, say so in the class or on the object: picklable = False"
    )
    with explained("pickle refuses it: ", hint):
        again = through_pickle(subject.prepared())
    does_the_same(subject, again, "after pickling")


@CHECKS("declared: does not pickle", *RUNS, when=lambda subject: not subject.picklable)
def does_not_pickle(subject: Subject[Any]) -> None:
    """Pickle refuses it, as it is declared."""
    expect(
        attempt(partial(through_pickle, subject.prepared()), Exception, "pickle") is REFUSED,
        "picklable = False is declared, but pickle accepts it; remove the declaration",
    )


def does_the_same(subject: Subject[Any], again: Any, what: str, reference: Any = None) -> None:
    """Compare a copy with the prepared part, or with a reference: prediction, output and gradients."""
    wanted = subject.prepared() if reference is None else reference
    same_arrays(subject.trained(wanted).arrays, subject.trained(again).arrays, what)
    same(subject.predicted(wanted), subject.predicted(again), f"{subject.predicting} {what}")


def undisturbed(subject: Subject[Any], use: Callable[[Any], object], method: str) -> None:
    """Require that a call between forward and backward does not change the training pass."""
    part = subject.prepared()
    y = subject.forward(part, subject.inputs())
    use(part)
    found = Pass(y, subject.backward(part, subject.weights(y.shape)), gradients(part))
    same_arrays(subject.usual().arrays, found.arrays, f"with {method} between forward and backward")


def check_unchanged(part: Any, before: dict[str, object], method: str) -> None:
    """Require that an object still has the fingerprint that it had before a method ran."""
    if changed := difference(before, fingerprint(part)):
        raise CheckError(f"{method} changed {changed}; keep for backward only what forward computes")
