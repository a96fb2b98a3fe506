"""Models in files: the whole model, or its weights alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dis import get_instructions
from inspect import unwrap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._core.arrays import FLOATS, dense, flag
from .._core.parameter import Buffer, Parameter
from .._data import check_parts, described
from ..errors import ArgumentError, DTypeError, FileFormatError
from ..layers._parts import ByClass, all_paths, attributes, named, replace_parts, walk
from ..layers.base import Component, Layer
from .architecture import MOST_PARTS, Decoder, Encoder
from .generators import decode_generator, encode_generator
from .safetensors import Entry, TensorFile, entry_of
from .statefile import checked_metadata, write
from .strict import shown
from .tables import Custom

RUN_PREFIX = "training:"
"""Prefix of the names of tensors that belong to a run and not to its model."""


class Unmatched(NamedTuple):
    """Names that only one side has.

    Attributes:
        missing: Tensors of the model that the source does not have; they keep their values.
        extra: Tensors of the source that the model does not have.
    """

    missing: list[str]
    extra: list[str]


class _Arrays:
    """Arrays in memory with the interface of a `TensorFile`."""

    def __init__(self, arrays: Mapping[str, npt.ArrayLike], path: str) -> None:
        self.path = path
        self._arrays = {str(name): dense(array, f'{path}: tensor "{name}"') for name, array in arrays.items()}
        self.entries = {name: entry_of(array) for name, array in self._arrays.items()}

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """Return one of them."""
        return self._arrays[name]


def save(model: Layer, path: str | os.PathLike[str]) -> None:
    """Save a model to one ``.safetensors`` file: architecture, weights, running statistics, random generators.

    Before anything is written, `save` makes the model again from the saved data, as a test. The file is then written
    beside the target, flushed, and renamed: at every moment the complete old or the complete new file is there.

    Args:
        model: The model.
        path: The file; an existing one is replaced.

    Raises:
        ArgumentError: a value that a file cannot hold; the message names class and argument.
        OSError: the write failed; the message names path and bytes, and the old file is unchanged.
    """
    check_parts("save", model=(model, Layer))
    tensors, metadata = model_state(model)
    write(path, tensors, metadata)


def load(path: str | os.PathLike[str], custom: Any = (), *, allow_nonfinite: bool = False) -> Layer:
    """Load a model that `save` wrote.

    A file cannot make `load` import, run or open anything: classes and functions come from a closed table and from
    ``custom``. Their constructors are called with plain values from the file.

    Args:
        path: The file.
        custom: Your own classes of layers, merges and initializers, and your own functions, by their ``__name__``:
            a list, or one of them.
        allow_nonfinite: Whether NaN and infinity are accepted as weights.

    Raises:
        FileFormatError: the file is wrong; the message names file, tensor, expected and found value.
        OSError: there is no such file, or it may not be read.
    """
    table = Custom(custom)
    with TensorFile(path) as file:
        metadata = checked_metadata(file)
        if metadata is None or "architecture" not in metadata:
            found = "weights alone; make the model, then load_weights"
            raise FileFormatError(file.path, "a model that minidl saved", found)
        first = _first_paths(metadata.get("shared", []), file)
        if not flag(allow_nonfinite, "load(allow_nonfinite)"):
            for name in file.entries:
                if not name.startswith(RUN_PREFIX):
                    value = file.tensor(name)
                    _require_finite(value, value.dtype, file.path, name)
        model = Decoder(file.path, file.entries, file.tensor, first, table).model(metadata["architecture"])
        if not isinstance(model, Layer):
            raise FileFormatError(file.path, "an architecture that begins with a layer", shown(model))
        _restore_generators(model, metadata.get("generators"), file.path)
        _fill(model, file, first, cast=None, strict=True, allow_nonfinite=True)
        for part in frozen_parts(model, metadata, file.path):
            part.freeze()
    return model


def save_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Save the parameters and running statistics of a model, without its architecture.

    The file is written as by `save`. The names equal those of the same ``torch.nn.Sequential``.

    Raises:
        OSError: the write failed; the message names path and bytes, and the old file is unchanged.
    """
    check_parts("save_weights", model=(model, Layer))
    write(path, model_tensors(model), {"shared": shared_paths(model)})


