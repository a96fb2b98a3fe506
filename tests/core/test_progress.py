from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from minidl import SGD, HalfSquaredError, Tanh, Trainer, mlp
from minidl._core.progress import Progress
from minidl.solvers import SolverResult, lbfgs, levenberg_marquardt


class Bar:
    """Stand where tqdm stands, and write down what is done to it."""

    made: list[Bar] = []

    def __init__(self, total: int, desc: str, unit: str) -> None:
        self.total, self.title, self.done, self.notes, self.closed = total, desc, 0, [""], False
        Bar.made.append(self)

    def set_postfix_str(self, note: str, refresh: bool) -> None:
        self.notes.append(note)

    def update(self, count: int = 1) -> None:
        self.done += count

    def close(self) -> None:
        self.closed = True


class Terminal:
    def __init__(self, is_one: bool) -> None:
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _bars(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("tqdm")
    monkeypatch.setattr(stand_in, "tqdm", Bar, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", stand_in)
    monkeypatch.setattr(Progress, "patience", 0.0)
    Bar.made = []


def run(wanted: bool | None, rounds: int = 3) -> None:
    with Progress(rounds, "fit", wanted) as bar:
        for number in range(rounds):
            bar.advance(f"loss {number}")


@pytest.mark.parametrize(
    ("wanted", "terminal", "bars"),
    [(None, True, 1), (None, False, 0), (True, False, 1), (True, True, 1), (False, True, 0), (False, False, 0)],
)
def test_a_bar_comes_on_a_terminal_or_when_it_is_wanted(
    wanted: bool | None, terminal: bool, bars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal(terminal))
    run(wanted)
    assert len(Bar.made) == bars


def test_the_bar_counts_every_round_and_shows_the_latest_figure() -> None:
    run(True, rounds=5)
    bar = Bar.made[0]
    assert (bar.total, bar.title, bar.done, bar.notes[-1], bar.closed) == (5, "fit", 5, "loss 4", True)


def test_a_short_run_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "patience", 3600.0)
    run(True)
    assert Bar.made == []


def test_a_bar_that_comes_late_has_counted_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 0.9, 1.5, 2.0])
    monkeypatch.setattr(Progress, "patience", 1.0)
    monkeypatch.setattr("minidl._core.progress.time.monotonic", lambda: next(clock))
    run(True, rounds=4)
    assert Bar.made[0].done == 4


def test_the_bar_is_closed_when_the_run_fails() -> None:
    def fail() -> None:
        with Progress(3, "fit", True) as bar:
            bar.advance("loss 1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert Bar.made[0].closed


def test_without_tqdm_nothing_is_shown_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without_tqdm(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "tqdm":
            raise ImportError("no tqdm here")
        return usual(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    run(True)
    assert Bar.made == []


@pytest.mark.parametrize("wanted", [True, False])
def test_fit_passes_the_wish_on(wanted: bool) -> None:
    model = mlp([1, 2, 1], rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
    trainer.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=3, progress=wanted)
    assert [bar.done for bar in Bar.made] == ([3] if wanted else [])


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("solver", [lbfgs, levenberg_marquardt])
def test_a_solver_advances_the_bar_at_each_step(solver: Callable[..., SolverResult], wanted: bool) -> None:
    x = np.linspace(0.0, 6.0, 20)[:, None]
    result = solver(mlp([1, 3, 1], activation=Tanh, rng=0), x, np.sin(x), max_iterations=5, progress=wanted)
    assert [(bar.title, bar.total, bar.done) for bar in Bar.made] == ([(solver.__name__, 5, 5)] if wanted else [])
    assert [bar.notes[1:] for bar in Bar.made] == ([[f"loss {loss:.4g}" for loss in result.loss[1:]]] if wanted else [])
