"""The campaign of the solvers at a small size: all is solved, and nothing is called converged that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minidl.solvers import lbfgs
from tests.campaigns.solvers import KINDS, Outcome, article, main, outcome, run


@pytest.mark.parametrize("kind", ["linear", "classic", "article"])
def test_linear_and_classic_problems_and_the_article_are_solved(kind: str) -> None:
    for found in run(list(KINDS[kind]())):
        assert found.solved, f"{found.problem.name}: {found.result}, MINPACK {found.minpack}"
        assert not found.false, f"{found.problem.name}: {found.result}, cosine {found.cosine}"


def test_problems_that_were_not_used_to_choose_the_rule_are_solved_as_well() -> None:
    found = [one for one in run(list(KINDS["new"]())) if one.solver == "levenberg_marquardt"]
    assert len(found) == 10
    assert sum(one.solved for one in found) >= 8, [one.result for one in found]
    assert not [one.problem.name for one in found if one.false]


def test_the_article_takes_few_steps() -> None:
    steps = [found.result.iterations for found in run(list(article(3)))]
    assert max(steps) <= 60


def test_a_false_converged_is_counted() -> None:
    problem = next(KINDS["linear"]())
    right = outcome(problem, lbfgs, 0.0)
    assert not right.false
    early = replace(right.result, reason="converged", loss=[0.1])
    assert Outcome(problem, "lbfgs", early, 0.0, cosine=0.2, rounding=1e-15).false
    assert Outcome(problem, "lbfgs", early, 0.01, cosine=1e-6, rounding=1e-15).false
    assert not Outcome(problem, "lbfgs", early, 0.1, cosine=1e-6, rounding=1e-15).false


def test_the_command_prints_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "classic", "article", "--seeds", "1"])
    printed = capsys.readouterr().out
    assert 'levenberg_marquardt: 3 of 3 solved, 0 false "converged"' in printed
    assert 'lbfgs: 3 of 3 solved, 0 false "converged"' in printed
    assert "| article, seed 0 | levenberg_marquardt | goal |" in printed
