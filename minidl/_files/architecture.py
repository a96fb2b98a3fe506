"""Architectures as JSON: classes and their constructor arguments; never code, never a module to import.

Numbers, texts, None and lists are written as they are. Any other value is an object that names its kind:

    {"class": "Dense", "path": "0", "arguments": {…}}   a layer or merge, and its path in the model
    {"class": "Normal", "arguments": {…}}               an initializer
    {"function": "numpy.sin"}                           a function of the tables, or one of the caller's
    {"parameter": "0.weight"}                           the Parameter at that path, passed to a constructor
    {"dtype": "float64"}  {"tuple": […]}  {"mapping": {…}}

A constructor argument that is kept as a `Parameter` is state and left out, unless the constructor requires it. A layer
that is made *with* a Parameter gets the Parameter at that path, and shares it with all layers that name this path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.configuration import arguments, config_of, from_config
from .._core.generators import drawing_from
from .._core.initializer import Initializer
from .._core.parameter import Parameter
from ..errors import ArgumentError, FileFormatError, MinidlError
from ..layers._parts import replace_parts, walk
from ..layers.base import Component
from .safetensors import Entry
from .strict import shortened, shown
from .tables import CLASSES, Custom, function_called, is_built_in, name_of, tensors_of

DEEPEST = 160
"""Most levels of lists, mappings and parts inside one another."""

MOST_PARTS = 2_000
"""Most layers and merges in a file."""

MOST_WORDS = 20_000
"""Most texts, lists and objects in an architecture; numbers are cheap and not counted."""


class Encoder:
    """Write the architecture of a model as JSON.

    Args:
        model: The model.

    Attributes:
        tree: The JSON value.
        custom: The classes and functions that are not built in; the caller of `load` has to pass them.

    Raises:
        ArgumentError: a value that cannot be written; the message names class and argument.
    """

    def __init__(self, model: Component) -> None:
        self.custom = Custom()
        self._paths: dict[int, str] = {id(model): ""}
        for path, part in walk(model):
            self._paths.setdefault(id(part), path)
        layers = 1 + sum(isinstance(part, Component) for _, part in walk(model))
        if layers > MOST_PARTS:
            raise ArgumentError(f"saving: expected at most {MOST_PARTS:,} layers and merges in a model, got {layers:,}")
        self.tree = self._made(model, "the model", 0)

    def _value(self, value: object, where: str, depth: int) -> Any:
        if depth > DEEPEST:
            raise ArgumentError(
                f"{where}: expected a model nested less deeply: 50 containers inside one another always fit in a file"
            )
        match value:
            case None | bool() | str():
                return value
            case np.bool_():
                return bool(value)
            case int() | np.integer():
                return int(value)
            case float() | np.floating():
                if not isfinite(value):
                    raise ArgumentError(f"{where}: expected a finite number, got {value}")
                return float(value)
            case Parameter():
                return {"parameter": self._paths.get(id(value))}
            case Component() | Initializer():
                return self._made(value, where, depth)
            case list():
                return [self._value(item, where, depth + 1) for item in value]
            case tuple():
                return {"tuple": [self._value(item, where, depth + 1) for item in value]}
            case dict() if all(isinstance(key, str) for key in value):
                return {"mapping": {key: self._value(item, where, depth + 1) for key, item in value.items()}}
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return {"dtype": np.dtype(value).name}
        if callable(value) and not isinstance(value, type):
            return {"function": self._name(value, where)}
        raise ArgumentError(
            f"{where}: expected plain values, layers, merges, initializers or functions, which a file can hold, "
            f"got {shown(value)} of {type(value).__name__}; keep arrays as Buffer or Parameter"
        )

    def _name(self, item: Any, where: str) -> str:
        """Return the name of a class or function; note it in `custom` if the caller of `load` has to pass it."""
        try:
            return name_of(item) or self.custom.add(item)
        except MinidlError as error:
            raise ArgumentError(f"{where}: cannot be saved: {error}") from None

    def _made(self, part: Component | Initializer, where: str, depth: int) -> dict[str, Any]:
        kind = type(part)
        name = self._name(kind, where)
        made: dict[str, Any] = {"class": name}
        config = config_of(part) if isinstance(part, Initializer) else part.config()
        if isinstance(part, Component):
            if id(part) not in self._paths:
                raise ArgumentError(f"{where}: expected {name} among the children() of its holder, which are saved")
            made["path"] = self._paths[id(part)]
            for key, argument in arguments(kind).items():
                value = vars(part).get(key)
                if argument.default is inspect.Parameter.empty and isinstance(value, Parameter):
                    config = {**config, key: value}
        made["arguments"] = {key: self._value(value, f"{name}({key})", depth + 1) for key, value in config.items()}
        return made


class Decoder:
    """Make a model from the JSON of a file; check everything in it.

    Args:
        path: The file, for messages.
        stored: The tensors that it holds.
        fetch: Reads one of them.
        first: Maps each path of a part that the model holds at several places to the first path, which has the tensor.
        custom: The caller's classes and functions.
    """

    def __init__(
        self,
        path: str,
        stored: Mapping[str, Entry],
        fetch: Callable[[str], npt.NDArray[Any]],
        first: Mapping[str, str],
        custom: Custom,
    ) -> None:
        self._path, self._stored, self._fetch, self._first, self._custom = path, stored, fetch, first, custom
        self._claimed: set[str] = set()
        self._parts = self._words = 0
        self._kept: dict[str, Any] = {}

    def model(self, tree: object) -> Any:
        """Return the model that the JSON describes; its tensors do not have their values yet."""
        return self._value(tree, 0)

    def _refuse(self, expected: str, found: object) -> FileFormatError:
        return FileFormatError(self._path, expected, shown(found))

    def _value(self, value: object, depth: int) -> Any:
        self._words += isinstance(value, (str, list, dict))
        if depth > DEEPEST:
            raise FileFormatError(self._path, "an architecture", "one that is nested too deeply")
        if self._words > MOST_WORDS:
            raise FileFormatError(self._path, f"an architecture of at most {MOST_WORDS:,} texts and lists", "more")
        match value:
            case list():
                return [self._value(item, depth + 1) for item in value]
            case {"class": name}:
                return self._made(self._known("class", name), value, depth + 1)
            case {"tuple": list(items), **rest} if not rest:
                return tuple(self._value(item, depth + 1) for item in items)
            case {"mapping": dict(items), **rest} if not rest:
                return {key: self._value(item, depth + 1) for key, item in items.items()}
            case {"function": name, **rest} if not rest:
                return self._known("function", name)
            case {"parameter": full, **rest} if not rest:
                return self._parameter(full)
            case {"dtype": "float64" | "float32" as name, **rest} if not rest:
                return np.dtype(name)
            case dict():
                known = "class, function, parameter, a list as tuple, mapping, or float64 or float32 as dtype"
                raise self._refuse(f"an object of the architecture ({known})", value)
        return value

    def _known(self, what: str, name: object) -> Any:
        """Return the class or function that has a name."""
        own: Mapping[str, Any] = self._custom.classes if what == "class" else self._custom.functions
        built_in = CLASSES.get if what == "class" else function_called
        found = (own.get(name) or built_in(name)) if isinstance(name, str) else None
        if found is None:
            raise FileFormatError(
                self._path, f"a built-in {what} or one of custom=[…] (given: {', '.join(own) or 'none'})",
                f"{shown(name)}; if it is yours, pass the {what} itself",
            )  # fmt: skip
        return found

    def _made(self, kind: type[Any], value: Any, depth: int) -> Any:
        """Check the sizes of a layer, merge or initializer by the tensors in the file, then make it."""
        name, is_component = kind.__name__, issubclass(kind, Component)
        self._parts += is_component
        if self._parts > MOST_PARTS:
            raise FileFormatError(self._path, f"at most {MOST_PARTS:,} layers and merges", "more")
        if set(value) != ({"class", "path", "arguments"} if is_component else {"class", "arguments"}):
            raise self._refuse(f"class, arguments and, for layers, path of {name}", list(value))
        given, place = value["arguments"], value.get("path", "")
        if not isinstance(given, dict) or "rng" in given:
            raise self._refuse(f"the arguments of {name}, without a generator", given)
        if is_component:
            if not isinstance(place, str) or place in self._claimed:
                raise self._refuse(f"a path of its own for {name}", place)
            self._claimed.add(place)
        given = {key: self._value(item, depth) for key, item in given.items()}
        prefix = f"{place}." if place else ""
        self._check_tensors(kind, given, prefix)
        try:
            with drawing_from(UNDRAWN) if is_built_in(kind) else nullcontext():
                made = from_config(kind, given)
        except Exception as error:
            found = shortened(f"{type(error).__name__}: {error}".replace("\n", " "))
            raise FileFormatError(self._path, f"arguments that make a {name}", found) from error
        if is_component:
            replace_parts(made, self._shared, prefix)
        return made

    def _check_tensors(self, kind: type[Any], given: dict[str, Any], prefix: str) -> None:
        """Compare the constructor's sizes of a built-in layer with the tensors in the file."""
        try:
            shapes = tensors_of(kind, given)
        except KeyError as error:
            raise FileFormatError(self._path, f"the argument {error} of {kind.__name__}", "none") from None
        except TypeError as error:
            raise FileFormatError(self._path, f"arguments that make a {kind.__name__}", f"{error}") from None
        wanted = str(given.get("dtype", "float64"))
        for name, shape in shapes.items():
            full = prefix + name
            stored = self._stored[self._named(full)]
            if not all(type(n) is int for n in shape) or stored.shape != shape:
                expected = f"shape {shortened(str(shape))} for {kind.__name__}"
                raise FileFormatError(self._path, expected, f"{stored.shape}", full)
            if wanted != stored.kind:
                expected = f"dtype {shown(wanted)}, as its {kind.__name__} has"
                raise FileFormatError(self._path, expected, stored.kind, full)

    def _named(self, full: object) -> str:
        """Return the name of a model's tensor in the file."""
        first = self._first.get(full, full) if isinstance(full, str) else None
        if first is None or first not in self._stored:
            raise FileFormatError(self._path, f"a tensor {shown(full)}, as the architecture has", "none")
        return first

    def _parameter(self, full: object) -> Parameter:
        """Return the Parameter of a path; make it from its tensor at the first call."""
        first = self._named(full)
        if self._stored[first].code not in ("F64", "F32"):
            raise FileFormatError(self._path, "float64 or float32", self._stored[first].kind, first)
        if first not in self._kept:
            self._kept[first] = Parameter(self._fetch(first))
        kept = self._kept[first]
        if not isinstance(kept, Parameter):
            raise FileFormatError(self._path, "a learned tensor", "another", first)
        return kept

    def _shared(self, full: str, part: Any) -> Any:
        """Return the part for a path: of a shared part, the first one that was made."""
        kept = self._kept.setdefault(self._first[full], part) if full in self._first else part
        if type(kept) is not type(part) or _shape(kept) != _shape(part):
            raise FileFormatError(self._path, f"{part!r} to share", f"{kept!r}", full)
        return kept


class Undrawn(np.random.Generator):
    """A generator that draws zeros and uses no memory, for first values that are overwritten immediately."""

    def uniform(self, low: Any = None, high: Any = None, size: Any = None) -> Any:
        return np.broadcast_to(0.0, size)

    def normal(self, loc: Any = None, scale: Any = None, size: Any = None) -> Any:
        return np.broadcast_to(0.0, size)


UNDRAWN = Undrawn(np.random.PCG64(0))


def _shape(part: Any) -> tuple[int, ...]:
    return np.shape(getattr(part, "value", 0))
