"""All checks of scikit-learn on both estimators with their defaults, and the campaign that runs more variants."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn")

from sklearn.neural_network import MLPRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from minidl.sklearn import NetworkClassifier, NetworkRegressor
from tests.campaigns import sklearn_checks


@parametrize_with_checks([NetworkClassifier(), NetworkRegressor()])  # type: ignore[untyped-decorator]
@pytest.mark.filterwarnings("ignore")
def test_every_check_of_scikit_learn_passes(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_campaign_prints_a_line_for_each_variant(capsys: pytest.CaptureFixture[str]) -> None:
    sklearn_checks.main(["--variants", "batch normalization"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("NetworkClassifier, batch normalization: ")
    assert second.startswith("NetworkRegressor, batch normalization: ")
    assert ", 0 wrong, " in first
    assert ", 0 wrong, " in second


def test_the_campaign_compares_times(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sklearn_checks, "SIZES", ((30, 4, (4,)),))
    monkeypatch.setattr(sklearn_checks.times, "__defaults__", (1, 60))
    sklearn_checks.main(["--times"])
    head, line = capsys.readouterr().out.splitlines()
    assert line.startswith("| 30 x 4, 4 | ")
    assert head.count("|") == line.count("|") == 6


class Faulty(NetworkRegressor):
    def predict(self, X: Any, return_std: bool = False) -> Any:
        return super().predict(X) + len(X)


def test_the_campaign_finds_a_fault() -> None:
    two = {"check_fit_idempotent", "check_methods_subset_invariance"}
    found = list(sklearn_checks.results(Faulty(max_iter=2), two))
    (wrong,) = sklearn_checks.wrong(found, MLPRegressor(), ())
    assert wrong[:2] == ("check_methods_subset_invariance", "failed")
    assert not sklearn_checks.wrong(found, MLPRegressor(), ("subset",))
