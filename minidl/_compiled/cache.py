"""Compile each program once, and keep its machine code on disk for the next process."""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from .inline import inlined

_compiled: dict[tuple[object, ...], Compiled] = {}


class Compiled:
    """A function that is compiled at its first call. Its machine code is kept on disk if that is possible.

    Args:
        function: What to compile.
        keep: Whether to keep the machine code in the folder of the function's file.
    """

    def __init__(self, function: Callable[..., Any], keep: bool) -> None:
        self._function = function
        self._ready = self._jitted(keep)
        self._trusted = not keep
        self._first = Lock()

    def __call__(self, *arguments: Any) -> Any:
        if not self._trusted:
            with self._first:
                if not self._trusted:
                    return self._call_first(arguments)
        return self._ready(*arguments)

    @property
    def entry(self) -> Callable[..., Any]:
        """The shortest way to call the function again, with arguments of the types that it has had so far.

        If these types were always the same, it is the machine code itself, which does not check them.
        """
        versions = list(self._ready.overloads.values())
        ready: Callable[..., Any] = versions[0].entry_point if len(versions) == 1 else self._ready
        return ready

    def _call_first(self, arguments: tuple[Any, ...]) -> Any:
        """Call code that may come from the disk; compile it again if that fails."""
        try:
            found = self._ready(*arguments)
        except Exception:
            # Numba could not read the file or write the new code: a damaged file, a full disk, a read-only folder.
            # Nothing has run yet.
            self._forget()
            self._ready = self._jitted(keep=False)
            found = self._ready(*arguments)
        self._trusted = True
        return found

    def _forget(self) -> None:
        """Remove the files, so that the next process writes them again."""
        # Numba knows the folder: NUMBA_CACHE_DIR moves the files away from the program.
        source = Path(self._function.__code__.co_filename)
        for file in Path(self._ready.stats.cache_path or os.devnull).glob(f"{source.stem}.*.nb*"):
            with suppress(OSError):
                file.unlink()

    def _jitted(self, keep: bool) -> Any:
        from numba import njit

        options = {"error_model": "numpy", "nogil": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}}
        try:
            return njit(self._function, cache=keep, **options)
        except RuntimeError:
            return njit(self._function, **options)


def compiled(source: str, name: str, functions: dict[str, Callable[..., Any]]) -> Compiled:
    """Return a function of a program, to be called from Python.

    In Numba's cache a function is identified by its name and byte code alone, so the name contains a hash of the whole
    program. A program that calls functions of the user is not kept on disk: the hash does not cover the objects that
    these functions refer to.

    Args:
        source: The program.
        name: Name of the function in it.
        functions: Functions of the user that the program calls, by their names in it.
    """
    functions = {label: jitted(function) for label, function in functions.items()}
    key = (source, *((label, id(function)) for label, function in functions.items()))
    if key not in _compiled:
        source = inlined(source)
        digest = hashlib.sha256((source + _imported_text()).encode()).hexdigest()[:24]
        source = source.replace(f"def {name}(", f"def {name}_{digest}(")
        file = None if functions else _written(f"minidl_{digest}.py", source)
        namespace: dict[str, Any] = dict(functions) if file is None else _imported(file)
        if file is None:
            file_name = f"<minidl {digest}>"
            linecache.cache[file_name] = (len(source), None, source.splitlines(keepends=True), file_name)
            exec(compile(source, file_name, "exec"), namespace)
        _compiled[key] = Compiled(namespace[f"{name}_{digest}"], keep=file is not None)
    return _compiled[key]


@cache
def _imported_text() -> str:
    """Return the text of the modules that programs import."""
    return Path(__file__).with_name("intrinsics.py").read_text(encoding="utf-8")


@lru_cache(maxsize=64)
def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of the user once; global values that it uses are constants from then on."""
    from numba import njit

    ready: Callable[..., Any] = njit(lambda *xs: function(*xs)) if isinstance(function, np.ufunc) else njit(function)
    return ready


def cache_folder() -> Path:
    """Return the folder of compiled programs: ``MINIDL_CACHE_DIR``, or the user's cache folder."""
    if own := os.environ.get("MINIDL_CACHE_DIR"):
        return Path(own)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "minidl"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minidl"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl"


def _written(name: str, source: str) -> Path | None:
    """Write a program to the cache folder, where Numba keeps its machine code; return None if that is not possible."""
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / name
        if not (path.exists() and path.read_bytes() == source.encode()):
            descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".py")
            with open(descriptor, "wb") as file:
                file.write(source.encode())
            os.replace(temporary, path)
    except (OSError, RuntimeError):
        return None
    return path


def _imported(path: Path) -> dict[str, Any]:
    """Run a module that belongs to no package, and return its names."""
    sys.modules[path.stem] = module = ModuleType(path.stem)  # Numba looks in this folder for its cached code.
    SourceFileLoader(path.stem, str(path)).exec_module(module)
    return vars(module)
