"""Threads that share the work on long vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cache
from typing import Any

from .arrays import Array
from .blas import libraries

BLOCK = 1 << 16
"""How many numbers are computed at a time, so that intermediate results stay in the cache."""

EACH = 4
"""Least number of blocks for each thread: for fewer, a thread wakes up too late to help."""


def in_blocks(function: Callable[..., object], vectors: Sequence[Array], *work: Array) -> None:
    """Call ``function`` for each block of at most `BLOCK` numbers; threads share the blocks of long vectors.

    There are at most as many threads as BLAS uses at the moment, so one inside of `one_blas_thread`. Each takes a block
    when it has finished the one before. The cuts depend on the length alone.

    Args:
        function: Changes a block in place; its arguments are the block of each vector, then the work memory.
        vectors: Vectors of one length.
        work: Memory of that length; each thread uses another part of it, for one block after the other.
    """
    size = len(vectors[0])
    if size <= BLOCK:
        function(*vectors, *work)
        return
    # Asking BLAS takes some microseconds.
    threads = min(size // (EACH * BLOCK), blas_threads()) if size >= 2 * EACH * BLOCK else 1
    # Taking from the end of a list is one operation, however many threads do it. Each ends at a None.
    left: list[int | None] = [None] * threads + [*range(0, size, BLOCK)][::-1]

    def share(thread: int) -> None:
        while (begin := left.pop()) is not None:
            block = [vector[begin : begin + BLOCK] for vector in vectors]
            own = slice(thread * BLOCK, thread * BLOCK + len(block[0]))
            function(*block, *[memory[own] for memory in work])

    others = []
    try:
        for thread in range(1, threads):
            others.append(pool(threads).submit(copy_context().run, share, thread))  # np.errstate is in the context.
    except RuntimeError:  # Python is shutting down, and starts no more threads.
        pass
    try:
        share(0)
    finally:
        errors = [other.exception() for other in others if not other.cancel()]  # It waits.
    for error in filter(None, errors):
        raise error


def blas_threads() -> int:
    """Return how many threads BLAS uses for a large product; 1 if threadpoolctl is not installed."""
    return min([library.get_num_threads() or 1 for library in libraries()], default=1)


@cache
def pool(threads: int) -> Any:
    """Return the threads that help the calling thread."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads - 1, "minidl")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # A fork copies the pool, but not its threads.
