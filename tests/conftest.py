"""Set up what all tests share: one thread of BLAS, and a cache of compiled programs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# OpenBLAS reads it when NumPy is imported. Two threads wait for each other where every core runs a worker: a test of
# half a second then takes a minute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers of ``-n auto``: more than eight would mostly compile the same programs."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)


@pytest.fixture(scope="session", autouse=True)
def _own_cache_of_compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use an empty cache of compiled programs, one for all workers, instead of the user's.

    A campaign that runs the tests many times keeps one cache for all runs, ``MINIDL_TESTS_CACHE_DIR``.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # Each worker has a folder of its own inside of the session's.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDL_CACHE_DIR", os.environ.get("MINIDL_TESTS_CACHE_DIR", str(folder / "compiled")))
        yield
