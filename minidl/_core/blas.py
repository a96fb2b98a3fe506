"""One thread of BLAS while work runs that is too small for two."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from types import TracebackType
from typing import Any

LEAST = 1 << 13
"""Multiplications of a matrix product up to which BLAS takes one thread anyway."""

SMALL = 1 << 22
"""Multiplications of a matrix product up to which a second thread gains little. On a busy machine it costs much: BLAS
threads wait for each other without giving up their cores."""


def one_blas_thread(multiplications: int) -> AbstractContextManager[None]:
    """Return a context in which BLAS uses one thread, if threadpoolctl is installed and the work is small.

    The limit holds for the whole process while any thread of it is in such a context.

    Args:
        multiplications: Those of the largest matrix product of the work.
    """
    return _one_thread if LEAST < multiplications <= SMALL else nullcontext()


class _OneThread(AbstractContextManager[None]):
    """The context; threads may overlap in it, and the last one that leaves puts the number of threads back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0 and (blas := _libraries()) is not None:
                self._limit = blas.limit(limits=1)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limit is not None:
                limit, self._limit = self._limit, None
                limit.restore_original_limits()


_one_thread = _OneThread()
_found: dict[bool, Any] = {}


def _libraries() -> Any:
    """Return threadpoolctl's controller of the BLAS libraries that are loaded; None if it is not installed."""
    scipy = "scipy.linalg" in sys.modules  # which brings a BLAS library of its own
    if scipy not in _found:
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            _found[scipy] = None
        else:
            _found[scipy] = ThreadpoolController().select(user_api="blas")
    return _found[scipy]
