"""`find_settings`: what is drawn, who goes on, what is returned, what is refused."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import loguniform, norm, randint, uniform

from minidl import Trainer, metrics
from minidl.errors import ArgumentError, DTypeError, MinidlError, ShapeError
from minidl.search import SearchResult, find_settings
from tests.search.common import X, Y, build, interrupting, weights

SPACE = {"learning_rate": loguniform(0.001, 0.5), "width": [2, 4], "seed": range(100)}
RUNGS = [(6, 2), (2, 3), (1, 4)]


def search(**changed: Any) -> SearchResult:
    given = {"build": build, "space": SPACE, "x": X, "y": Y, "candidates": 6, "rungs": RUNGS, "batch_size": 5, "rng": 3}
    return find_settings(**{**given, **changed})


def drawn(space: dict[str, Any], candidates: int = 12, rng: int = 0) -> list[dict[str, Any]]:
    """Return what a search draws, by a build that notes it."""
    noted: list[dict[str, Any]] = []

    def note(**settings: Any) -> Trainer:
        noted.append(settings)
        return build(0.1)

    search(build=note, space=space, candidates=candidates, rungs=[(candidates, 1)], rng=rng)
    return noted


def test_each_part_of_a_distribution_is_drawn_from_once() -> None:
    wide = loguniform(1e-4, 10.0)
    values = [one["rate"] for one in drawn({"rate": wide, "other": norm(5, 2)})]
    assert sorted(int(12 * wide.cdf(value)) for value in values) == list(range(12))
    assert values != sorted(values)


def test_each_value_of_a_list_is_drawn_equally_often_and_as_it_is() -> None:
    kinds = [np.tanh, "text", None]
    settings = drawn({"kind": kinds, "number": np.array([1, 2]), "seed": range(5), "width": randint(3, 7)})
    assert Counter(one["kind"] for one in settings) == dict.fromkeys(kinds, 4)
    assert Counter(one["number"] for one in settings) == {1: 6, 2: 6}
    assert {*Counter(one["seed"] for one in settings).values()} <= {2, 3}
    assert Counter(one["width"] for one in settings) == dict.fromkeys(range(3, 7), 3)
    assert {type(one["width"]) for one in settings} == {int}


def test_the_seed_decides_what_is_drawn() -> None:
    assert drawn(SPACE) == drawn(SPACE)
    assert drawn(SPACE) != drawn(SPACE, rng=1)


def test_the_best_of_a_rung_go_on_from_where_they_stood() -> None:
    result = search()
    alive = [(build(**settings), settings) for settings in drawn(SPACE, 6, rng=3)]
    for size, epochs in RUNGS:
        alive = alive[:size]
        for trainer, _ in alive:
            trainer.fit(X, Y, epochs=epochs, batch_size=5)
        alive.sort(key=lambda one: one[0].history.loss[-1])
    trainer, settings = alive[0]
    assert result.settings == settings
    assert result.trainer.history.loss == trainer.history.loss
    assert result.candidates[0].figures == [trainer.history.loss[place] for place in (1, 4, 8)]
    assert result.candidates[0].epochs == [2, 5, 9]
    assert (result.rungs, result.stopped_by, result.monitor) == (RUNGS, "rungs", "loss")
    result.trainer.fit(X, Y, epochs=1, batch_size=5)
    assert len(result.trainer.history) == 10


def test_candidates_are_ranked_by_how_far_they_came_and_then_by_their_figure() -> None:
    found = search(rungs=[(6, 1), (3, 5)]).candidates
    assert [len(one.figures) for one in found] == [2, 2, 2, 1, 1, 1]
    for group in (found[:3], found[3:]):
        figures = [one.figures[-1] for one in group]
        assert figures == sorted(figures)
    assert max(one.figures[0] for one in found[:3]) < min(one.figures[0] for one in found[3:])


def test_processes_and_a_build_that_cannot_be_pickled_give_the_same_bits(processes: ProcessPoolExecutor) -> None:
    here, there = search(), search(build=lambda **settings: build(**settings), executor=processes)
    assert there.settings == here.settings
    np.testing.assert_array_equal(weights(there.trainer), weights(here.trainer))
    assert [one.figures for one in there.candidates] == [one.figures for one in here.candidates]


def test_a_search_by_time_is_repeated_by_its_rungs() -> None:
    began = time.perf_counter()
    first = search(seconds=0.6, rungs=None)
    assert time.perf_counter() - began < 30  # the machine may be busy
    assert [size for size, _ in first.rungs] == [6, 2, 1]
    again = search(rungs=first.rungs)
    assert again.settings == first.settings
    assert [one.figures for one in again.candidates] == [one.figures for one in first.candidates]
    np.testing.assert_array_equal(weights(again.trainer), weights(first.trainer))


def test_little_time_is_one_epoch_for_each_rung() -> None:
    assert search(seconds=1e-9, rungs=None, candidates=4).rungs == [(4, 1), (1, 1)]


def test_candidates_are_compared_on_validation_data() -> None:
    held_out = X[::3] + 0.1, np.sin(X[::3] + 0.1)
    result = search(validation=held_out)
    assert result.monitor == "validation_loss"
    for one in result.candidates:
        assert one.figures[-1] == one.trainer.evaluate(*held_out)["loss"]
    weighted = search(validation=(*held_out, np.arange(8.0))).candidates[0]
    assert weighted.figures[-1] == weighted.trainer.evaluate(*held_out, sample_weight=np.arange(8.0))["loss"]


@pytest.mark.parametrize("validation", [None, (X[::2], Y[::2])])
def test_a_metric_is_compared_in_its_direction(validation: Any) -> None:
    result = search(monitor=metrics.r2, validation=validation, rungs=[(6, 4)])
    figures = [one.figures[-1] for one in result.candidates]
    assert figures == sorted(figures, reverse=True)
    assert (result.monitor, result.mode) == ("r2", "max")
    data = (X, Y) if validation is None else validation
    assert figures[0] == result.trainer.evaluate(*data, metrics=[metrics.r2])["r2"]


def test_candidates_that_diverge_are_last_and_say_why() -> None:
    result = search(space={"learning_rate": [0.1, 1e200], "seed": range(100)}, rungs=[(6, 2), (4, 2)])
    assert [bool(one.diverged) for one in result.candidates] == [False] * 3 + [True] * 3
    assert "epoch 0" in result.candidates[-1].diverged
    assert {one.settings["learning_rate"] for one in result.candidates[3:]} == {1e200}
    assert result.rungs == [(6, 2), (3, 2)]
    assert str(result).count("diverged") == 4
    assert repr(result).startswith("SearchResult(6 candidates, 3 diverged, loss ")


def test_if_the_last_one_diverges_the_best_before_it_is_returned() -> None:
    class Late(Trainer):
        """The best until it diverges, after two epochs."""

        def fit(self, *arguments: Any, **settings: Any) -> Any:
            if len(self.history) == 2:
                self.optimizer.learning_rate = 1e200
            return super().fit(*arguments, **settings)

    def late(learning_rate: float, seed: int) -> Trainer:
        made = build(learning_rate, seed=0)
        kind = Late if learning_rate == 0.3 else Trainer
        return kind(made.model, made.loss, made.optimizer, rng=0, engine="numpy")

    result = search(build=late, space={"learning_rate": [0.1, 0.3], "seed": [0]}, candidates=2, rungs=[(2, 2), (1, 2)])
    assert result.settings["learning_rate"] == 0.1
    assert len(result.trainer.history) == 2
    assert len(result.candidates[1].figures) == 1
    assert result.candidates[1].diverged


def test_if_all_diverge_the_error_says_what_to_do() -> None:
    with pytest.raises(ArgumentError, match=r"6 candidates that all diverged; take smaller learning rates.*epoch 0"):
        search(space={"learning_rate": [1e200, 1e250]})


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_result_prints_as_a_table_of_ten() -> None:
    result = search(candidates=13, rungs=[(13, 1), (2, 2)])
    title, head, *table, end = rows(str(result))
    assert title[:2] == ["13", "candidates,"]
    assert head == ["loss", "epochs", "learning_rate", "width", "seed"]
    assert [row[1] for row in table] == ["3", "3", *["1"] * 8]
    assert table[0][0] == f"{result.candidates[0].figures[-1]:.4g}"
    assert table[0][2] == f"{result.settings['learning_rate']:.4g}"
    assert end == ["and", "3", "more"]


def test_a_result_is_drawn_with_every_candidate(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = search()
    figure = result.plot(tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    assert sorted(len(line.get_xdata()) for line in axes.lines) == [1, 1, 1, 1, 2, 3]
    assert min(axes.lines, key=lambda line: line.get_zorder()).get_label().startswith("the best: learning_rate ")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("epochs", "loss", "log")
    ends = np.cumsum([epochs for _, epochs in result.rungs])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(end) for end in ends]
    negative = search(space={"learning_rate": [1e-9, 1e200, 0.1]}, monitor=metrics.r2)
    figures = [number for one in negative.candidates for number in one.figures]
    assert min(figures) < 0 < max(figures)
    assert negative.plot().axes[0].get_yscale() == "linear"


def ctrl_c_in_one(at: int) -> dict[str, Any]:
    """Return a space of six candidates, and a build, one of which sends Ctrl-C at a pass."""
    return {"space": {"seed": range(6)}, "build": lambda seed: interrupting(10**9 if seed else at)}


def test_ctrl_c_in_the_first_rung_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt, match="find_settings: SIGINT before the first rung was complete"):
        search(rungs=[(6, 1000)], **ctrl_c_in_one(20))


def test_after_ctrl_c_the_best_of_the_complete_rungs_is_returned() -> None:
    with ThreadPoolExecutor(6) as executor:
        result = search(rungs=[(6, 2), (6, 10_000)], executor=executor, **ctrl_c_in_one(60))
    assert (result.stopped_by, result.rungs) == ("SIGINT", [(6, 2)])
    assert "stopped by SIGINT" in str(result)
    assert {len(one.figures) for one in result.candidates} == {1}


def test_the_progress_bar_counts_rungs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr("minidl._core.progress.Progress.patience", 0.0)
    search(progress=True)
    shown = capsys.readouterr().err
    assert "find_settings: 100%" in shown
    assert "3/3" in shown


def failing(learning_rate: float) -> Trainer:
    raise ValueError("no such rate")


SHARED = build(0.1)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"build": None}, DTypeError, r"find_settings\(build\): expected a function that makes a Trainer, got None"),
        ({"build": lambda **_: None}, DTypeError, "expected Trainers, got None as number 0; a function that makes"),
        ({"build": lambda **_: SHARED}, ArgumentError, "expected a new model in each Trainer"),
        ({"build": lambda learning_rate: None}, DTypeError, r"names in the space, learning_rate, width, seed, got one"),
        ({"space": {}}, ArgumentError, "expected at least one name"),
        ({"space": [0.1]}, DTypeError, "expected a mapping"),
        ({"space": {1: [0.1]}}, DTypeError, "expected a mapping"),
        ({"space": {"learning_rate": []}}, ArgumentError, r"space\['learning_rate'\].*got an empty list"),
        ({"space": {"learning_rate": loguniform}}, DTypeError, "expected a frozen distribution, got .*give it its par"),
        ({"space": {"learning_rate": 0.1}}, DTypeError, r"a list of values, got 0.1; write one value as a list"),
        ({"space": {"learning_rate": "0.1"}}, DTypeError, "a list of values, got '0.1'"),
        ({"space": {"learning_rate": {0.1, 0.2}}}, DTypeError, "a list of values"),
        ({"space": {"learning_rate": uniform(0, -1)}}, ArgumentError, "finite numbers, got nan; check its parameters"),
        ({"candidates": 0}, ArgumentError, r"find_settings\(candidates\)"),
        ({"seconds": 0}, ArgumentError, r"find_settings\(seconds\): expected a finite number and above 0, got 0"),
        ({"rungs": []}, ArgumentError, r"a first rung of all 6 candidates, got sizes \[\]"),
        ({"rungs": [(9, 3)]}, ArgumentError, r"all 6 candidates, got sizes \[9\]; give the same number as candidates="),
        ({"rungs": [(6, 3), (2, 3), (3, 3)]}, ArgumentError, "fewer and fewer"),
        ({"rungs": [6, 3]}, DTypeError, r"expected pairs \(candidates, epochs\), such as \(16, 100\), got 6"),
        ({"rungs": [(6, 0)]}, ArgumentError, r"find_settings\(rungs\): expected at least 1, got 0"),
        ({"batch_size": 0}, ArgumentError, r"find_settings\(batch_size\)"),
        ({"validation": 0.2}, DTypeError, "data .* that all candidates share, got 0.2; hold rows out yourself"),
        ({"validation": (X, Y[:3])}, ShapeError, "same number of rows"),
        ({"monitor": "validation_loss"}, ArgumentError, r'expected with "validation_loss" validation=\(x, y\)'),
        ({"monitor": "loss", "validation": (X, Y)}, ArgumentError, "no validation data, which nothing would use"),
        ({"monitor": "r2"}, ArgumentError, "expected .* or a metric, got 'r2'; give a metric as a function"),
        ({"monitor": lambda p, t: 0.0}, ArgumentError, "declares its direction"),
        ({"x": X[:, [0, 0]]}, ShapeError, "expected x of shape"),
        ({"rng": "a"}, DTypeError, "rng: expected"),
        ({"executor": map}, DTypeError, r"find_settings\(executor\)"),
    ],
)
def test_a_wrong_argument_is_refused_before_any_training(
    changed: dict[str, Any], error: type[MinidlError], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "fit", None)
    with pytest.raises(error, match=text):
        search(**changed)


def test_an_error_in_build_names_the_settings() -> None:
    with pytest.raises(ValueError, match="no such rate") as caught:
        search(build=failing, space={"learning_rate": [0.5]})
    assert caught.value.__notes__ == ["in build(learning_rate=0.5)"]
