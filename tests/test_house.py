"""The figures of the code that do not depend on time, the command that prints them, and the rules for tests."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minidl
from tests.campaigns import house
from tests.campaigns.house import FIGURES, Figure
from tests.campaigns.versions import NETWORKS, Version

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def version() -> Version:
    return Version(ROOT)


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.held is not None], ids=lambda f: f.name)
def test_a_figure_stays_within_its_limit(figure: Figure, version: Version) -> None:
    with version.active():
        value = figure.measure(version)
    if value is None:
        pytest.skip("cannot be measured here")
    assert figure.holds(value)


def test_the_command_prints_the_figures_and_the_ratios_to_an_older_version(capsys: pytest.CaptureFixture[str]) -> None:
    house.main(["--quick", "--against", str(ROOT)])
    printed = capsys.readouterr().out
    assert printed.startswith("BLAS kernel: ")
    for figure in FIGURES:
        assert f"| {figure.name} |" in printed
    for name in NETWORKS:
        for kind in ("update", "predict"):
            assert f"| {kind} {name} |" in printed


def test_two_versions_in_one_process_do_not_mix(version: Version) -> None:
    other = Version(ROOT)
    layers = {found.minidl.Dense for found in (version, other)} | {minidl.Dense}
    assert len(layers) == 3
    with other.active():
        import minidl as imported

        assert imported is other.minidl
    assert sys.modules["minidl"] is minidl


def test_names_of_tests_have_at_most_75_characters() -> None:
    names = [
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 500
    assert [name for name in names if len(name) > 75] == []


@pytest.mark.skipif(
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1, reason="pytest-xdist compares what its workers collect"
)
def test_collecting_again_gives_the_same_ids_in_the_same_order(request: pytest.FixtureRequest) -> None:
    here: dict[str, list[str]] = {}
    for item in request.session.items:
        here.setdefault(item.nodeid.partition("::")[0], []).append(item.nodeid)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
         "-o", "addopts=--import-mode=importlib", *here],
        cwd=request.config.rootpath, env={**os.environ, "PYTHONHASHSEED": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True, text=True, check=True,
    )
    again = run.stdout.splitlines()
    for ids in here.values():
        wanted = {*ids}
        assert [line for line in again if line in wanted] == ids
