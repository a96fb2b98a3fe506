"""The notebooks under docs/notebooks/: every cell runs, they are stored without outputs, their links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import notebooks as campaign
from tests.support import notebooks
from tests.support.notebooks import NOTEBOOKS
from tests.test_docs import LINK

ROOT = Path(__file__).parents[1]
NAMES = ["a_step", "find_settings", "first_steps"]


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Train in NumPy, in an empty folder: compiling takes longer than these trainings."""
    monkeypatch.setattr("minidl.search._many.WORK", 0)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)


def test_the_notebooks_are_all_here_and_on_the_map() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert sorted(path.stem for path in NOTEBOOKS.iterdir() if path.is_file()) == NAMES
    assert [name for name in NAMES if f"](notebooks/{name}.ipynb)" not in index] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = notebooks.read(name)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert {key for cell in notebook["cells"] for key in cell["metadata"]} == set()
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_first_what_one_learns_and_how_to_install_it(name: str) -> None:
    title, opening, *_ = notebooks.text(name).split("\n\n")
    assert title.startswith("# ")
    assert opening.startswith("You learn ")
    assert "pip install " in notebooks.text(name).partition("\n## ")[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_links_of_a_notebook_lead_to_files(name: str) -> None:
    links = LINK.findall(notebooks.text(name))
    assert links
    assert [link for link in links if not (NOTEBOOKS / link).exists()] == []


def test_first_steps_learn_the_sine_and_show_it() -> None:
    pytest.importorskip("matplotlib")
    session = notebooks.run("first_steps")
    x = np.linspace(0, 3 * np.pi, 200)
    prediction = session.names["model"].predict(x[:, None])[:, 0]
    assert session.names["error"] == pytest.approx(np.mean((prediction - np.sin(x)) ** 2))
    assert session.names["error"] < 1e-3
    assert "<svg" in session.shown["model"]["text/html"]
    for cell in ("before", "train", "after", "far"):
        assert session.shown[cell]["image/png"].startswith(b"\x89PNG")


def test_a_step_is_shown_as_a_page_and_agrees_with_numbers_by_hand() -> None:
    session = notebooks.run("a_step")
    assert "<iframe" in session.shown["trace"]["text/html"]
    assert "One step of back-propagation" in session.shown["trace"]["text/html"]
    assert session.names["measured"] == pytest.approx(session.names["dW_1"][0, 0], rel=1e-8)
    # The numbers of docs/backpropagation.md, to four digits.
    assert session.names["E_3"].round(4) == pytest.approx([-0.1192])
    assert (round(session.names["before"], 4), round(session.names["after"], 4)) == (0.1141, 0.1012)


def test_the_search_of_the_notebook_beats_rates_by_hand_and_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    session = notebooks.run("find_settings")
    names = session.names
    assert names["result"].rungs == names["rungs"]
    assert names["error"](names["result"].trainer) < min(map(names["error"], names["by_hand"]))
    assert len(names["by_hand"][0].history) == len(names["result"].trainer.history)
    assert "18 candidates" in session.shown["search"]["text/html"]
    for cell in ("rates", "picture", "fit"):
        assert session.shown[cell]["image/png"].startswith(b"\x89PNG")


def test_an_error_in_a_cell_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = {"cell_type": "code", "id": "broken", "source": ["a = 1\n", "a / 0"]}
    monkeypatch.setattr(notebooks, "read", lambda _: {"cells": [cell]})
    with pytest.raises(ZeroDivisionError):
        notebooks.run("any")


def test_the_campaign_runs_the_notebooks_or_says_what_is_missing() -> None:
    command = [sys.executable, "-m", "tests.campaigns.notebooks", "a_step"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = "a_step: every cell ran" if campaign.missing() is None else "not installed"
    assert expected in done.stdout
