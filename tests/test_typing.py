"""What a user's type checker says: programs that must pass, and programs that must fail with the errors they name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests" / "typing"
RIGHT = sorted(path.relative_to(ROOT).as_posix() for path in (PROGRAMS / "right").glob("*.py"))
WRONG = sorted(path.relative_to(ROOT).as_posix() for path in (PROGRAMS / "wrong").glob("*.py"))


class Error(NamedTuple):
    line: int
    code: str
    message: str


@pytest.fixture(scope="module")
def reported() -> dict[str, list[Error]]:
    """Run mypy --strict once over all programs, and return what it reports for each of them."""
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "--no-pretty", "--hide-error-context",
         *RIGHT, *WRONG],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    errors: dict[str, list[Error]] = {}
    for path, line, message, code in re.findall(r"(?m)^(.+?):(\d+): error: (.+?)  \[([\w-]+)\]$", run.stdout):
        errors.setdefault(Path(path).as_posix(), []).append(Error(int(line), code, message))
    return errors


def expected(path: str) -> list[Error]:
    """Read the errors that a program names, in comments on the lines that must have them."""
    return [
        Error(number, code, fragment.strip())
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), 1)
        for code, fragment in re.findall(r"# error: \[([\w-]+)\] ([^#]+)", line)
    ]


def test_there_are_programs_of_both_kinds() -> None:
    assert len(RIGHT) >= 4
    assert sum(len(expected(path)) for path in WRONG) >= 30


@pytest.mark.parametrize("path", RIGHT)
def test_a_right_program_passes(path: str, reported: dict[str, list[Error]]) -> None:
    assert "type: ignore" not in (ROOT / path).read_text("utf-8")
    assert reported.get(path, []) == []


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_program_fails_with_the_errors_that_it_names_and_no_others(
    path: str, reported: dict[str, list[Error]]
) -> None:
    left = list(reported.get(path, []))
    for wanted in expected(path):
        match = [e for e in left if (e.line, e.code) == (wanted.line, wanted.code) and wanted.message in e.message]
        assert match, f"line {wanted.line}: expected [{wanted.code}] {wanted.message!r}, got {reported.get(path, [])}"
        left.remove(match[0])
    assert left == []


def test_the_package_itself_is_clean(reported: dict[str, list[Error]]) -> None:
    assert [path for path in reported if path.startswith("minidl/")] == []
