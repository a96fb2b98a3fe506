"""The command that measures `find_settings`, small."""

import pytest

from tests.campaigns import search
from tests.campaigns.experiments import load_example


@pytest.fixture(autouse=True)
def _in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile nothing: that takes longer than these small searches."""
    monkeypatch.setattr("minidl.search._many.WORK", 0)


def test_the_rungs_share_the_updates_equally() -> None:
    rungs = search.rungs_for(20_000_000)
    assert [size for size, _ in rungs] == [64, 21, 7, 2, 1]
    assert all(19_900 <= size * epochs <= 20_000 for size, epochs in rungs)
    assert rungs == load_example("find_settings").RUNGS


def test_the_command_compares_executors(capsys: pytest.CaptureFixture[str]) -> None:
    search.main(["--executors", "threads", "mpi"])
    assert "threads: loss " in capsys.readouterr().out


def test_the_command_prints_a_line_for_each_seed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError):
        search.main(["--seeds", "1", "--updates", "20000"])
    assert "\n| 0 | " in capsys.readouterr().out
