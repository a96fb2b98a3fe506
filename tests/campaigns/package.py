"""``python -m tests.campaigns.package``: build the sdist and the wheel, check them, and use the wheel without extras.

It needs the dependency group ``release``: ``pip install --group release``, with pip 25.1 or later.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

PARTS = ("minidl", "tests", "examples", "docs")
ALONE = {"LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
"""The files at the top of the sdist."""

TRACES = ("__pycache__", ".pyc", ".so", ".nbi", ".nbc", ".DS_Store", "~")
"""What work leaves behind, and no distribution contains."""


def sources() -> set[str]:
    """Return the files of the package, by their paths from the top folder."""
    files = (path for path in (ROOT / "minidl").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in files}


def wheel_faults(names: set[str], wanted: set[str]) -> list[str]:
    """Return what is wrong with the files of a wheel: each file of the package, its metadata, and nothing else."""
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    licences = [] if any(name.endswith("licenses/LICENSE") for name in metadata) else ["missing: LICENSE"]
    return [*_differences(names - metadata, wanted), *licences]


def sdist_faults(names: set[str], wanted: set[str]) -> list[str]:
    """Return what is wrong with the files of an sdist, which has the tests, examples and docs as well."""
    package = {name for name in names if name.startswith("minidl/")}
    other = sorted(name for name in names - package - ALONE if name.split("/")[0] not in PARTS)
    left = sorted(name for name in names if any(trace in name for trace in TRACES))
    needed = {"LICENSE", "README.md", "pyproject.toml", "tests/conftest.py", "docs/index.md"}
    wrong = [f"not wanted: {name}" for name in other + left]
    return _differences(package | (names & needed), wanted | needed) + wrong


def _differences(found: set[str], wanted: set[str]) -> list[str]:
    missing = [f"missing: {name}" for name in sorted(wanted - found)]
    return missing + [f"not wanted: {name}" for name in sorted(found - wanted)]


def run(*command: str, cwd: Path = ROOT) -> bool:
    """Run a command, print it, and return whether it succeeded."""
    print("==", *(Path(part).name if os.path.isabs(part) else part for part in command), flush=True)
    return subprocess.run(command, cwd=cwd, check=False).returncode == 0


def report(kind: str, faults: list[str]) -> bool:
    """Print what is wrong with the files of a distribution, and return whether nothing is."""
    print(f"== files of the {kind}:", "as they should be" if not faults else "; ".join(faults))
    return not faults


def check(folder: Path) -> int:
    """Build in a folder and check what was built; return how many checks failed."""
    python = sys.executable
    if not run(python, "-m", "build", "-q", "--outdir", str(folder / "dist")):
        return 1
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as packed:
        inside = set(archive.namelist())
        names = {name.partition("/")[2] for name in packed.getnames()}
    passed = [
        report("wheel", wheel_faults(inside, sources())),
        report("sdist", sdist_faults(names, sources())),
        run(python, "-m", "twine", "check", "--strict", str(wheel), str(sdist)),
        run(python, "-m", "check_wheel_contents", str(wheel)),
        run(python, "-m", "repo_review", "--show", "errskip", "."),
        run(str(Path(python).with_name("zizmor")), "--quiet", "--offline", ".github"),
        in_bare_environment(wheel, folder / "bare"),
    ]
    return passed.count(False)


def in_bare_environment(wheel: Path, folder: Path) -> bool:
    """Install the wheel without extras, and run `smoke.py` outside of the source."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    installed = run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel))
    return installed and run(python, "-I", str(Path(__file__).with_name("smoke.py")), cwd=folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, check, and return how many checks failed."""
    argparse.ArgumentParser(prog="python -m tests.campaigns.package", description=__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        failed = check(Path(folder))
    print(f"== {failed} checks failed" if failed else "== all checks passed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
