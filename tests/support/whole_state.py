"""Write down everything that some objects hold, and the global state that a call might change."""

from __future__ import annotations

import signal
import types
import warnings
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from minidl import Parameter

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, PurePath)
WORK = ("_generator", "_fixed")
"""Attributes that are written before each use: by `Run` for each purpose, by `BatchNorm` in each forward pass."""
NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.ufunc, property)


def whole(*objects: object) -> str:
    """Return a text that differs if anything differs that can be reached from the objects; arrays bit for bit."""
    return repr(_described(objects, {}))


def around(folder: Path) -> str:
    """Return a text of NumPy's settings and global generator, the warnings, the signals, and the files of a folder."""
    files = {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    generator = np.random.get_state(legacy=False)
    return repr((np.geterr(), np.get_printoptions(), whole(generator), warnings.filters, handlers, files))


def _described(value: Any, seen: dict[int, tuple[int, object]]) -> Any:
    if isinstance(value, PLAIN):
        return type(value).__name__, repr(value)
    if isinstance(value, NAMED):
        return getattr(value, "__qualname__", repr(value)), id(value)
    if id(value) in seen:
        return "again", seen[id(value)][0]
    seen[id(value)] = len(seen), value
    inside: Any
    if isinstance(value, Parameter):
        # A gradient that counts as zero may have an array or none; reading `grad` would make one.
        gradient = value._grad if value.has_grad else None
        inside = [_described(part, seen) for part in (value._value, gradient, value.frozen, value._initial)]
    elif isinstance(value, np.ndarray):
        inside = value.tolist() if value.dtype.kind == "O" else (value.shape, value.flags.writeable, value.tobytes())
    elif isinstance(value, np.random.Generator):
        inside = value.bit_generator.state
    elif isinstance(value, dict):
        inside = [(_described(key, seen), _described(item, seen)) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        inside = [_described(item, seen) for item in value]
    elif isinstance(value, types.MethodType):
        inside = [_described(value.__self__, seen), value.__name__]
    else:
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        kept = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
        inside = [(name, _described(item, seen)) for name, item in kept.items() if name not in WORK]
    return type(value).__name__, inside
