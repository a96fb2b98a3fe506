"""``python -m tests.campaigns.house``: print the figures of the code, and what they must be.

``--against PATH`` compares them with an older version, unpacked in the folder PATH, and times the updates and
predictions of both in turns.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import FrameType
from typing import Any

import numpy as np

from tests.campaigns.benchmarks.timing import Task, alternate
from tests.campaigns.blas import kernels, restart_with_own_kernels
from tests.campaigns.versions import NETWORKS, PREDICT_LIMIT, Case, Version
from tests.support.imports import circles, import_graph, later_imports, rank, sources

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Figure:
    """A figure of the code.

    Attributes:
        name: What the table calls it.
        measure: Returns its value for a version of minidl, or None where it has none.
        goal: What must be reached.
        held: What the suite holds; None for a time.
        at_least: Whether larger values are better.
    """

    name: str
    measure: Callable[[Version], float | None]
    goal: float
    held: float | None = None
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a value is within the limit that the suite holds."""
        assert self.held is not None
        return value >= self.held if self.at_least else value <= self.held


def import_circles(version: Version) -> int:
    """Count the circles of modules that import one another, annotations counted."""
    return len(circles(import_graph(sources(version.root))))


def imports_from_later_packages(version: Version) -> int | None:
    """Count the imports from a package that is later in the order; None for a version with other packages."""
    graph = import_graph(sources(version.root))
    return None if any(rank(name) < 0 for name in graph) else len(later_imports(graph))


def calls_in_update(version: Version) -> int:
    """Count the calls of minidl's functions in one update of 1-4-1 on NumPy."""
    model, loss, optimizer = _small(version)
    x = y = np.ones((1, 1))

    def update() -> None:
        loss.forward(model.forward(x), y)
        model.backward_parameters(loss.backward())
        optimizer.step()

    update()
    return _calls(version, update)


def calls_in_fit(version: Version) -> int:
    """Count the calls of minidl's functions in the fit of one batch for one epoch, with 1-4-1 on NumPy."""
    fit = _small_fit(version)
    fit()
    return _calls(version, fit)


def microseconds_of_fit(version: Version) -> float:
    """Measure the time of that fit."""
    fit = _small_fit(version)
    times = []
    for _ in range(400):
        began = time.perf_counter()
        fit()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def _small(version: Version) -> tuple[Any, Any, Any]:
    m = version.minidl
    model = m.Sequential(m.Dense(1, 4), m.Sigmoid(), m.Dense(4, 1)).initialize(0)
    return model, m.HalfSquaredError(), m.SGD(model.parameters(), 0.01)


def _small_fit(version: Version) -> Callable[[], object]:
    trainer = version.minidl.Trainer(*_small(version), rng=0)
    return partial(trainer.fit, np.ones((1, 1)), np.ones((1, 1)), epochs=1, batch_size=1, progress=False)


def _calls(version: Version, work: Callable[[], object]) -> int:
    """Count calls; a call of a function that is running already does not count, as in cProfile's primitive calls."""
    count, running = 0, Counter[object]()
    package = str(version.root / "minidl")

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        code = frame.f_code
        if code.co_filename.startswith(package):
            if event == "call":
                count += not running[code]
                running[code] += 1
            elif event == "return":
                running[code] -= 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def public_names_of_layer(version: Version) -> int:
    """Count the names of `Layer` without an underscore."""
    return sum(not name.startswith("_") for name in dir(version.minidl.Layer))


TOOLS = {"_drawing", "_rules", "export", "inspection", "onnx", "search", "sklearn", "testing"}
"""Packages around the core: training, prediction and files work without them."""


def statements(version: Version) -> int:
    """Count the statements of the package; docstrings are not counted."""
    return _statements(sources(version.root).values())


def statements_of_core(version: Version) -> int:
    """Count the statements of what trains, predicts and saves: all but the tools around it."""
    modules = sources(version.root)
    return _statements(source for name, source in modules.items() if name.split(".")[0] not in TOOLS)


def _statements(texts: Iterable[str]) -> int:
    nodes = [node for source in texts for node in ast.walk(ast.parse(source))]
    return sum(isinstance(node, ast.stmt) and not _is_docstring(node) for node in nodes)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def longest_line(version: Version) -> int:
    """Return the length of the longest line."""
    return max(len(line) for source in sources(version.root).values() for line in source.splitlines())