def load_weights(
    model: Layer,
    source: str | os.PathLike[str] | Mapping[str, npt.ArrayLike],
    *,
    strict: bool = True,
    cast: bool = False,
    allow_nonfinite: bool = False,
) -> Unmatched:
    """Load weights and running statistics into a model, from a file of minidl or of any other safetensors program.

    Everything is checked before the model is changed.

    Args:
        model: The model; the file must have its names and shapes.
        source: The file; or a mapping from names to arrays, which are copied.
        strict: Whether source and model must have the same names; if not, only the names of both are loaded, of which
            there must be one.
        cast: Whether float64, float32, float16 and bfloat16 may be converted to the dtype of the model.
        allow_nonfinite: Whether NaN and infinity are accepted as weights.

    Returns:
        The names that only one side has; empty if ``strict``.

    Raises:
        FileFormatError: the source does not fit; the message names file, tensor, expected and found value, and the
            model is unchanged.
        OSError: there is no such file, or it may not be read.
    """
    check_parts("load_weights", model=(model, Layer))
    for name, value in {"strict": strict, "cast": cast, "allow_nonfinite": allow_nonfinite}.items():
        flag(value, f"load_weights({name})")
    if isinstance(source, Mapping):
        for name, array in source.items():
            if isinstance(array, (Parameter, Buffer)):
                raise DTypeError(f'load_weights: tensor "{name}": expected an array, got {array!r}; give its .value')
        arrays = _Arrays(source, "load_weights")
        return _fill(model, arrays, {}, cast=cast, strict=strict, allow_nonfinite=allow_nonfinite)
    if not isinstance(source, (str, os.PathLike)):
        raise DTypeError("load_weights(source): expected a path, or a mapping from names to arrays, "
                         f"got {described(source)}")
    with TensorFile(source) as file:
        metadata = checked_metadata(file) or {}
        first = _first_paths(metadata.get("shared", []), file)
        return _fill(model, file, first, cast=cast, strict=strict, allow_nonfinite=allow_nonfinite)


def model_tensors(model: Layer) -> dict[str, npt.NDArray[Any]]:
    """Map the name of each parameter and buffer to its array; the name of a shared one is its first path."""
    tensors = {path: part.value for path, part in named(model, (Parameter, Buffer)).items()}
    for name in tensors:
        if name.startswith(RUN_PREFIX):
            raise ArgumentError(f"saving: expected names that do not begin with {RUN_PREFIX!r}, got {name!r}")
    return tensors


def shared_paths(model: Layer) -> list[list[str]]:
    """List the paths of each parameter, buffer and generator that the model holds at several places."""
    return [paths for _, paths in all_paths(model) if len(paths) > 1]


