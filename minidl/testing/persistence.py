"""Checks of the state of layers and merges: copies, parts, storage, config, initialize."""

from __future__ import annotations

import copy
import inspect

import numpy as np

from .._core.configuration import from_config
from .._core.parameter import Buffer, Parameter
from .._core.vector import ParameterVector
from ..layers._parts import named, walk
from ..layers.base import Component
from .common import does_the_same
from .comparison import same
from .report import CheckError, Rules, expect
from .state import contents, difference, fingerprint, private_arrays
from .subject import RUNS, TRAINS, ComponentSubject, Part

CHECKS: Rules[ComponentSubject] = Rules()


@CHECKS("deepcopy")
def deepcopy(subject: ComponentSubject) -> None:
    """A deep copy has state of its own and the same parameters."""
    first = subject.original()
    second = copy.deepcopy(first)
    expect(second is not first, "copy.deepcopy gave the object itself")
    state = {id(child) for _, child in walk(first)}
    for path, child in walk(second):
        expect(
            id(child) not in state, f"a deep copy shares {path} with the original; a copy must have state of its own"
        )
    names, wanted = list(second.named_parameters()), list(first.named_parameters())
    expect(set(names) == set(wanted), f"a deep copy has the parameters {names}, the original {wanted}")


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


@CHECKS("storage", *TRAINS)
def storage(subject: ComponentSubject) -> None:
    """A parameter that an optimizer has moved to its own memory is read from there."""
    for path, array in private_arrays(subject.part).items():
        for name, parameter in subject.part.named_parameters().items():
            expect(
                not np.shares_memory(array, parameter.value) and not np.shares_memory(array, parameter._memory()),
                f"{path.lstrip('.')} is a view of {name}, which an optimizer will move to other memory; "
                f"read {name}.value in each call",
            )

    def use(part: Part) -> None:
        subject.trained(part)
        subject.predicted(part)

    part, reference = subject.prepared(use), subject.prepared()
    learned = {name: parameter for name, parameter in part.named_parameters().items() if not parameter.frozen}
    if not learned:
        return
    vector = ParameterVector(learned.values())
    vector.values *= 1.25
    for name in learned:
        parameter = reference.named_parameters()[name]
        parameter.value = 1.25 * parameter.value
    try:
        does_the_same(subject, part, "once an optimizer has moved and changed the parameters", reference)
        vector.complete()
        flat = np.concatenate([reference.named_parameters()[name].grad.ravel() for name in learned])
        same(flat, vector.gradients, "the optimizer's vector of gradients")
    except CheckError as failure:
        raise CheckError(f"{failure}\ndoes a method use p.value or p.grad of an earlier call?") from None


@CHECKS("config", *TRAINS, "predict leaves the state", "storage")
def config_round_trip(subject: ComponentSubject) -> None:
    """An object made from `config()`, with the state copied into it, does the same."""
    part = subject.prepared()
    again = rebuilt(part)
    shapes, wanted = ([(name, p.shape) for name, p in made.named_parameters().items()] for made in (again, part))
    expect(shapes == wanted, f"made from config(): expected the parameters {wanted}, got {shapes}")
    changed = difference(fingerprint(part.config()), fingerprint(again.config()))
    expect(
        not changed,
        f"made from config(), the object has another config: {changed}; "
        "keep each argument under its name, as it was given",
    )
    held = named(part, (Parameter, Buffer, np.random.Generator))
    for name, made in named(again, (Parameter, Buffer, np.random.Generator)).items():
        if isinstance(made, np.random.Generator):
            made.bit_generator.state = held[name].bit_generator.state
        else:
            made.value = held[name].value.copy()
            (made.freeze if held[name].frozen else made.unfreeze)()
    does_the_same(subject, again, "of one made from config()")


@CHECKS("initialize", *RUNS)
def initialize(subject: ComponentSubject) -> None:
    """`initialize` with one seed gives the same parameters, with any old values, and returns the object."""
    part, other = subject.original(), subject.prepared().astype(subject.part.dtype or np.float64)
    expect(part.initialize(7) is part, "expected initialize to return the object itself")
    values = other.initialize(7).named_parameters()
    for name, parameter in part.named_parameters().items():
        expect(
            parameter.frozen or np.array_equal(parameter.value, values[name].value),
            f"initialize(7) gave two different values of {name}; draw only from the generator that is given",
        )


def rebuilt(part: Part) -> Part:
    """Make an object of the same class from `config()`; pass a copy of each parameter that __init__ requires."""
    config = copy.deepcopy(part.config())
    for name, argument in inspect.signature(type(part)).parameters.items():
        value = getattr(part, name, None)
        if name not in config and isinstance(value, Parameter) and argument.default is argument.empty:
            config[name] = Parameter(value.value)
    made: Part = from_config(type(part), config)
    return made
