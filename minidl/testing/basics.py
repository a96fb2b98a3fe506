"""Checks of layers and merges without which the others say nothing: copies, parts, forward, backward, storage."""

from __future__ import annotations

import copy

import numpy as np

from .._core.parameter import Buffer, Parameter
from .._core.vector import ParameterVector
from ..layers._parts import walk
from ..layers.base import Component, Layer
from .comparison import check_shape, same, same_arrays, shape_of
from .report import CheckError, Rules
from .state import contents, difference, fingerprint, private_arrays
from .subject import ComponentSubject, Part, predicted, rewinding

CHECKS: Rules[ComponentSubject] = Rules()

RUNS = ("deepcopy", "parts are found", "forward", "repeatable")
"""What must hold before anything else can be asked."""

TRAINS = (*RUNS, "backward")


@CHECKS("deepcopy")
def deepcopy(subject: ComponentSubject) -> None:
    """A deep copy has state of its own and the same parameters."""
    first = subject.original()
    second = copy.deepcopy(first)
    if second is first:
        raise CheckError("copy.deepcopy gave the object itself")
    state = {id(child) for _, child in walk(first)}
    for path, child in walk(second):
        if id(child) in state:
            raise CheckError(f"a deep copy shares {path} with the original; a copy must have state of its own")
    names, wanted = list(second.named_parameters()), list(first.named_parameters())
    if set(names) != set(wanted):
        raise CheckError(f"a deep copy has the parameters {names}, the original {wanted}")


@CHECKS("parts are found", "deepcopy")
def parts_found(subject: ComponentSubject) -> None:
    """Every parameter, buffer, generator and layer in the object is an attribute, or in a list, tuple or mapping."""
    part = subject.part
    found = {id(part), *(id(child) for _, child in walk(part))}
    for path, held in contents(part):
        if isinstance(held, (Parameter, Buffer, np.random.Generator, Component)) and id(held) not in found:
            raise CheckError(
                f"{held!r} at {path.lstrip('.')} is not found among the attributes, so it would not be learned or "
                "saved; keep it as an attribute of the object, or in a list, tuple or dict"
            )


@CHECKS("forward", "deepcopy", "parts are found")
def forward_runs(subject: ComponentSubject) -> None:
    """Forward returns a finite floating array with the rows of its input."""
    xs = subject.inputs()
    y = subject.original().astype(np.float64).forward(*xs)
    if not isinstance(y, np.ndarray):
        raise CheckError(f"expected forward to return an array, got {type(y).__name__}")
    if y.ndim != 2 or len(y) != len(xs[0]):
        raise CheckError(f"expected an output of shape ({len(xs[0])}, features) for {len(xs[0])} rows, got {y.shape}")
    if y.dtype.kind != "f":
        raise CheckError(f"expected a floating output, got dtype {y.dtype}")
    if not np.isfinite(y).all():
        raise CheckError("expected finite numbers for ordinary input, got NaN or infinity")


@CHECKS("repeatable", "deepcopy", "parts are found", "forward")
def repeatable(subject: ComponentSubject) -> None:
    """The same state and input give the same bits; random numbers come from a generator of the object."""
    for method in ("forward", "predict"):
        part = subject.prepared()
        rewind = rewinding(part)
        first = getattr(part, method)(*subject.inputs()).copy()
        rewind()
        if not np.array_equal(first, getattr(part, method)(*subject.inputs()), equal_nan=True):
            raise CheckError(
                f"{method} gave another output for the same input and state; draw random numbers from a "
                "numpy.random.Generator that is an attribute"
            )


@CHECKS("backward", *RUNS)
def backward_runs(subject: ComponentSubject) -> None:
    """Backward returns one array for each input, of its shape."""
    xs = subject.inputs()
    part = subject.prepared()
    result = part.backward(subject.weights(part.forward(*xs).shape))
    one = isinstance(part, Layer)
    if one and not isinstance(result, np.ndarray):
        raise CheckError(f"expected backward to return an array like x, got {type(result).__name__}")
    if not one and not (isinstance(result, tuple) and len(result) == len(xs)):
        wanted = f"a tuple of {len(xs)} arrays, one for each input"
        raise CheckError(f"expected backward to return {wanted}, got {shape_of(result)}")
    for name, x, dx in zip(subject.input_names, xs, result if isinstance(result, tuple) else (result,), strict=True):
        check_shape(dx, x.shape, f"gradient of {name}")


@CHECKS("predict leaves the state", *RUNS)
def leaves_the_state(subject: ComponentSubject) -> None:
    """`predict` and `inference` change nothing on the object: no attribute, no statistic, no generator."""
    for train in (False, True):
        part = subject.prepared()
        if train:
            part.forward(*subject.inputs())
        before = fingerprint(part)
        part.predict(*subject.others())
        if changed := difference(before, fingerprint(part)):
            raise CheckError(f"predict changed {changed}; keep for backward only what forward computes")
        part.inference()
        if changed := difference(before, fingerprint(part)):
            raise CheckError(f"inference() changed {changed}")


@CHECKS("storage", *TRAINS)
def storage(subject: ComponentSubject) -> None:
    """A parameter that an optimizer has moved to its own memory is read from there."""
    for path, array in private_arrays(subject.part).items():
        for name, parameter in subject.part.named_parameters().items():
            if np.shares_memory(array, parameter.value) or np.shares_memory(array, parameter._memory()):
                raise CheckError(
                    f"{path.lstrip('.')} is a view of {name}, which an optimizer will move to other memory; "
                    f"read {name}.value in each call"
                )
    xs = subject.inputs()

    def use(part: Part) -> None:
        subject.trained(part, xs)
        predicted(part, xs)

    part, reference = subject.prepared(use), subject.prepared()
    learned = {name: parameter for name, parameter in part.named_parameters().items() if not parameter.frozen}
    if not learned:
        return
    vector = ParameterVector(learned.values())
    vector.values *= 1.25
    for name in learned:
        parameter = reference.named_parameters()[name]
        parameter.value = 1.25 * parameter.value
    what = "once an optimizer has moved and changed the parameters"
    wanted, found = subject.trained(reference, xs), subject.trained(part, xs)
    try:
        same_arrays(wanted.arrays, found.arrays, what)
        same(predicted(reference, xs), predicted(part, xs), f"predict {what}")
        vector.complete()
        flat = np.concatenate([wanted.parameters[name].ravel() for name in learned])
        same(flat, vector.gradients, f"the optimizer's vector of gradients {what}")
    except CheckError as failure:
        raise CheckError(f"{failure}\ndoes a method use p.value or p.grad of an earlier call?") from None
