"""Checks of pickle, config and initialize."""

from __future__ import annotations

import copy
import inspect
from functools import partial

import numpy as np

from .._core.configuration import from_config
from .._core.parameter import Buffer, Parameter
from ..layers._parts import named
from .basics import RUNS, TRAINS
from .comparison import REFUSED, attempt, explained, same, same_arrays
from .report import CheckError, Rules
from .state import difference, fingerprint, through_pickle
from .subject import ComponentSubject, Part, predicted

CHECKS: Rules[ComponentSubject] = Rules()


@CHECKS("pickle", *TRAINS, "predict leaves the state", when=lambda subject: subject.picklable)
def pickled(subject: ComponentSubject) -> None:
    """A copy by pickle does the same."""
    hint = (
        "\nuse functions that are defined by def at the top of a module; "
        "where that is not wanted, say so in the class or on the object: picklable = False"
    )
    with explained("pickle refuses it: ", hint):
        again = through_pickle(subject.prepared())
    _does_the_same(subject, again, "after pickling")


@CHECKS("declared: does not pickle", *RUNS, when=lambda subject: not subject.picklable)
def does_not_pickle(subject: ComponentSubject) -> None:
    """It does not pickle, as it is declared."""
    if attempt(partial(through_pickle, subject.prepared()), Exception, "pickle") is not REFUSED:
        raise CheckError("picklable = False is declared, but pickle takes it; take the declaration away")


@CHECKS("config", *TRAINS, "predict leaves the state", "storage")
def config_round_trip(subject: ComponentSubject) -> None:
    """An object made from `config()`, with the state copied into it, does the same."""
    part = subject.prepared()
    again = rebuilt(part)
    shapes, wanted = ([(name, p.shape) for name, p in made.named_parameters().items()] for made in (again, part))
    if shapes != wanted:
        raise CheckError(f"made from config(): expected the parameters {wanted}, got {shapes}")
    changed = difference(fingerprint(part.config()), fingerprint(again.config()))
    if changed:
        raise CheckError(
            f"made from config(), the object has another config: {changed}; "
            "keep each argument under its name, as it was given"
        )
    held = named(part, (Parameter, Buffer, np.random.Generator))
    for name, made in named(again, (Parameter, Buffer, np.random.Generator)).items():
        if isinstance(made, np.random.Generator):
            made.bit_generator.state = held[name].bit_generator.state
        else:
            made.value = held[name].value.copy()
            (made.freeze if held[name].frozen else made.unfreeze)()
    _does_the_same(subject, again, "of one made from config()")


@CHECKS("initialize", *RUNS)
def initialize(subject: ComponentSubject) -> None:
    """`initialize` with one seed gives the same parameters, whatever they were, and returns the object."""
    part, other = subject.original(), subject.prepared().astype(subject.part.dtype or np.float64)
    if part.initialize(7) is not part:
        raise CheckError("expected initialize to return the object itself")
    values = other.initialize(7).named_parameters()
    for name, parameter in part.named_parameters().items():
        if not parameter.frozen and not np.array_equal(parameter.value, values[name].value):
            raise CheckError(
                f"initialize(7) gave two different values of {name}; draw only from the generator that is given"
            )


def rebuilt(part: Part) -> Part:
    """Make an object of the same class from `config()`; a parameter that __init__ insists on gets a copy."""
    config = copy.deepcopy(part.config())
    for name, argument in inspect.signature(type(part)).parameters.items():
        value = getattr(part, name, None)
        if name not in config and isinstance(value, Parameter) and argument.default is argument.empty:
            config[name] = Parameter(value.value)
    made: Part = from_config(type(part), config)
    return made


def _does_the_same(subject: ComponentSubject, again: Part, what: str) -> None:
    """Compare a copy with the prepared part: prediction, output and gradients."""
    xs = subject.inputs()
    same(predicted(subject.prepared(), xs), predicted(again, xs), f"predict {what}")
    same_arrays(subject.usual().arrays, subject.trained(again, xs).arrays, what)
