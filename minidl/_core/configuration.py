"""Constructor arguments, read back from an object that keeps argument ``n`` as attribute ``n``."""

from __future__ import annotations

import inspect
from typing import Any

from ..errors import ArgumentError
from .parameter import Parameter


def config_of(instance: object) -> dict[str, Any]:
    """Map the constructor's arguments to the values that the object was made with.

    ``rng`` is left out, and so are arguments whose attribute is a `Parameter`: weights are state, not structure.

    Raises:
        ArgumentError: an argument that is not kept as an attribute of its name.
    """
    found: dict[str, Any] = {}
    for name in arguments(type(instance)):
        try:
            value = getattr(instance, name)
        except AttributeError:
            raise ArgumentError(
                f"{type(instance).__name__}: expected the constructor argument {name!r} to be kept as the attribute "
                f"{name!r}; write self.{name} = {name} in __init__"
            ) from None
        if not isinstance(value, Parameter):
            found[name] = value
    return found


def from_config(kind: type[Any], config: dict[str, Any]) -> Any:
    """Make an object of ``kind`` from what `config_of` gave."""
    given = dict(config)
    positional: tuple[Any, ...] = ()
    for name, parameter in arguments(kind).items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            positional = tuple(given.pop(name))
    return kind(*positional, **given)


def arguments(kind: type[Any]) -> dict[str, inspect.Parameter]:
    """Map the name of each argument of a constructor to its description, without ``rng`` and ``**keywords``."""
    if kind.__init__ is object.__init__:
        return {}
    described = list(inspect.signature(kind.__init__).parameters.items())[1:]
    return {name: p for name, p in described if name != "rng" and p.kind is not inspect.Parameter.VAR_KEYWORD}
