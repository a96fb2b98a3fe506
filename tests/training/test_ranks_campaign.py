"""The commands for several ranks: what they say without MPI, small with it, and the tables of the page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.campaigns import paper_model, ranks

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SystemExit, match=r"^not found: mpi4py, mpiexec; install an MPI such as Open MPI, then: pip"):
        ranks.main(["--size", "2"])


@pytest.mark.skipif(bool(ranks.missing()), reason="needs MPI")
def test_two_ranks_of_mpi_pass_every_check(capfd: pytest.CaptureFixture[str]) -> None:
    ranks.main(["--size", "2"])
    assert capfd.readouterr().out.count("ok: ") == 12


def test_the_page_has_the_tables_that_the_model_computes() -> None:
    assert paper_model.tables() in PAGE.read_text(encoding="utf-8")


def test_a_sum_over_ranks_takes_what_its_rounds_take() -> None:
    fabric = paper_model.Fabric("", latency=1.0, bandwidth=10.0, addition=5.0)
    whole = 3 * (1.0 + 2.0 + 4.0)  # three rounds for 8 ranks, 20 bytes
    in_parts = 6 * 1.0 + 7 / 8 * (2 * 2.0 + 4.0)
    assert math.isclose(paper_model.allreduce(8, 20, fabric), min(whole, in_parts))
    work = paper_model.Work("", size=20, rows=10, start=1.0, row=0.5)
    assert math.isclose(paper_model.weak(work, 8, fabric), 6.0 / (6.0 + in_parts))
    assert math.isclose(paper_model.strong(work, 8, fabric), 321.0 / (41.0 + in_parts))
