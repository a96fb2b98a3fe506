"""The guide to files says what happens: its programs are run, its promises about limits are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from minidl._files import architecture, strict
from minidl._files import safetensors as container

GUIDE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")


def test_every_program_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(programs) >= 6
    names: dict[str, Any] = {}
    for program in programs:
        exec(compile(program, "docs/files.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "custom.safetensors", "model.safetensors", "tied.safetensors", "weights.safetensors",
    ]  # fmt: skip


def test_the_limits_of_the_guide_are_those_of_the_code() -> None:
    assert container.LONGEST_HEADER == 4 * 2**20
    sentence = (
        f"a header of 4 MiB, JSON of {strict.MOST_VALUES:,} values, {container.MOST_TENSORS:,} tensors, names of "
        f"{container.LONGEST_NAME:,} printable characters, {container.MOST_DIMENSIONS} dimensions, "
        f"{architecture.MOST_PARTS:,} layers."
    )
    assert sentence in GUIDE.replace("\n", " ")
