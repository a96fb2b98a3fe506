"""The campaign of mutants: which changes it makes, and that a change fails a test which holds the line."""

from __future__ import annotations

from pathlib import Path

from tests.campaigns import mutants
from tests.campaigns.mutants import run_tests

SOURCE = '''"""A module; 1 + 1 here is no code."""

LEAST: int | None = 3


def clipped(x: int | None, top=0.5):
    if x is None:
        raise ValueError(f"expected {1 + 1}")
    x.size -= 1
    y = rows(x.copy(), top)
    return min(not x and -y, top)
'''
EXPECTED = {
    3: {"LEAST: int | None = 4"},
    6: {"def clipped(x: int | None, top=1.0):"},
    7: {"if False:", "if (x is not None):"},
    9: {"pass", "x.size = x.size + 1", "x.size = 1", "x.size -= 2"},
    10: {"y = rows((x), top)", "y = (rows(top, x.copy()))"},
    11: {
        "return max(not x and -y, top)", "return min((not x or -y), top)", "return min((not x), top)",
        "return min((-y), top)", "return min((x) and -y, top)", "return min(not x and (y), top)",
    },
}  # fmt: skip


def test_each_kind_of_change_is_made_once() -> None:
    found: dict[int, set[str]] = {}
    for mutant in mutants.mutants("a.py", SOURCE.encode()):
        place, change = mutant.shown(SOURCE.encode()).split(": ", 1)
        found.setdefault(int(place.split(":")[1]), set()).add(change.split(" -> ")[1])
        assert mutant.function == (0 if place == "a.py:3" else 6)
    assert found == EXPECTED


def test_a_mutant_is_the_source_with_one_change_in_bytes() -> None:
    source = 'name = "é"; size = 2\n'.encode()
    (only,) = mutants.mutants("a.py", source)
    assert only.applied(source) == 'name = "é"; size = 3\n'.encode()


def test_tests_pass_fail_or_hang_by_the_clock_or_the_processor(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("from it import half\ndef test():\n    assert half(4) == 2\n")
    loop = "[1 for _ in iter(int, 1)]"
    for text, seconds, outcome in [("x / 2", 99, "passed"), ("x * 2", 99, "failed"), (loop, 5, "hung")]:
        (tmp_path / "it.py").write_text(f"import time\n\ndef half(x):\n    return {text}\n")
        failed = ["test_it.py::test"] if outcome == "failed" else []
        assert run_tests(tmp_path, ["test_it.py"], seconds) == (outcome, failed)
