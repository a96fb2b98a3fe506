"""Threads that share the work on long vectors: the same bits, the same errors, and none for short vectors."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import SGD, Adam, AdamW, Array, NAdam, Parameter, RMSProp
from minidl._core import threads
from minidl._core.arrays import all_finite
from minidl._core.blas import one_blas_thread
from minidl._core.functions import normal_distribution
from minidl.optimizers import Adagrad, Optimizer

ROOT = Path(__file__).parents[2]

OPTIMIZERS: list[Callable[[list[Parameter]], Optimizer]] = [
    lambda own: SGD(own, 0.1),
    lambda own: SGD(own, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    lambda own: Adam(own, weight_decay=0.1),
    AdamW,
    NAdam,
    RMSProp,
    lambda own: RMSProp(own, momentum=0.5),
    Adagrad,
]


@pytest.fixture(params=[1, 2, 4])
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Give BLAS this number of threads, as far as `in_blocks` knows, and make blocks short."""
    monkeypatch.setattr(threads, "blas_threads", lambda: request.param)
    monkeypatch.setattr(threads, "BLOCK", 64)
    return int(request.param)


def share(function: Callable[[int, int], object], blocks: int) -> None:
    """Call ``function(thread, block)`` with the numbers of a thread and of a block."""
    size = blocks * threads.BLOCK
    numbers = np.arange(size) // threads.BLOCK
    threads.in_blocks(lambda block, thread: function(thread[0], block[0]), (numbers,), numbers.copy())  # type: ignore[arg-type]


def after_steps(make: Callable[[list[Parameter]], Optimizer], dtype: Any) -> list[Array]:
    rng = np.random.default_rng(0)
    parameter = Parameter(rng.normal(size=(45, 31)), dtype=dtype)
    optimizer = make([parameter])
    for _ in range(3):
        parameter.grad += rng.normal(size=parameter.shape).astype(dtype)
        optimizer.step()
    return [parameter.value, *optimizer.slots().values()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_step_in_threads_gives_the_bits_of_a_step_over_the_whole_vector(
    make: Callable[[list[Parameter]], Optimizer], dtype: Any, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = after_steps(make, dtype)
    monkeypatch.setattr(threads, "BLOCK", 1 << 16)
    for own, wanted in zip(shared, after_steps(make, dtype), strict=True):
        assert own.tobytes() == wanted.tobytes()


def test_each_block_is_done_once_and_a_thread_has_its_own_number(count: int) -> None:
    seen: list[tuple[int, int]] = []
    owners: dict[int, set[int]] = {}

    def note(thread: int, block: int) -> None:
        seen.append((thread, block))
        owners.setdefault(thread, set()).add(threading.get_ident())

    for _ in range(20):
        seen.clear()
        owners.clear()
        share(note, 40)
        assert sorted(block for _, block in seen) == [*range(40)]
        assert all(len(idents) == 1 for idents in owners.values())
        assert max(owners) < count


def test_threads_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "blas_threads", lambda: 4)
    together = threading.Barrier(4, timeout=20)
    share(lambda thread, block: together.wait() if block < 4 else None, 4 * threads.EACH)


def test_few_blocks_are_done_in_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "blas_threads", lambda: pytest.fail("asked"))
    here = set()
    share(lambda thread, block: here.add(threading.get_ident()), 2 * threads.EACH - 1)
    assert here == {threading.get_ident()}


@pytest.mark.parametrize("bad", [0, 39])
def test_an_error_in_a_block_reaches_the_caller_when_all_threads_have_ended(bad: int, count: int) -> None:
    done = []

    def fail(thread: int, block: int) -> None:
        if block == bad:
            raise ZeroDivisionError(f"block {block}")
        done.append(block)

    with pytest.raises(ZeroDivisionError, match=f"block {bad}"):
        share(fail, 40)
    before = len(done)
    share(lambda thread, block: None, 40)
    assert len(done) == before


def test_an_error_in_another_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "blas_threads", lambda: 2)
    together = threading.Barrier(2, timeout=20)

    def fail(thread: int, block: int) -> None:
        if block < 2:
            together.wait()
            if thread:
                raise ZeroDivisionError("the other")

    with pytest.raises(ZeroDivisionError, match="the other"):
        share(fail, 40)


def test_the_settings_of_errstate_hold_in_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "blas_threads", lambda: 2)
    together = threading.Barrier(2, timeout=20)
    raised = set()

    def divide(thread: int, block: int) -> None:
        if block < 2:
            together.wait()
            with pytest.raises(FloatingPointError):
                np.divide(1.0, np.zeros(1))
            raised.add(thread)

    with np.errstate(all="raise"):
        share(divide, 40)
    assert raised == {0, 1}


def test_the_calling_thread_does_the_work_of_threads_that_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "blas_threads", lambda: 2)
    free = threading.Event()
    busy = threads.pool(2).submit(free.wait, 20)
    share(lambda thread, block: None, 40)
    assert not busy.done()
    free.set()


def test_one_thread_of_blas_means_one_thread_here() -> None:
    pytest.importorskip("threadpoolctl")
    with one_blas_thread(1 << 20):
        assert threads.blas_threads() == 1


@pytest.mark.parametrize("limit", [1, 2])
def test_the_number_of_threads_is_that_of_blas(limit: int) -> None:
    control = pytest.importorskip("threadpoolctl")
    with control.threadpool_limits(limit, user_api="blas"):
        assert threads.blas_threads() == limit


END = """
import atexit, os, sys, threading
import numpy as np
from minidl._core import threads
threads.blas_threads = lambda: 2
def work():
    x = np.zeros(threads.BLOCK * 20)
    threads.in_blocks(lambda part: np.add(part, 1.0, out=part), (x,))
    assert (x == 1.0).all()
    print("done", flush=True)
work()
"""


@pytest.mark.parametrize("when", ["atexit.register(work)", "threading._register_atexit(work)"])
def test_work_at_the_end_of_the_interpreter_is_done(when: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", END + when], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert (run.stdout.split(), run.stderr) == (["done"] * 2, "")


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="no fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    fork = """
def meet(part):
    if part[0] < 2:
        together.wait()
child = os.fork()
together = threading.Barrier(2, timeout=20)
numbers = np.arange(threads.BLOCK * 20) // threads.BLOCK
threads.in_blocks(meet, (numbers,))
print("met", flush=True)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", END + fork], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=60,
    )
    assert run.stdout.split() == ["done", "met", "met"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_normal_distribution_of_many_numbers_is_that_of_each_row(dtype: Any, count: int) -> None:
    wide = np.random.default_rng(0).normal(size=(300, 600)).astype(dtype)
    for x in (wide, wide.T, wide[::2, ::2][:, ::-1], wide.reshape(-1)):
        wanted = np.array([normal_distribution(row) for row in x])
        found = normal_distribution(x)
        assert (found.dtype, found.shape) == (x.dtype, x.shape)
        assert found.tobytes() == wanted.reshape(x.shape).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", [lambda x: x, lambda x: x.T, lambda x: x[::2, ::-3]])
def test_one_number_that_is_not_finite_is_found_in_every_layout(layout: Any, dtype: Any) -> None:
    values = np.full((30, 40), np.finfo(dtype).max, dtype)
    assert all_finite(layout(values))
    for bad in (np.nan, np.inf, -np.inf):
        values[...] = 1.0
        layout(values)[3, 4] = bad
        assert not all_finite(layout(values))
    values[...] = np.inf
    values[::2] *= -1.0
    assert not all_finite(layout(values))
