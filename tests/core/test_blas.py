"""One thread of BLAS around small work: counted, and afterwards the process has as many threads as before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - with a BLAS of its own, which the fixture must find

from minidl import SGD, Activation, Dense, HalfSquaredError, Layer, Sequential, Trainer, mlp
from minidl._core import blas
from minidl._core.blas import LEAST, SMALL, one_blas_thread
from minidl.callbacks import Callback
from minidl.solvers import jacobian, lbfgs, levenberg_marquardt, parameter_jacobian
from tests.campaigns import busy

threadpoolctl = pytest.importorskip("threadpoolctl")

ROOT = Path(__file__).parents[2]
MIDDLE = 1 << 20


def counts() -> set[int]:
    """Return the numbers of threads of all BLAS libraries that are loaded, as threadpoolctl finds them."""
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    """Let BLAS use three threads, as a user would; the limit of a test must not change this."""
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if counts() != {3}:
            pytest.skip("threadpoolctl does not know this BLAS")
        yield
        assert counts() == {3}


def test_contexts_inside_of_each_other_end_with_the_outer_one() -> None:
    with one_blas_thread(MIDDLE):
        with one_blas_thread(MIDDLE):
            assert counts() == {1}
        assert counts() == {1}
    assert counts() == {3}


def test_the_last_of_overlapping_threads_puts_the_number_back() -> None:
    inside, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_blas_thread(MIDDLE):
            inside.set()
            may_leave.wait(60)

    thread = threading.Thread(target=other)
    with one_blas_thread(MIDDLE):
        thread.start()
        assert inside.wait(60)
    assert counts() == {1}
    may_leave.set()
    thread.join()
    assert counts() == {3}


def test_many_threads_that_enter_and_leave_at_random_lose_no_count() -> None:
    wrong: list[set[int]] = []

    def work() -> None:
        for turn in range(50):
            with one_blas_thread(MIDDLE):
                if not turn % 10 and counts() != {1}:
                    wrong.append(counts())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_exception_leaves_the_context_too() -> None:
    with pytest.raises(ZeroDivisionError), one_blas_thread(MIDDLE):
        1 / 0  # noqa: B018
    assert counts() == {3}


@pytest.mark.parametrize(
    ("multiplications", "threads"), [(1, 3), (LEAST, 3), (LEAST + 1, 1), (SMALL, 1), (SMALL + 1, 3)]
)
def test_only_work_of_middle_size_is_limited(multiplications: int, threads: int) -> None:
    with one_blas_thread(multiplications):
        assert counts() == {threads}


def test_without_threadpoolctl_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(blas, "_found", {})
    with one_blas_thread(MIDDLE):
        assert counts() == {3}


SEEN: list[set[int]] = []
"""The numbers of threads in each pass of `noted_model`, and between the batches of a fit."""


def square(x: Any) -> Any:
    SEEN.append(counts())
    return x * x


def noted_model() -> Layer:
    return Sequential(Dense(4, 50), Activation(square, lambda x: 2 * x), Dense(50, 2)).initialize(0)


class Noting(Callback):
    every_batches = 1

    def on_batches_end(self, trainer: Trainer) -> None:
        SEEN.append(counts())


X = np.random.default_rng(0).normal(size=(300, 4))
Y = 0.1 * X[:, :2]


def trainer(model: Layer, engine: Any = "numpy") -> Trainer:
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e-3), rng=0, engine=engine)


WORKS: dict[str, Callable[[Layer], object]] = {
    "fit": lambda model: trainer(model).fit(X, Y, epochs=2, batch_size=100, callbacks=[Noting()]),
    "evaluate": lambda model: trainer(model).evaluate(X, Y),
    "lbfgs": lambda model: lbfgs(model, X, Y, max_iterations=3, validation=(X, Y)),
    "levenberg_marquardt": lambda model: levenberg_marquardt(model, X, Y, max_iterations=3, validation=(X, Y)),
    "jacobian": lambda model: jacobian(model, X),
    "parameter_jacobian": lambda model: parameter_jacobian(model, X),
}


@pytest.mark.parametrize("work", WORKS)
def test_all_of_a_piece_of_work_runs_with_one_thread(work: str) -> None:
    model = noted_model()
    SEEN.clear()
    WORKS[work](model)
    assert SEEN
    assert all(seen == {1} for seen in SEEN)


def test_a_compiled_fit_runs_with_one_thread() -> None:
    pytest.importorskip("numba")
    SEEN.clear()
    trainer(mlp([4, 50, 2], rng=0), "compiled").fit(X, Y, epochs=2, batch_size=100, callbacks=[Noting()])
    assert SEEN
    assert all(seen == {1} for seen in SEEN)


def run(script: str) -> None:
    """Run a script in a new process in which every BLAS begins with two threads, if there are two cores."""
    head = """
import threadpoolctl
from minidl._core.blas import one_blas_thread
def counts():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
many = counts()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + script], cwd=ROOT, capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, text=True,
        timeout=120, check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_library_that_is_loaded_later_is_limited_and_put_back() -> None:
    run("""
with one_blas_thread(1 << 20):
    assert counts() == {1}
    import scipy.linalg
    with one_blas_thread(1 << 20):
        assert counts() == {1}, counts()
    assert counts() == {1}, counts()
assert counts() == many, counts()
with one_blas_thread(1 << 20):
    assert counts() == {1}, counts()
assert counts() == many, counts()
""")


def test_the_library_of_numba_is_loaded_before_the_limit_is_set() -> None:
    pytest.importorskip("numba")
    run("""
import sys, numba, numpy as np
@numba.njit
def product(x):
    return np.dot(x, x)
assert "scipy.linalg" not in sys.modules
with one_blas_thread(1 << 20):
    product(np.eye(2))
    assert counts() == {1}, counts()
assert counts() == many, counts()
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_waits_only_for_the_thread_that_it_copies() -> None:
    run("""
import os, threading
def child(check):
    process = os.fork()
    if not process:
        try:
            check()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
def use():
    with one_blas_thread(1 << 20):
        assert counts() == {1}
    assert counts() == many
def alone():
    assert counts() == many
    use()
inside, may_leave = threading.Event(), threading.Event()
def other():
    with one_blas_thread(1 << 20):
        inside.set()
        may_leave.wait(60)
thread = threading.Thread(target=other)
thread.start()
inside.wait(60)
child(alone)
assert counts() == {1}
with one_blas_thread(1 << 20):
    forked = os.fork()
    assert counts() == {1}
if not forked:
    os._exit(counts() != many)
assert os.waitpid(forked, 0)[1] == 0
may_leave.set()
thread.join()
assert counts() == many
""")


def test_importing_minidl_and_small_work_do_not_load_threadpoolctl() -> None:
    done = subprocess.run(
        [sys.executable, "-c", """
import sys, numpy as np
from minidl import SGD, HalfSquaredError, Trainer, mlp
model = mlp([1, 4, 1], rng=0)
x = np.ones((10, 1))
Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0).fit(x, x, epochs=1, validation=(x, x))
assert "threadpoolctl" not in sys.modules
"""], cwd=ROOT, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_command_that_measures_beside_busy_loops_prints_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    busy.main(["--loops", "1", "--rounds", "1", "--times", "1", "--only", "levenberg_marquardt, sine"])
    assert "\n| levenberg_marquardt, sine | " in capsys.readouterr().out
