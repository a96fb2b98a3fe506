"""The whole job: its length, what categories and class weights add, and the comparison with scikit-learn."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from minidl import Trainer, load, metrics
from tests.campaigns.experiments import EXAMPLES, load_example

FILE = EXAMPLES / "whole_job.py"
TABLE = EXAMPLES / "data" / "bird_strikes.csv"


def test_the_job_has_at_most_15_lines() -> None:
    """Count statements; imports, docstrings, `main` and the start of the program are not the job."""
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    job = [node for node in tree.body if isinstance(node, ast.Assign | ast.FunctionDef) and
           getattr(node, "name", "") != "main"]
    statements = [node for part in job for node in ast.walk(part) if isinstance(node, ast.stmt)]
    docstrings = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    assert len(statements) - len(docstrings) <= 15


def test_the_table_is_small_and_its_classes_are_unequal() -> None:
    x, damaged = load_example("whole_job").read(TABLE)
    assert TABLE.stat().st_size < 60_000
    assert x.shape == (1789, 6)
    assert [len(np.unique(column)) for column in x.T[:4]] == [5, 3, 4, 12]
    assert 0.05 < damaged.mean() < 0.15


def test_a_category_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("phase,size,time,month,year,speed,damage\nparked,small,day,1,1990,0,0\n")
    with pytest.raises(ValueError, match="could not convert string 'parked' to float64 at row 0"):
        load_example("whole_job").read(tmp_path / "new.csv")


@pytest.mark.parametrize("lost", ["class weights", "categories"])
def test_without_class_weights_or_categories_it_is_no_better_than_chance(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, fit = load_example("whole_job"), Trainer.fit
    x, damaged = job.read(TABLE)
    if lost == "categories":
        x[:, :4] = 0.0
    else:
        monkeypatch.setattr(Trainer, "fit", lambda *arguments, class_weight, **given: fit(*arguments, **given))
    order = np.random.default_rng(0).permutation(len(x))
    known, new = order[:1250], order[1250:]
    job.train(x[known], damaged[known], tmp_path / "model.safetensors")
    found = load(tmp_path / "model.safetensors").predict(x[new])
    assert metrics.balanced_accuracy(found, damaged[new], threshold=0.5) < 0.6


def test_it_is_as_good_as_scikit_learn(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    from tests.campaigns import whole_job

    assert whole_job.main(["--seeds", "2"]) == 0
    mean = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| mean |"))
    ours, theirs = (float(cell) for cell in mean.split("|")[2:4])
    assert ours > 0.6
    assert ours > theirs - 0.05
