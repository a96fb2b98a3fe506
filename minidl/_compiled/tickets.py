"""Tasks that threads share in compiled code. This file is put into programs as text: it needs Numba.

Tasks come in pairs: those of a pair can run at once; each pair needs the results of the pair before it. A thread takes
the next ticket, waits until the pairs before it are done, does the task, and says so. So any number of threads, one
included, does all tasks. ``tickets`` are two counters, far enough apart for two lines of the cache: tickets that were
taken, and tasks that are done.
"""

import sys

from numba import njit, types
from numba.extending import intrinsic

DONE = 16
NO_MORE = 1 << 60
SPINS = 2000

give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.intc())


@intrinsic
def fetch_add(typing, array, place, number):  # type: ignore[no-untyped-def]
    """Add to a number of an array, in one operation of the memory; return the number before."""

    def write(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values = context.make_array(array)(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(values, [arguments[1]]), arguments[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), write


@njit
def take(tickets):  # type: ignore[no-untyped-def]
    """Return the number of the next task."""
    return fetch_add(tickets, 0, 1)


@njit
def wait_for(tickets, number):  # type: ignore[no-untyped-def]
    """Wait until this many tasks are done. After a while, let other threads run on this core."""
    spins = 0
    while fetch_add(tickets, DONE, 0) < number:
        spins += 1
        if spins > SPINS:
            give_way()


@njit
def finish(tickets):  # type: ignore[no-untyped-def]
    """Say that a task is done."""
    fetch_add(tickets, DONE, 1)


@njit
def stop(tickets):  # type: ignore[no-untyped-def]
    """Let each thread return at its next ticket."""
    fetch_add(tickets, 0, NO_MORE)
    fetch_add(tickets, DONE, NO_MORE)
