"""The campaign of first calls: a cold process compiles, and the next one finds its program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import first_call


def test_the_second_process_finds_the_program_of_the_first(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    code = first_call.TRAIN.format(*first_call.NETWORKS["1-20-20-1, single rows"])
    found = []
    for _ in range(2):
        assert first_call.seconds(code, str(tmp_path)) > 0
        found.append({path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()})
    assert any(path.suffix == ".nbc" for path in found[0])
    assert found[0] == found[1]
