"""What a notebook shows of models, Trainers and results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from minidl import SGD, Dense, HalfSquaredError, Sequential, Trainer, mlp
from minidl._drawing.curves import html_of_run
from minidl.search import find_settings
from minidl.solvers import SolverResult, lbfgs
from minidl.trainer import History
from tests.inspection.models import MODELS
from tests.support.svg import elements

X = np.linspace(-1, 1, 30)[:, None]


def trainer(learning_rate: float = 0.1) -> Trainer:
    model = mlp([1, 3, 1], rng=0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate), rng=0)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_shows_a_picture_and_its_repr(name: str) -> None:
    html = MODELS[name]()._repr_html_()
    tree = ET.fromstring(html)
    assert tree.find("{http://www.w3.org/2000/svg}svg") is not None
    assert (tree.findtext("details/pre") or "") == repr(MODELS[name]())
    assert "parameters" in (tree.findtext("details/summary") or "")


def test_a_trainer_shows_its_model_and_the_curve_of_the_loss() -> None:
    one = trainer()
    assert repr(one) == "Trainer(Sequential(...), HalfSquaredError(), SGD(10 numbers, learning_rate=0.1), 0 epochs)"
    assert one._repr_html_().count("<svg") == 1
    one.fit(X, X**2, epochs=3, validation=0.2, progress=False)
    html = one._repr_html_()
    ET.fromstring(html.replace("<br>", "<br/>"))
    assert html.count("<svg") == 2
    assert "3 epochs" in html


def test_a_curve_has_a_point_for_each_finite_loss() -> None:
    history = History(loss=[1.0, 0.1, float("nan"), 0.001], validation_loss=[float("nan")] * 4)
    svg = re.search("<svg.*</svg>", history._repr_html_())
    assert svg
    ways = [element.get("d", "") for element, _, _ in elements(svg[0]) if "curve" in element.get("class", "")]
    points = max(([tuple(map(float, p.split())) for p in re.findall(r"[\d.]+ [\d.]+", w)] for w in ways), key=len)
    assert [x for x, _ in points] == [10, 110, 310]
    assert [y for _, y in points] == pytest.approx([10, 10 + 80 / 3, 90], abs=0.06)  # a logarithmic scale


def test_long_series_make_small_pictures() -> None:
    assert len(html_of_run("", {"loss": list(np.linspace(2, 1, 100_000))})) < 10_000


def test_results_without_numbers_show_their_repr() -> None:
    for empty in (History(), History(loss=[1.0]), SolverResult("goal", 0, 0, [], [], 0.0)):
        assert "<svg" not in empty._repr_html_()
        assert repr(empty).split("(")[0] in empty._repr_html_()
    ET.fromstring(html_of_run("", {"loss": [0.0, 0.0, -1.0]}).replace("<br>", "<br/>"))


def test_a_solver_result_shows_its_curve() -> None:
    result = lbfgs(mlp([1, 3, 1], rng=0), X, X**2, max_iterations=5, progress=False)
    assert f"{result.loss[0]:.4g} → {result.loss[-1]:.4g}" in result._repr_html_()


def test_a_search_result_shows_its_table() -> None:
    space = {"learning_rate": [0.1, 0.2]}
    found = find_settings(trainer, space, X, X**2, candidates=2, rungs=[(2, 2), (1, 4)], rng=0, progress=False)
    html = found._repr_html_()
    for line in str(found).splitlines()[1:]:
        assert all(f">{cell}</t" in html for cell in line.split())
    ET.fromstring(html)


def test_the_repr_of_a_model_is_escaped() -> None:
    class Evil(Dense):
        def __repr__(self) -> str:
            return "<b>"

    assert "<b>" not in Sequential(Evil(1, 1))._repr_html_()
