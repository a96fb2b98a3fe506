"""One thread of BLAS while work runs that is too small for two."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from threading import RLock, get_ident
from types import TracebackType
from typing import Any

LEAST = 1 << 13
"""Multiplications of a matrix product up to which BLAS takes one thread anyway."""

SMALL = 1 << 22
"""Multiplications of a matrix product up to which a second thread gains little. On a busy machine it costs much: BLAS
threads wait for each other without giving up their cores."""


def one_blas_thread(multiplications: int, above: int = LEAST, to: int = SMALL) -> AbstractContextManager[None]:
    """Return a context in which BLAS uses one thread, if threadpoolctl is installed and the work is small.

    The limit holds for the whole process while any thread of it is in such a context.

    Args:
        multiplications: Those of the largest matrix product of the work.
        above: Multiplications up to which BLAS takes one thread anyway.
        to: Multiplications up to which the work is small.
    """
    return _one_thread if above < multiplications <= to else nullcontext()


class _OneThread(AbstractContextManager[None]):
    """The context; threads may overlap in it, and the last one that leaves puts the number of threads back."""

    def __init__(self) -> None:
        self._lock = RLock()  # A signal may arrive inside of it, and its handler may predict.
        self._inside: list[int] = []
        self._limited: tuple[Any, ...] = ()
        self._before: list[tuple[Any, int]] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._go_on_alone
            )

    def __enter__(self) -> None:
        with self._lock:
            self._inside.append(get_ident())
            found = libraries()
            if found is not self._limited:  # The first to enter, or the first since SciPy was loaded.
                self._limited = found
                for library in found:
                    self._before.append((library, library.get_num_threads()))
                    _set_threads(library, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside.remove(get_ident())
            self._restore()

    def _restore(self) -> None:
        if not self._inside:
            self._limited = ()
            while self._before:
                _set_threads(*self._before.pop())

    def _go_on_alone(self) -> None:
        """Forget the threads that a fork did not copy; they will not leave."""
        self._inside = [thread for thread in self._inside if thread == get_ident()]
        self._restore()
        self._lock.release()


_one_thread = _OneThread()
_found: dict[bool, tuple[Any, ...]] = {}


def _set_threads(library: Any, threads: int) -> None:
    # From threadpoolctl 3.7 on, set_num_threads does nothing in a thread of Python while another one has set a limit.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(threads)


def libraries() -> tuple[Any, ...]:
    """Return the BLAS libraries that are loaded, as threadpoolctl controls them; none if it is not installed.

    SciPy brings a library of its own, which Numba's code uses too. OpenBLAS made with OpenMP is left out: there a limit
    is that of one thread of Python.
    """
    if "numba" in sys.modules:
        import scipy.linalg  # noqa: F401 - Numba would load it at the first product, when the limit is set already
    scipy_too = "scipy.linalg._flapack" in sys.modules
    if scipy_too not in _found:
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            _found[scipy_too] = ()
        else:
            blas = ThreadpoolController().select(user_api="blas").lib_controllers
            _found[scipy_too] = tuple(
                library for library in blas
                if not (library.internal_api == "openblas" and library.threading_layer == "openmp")
            )
    return _found[scipy_too]