def model_state(model: Layer) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the tensors and the metadata that `save` writes; first test that they make the model again.

    A training run adds its own metadata, and its own tensors with names that begin with ``"training:"``.

    Raises:
        ArgumentError: a value that a file cannot hold; the message names class and argument.
    """
    encoder = Encoder(model)
    tensors, shared = model_tensors(model), shared_paths(model)
    metadata: dict[str, Any] = {"architecture": encoder.tree, "shared": shared, "generators": {}}
    for path, own in named(model, np.random.Generator).items():
        try:
            metadata["generators"][path] = encode_generator(own)
        except ValueError as error:
            raise ArgumentError(f'saving: expected a generator of NumPy at "{path}", got {error}') from None
    if frozen := [path for path, part in named(model, (Parameter, Buffer)).items() if part.frozen]:
        metadata["frozen"] = frozen
    first = {path: paths[0] for paths in shared for path in paths}
    source = _Arrays(tensors, "saving")
    try:
        again = Decoder("saving", source.entries, source.tensor, first, encoder.custom).model(encoder.tree)
    except FileFormatError as error:
        raise ArgumentError(
            f"{error}; a saved model is made again by its constructors: give the argument a default, "
            "or write config() so that it returns what the constructor takes"
        ) from error
    found = {name: value.shape for name, value in model_tensors(again).items()}
    wanted = {name: value.shape for name, value in tensors.items()}
    found_shared = shared_paths(again)
    if found != wanted or found_shared != shared:
        differing: list[Any] = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
        differing += [paths for paths in found_shared if paths not in shared]
        raise ArgumentError(
            "saving: expected constructors that make and share the same parts again, got a difference in "
            f"{differing[:5]}; changes to a layer after its constructor are not among its arguments"
        )
    _require_equal_parts(model, again)
    return tensors, metadata


def _require_equal_parts(model: Layer, again: Layer) -> None:
    """Refuse a model if its constructors do not make the same attributes and parts again.

    Attributes that the passes of a layer assign are not compared, nor private ones that a new object does not have and
    no pass reads.
    """
    made = dict([("", again), *walk(again)])
    for path, part in [("", model), *walk(model)]:
        if not isinstance(part, Component) or path not in made:
            continue
        found = attributes(made[path])
        for name, value in attributes(part).items():
            stored, read = _used[type(part)]
            optional = name in stored or (name[0] == "_" and name not in read and found.get(name) is None)
            if not (optional or (name in found and _equal(value, found[name]))):
                came = shown(found[name]) if name in found else "none"
                raise ArgumentError(
                    f'saving: expected the constructor of {type(part).__name__} at "{path}" to make {name} = '
                    f"{shown(value)} again, got {came}; pass it to the constructor, keep an array as Buffer or "
                    "Parameter, or assign it in forward if it is only kept for backward"
                )


@ByClass
def _used(kind: type[Any]) -> tuple[set[str], set[str]]:
    """List the attributes that the passes of a class assign, and those that they read, in methods they call too."""
    stored, read, waiting = set[str](), set[str](), ["forward", "backward", "compute", "predict"]
    for name in waiting:  # which grows by the methods that are called
        methods = map(unwrap, filter(None, [vars(base).get(name) for base in kind.__mro__]))
        for method in [one for one in methods if hasattr(one, "__code__")]:
            for step in get_instructions(method):
                if step.opname == "STORE_ATTR":
                    stored.add(step.argval)
                elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and step.argval not in read:
                    read.add(step.argval)
                    waiting += [step.argval] * callable(getattr(kind, step.argval, None))
    return stored, read


def _equal(one: Any, other: Any) -> bool:
    """Return whether two attributes are equal; compare parts by path, and objects of unknown classes by class."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, (np.ndarray, np.generic, int, float)):
        return isinstance(other, (np.ndarray, np.generic, int, float)) and bool(
            np.shape(one) == np.shape(other) and np.all((one == other) | ((one != one) & (other != other)))
        )
    if isinstance(one, (str, bytes, complex, type, np.dtype, np.ufunc, set, frozenset)):
        return bool(one == other)
    return type(one) is type(other) and getattr(one, "__code__", 0) == getattr(other, "__code__", 0)


def frozen_parts(model: Layer, metadata: dict[str, Any], path: str) -> list[Parameter | Buffer]:
    """Return the parameters and buffers that the file names as frozen.

    Raises:
        FileFormatError: a value that is not the path of a parameter or buffer of the model.
    """
    parts, frozen = named(model, (Parameter, Buffer)), metadata.get("frozen", [])
    if not isinstance(frozen, list) or not all(isinstance(name, str) and name in parts for name in frozen):
        raise FileFormatError(path, "paths of frozen parameters and buffers of the model", shown(frozen))
    return [parts[name] for name in frozen]


def _restore_generators(model: Layer, states: object, path: str) -> None:
    """Put the generators of a model into the states that a file describes."""
    if not isinstance(states, dict) or len(states) > MOST_PARTS:
        raise FileFormatError(path, "the states of the random generators", shown(states))
    saved = {}
    for name, state in states.items():
        try:
            saved[name] = decode_generator(state)
        except ValueError as error:
            raise FileFormatError(path, f"the state of the generator {shown(name)}", str(error)) from None
    own = named(model, np.random.Generator)
    if set(saved) != set(own):
        raise FileFormatError(path, f"the states of the generators {shown(sorted(own))}", shown(sorted(saved)))
    other_kinds = {}
    for name, restored in saved.items():
        if type(restored.bit_generator) is type(own[name].bit_generator):
            own[name].bit_generator.state = restored.bit_generator.state
        else:
            other_kinds[id(own[name])] = restored
    replace_parts(model, lambda _, part: other_kinds.get(id(part), part))


