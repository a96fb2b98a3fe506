"""BLAS runs in one thread around small work, and work runs without the library that limits it."""

from __future__ import annotations

import numpy as np
import pytest

from minidl._core import blas

WORK = 1 << 20


def threads() -> list[int]:
    return [
        library["num_threads"]
        for library in pytest.importorskip("threadpoolctl").threadpool_info()
        if library["user_api"] == "blas"
    ]


def test_contexts_may_overlap_and_the_last_gives_the_threads_back() -> None:
    np.ones((2, 2)).dot(np.ones((2, 2)))
    with pytest.importorskip("threadpoolctl").threadpool_limits(2, "blas"):
        before = threads()
        first, second = blas.one_blas_thread(WORK), blas.one_blas_thread(WORK)
        with first:
            second.__enter__()
            assert {*threads()} == {1}
        assert {*threads()} == {1}
        second.__exit__(None, None, None)
        assert threads() == before


def test_without_threadpoolctl_nothing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_found", {False: None, True: None})
    for _ in range(2):
        with blas.one_blas_thread(WORK):
            assert blas._one_thread._limit is None
