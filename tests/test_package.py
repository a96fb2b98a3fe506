"""What ``pyproject.toml`` declares: versions of Python, minima, and the files of the distributions."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest

import minidl
from tests.campaigns import environments, package

ROOT = Path(__file__).parents[1]
TABLE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT: dict[str, Any] = TABLE["project"]


def pythons() -> list[str]:
    """Return the versions of Python that the classifiers name."""
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    return [match[1] for match in found if match]


def test_the_classifiers_begin_with_the_python_that_is_required() -> None:
    assert PROJECT["requires-python"] == f">={pythons()[0]}"
    minors = [int(version.removeprefix("3.")) for version in pythons()]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_workflow_runs_the_script_with_each_python_of_the_classifiers() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    match = re.search(r"python: \[(.*)\]", text)
    assert match
    assert re.findall(r"[\d.]+", match[1]) == pythons()
    assert re.findall(r"run: (.*)", text) == ["bash .ci/run"]
    assert re.findall(r"(?m)^permissions:\n((?:  .*\n)+)", text) == ["  contents: read\n"]


def test_an_action_of_the_workflow_is_named_by_its_commit() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


def test_the_installed_package_says_what_it_is() -> None:
    found = metadata("minidl")
    assert found["Version"] == minidl.__version__
    assert "small" in PROJECT["description"]
    assert "smallest" not in PROJECT["description"]
    assert len(PROJECT["description"]) < 120
    assert PROJECT["authors"][0]["name"].lower() in (ROOT / "LICENSE").read_text("utf-8").lower()


def test_every_dependency_has_one_minimum_which_the_campaign_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr("subprocess.run", lambda command, **_: commands.append(tuple(command)))
    environments.make(tmp_path, "python", oldest=True)
    pins = dict(line.split("==") for line in (tmp_path / "minima.txt").read_text("utf-8").splitlines())
    text = (ROOT / "pyproject.toml").read_text("utf-8").partition("[dependency-groups]")[0]
    listed = re.findall(r'"([\w-]+)(?:\[\w+\])?>=([\d.]+)"', text.partition("[project]")[2])
    assert dict(listed) == pins
    assert len(pins) > 15
    assert str(tmp_path / "minima.txt") in commands[-1]
    for extra in PROJECT["optional-dependencies"]:
        assert extra in commands[-1][-1]


@pytest.mark.parametrize("wrong", ["numpy", "numpy<3", "numpy>=2,<3", "numpy==2.1"])
def test_a_requirement_without_one_minimum_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="one minimum, such as"):
        environments.minima({"name": "minidl", "dependencies": [wrong], "optional-dependencies": {}})


def test_two_minima_of_one_dependency_are_refused() -> None:
    project = {"name": "minidl", "dependencies": ["numpy>=2.1"], "optional-dependencies": {"x": ["numpy>=2.2"]}}
    with pytest.raises(ValueError, match=r"one minimum of numpy, got 2\.1 and 2\.2"):
        environments.minima(project)


def test_the_tests_that_the_campaign_names_exist() -> None:
    assert [name for name in environments.TESTS if not (ROOT / name).exists()] == []
    for name in environments.LEFT_OUT:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text("utf-8")


def test_the_campaign_tells_how_many_environments_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def check(python: str, oldest: bool) -> int:
        seen.append((python, oldest))
        return int(oldest)

    monkeypatch.setattr(environments, "make", lambda folder, python, oldest: python)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: None)
    monkeypatch.setattr(environments, "check", check)
    assert environments.main(["--python", "a", "b"]) == 2
    assert seen == [("a", True), ("a", False), ("b", True), ("b", False)]
    assert environments.main(["--newest"]) == 0


def test_the_files_of_a_distribution_are_compared_with_the_package() -> None:
    wanted = package.sources()
    assert {"minidl/py.typed", "minidl/style.mplstyle", "minidl/inspection/page.html"} <= wanted
    licence = "minidl-1.dist-info/licenses/LICENSE"
    assert package.wheel_faults(wanted | {licence}, wanted) == []
    faults = package.wheel_faults(wanted - {"minidl/py.typed"} | {"tests/test_a.py"}, wanted)
    assert faults == ["missing: minidl/py.typed", "not wanted: tests/test_a.py", "missing: LICENSE"]
    alone = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", "tests/conftest.py", "docs/index.md"}
    assert package.sdist_faults(wanted | alone, wanted) == []
    faults = package.sdist_faults(wanted | alone - {"LICENSE"} | {".ci/run", "tests/__pycache__/a.pyc"}, wanted)
    assert faults == ["missing: LICENSE", "not wanted: .ci/run", "not wanted: tests/__pycache__/a.pyc"]


def test_a_skipped_check_of_the_repository_has_a_reason() -> None:
    assert all(len(reason.split()) > 3 for reason in TABLE["tool"]["repo-review"]["ignore"].values())