def _first_paths(shared: object, file: TensorFile) -> dict[str, str]:
    """Map each path of a shared part to its first path; refuse a path that comes twice."""
    first: dict[str, str] = {}
    if not isinstance(shared, list):
        raise FileFormatError(file.path, "lists of shared paths", shown(shared))
    for paths in shared:
        if not isinstance(paths, list) or len(paths) < 2 or not all(isinstance(path, str) for path in paths):
            raise FileFormatError(file.path, "at least two paths of each shared part", shown(paths))
        for path in paths:
            if path in first or (path in file.entries and path != paths[0]):
                raise FileFormatError(file.path, "each path once", f"{shown(path)} again")
            first[path] = paths[0]
    return first


def _fill(
    model: Layer,
    source: TensorFile | _Arrays,
    first: Mapping[str, str],
    *,
    cast: bool | None,
    strict: bool,
    allow_nonfinite: bool,
) -> Unmatched:
    """Check every tensor, then put them into the model; with ``cast`` None the file decides on float32 or float64."""
    names = {name: name for name in source.entries if not name.startswith(RUN_PREFIX)}
    names |= {path: name for path, name in first.items() if name in names}
    held = [(part, paths) for part, paths in all_paths(model) if not isinstance(part, np.random.Generator)]
    known = {path for _, paths in held for path in paths}
    missing = [paths[0] for _, paths in held if names.keys().isdisjoint(paths)]
    extra = [name for name in names if name not in known]
    nothing = 0 < len(held) == len(missing)
    if (missing or extra) and (strict or nothing):
        wanted = "the tensors of the model" if strict else "at least one tensor of the model"
        hint = "; change the names: load_weights(model, {new_name: array, ...})" if nothing else ""
        raise FileFormatError(source.path, wanted, _difference(missing, extra) + hint)
    chosen: list[tuple[Parameter | Buffer, str]] = []
    for part, paths in held:
        found = list(dict.fromkeys(names[path] for path in paths if path in names))
        for name in found:
            _check_fit(part, source.entries[name], cast, source.path, name)
            value = source.tensor(name)
            if not allow_nonfinite:
                _require_finite(value, part.value.dtype, source.path, name)
            if not np.array_equal(value, source.tensor(found[0]), equal_nan=value.dtype.kind == "f"):
                expected = f'what "{found[0]}" holds, with which it is shared in the model'
                raise FileFormatError(source.path, expected, "other numbers", name)
        chosen.extend((part, name) for name in found[:1])
    for part, name in chosen:
        value = source.tensor(name)
        if cast is None and part.value.dtype != value.dtype:
            part.cast(value.dtype)
        with np.errstate(over="ignore"):
            part.value = value.astype(part.value.dtype)
    return Unmatched(missing, extra)


def _check_fit(part: Parameter | Buffer, entry: Entry, cast: bool | None, path: str, name: str) -> None:
    """Refuse a tensor if its shape or dtype is not that of its place in the model."""
    wanted = part.value.dtype
    if entry.shape != part.value.shape:
        raise FileFormatError(path, f"shape {part.value.shape}", f"{entry.shape}", name)
    castable = wanted in FLOATS and entry.code in (("F64", "F32") if cast is None else ("F64", "F32", "F16", "BF16"))
    if entry.kind != wanted.name and not (castable and cast is not False):
        hint = "; to convert it, load_weights(…, cast=True)" if castable else ""
        raise FileFormatError(path, f"dtype {wanted}", f"{entry.kind}{hint}", name)


def _require_finite(value: npt.NDArray[Any], dtype: np.dtype[Any], path: str, name: str) -> None:
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = value.size - int(np.count_nonzero(np.isfinite(value.astype(dtype, copy=False))))
        if bad:
            raise FileFormatError(
                path, f"finite numbers in {dtype}", f"{bad:,} of {value.size:,} that are not; see allow_nonfinite", name
            )


def _difference(missing: list[str], extra: list[str]) -> str:
    """Return a text with a few of the names that only the model has, and of those that only the file has."""
    parts = []
    for title, names in (("missing", missing), ("extra", extra)):
        if names:
            more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
            parts.append(f"{title} {', '.join(shown(name) for name in names[:5])}{more}")
    return "; ".join(parts)
