"""Architectures as JSON: which classes, made with which arguments; never code, never a place to import from.

Numbers, texts, None and lists stand for themselves. Anything else is an object that says what it is:

    {"class": "Dense", "path": "0", "arguments": {…}}   a layer or merge, and where in the model it is
    {"class": "Normal", "arguments": {…}}               an initializer
    {"function": "numpy.sin"}                           a function of the tables, or one of the caller's
    {"parameter": "0.weight"}                           the Parameter at that path, handed to a constructor
    {"dtype": "float64"}  {"tuple": […]}  {"mapping": {…}}

A constructor argument that is kept as a `Parameter` is state and left out, unless the constructor cannot do without
it: a layer that is made *with* a Parameter gets the one that the path names, shared with all others that have it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import FLOATS
from .._core.configuration import arguments, config_of, from_config
from .._core.generators import drawing_from
from .._core.initializer import Initializer
from .._core.parameter import Buffer, Parameter
from ..errors import ArgumentError, FileFormatError, MinidlError
from ..layers._parts import walk
from ..layers.base import Component
from .parts import Part, exchange, state_parts
from .strict import brief, shortened
from .tables import CLASSES, Custom, function_called, name_of_function, tensors_of

DEEPEST = 40
"""How deep parts may lie in one another."""

MOST_PARTS = 2_000
"""How many layers, merges and initializers a file may describe."""

MOST_WORDS = 20_000
"""How many texts, lists and objects it may describe them with; numbers are cheap and not counted."""

Stored: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Maps the names of the tensors in a file to their dtypes and shapes."""


class Encoder:
    """Write a model down as JSON.

    Args:
        model: The model.

    Attributes:
        tree: The JSON value.
        custom: The classes and functions that are not built in, which the caller of `load` has to pass.

    Raises:
        ArgumentError: naming class and argument that cannot be written down.
    """

    def __init__(self, model: Component) -> None:
        self.custom = Custom()
        self._paths: dict[int, str] = {id(model): ""}
        for path, part in walk(model):
            self._paths.setdefault(id(part), path)
        self.tree = self._made(model, "the model", 0)

    def _value(self, value: object, where: str, depth: int) -> Any:
        if depth > 4 * DEEPEST:
            raise ArgumentError(f"{where}: expected values nested less deeply")
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, float, np.bool_, np.integer, np.floating)):
            return self._number(value, where)
        if isinstance(value, Parameter):
            return {"parameter": self._paths.get(id(value))}
        if isinstance(value, (Component, Initializer)):
            return self._made(value, where, depth)
        if isinstance(value, list):
            return [self._value(item, where, depth + 1) for item in value]
        if isinstance(value, tuple):
            return {"tuple": [self._value(item, where, depth + 1) for item in value]}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"mapping": {key: self._value(item, where, depth + 1) for key, item in value.items()}}
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return {"dtype": np.dtype(value).name}
        if callable(value) and not isinstance(value, type):
            return {"function": self._function(value, where)}
        raise ArgumentError(
            f"{where}: expected plain values, layers, merges, initializers or functions, which a file can hold, "
            f"got {brief(value)} of {type(value).__name__}; keep arrays as Buffer or Parameter"
        )

    def _number(self, value: Any, where: str) -> bool | int | float:
        plain = value.item() if isinstance(value, np.generic) else value
        plain = plain if type(plain) in (bool, int, float) else (int if isinstance(plain, int) else float)(plain)
        if not isfinite(plain):
            raise ArgumentError(f"{where}: expected a finite number, got {plain}")
        found: bool | int | float = plain
        return found

    def _function(self, function: Callable[..., Any], where: str) -> str:
        try:
            return name_of_function(function) or self.custom.add(function)
        except MinidlError as error:
            raise ArgumentError(f"{where}: cannot be saved: {error}") from None

    def _made(self, part: Component | Initializer, where: str, depth: int) -> dict[str, Any]:
        kind = type(part)
        name = kind.__name__
        if CLASSES.get(name) is not kind:
            try:
                self.custom.add(kind)
            except MinidlError as error:
                raise ArgumentError(f"{where}: cannot be saved: {error}") from None
        made: dict[str, Any] = {"class": name}
        if isinstance(part, Component):
            if id(part) not in self._paths:
                raise ArgumentError(f"{where}: expected {name} among the children() of its holder, which are saved")
            made["path"] = self._paths[id(part)]
            config = {**part.config(), **_required_parameters(part)}
        else:
            config = config_of(part)
        made["arguments"] = {key: self._value(value, f"{name}({key})", depth + 1) for key, value in config.items()}
        return made


