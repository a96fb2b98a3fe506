"""Checks of copies, files and storage: deepcopy, pickle, config, names, initial values, flat vectors."""

from __future__ import annotations

import copy
import inspect

import numpy as np

from .._core.configuration import from_config
from .._core.parameter import Buffer, Parameter
from .._core.vector import ParameterVector
from ..layers._parts import named, walk
from ..layers.base import Component
from .agreement import same, same_passes
from .pickling import through_pickle
from .report import CheckError, described
from .state import contents, difference, fingerprint, private_arrays
from .subject import Part, Rewound, Subject, predicted


def deepcopy(subject: Subject) -> None:
    """A deep copy holds state of its own, and does the same."""
    first = subject.original()
    second = copy.deepcopy(first)
    if second is first:
        raise CheckError("copy.deepcopy gave the object itself")
    state = {id(child) for _, child in walk(first)}
    for path, child in walk(second):
        if id(child) in state:
            raise CheckError(f"a deep copy shares {path} with the original; a copy must have state of its own")
    if set(first.named_parameters()) != set(second.named_parameters()):
        raise CheckError(
            f"a deep copy has the parameters {list(second.named_parameters())}, "
            f"the original {list(first.named_parameters())}"
        )


def pickled(subject: Subject) -> None:
    """What comes out of pickle does the same."""
    part = subject.prepared()
    try:
        again = through_pickle(part)
    except Exception as error:
        raise CheckError(
            f"pickle refuses it: {described(error)}\nuse functions that are defined by def at the top of a module; "
            "where that is not wanted, say so in the class or on the object: picklable = False"
        ) from error
    xs = subject.inputs()
    same_passes(subject, subject.trained(part, xs), subject.trained(again, xs), "after pickling")
    same(predicted(subject.prepared(), xs), predicted(through_pickle(subject.prepared()), xs), "predict after pickling")


def does_not_pickle(subject: Subject) -> None:
    """It does not pickle, as it is declared."""
    try:
        through_pickle(subject.prepared())
    except Exception:
        return
    raise CheckError("picklable = False is declared, but pickle takes it; take the declaration away")


def config_round_trip(subject: Subject) -> None:
    """What is made from `config()`, with the state copied into it, does the same."""
    part = subject.prepared()
    again = rebuilt(part)
    if list(again.named_parameters()) != list(part.named_parameters()):
        raise CheckError(
            f"made from config(): expected the parameters {list(part.named_parameters())}, "
            f"got {list(again.named_parameters())}"
        )
    changed = difference(fingerprint(part.config()), fingerprint(again.config()))
    if changed:
        raise CheckError(
            f"made from config(), the object has another config: {changed}; "
            "keep each argument under its name, as it was given"
        )
    for name, parameter in again.named_parameters().items():
        if parameter.shape != part.named_parameters()[name].shape:
            raise CheckError(
                f"made from config(): expected {name} of shape {part.named_parameters()[name].shape}, "
                f"got {parameter.shape}"
            )
        parameter.value = part.named_parameters()[name].value
    for name, buffer in named(again, Buffer).items():
        buffer.value = named(part, Buffer)[name].value.copy()
    for name, generator in named(again, np.random.Generator).items():
        generator.bit_generator.state = named(part, np.random.Generator)[name].bit_generator.state
    for made, held in zip(_state(again), _state(part), strict=True):
        (made.freeze if held.frozen else made.unfreeze)()
    xs = subject.inputs()
    same(predicted(subject.prepared(), xs), predicted(again, xs), "predict of one made from config()")
    same_passes(subject, subject.trained(part, xs), subject.trained(again, xs), "of one made from config()")


def _state(part: Part) -> list[Parameter | Buffer]:
    return list(named(part, (Parameter, Buffer)).values())


def rebuilt(part: Part) -> Part:
    """Make an object of the same class from `config()`; a parameter that __init__ insists on gets a copy."""
    config = copy.deepcopy(part.config())
    for name, argument in inspect.signature(type(part)).parameters.items():
        value = getattr(part, name, None)
        if name not in config and isinstance(value, Parameter) and argument.default is argument.empty:
            config[name] = Parameter(value.value)
    made: Part = from_config(type(part), config)
    return made


def parts_found(subject: Subject) -> None:
    """Every parameter, buffer, generator and layer that the object holds is found by its walk, under a name."""
    part = subject.part
    found = {id(part), *(id(child) for _, child in walk(part))}
    for path, held in contents(part):
        if isinstance(held, (Parameter, Buffer, np.random.Generator, Component)) and id(held) not in found:
            raise CheckError(
                f"{held!r} at {path.lstrip('.')} is not found by walk(), so it would not be learned or saved; "
                "keep it as an attribute of the object, or in a list, tuple or dict"
            )


def initialize(subject: Subject) -> None:
    """`initialize` with one seed gives the same parameters, whatever they were, and returns the object."""
    part, other = subject.original(), subject.prepared().astype(subject.part.dtype or np.float64)
    if part.initialize(7) is not part:
        raise CheckError("expected initialize to return the object itself")
    other.initialize(7)
    for name, parameter in part.named_parameters().items():
        if not parameter.frozen and not np.array_equal(parameter.value, other.named_parameters()[name].value):
            raise CheckError(
                f"initialize(7) gave two different values of {name}; draw only from the generator that is given"
            )


def storage(subject: Subject) -> None:
    """A parameter that an optimizer has moved to its own memory is used from there."""
    for path, array in private_arrays(subject.part).items():
        for name, parameter in subject.part.named_parameters().items():
            if np.shares_memory(array, parameter.value) or np.shares_memory(array, parameter._memory()):
                raise CheckError(
                    f"{path.lstrip('.')} is a view of {name}, which an optimizer will move to other memory; "
                    f"read {name}.value in each call"
                )
    part, reference = subject.prepared(), subject.prepared()
    learned = {name: parameter for name, parameter in part.named_parameters().items() if not parameter.frozen}
    if not learned:
        return
    rewind = Rewound(part)
    xs = subject.inputs()
    subject.trained(part, xs)
    predicted(part, xs)
    rewind()
    vector = ParameterVector(learned.values())
    vector.values *= 1.25
    for name in learned:
        parameter = reference.named_parameters()[name]
        parameter.value = 1.25 * parameter.value
    what = "once an optimizer has moved and changed the parameters"
    wanted, found = subject.trained(reference, xs), subject.trained(part, xs)
    try:
        same_passes(subject, wanted, found, what)
        same(predicted(reference, xs), predicted(part, xs), f"predict {what}")
        vector.complete()
        flat = np.concatenate([wanted.parameters[name].ravel() for name in learned])
        same(flat, vector.gradients, f"the optimizer's vector of gradients {what}")
    except CheckError as failure:
        raise CheckError(f"{failure}\ndoes a method use p.value or p.grad of an earlier call?") from None
