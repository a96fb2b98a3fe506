"""The command that measures how large minidl is: what it counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.campaigns import size
from tests.campaigns.size import Library

ROOT = Path(__file__).parents[1]


def test_minidl_needs_what_its_metadata_says() -> None:
    assert size.packages(Library("minidl", ("minidl",), "minidl")) == {"minidl", "numpy", "scipy", "typing-extensions"}
    extra = {one.name for one in size.required(Requirement("minidl[jit]"))}
    assert extra == {"numpy", "scipy", "typing-extensions", "numba", "threadpoolctl"}


def test_lines_are_counted_without_blank_ones_tests_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("a.py", "b.txt", "tests/c.py"):
        (tmp_path / name).write_text("x = 1\n\n    \ny = 2  # é\n", encoding="utf-8")
    paths = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert size.lines(paths) == 2


def test_the_size_of_a_package_is_that_of_its_files() -> None:
    folder = ROOT / "minidl"
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert size.megabytes(["minidl"]) == pytest.approx(total / 1e6)
    assert 10 < size.megabytes(["numpy"]) < 300
    assert 0 < size.lines(size.core()) < size.lines(size.files("minidl"))


def test_the_command_prints_a_row_for_each_library(capsys: pytest.CaptureFixture[str]) -> None:
    size.main(["--rounds", "1"])
    printed = capsys.readouterr().out
    assert "| minidl | " in printed
    for library in size.LIBRARIES:
        assert f"| {library.name} | " in printed or f"{library.name} is left out: " in printed
