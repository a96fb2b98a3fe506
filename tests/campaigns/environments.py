"""``python -m tests.campaigns.environments``: test with the oldest and with the newest releases of all dependencies.

Each environment is made anew, with all extras. ``--oldest`` installs the releases that ``pyproject.toml`` names as
minima, ``--newest`` those that pip takes. ``--python`` names the Pythons to do it with.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

TESTS = [
    "tests/core", "tests/test_losses.py", "tests/test_trainer.py", "tests/test_callbacks.py",
    "tests/files/test_model.py", "tests/files/test_limits.py", "tests/training/test_history.py",
    "tests/inspection/test_plots.py", "tests/onnx", "tests/estimators/test_uses.py",
    "tests/estimators/test_prediction.py", "tests/compiled/test_cache.py", "tests/compiled/test_declarations.py",
    "tests/solvers", "tests/test_typing.py",
]  # fmt: skip
"""The tests that use each dependency, in one or two minutes."""

LEFT_OUT = {
    "tests/onnx/test_save.py::test_large_numbers_infinity_and_nan_give_what_predict_gives":
        "before 1.23 the reference of onnx computes log(exp(x) + 1) for Softplus, which overflows",
    "tests/test_typing.py::test_a_wrong_program_fails_with_the_errors_that_it_names_and_no_others":
        "older releases of mypy report an error on another line",
}  # fmt: skip
"""What only newer releases of other packages can pass, and why."""


def minima(project: dict[str, Any]) -> dict[str, str]:
    """Return the minimum of each dependency, those of the extras included."""
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    found: dict[str, str] = {}
    for requirement in chain.from_iterable(wanted):
        name, _, least = requirement.partition(">=")
        name = re.sub(r"\[.*\]", "", name).strip().lower()
        if name == project["name"]:
            continue
        if not re.fullmatch(r"\d+(\.\d+)*", least):
            raise ValueError(f"expected a requirement with one minimum, such as numpy>=2.1, got {requirement!r}")
        if found.setdefault(name, least) != least:
            raise ValueError(f"expected one minimum of {name}, got {found[name]} and {least}")
    return found


def declared() -> dict[str, Any]:
    """Return the table ``project`` of ``pyproject.toml``."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def make(folder: Path, python: str, oldest: bool) -> str:
    """Make an environment with minidl and all extras, and return its Python."""
    project = declared()
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    own = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    pins = folder / "minima.txt"
    pins.write_text("".join(f"{name}=={least}\n" for name, least in minima(project).items()), "utf-8")
    extras = ",".join(project["optional-dependencies"])
    command = [own, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([*command, *(("-c", str(pins)) if oldest else ()), "-e", f"{ROOT}[{extras}]"], check=True)
    return own


def check(python: str, oldest: bool) -> int:
    """Run the tests in an environment, and return the exit status."""
    options = ["-p", "no:cacheprovider"]
    if oldest:  # There old packages use what newer ones deprecate.
        options += ["-W", "ignore::DeprecationWarning", *(f"--deselect={name}" for name in LEFT_OUT)]
    return subprocess.run([python, "-m", "pytest", *options, *TESTS], cwd=ROOT, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments, run the tests in each, and return how many failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.environments", description=__doc__)
    parser.add_argument("--oldest", action="store_true", help="only the minima")
    parser.add_argument("--newest", action="store_true", help="only the newest releases")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="by default the one that runs")
    chosen = parser.parse_args(arguments)
    ages = [age for age in ("oldest", "newest") if getattr(chosen, age)] or ["oldest", "newest"]
    failed = 0
    for python in chosen.python:
        for age in ages:
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                print(f"== {python}: {age}", flush=True)
                own = make(Path(folder), python, age == "oldest")
                subprocess.run([own, "-m", "pip", "list", "--disable-pip-version-check"], check=True)
                wrong = check(own, age == "oldest")
            failed += wrong != 0
            print(f"== {python}: {age}: {'FAILED' if wrong else 'passed'} in {time.perf_counter() - began:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
