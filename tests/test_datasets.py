"""The campaign on bundled data sets, small: the libraries agree, and a library that does not is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tests.campaigns.datasets import __main__ as campaign
from tests.campaigns.datasets.__main__ import OWN, PEERS, check, epochs_to, main, mean_and_error, score_row, time_row
from tests.campaigns.datasets.jobs import BY_NAME, DATA_SETS, DataSet, Job
from tests.campaigns.datasets.libraries import Outcome, by_minidl, by_sklearn, by_torch

NUMPY = by_minidl("numpy")


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda data_set: data_set.name)
def test_minidl_and_scikit_learn_agree_without_shuffling(data_set: DataSet) -> None:
    check({OWN: NUMPY, "scikit-learn": by_sklearn}, data_set.job(0))


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda data_set: data_set.name)
def test_minidl_and_pytorch_agree_without_shuffling(data_set: DataSet) -> None:
    pytest.importorskip("torch")
    check({OWN: NUMPY, "PyTorch": by_torch}, data_set.job(0))


def other_rate(job: Job, epochs: int) -> Outcome:
    return NUMPY(replace(job, data_set=replace(job.data_set, learning_rate=1.01 * job.data_set.learning_rate)), epochs)


def test_a_library_with_another_learning_rate_is_found() -> None:
    with pytest.raises(AssertionError, match="wine: other and minidl, NumPy differ"):
        check({OWN: NUMPY, "other": other_rate}, BY_NAME["wine"].job(0))


def test_the_rows_of_a_job_are_split_and_standardized() -> None:
    job, again, other = (BY_NAME["diabetes"].job(seed) for seed in (3, 3, 4))
    assert (len(job.x), len(job.x_test)) == (332, 110)
    np.testing.assert_allclose([job.x.mean(axis=0), job.x.std(axis=0)], [[0.0] * 10, [1.0] * 10], atol=1e-12)
    np.testing.assert_allclose([job.y.mean(), job.y.std()], [0.0, 1.0], atol=1e-12)
    assert np.array_equal(job.x, again.x)
    assert not np.array_equal(job.x, other.x)


def test_the_score_is_accuracy_or_mean_squared_error() -> None:
    job = BY_NAME["iris"].job(0)
    assert job.score(job.y_test) == 1.0
    assert job.score((job.y_test + 1) % 3) == 0.0
    values = BY_NAME["linnerud"].job(0)
    assert values.score(values.y_test + 2.0) == pytest.approx(4.0)


def test_the_command_prints_scores_and_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "find_spec", {"sklearn": True}.get)  # Without Numba nothing is compiled.
    for name in ("wine", "linnerud"):
        monkeypatch.setitem(BY_NAME, name, replace(BY_NAME[name], epochs=3, target=10.0))
    main(["--seeds", "2", "--only", "wine", "linnerud"])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == ["test score", "wine, accuracy", "linnerud, error", "time to target",
                                           "wine, loss 10", "linnerud, loss 10"]
    assert lines[0][2:4] == [OWN, "scikit-learn"]
    assert [line[1:3] for line in lines[4:]] == [["1", "1"], ["1", "1"]]


def test_a_target_that_is_not_reached_ends_the_command() -> None:
    assert epochs_to(0.5, [0.9, 0.5, 0.4], "wine") == 2
    with pytest.raises(SystemExit, match=r"wine: expected a training loss of 0\.1, got 0\.4 in 3 epochs"):
        epochs_to(0.1, [0.9, 0.4, 0.5], "wine")


def test_a_single_seed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--seeds", "1"])
    assert "2 or more" in capsys.readouterr().err


def test_the_rows_name_the_best_peer_and_the_fastest() -> None:
    assert mean_and_error([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1.0 / 3.0**0.5))
    sklearn, torch = (name for name, _ in PEERS.values())
    iris, linnerud = BY_NAME["iris"], BY_NAME["linnerud"]
    scores = {OWN: [0.75, 0.75], sklearn: [0.5, 1.0], torch: [0.75, 0.5]}
    row, noise = score_row(iris, iris.job(0), scores)
    assert (row.split(" | ")[-2], noise) == ("+0 ± 0.25 (scikit-learn)", True)
    row, noise = score_row(linnerud, linnerud.job(0), {OWN: [1.5, 1.5], sklearn: [2.0, 2.0], torch: [1.0, 1.0]})
    assert (row.split(" | ")[-2], noise) == ("+0.5 ± 0 (PyTorch)", False)
    times = {OWN: [1.0, 1.0], sklearn: [4.0, 6.0], torch: [3.0, 4.0]}
    row, multiple = time_row(iris, {OWN: [2, 3]}, times)
    assert row == "| iris, loss 0.1 | 2.5 | 1.00 s | 5.00 | 3.50 |"
    assert multiple == 3.5
