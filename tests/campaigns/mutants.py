"""Change one place of minidl at a time and see whether a test fails: ``python -m tests.campaigns.mutants --count 300``.

A mutant is minidl with one change: ``<`` for ``<=``, a statement less, another constant. Tests that pass with it do not
hold this place. Before, each test file runs once with a trace, so that a mutant is given to the files that run its line
only: the files of the same package first, then the quick ones. The traces are kept in the temporary folder.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import copy
import hashlib
import inspect
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FORKS = multiprocessing.get_context("forkserver")
IMPORTED = ["mpmath", "numpy", "pytest", "scipy.optimize", "sklearn.metrics"]
"""Each run of tests is a fork of a process that has imported what takes long, but not minidl."""

MOST_MEMORY = 8 << 30
LEFT_OUT = ("house", "architecture", "benchmarks", "typing", "docs", "examples", "mutants")
"""Tests of counts, types and texts fail for other reasons than a wrong result, or are slow."""

ARITHMETIC: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.Mult: ast.Div(), ast.Div: ast.Mult(), ast.MatMult: ast.Mult(),
    ast.FloorDiv: ast.Mult(), ast.Mod: ast.FloorDiv(), ast.Pow: ast.Mult(),
    ast.BitAnd: ast.BitOr(), ast.BitOr: ast.BitAnd(), ast.LShift: ast.RShift(), ast.RShift: ast.LShift(),
}  # fmt: skip
COMPARISON: dict[type[ast.cmpop], list[ast.cmpop]] = {
    ast.Lt: [ast.LtE(), ast.GtE()], ast.LtE: [ast.Lt(), ast.Gt()], ast.Eq: [ast.NotEq()], ast.NotEq: [ast.Eq()],
    ast.Gt: [ast.GtE(), ast.LtE()], ast.GtE: [ast.Gt(), ast.Lt()], ast.Is: [ast.IsNot()], ast.IsNot: [ast.Is()],
    ast.In: [ast.NotIn()], ast.NotIn: [ast.In()],
}  # fmt: skip
OPPOSITE = {"min": "max", "any": "all", "minimum": "maximum", "floor": "ceil", "argmin": "argmax", "nanmin": "nanmax"}
FUNCTIONS = {**OPPOSITE, **{new: old for old, new in OPPOSITE.items()}, "deepcopy": "copy"}
SYMMETRIC = {*FUNCTIONS, "isinstance", "issubclass", "getattr", "hasattr", "array_equal"}
"""Functions for which swapped arguments are the same, or fail at once."""


class Mutant(NamedTuple):
    """One change: ``new`` for the bytes from ``start`` to ``end``, in the statement of lines ``first`` to ``last``."""

    path: str
    first: int
    last: int
    start: int
    end: int
    new: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def shown(self, source: bytes) -> str:
        """Return the place, and the lines before and after the change."""
        begin = source.rfind(b"\n", 0, self.start) + 1
        end = source.find(b"\n", self.end)
        old = source[begin:end].decode()
        new = (source[begin : self.start] + self.new.encode() + source[self.end : end]).decode()
        line = source.count(b"\n", 0, self.start) + 1
        return f"{self.path}:{line}: {' '.join(old.split())} -> {' '.join(new.split())}"


class Mutator(ast.NodeVisitor):
    """Collect the mutants of one file."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.found = path, list[Mutant]()
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = (0, 0)
        self._inside = False
        self.visit(ast.parse(source))

    def replace(self, node: Any, new: ast.AST | str) -> None:
        text = new if isinstance(new, str) else f"({ast.unparse(new)})"
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        self.found.append(Mutant(self.path, *self._lines, start, end, text))

    def changed(self, node: Any, **fields: Any) -> None:
        """Replace an expression by a copy with other fields."""
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        self.replace(node, new)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = node.end_lineno or 0
            if body and not isinstance(node, ast.FunctionDef):  # A default counts as run where the function is.
                last = max(node.lineno, body[0].lineno - 1)
            self._lines = (node.lineno, last)
        super().visit(node)

    def nothing(self, node: ast.AST) -> None:
        """Leave texts, errors and types as they are."""

    visit_Raise = visit_Assert = visit_JoinedStr = nothing  # noqa: N815

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        outside, self._inside = self._inside, True
        for statement in node.body:
            self.visit(statement)
        self._inside = outside

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.delete_assignment(node, node.target)
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.delete_assignment(node, node.targets[0])
        self.generic_visit(node)

    def delete_assignment(self, node: ast.stmt, target: ast.expr) -> None:
        if self._inside and isinstance(target, ast.Attribute | ast.Subscript):
            self.replace(node, "pass")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace(node, "pass")
        for new in (ast.BinOp(node.target, ARITHMETIC[type(node.op)], node.value), node.value):
            self.replace(node, ast.unparse(ast.Assign([node.target], new, lineno=0)))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.replace(node, "pass")
        self.generic_visit(node)

    def delete(self, node: ast.stmt) -> None:
        self.replace(node, "pass")

    visit_Break = visit_Continue = visit_Delete = delete  # noqa: N815

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        self.replace(node.test, "False")
        if not (isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise)):
            self.replace(node.test, "True")
        self.generic_visit(node)

    visit_IfExp = visit_If  # noqa: N815

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.replace(test, "True")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        is_text = isinstance(node.left, ast.Constant | ast.JoinedStr) and isinstance(node.op, ast.Mod | ast.Add)
        is_type = isinstance(node.op, ast.BitOr) and not self._inside
        if not is_text and not is_type:
            self.changed(node, op=ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for i, operator in enumerate(node.ops):
            for new in COMPARISON[type(operator)]:
                self.changed(node, ops=[*node.ops[:i], new, *node.ops[i + 1 :]])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for i in range(len(node.values)):
            self.changed(node, values=node.values[:i] + node.values[i + 1 :])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.replace(node, node.operand)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace(node, str(not node.value))
        elif isinstance(node.value, int):
            self.replace(node, str(node.value + 1))
        elif isinstance(node.value, float):
            self.replace(node, str(2.0 * node.value or 1.0))

    def visit_Call(self, node: ast.Call) -> None:
        function, arguments = node.func, node.args
        name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
        if name in FUNCTIONS:
            parts = ast.unparse(function).rsplit(".", 1)
            self.replace(function, ".".join([*parts[:-1], FUNCTIONS[name]]))
        if name == "copy" and not arguments and isinstance(function, ast.Attribute):
            self.replace(node, function.value)
        if len(arguments) >= 2 and name not in SYMMETRIC and not isinstance(arguments[1], ast.Starred | ast.JoinedStr):
            self.changed(node, args=[arguments[1], arguments[0], *arguments[2:]])
        self.generic_visit(node)


def mutants(path: str, source: bytes) -> list[Mutant]:
    return Mutator(path, source).found


class Trace:
    """The lines of functions of minidl that run. Lines outside of functions run at import, in every test."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._package = str(root / "minidl") + os.sep
        self._begun = time.monotonic()
        self._all: dict[tuple[str, int], set[int]] = {}
        self._left: dict[tuple[str, int], set[int]] = {}

    def call(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(self._package) or not code.co_flags & inspect.CO_OPTIMIZED:
            return None
        key = (code.co_filename, code.co_firstlineno)
        if key not in self._all:
            self._all[key] = {line for *_, line in code.co_lines() if line is not None}
            self._left[key] = self._all[key].copy()
        return self.line if self._left[key] else None

    def line(self, frame: FrameType, event: str, argument: object) -> Any:
        left = self._left[frame.f_code.co_filename, frame.f_code.co_firstlineno]
        left.discard(frame.f_lineno)
        return self.line if left else None

    def result(self) -> dict[str, Any]:
        ran: dict[str, list[int]] = {}
        for key, lines in self._all.items():
            path = Path(key[0]).relative_to(self._root).as_posix()
            ran[path] = sorted({*ran.get(path, []), *(lines - self._left[key])})
        return {"seconds": time.monotonic() - self._begun, "lines": ran}


def fails(tree: Path, files: list[str], limit: float, cache: Path | None = None, trace: Path | None = None) -> bool:
    """Run tests in a copy of the project: whether one fails, or they take longer than ``limit`` seconds."""
    process = FORKS.Process(target=run_tests, args=(tree, files, cache, trace))
    process.start()
    process.join(limit)
    if process.is_alive():
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode != 0


def run_tests(tree: Path, files: list[str], cache: Path | None, trace: Path | None) -> None:
    """Run pytest in this process, without a word, and end it."""
    os.setsid()  # its own group of processes, for ``killpg``
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ.update({"PYTHONPATH": str(tree), **({"MINIDL_TESTS_CACHE_DIR": str(cache)} if cache else {})})
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    import pytest

    lines = Trace(tree)
    if trace:
        threading.settrace(lines.call)
        sys.settrace(lines.call)
    code = pytest.main(["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *files])
    sys.settrace(None)
    if trace and code == 0:
        trace.write_text(json.dumps(lines.result()))
    os._exit(code)


class Campaign:
    """The copies of the project, one for each worker, and what each test file runs."""

    def __init__(self, jobs: int, folder: Path) -> None:
        self._kept = Path(tempfile.gettempdir()) / "minidl-mutants"
        self._kept.mkdir(exist_ok=True)
        self._jobs = jobs
        self._trees: SimpleQueue[Path] = SimpleQueue()
        for i in range(jobs):
            tree = folder / str(i)
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
            compileall.compile_dir(tree / "minidl", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
            self._trees.put(tree)
        tests = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]
        tests = [path for path in tests if not any(f"test_{name}" in path for name in LEFT_OUT)]
        with ThreadPoolExecutor(jobs) as pool:
            traces = dict(zip(tests, pool.map(self._traced, tests), strict=True))
        self.traces = {path: trace for path, trace in traces.items() if trace is not None}
        if broken := [test for test in tests if test not in self.traces]:
            sys.exit(f"mutants: expected tests that pass without a change, got failures in {broken}")

    def _traced(self, test: str) -> dict[str, Any] | None:
        """Return the seconds and the lines of a test file; None if it fails without any change."""
        tree = self._trees.get()
        sources = [tree / test, *sorted((tree / "minidl").rglob("*.py"))]
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        trace = self._kept / f"{digest}.json"
        if not trace.exists():
            fails(tree, [test], 600.0, self._kept / "compiled", trace)
        self._trees.put(tree)
        return json.loads(trace.read_text()) if trace.exists() else None

    def files(self, mutant: Mutant) -> tuple[list[str], list[str]]:
        """Return the test files that run the line of a mutant: those of its package, and the others."""
        ran = {test: {*trace["lines"].get(mutant.path, [])} for test, trace in self.traces.items()}
        found = [test for test, lines in ran.items() if not lines.isdisjoint(range(mutant.first, mutant.last + 1))]
        if mutant.path.startswith("minidl/_compiled/kernels"):  # machine code, which cannot be traced
            found = [test for test, trace in self.traces.items() if "minidl/_compiled/cache.py" in trace["lines"]]
        elif not found:  # a line that runs at import, or in another process
            found = [test for test, lines in ran.items() if lines] or list(self.traces)
        path = Path(mutant.path)
        package, module = (name.strip("_").removesuffix(".py") for name in (path.parts[1], path.name))
        found.sort(key=lambda test: (module not in test, package not in test, self.traces[test]["seconds"]))
        near = [test for test in found if module in test or package in test]
        return near, [test for test in found if test not in near]

    def killed(self, mutant: Mutant) -> bool:
        """Run the tests that reach a mutant. One cache of compiled programs for all is right, as a name is a hash."""
        cache = None if mutant.path.endswith("_compiled/cache.py") else self._kept / "compiled"
        tree = self._trees.get()
        source = (tree / mutant.path).read_bytes()
        try:
            (tree / mutant.path).write_bytes(mutant.applied(source))
            for files in filter(None, self.files(mutant)):
                if fails(tree, files, 60.0 + 3.0 * sum(self.traces[test]["seconds"] for test in files), cache):
                    return True
            return False
        finally:
            (tree / mutant.path).write_bytes(source)
            self._trees.put(tree)

    def run(self, drawn: list[Mutant]) -> Iterator[tuple[Mutant, bool]]:
        with ThreadPoolExecutor(self._jobs) as pool:
            yield from zip(drawn, pool.map(self.killed, drawn), strict=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    FORKS.set_forkserver_preload(IMPORTED)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    modules = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "minidl").rglob("*.py"))]
    sources = {path: (ROOT / path).read_bytes() for path in modules if not path.startswith("minidl/testing")}
    everything = [mutant for path, source in sources.items() for mutant in mutants(path, source)]
    random.Random(given.seed).shuffle(everything)
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(given.jobs, Path(folder))
        tried = survived = 0
        for mutant, killed in campaign.run(everything[: given.count]):
            tried += 1
            survived += not killed
            if not killed:
                print(mutant.shown(sources[mutant.path]), flush=True)
    print(f"mutants: {tried} tried, {tried - survived} killed, {survived} survived")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
