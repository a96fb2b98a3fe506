"""Random whole jobs: what must hold without knowing the answer holds, and a fault that is planted is found."""

from __future__ import annotations

import pytest

from minidl import Tanh
from minidl._training.run import Run
from minidl._training.snapshot import Snapshot
from tests.campaigns.jobs import Job, broken


def test_ten_jobs_hold() -> None:
    assert [found for seed in range(10) if (found := broken(seed, numba=False))] == []


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tanh, "gradient", lambda self, grad: grad * (1.0 - self._y))
    found = [text for seed in range(10) if (text := broken(seed, numba=False))]
    assert found
    assert all("gradient of " in text and text.startswith("seed ") for text in found)


def test_an_order_that_a_resume_repeats_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, drawn = Run.generator, iter(range(10_000))
    monkeypatch.setattr(Run, "generator", lambda run, number: generator(run, number * 1000 + next(drawn)))
    assert any("two fits for one" in str(broken(seed, numba=False)) for seed in range(10))


def test_a_refused_fit_that_keeps_what_it_moved_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Snapshot, "restore", lambda self: None)
    assert all("refused ['callbacks'] changes nothing" in str(broken(seed, numba=False)) for seed in range(3))


def test_class_weights_that_are_ignored_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl.trainer.class_weighted", lambda loss, arrays, *_: arrays)
    weighted = [seed for seed in range(10) if Job(seed, numba=False).class_weight]
    assert weighted
    assert all("a stream for arrays" in str(broken(seed, numba=False)) for seed in weighted)
