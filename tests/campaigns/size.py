"""``python -m tests.campaigns.size``: how large minidl is, beside the other libraries that are installed.

For each library the table has the size of its files and of everything that it needs, how many packages that are, the
fastest import in a new process, and its lines of Python. Optional packages, bytecode, blank lines and
folders of tests are not counted, nor are lines in other languages. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.campaigns.house import TOOLS

ROOT = Path(__file__).parents[2]
OWN = ROOT / "minidl"
ROUNDS = 9


@dataclass(frozen=True)
class Library:
    """A row of the table: what is installed, and what is imported."""

    name: str
    installed: tuple[str, ...]
    module: str


LIBRARIES = [
    Library("minidl", ("minidl",), "minidl"),
    Library("minidl with Numba", ("minidl[jit]",), "minidl"),
    Library("scikit-learn", ("scikit-learn",), "sklearn"),
    Library("JAX", ("jax",), "jax"),
    Library("Keras with JAX", ("keras", "jax"), "keras"),
    Library("PyTorch", ("torch",), "torch"),
]


def required(requirement: Requirement) -> Iterator[Requirement]:
    """Yield what a package needs here, with the extras that are asked for."""
    for text in _requirements(requirement.name):
        other = Requirement(text)
        if other.marker is None or any(other.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
            yield other


def _requirements(name: str) -> list[str]:
    if name != "minidl":
        return distribution(name).requires or []
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{one}; extra == "{extra}"' for extra, ones in extras for one in ones)]


def packages(library: Library) -> set[str]:
    """Return the names of all packages of a library.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    found: set[str] = set()
    waiting = [Requirement(text) for text in library.installed]
    while waiting:
        requirement = waiting.pop()
        if requirement.extras or canonicalize_name(requirement.name) not in found:
            found.add(canonicalize_name(requirement.name))
            waiting += required(requirement)
    return found


def files(package: str) -> list[Path]:
    """Return the installed files of a package; of minidl those of this folder."""
    if package == "minidl":
        return [path for path in OWN.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    found = distribution(package)
    paths = [Path(str(found.locate_file(file))) for file in found.files or []]
    return [path for path in paths if path.suffix != ".pyc" and path.is_file()]


def megabytes(names: Iterable[str]) -> float:
    """Return the size of the files of packages."""
    return sum(path.stat().st_size for name in names for path in files(name)) / 1e6


def lines(paths: Iterable[Path]) -> int:
    """Count the lines of Python that are not blank."""
    sources = [path for path in paths if path.suffix == ".py" and "tests" not in path.parts[:-1]]
    return sum(bool(line.strip()) for path in sources for line in path.read_bytes().splitlines())


def core() -> list[Path]:
    """Return the files of minidl that train, predict and save: all but the tools around them."""
    return [path for path in files("minidl") if path.relative_to(OWN).parts[0] not in TOOLS]


def import_seconds(module: str) -> float:
    """Measure the import of a module in a new process, without the start of Python."""
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def installed() -> dict[Library, set[str]]:
    """Map each library that is installed to its packages."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = packages(library)
        except PackageNotFoundError as error:
            print(f"{library.name} is left out: {error.name} is not installed")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.size", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"imports of each module (default {ROUNDS})")
    rounds = parser.parse_args(arguments).rounds
    found = installed()
    modules = sorted({library.module for library in found})
    times: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(rounds):
        for module in modules:
            times[module].append(import_seconds(module))
    print("\n| library | size with what it needs | packages | import | lines of Python |\n|---|---:|---:|---:|---:|")
    for library, names in found.items():
        own = [Requirement(text).name for text in library.installed]
        count = lines(path for name in own for path in files(name))
        seconds = min(times[library.module])
        print(f"| {library.name} | {megabytes(names):.0f} MB | {len(names)} | {seconds:.2f} s | {count:,} |")
    print(f"\nminidl itself: {megabytes(['minidl']):.2f} MB; what trains, predicts and saves: {lines(core()):,} lines.")
    others = {Requirement(text).name for library in found for text in library.installed} - {"minidl"}
    versions = "".join(f", {name} {version(name)}" for name in sorted(others))
    print(f"Python {platform.python_version()}, {platform.system()}{versions}.")


if __name__ == "__main__":
    main()