def known_types(version: Version) -> float | None:
    """Return the percentage of public symbols whose type pyright knows; None where pyright is not installed."""
    if find_spec("pyright") is not None:
        command = [sys.executable, "-m", "pyright"]
    elif (program := which("pyright")) is not None:
        command = [program]
    else:
        return None
    options = ["--verifytypes", "minidl", "--ignoreexternal", "--outputjson", "--pythonpath", sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(version.root)}
    run = subprocess.run([*command, *options], cwd=version.root, env=environment, capture_output=True, check=False)
    if not run.stdout.startswith(b"{"):  # pyright could not start: it needs node
        return None
    return 100.0 * float(json.loads(run.stdout)["typeCompleteness"]["completenessScore"])


FIGURES = [
    Figure("import circles, annotations counted", import_circles, 0, held=0),
    Figure("imports from a later package", imports_from_later_packages, 0, held=0),
    Figure("calls of minidl's functions in one update of 1-4-1", calls_in_update, 38, held=38),
    Figure("calls in `fit` of one epoch of one batch", calls_in_fit, 170, held=170),
    Figure("time of `fit` of one batch, 1-4-1, in µs", microseconds_of_fit, 100),
    Figure("public names of `Layer`", public_names_of_layer, 14, held=14),
    Figure("statements of `minidl/` without its tools", statements_of_core, 7200, held=9230),
    Figure("statements of `minidl/`", statements, 7200, held=15080),
    Figure("longest line", longest_line, 120, held=120),
    Figure("types that pyright knows, in %", known_types, 100, held=100, at_least=True),
]
"""The figures of the table. Where `held` is not yet the goal, it is what was measured last: lower it with each gain."""


@dataclass(frozen=True)
class Size:
    """Number of rounds, and seconds of each turn."""

    rounds: int
    turn: float


FULL, QUICK = Size(25, 0.02), Size(1, 0.0001)


def ratios(version: Version, older: Version, size: Size) -> Iterator[tuple[str, float, float]]:
    """Yield what is compared, the time of `version` divided by that of `older`, and the largest ratio allowed."""
    for name, network in NETWORKS.items():
        for kind, limit in (("update", network.limit), ("predict", PREDICT_LIMIT)):
            tasks = [_task("older", older, name, kind), _task("newer", version, name, kind)]
            times = alternate(tasks, size.rounds, size.turn)
            pairs = zip(times["newer"], times["older"], strict=True)
            yield f"{kind} {name}", statistics.median(newer / old for newer, old in pairs), limit


def _task(label: str, version: Version, name: str, kind: str) -> Task:
    with version.active():
        work = getattr(Case(version, NETWORKS[name]), kind)

    def seconds(times: int) -> float:
        with version.active():
            began = time.perf_counter()
            for _ in range(times):
                work()
            return time.perf_counter() - began

    return Task(label, seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.house", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="PATH", help="folder of an older version")
    parser.add_argument("--quick", action="store_true", help="a size that shows that everything runs")
    options = parser.parse_args(arguments)
    version, older = Version(ROOT), Version(options.against.resolve()) if options.against else None
    versions = [version] if older is None else [version, older]
    print(f"BLAS kernel: {kernels()}\n")
    print("| figure | this version | must reach |" + " older version |" * (len(versions) - 1))
    print("|---|---:|---:|" + "---:|" * (len(versions) - 1))
    for figure in FIGURES:
        first, *rest = [_measured(figure, version) for version in versions]
        goal = f"{'≥' if figure.at_least else '≤'} {figure.goal:g}"
        print(f"| {figure.name} | {' | '.join([first, goal, *rest])} |", flush=True)
    if older is not None:
        print("\nTime divided by that of the older version, medians of rounds that alternate:\n")
        print("| work | ratio | must reach |\n|---|---:|---:|")
        for name, ratio, limit in ratios(version, older, QUICK if options.quick else FULL):
            print(f"| {name} | {ratio:.3f} | ≤ {limit:.2f} |", flush=True)


def _measured(figure: Figure, version: Version) -> str:
    with version.active():
        value = figure.measure(version)
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    restart_with_own_kernels()
    main()