def _required_parameters(part: Component) -> dict[str, Parameter]:
    """Map the arguments that a constructor cannot do without, and keeps as Parameter, to that Parameter."""
    found: dict[str, Parameter] = {}
    for name, argument in arguments(type(part)).items():
        value = vars(part).get(name)
        if argument.default is inspect.Parameter.empty and isinstance(value, Parameter):
            found[name] = value
    return found


class Decoder:
    """Make a model from JSON that a file holds, trusting nothing in it.

    Args:
        path: The file, for messages.
        stored: The tensors that it holds.
        fetch: Reads one of them.
        shared: The paths of each part that the model holds at several places; the first has the tensor.
        custom: The caller's classes and functions.
    """

    def __init__(
        self,
        path: str,
        stored: Stored,
        fetch: Callable[[str], npt.NDArray[Any]],
        shared: list[list[str]],
        custom: Custom,
    ) -> None:
        self._path, self._stored, self._fetch, self._custom = path, stored, fetch, custom
        self._first = {other: paths[0] for paths in shared for other in paths}
        self._claimed: set[str] = set()
        self._parts = self._words = 0
        self._kept: dict[str, Part] = {}

    def model(self, tree: object) -> Any:
        """Return what the JSON describes; its tensors do not have their values yet."""
        self._check(tree, 0)
        return self._build(tree)

    def _refuse(self, expected: str, found: object) -> FileFormatError:
        return FileFormatError(self._path, expected, brief(found))

    def _check(self, value: object, depth: int) -> None:
        """Look at everything that can be looked at before anything is made."""
        if depth > 4 * DEEPEST:
            raise FileFormatError(self._path, "an architecture", "one that is nested too deeply")
        self._words += isinstance(value, (str, list, dict))
        if self._words > MOST_WORDS:
            raise FileFormatError(self._path, f"an architecture of at most {MOST_WORDS:,} texts and lists", "more")
        if isinstance(value, list):
            for item in value:
                self._check(item, depth + 1)
        elif isinstance(value, dict):
            tag = "class" if "class" in value else next(iter(value), None)
            if tag == "class":
                self._check_made(value, depth)
            elif len(value) != 1 or tag not in ("function", "parameter", "dtype", "tuple", "mapping"):
                raise self._refuse("an object of the architecture", list(value))
            elif tag == "function":
                self._function(value[tag])
            elif tag == "dtype" and value[tag] not in ("float64", "float32"):
                raise self._refuse("dtype float64 or float32", value[tag])
            elif tag == "parameter":
                self._named(value[tag])
            elif tag in ("tuple", "mapping"):
                inner = value[tag]
                if not isinstance(inner, list if tag == "tuple" else dict):
                    raise self._refuse(f"the items of a {tag}", inner)
                for item in inner if isinstance(inner, list) else inner.values():
                    self._check(item, depth + 1)

    def _check_made(self, value: dict[str, Any], depth: int) -> None:
        kind = self._class(value["class"])
        is_component = issubclass(kind, Component)
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise FileFormatError(self._path, f"at most {MOST_PARTS:,} layers, merges and initializers", "more")
        if set(value) != ({"class", "path", "arguments"} if is_component else {"class", "arguments"}):
            raise self._refuse(f"class, arguments and, for layers, path of {kind.__name__}", list(value))
        given = value["arguments"]
        if not isinstance(given, dict) or "rng" in given:
            raise self._refuse(f"the arguments of {kind.__name__}, without a generator", given)
        if is_component:
            place = value["path"]
            if not isinstance(place, str) or place in self._claimed:
                raise self._refuse(f"a path of its own for {kind.__name__}", place)
            self._claimed.add(place)
        for item in given.values():
            self._check(item, depth + 1)
        if is_component:
            self._check_tensors(kind, given, value["path"])

    def _check_tensors(self, kind: type[Any], given: dict[str, Any], place: str) -> None:
        """Hold the sizes that a built-in layer is made with against the tensors in the file."""
        try:
            shapes = tensors_of(kind, given)
        except KeyError as error:
            raise FileFormatError(self._path, f"the argument {error} of {kind.__name__}", "none") from None
        dtype = given.get("dtype", {"dtype": "float64"})
        wanted = dtype["dtype"] if isinstance(dtype, dict) and "dtype" in dtype else dtype
        for name, shape in shapes.items():
            full = f"{place}.{name}" if place else name
            first = self._named(full)
            found_dtype, found = self._stored[first]
            if not all(type(n) is int for n in shape) or found != shape:
                expected = f"shape {shortened(str(shape))} for {kind.__name__}"
                raise FileFormatError(self._path, expected, f"{found}", full)
            if wanted != found_dtype.name:
                expected = f"dtype {brief(wanted)}, as its {kind.__name__} has"
                raise FileFormatError(self._path, expected, found_dtype.name, full)

    def _named(self, full: object) -> str:
        """Return the name under which the file holds a tensor of the model."""
        first = self._first.get(full, full) if isinstance(full, str) else None
        if not isinstance(first, str) or first not in self._stored:
            raise FileFormatError(self._path, f"a tensor {brief(full)}, as the architecture has", "none")
        return first

    def _class(self, name: object) -> type[Any]:
        kind = (CLASSES.get(name) or self._custom.classes.get(name)) if isinstance(name, str) else None
        if kind is None:
            known = ", ".join(self._custom.classes) or "none"
            raise FileFormatError(
                self._path, f"a built-in class or one of custom=[…] (given: {known})",
                f"{brief(name)}; if it is yours, pass the class itself",
            )  # fmt: skip
        return kind

    def _function(self, name: object) -> Callable[..., Any]:
        function = (self._custom.functions.get(name) or function_called(name)) if isinstance(name, str) else None
        if function is None:
            known = ", ".join(self._custom.functions) or "none"
            raise FileFormatError(
                self._path, f"a built-in function or one of custom=[…] (given: {known})",
                f"{brief(name)}; if it is yours, pass the function itself",
            )  # fmt: skip
        return function

    def _build(self, value: object) -> Any:
        if isinstance(value, list):
            return [self._build(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "class" in value:
            return self._built(value)
        tag, inner = next(iter(value.items()))
        if tag == "function":
            return self._function(inner)
        if tag == "parameter":
            return self._parameter(inner)
        if tag == "dtype":
            return np.dtype(inner)
        if tag == "tuple":
            return tuple(self._build(item) for item in inner)
        return {key: self._build(item) for key, item in inner.items()}

    def _built(self, value: dict[str, Any]) -> Any:
        kind = self._class(value["class"])
        given = {name: self._build(item) for name, item in value["arguments"].items()}
        try:
            with drawing_from(undrawn()) if kind in CLASSES.values() else nullcontext():
                made = from_config(kind, given)
        except Exception as error:
            found = shortened(f"{type(error).__name__}: {error}".replace("\n", " "))
            raise FileFormatError(self._path, f"arguments that make a {kind.__name__}", found) from error
        if isinstance(made, Component):
            self._share(made, value["path"])
        return made

    def _parameter(self, full: str) -> Parameter:
        """Return the one Parameter of a path, made from its tensor where nobody has made it yet."""
        first = self._named(full)
        kept = self._kept.get(first)
        if kept is None:
            if self._stored[first][0] not in FLOATS:
                raise FileFormatError(self._path, "float64 or float32", self._stored[first][0].name, first)
            kept = self._kept[first] = Parameter(self._fetch(first))
        if not isinstance(kept, Parameter):
            raise FileFormatError(self._path, "a learned tensor", "another", first)
        return kept

    def _share(self, made: Component, place: str) -> None:
        """Put the shared parts in place, before anyone else remembers those that the constructor made."""
        for full, holder, part in list(state_parts(made, place)):
            first = self._first.get(full)
            kept = None if first is None else self._kept.setdefault(first, part)
            if kept is None or kept is part:
                continue
            if type(kept) is not type(part) or _shape(kept) != _shape(part):
                raise FileFormatError(self._path, f"{part!r} to share", f"{kept!r}", full)
            exchange(holder, part, kept)


@cache
def undrawn() -> np.random.Generator:
    """Return a generator that draws zeros and takes no memory: for first values that are written over at once."""

    class Undrawn(np.random.Generator):
        def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
            return np.broadcast_to(0.0, size)

        def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
            return np.broadcast_to(0.0, size)

    return Undrawn(np.random.PCG64(0))


def _shape(part: Part) -> tuple[int, ...]:
    return part.value.shape if isinstance(part, (Parameter, Buffer)) else ()
