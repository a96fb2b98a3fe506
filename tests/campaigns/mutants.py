"""Change one place of minidl at a time and see whether a test fails: ``python -m tests.campaigns.mutants --count 300``.

A mutant is minidl with one change: ``<`` for ``<=``, a statement less, another constant. Where all tests pass with it,
no test holds this place. A trace of each test file says which functions it calls: a mutant is given only to the files
that call its function, those of its package first. Traces are kept in the temporary folder: the first run is slow.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import copy
import hashlib
import inspect
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FORKS = multiprocessing.get_context("forkserver")
IMPORTED = ["mpmath", "numba", "numpy", "pytest", "scipy.optimize", "sklearn.metrics"]
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
SYMMETRIC = {*FUNCTIONS, "array_equal", "getattr", "hasattr", "isinstance", "issubclass", "suppress", "union1d"}
"""Functions for which swapped arguments are the same, or fail at once."""


class Mutant(NamedTuple):
    """One change: ``new`` for the bytes ``start`` to ``end``, in the function that begins at a line (0: in none)."""

    path: str
    function: int
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
        self._function = 0
        self.visit(ast.parse(source))

    def replace(self, node: Any, new: ast.AST | str) -> None:
        text = new if isinstance(new, str) else f"({ast.unparse(new)})"
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        self.found.append(Mutant(self.path, self._function, start, end, text))

    def changed(self, node: Any, **fields: Any) -> None:
        """Replace an expression by a copy with other fields."""
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        self.replace(node, new)

    def nothing(self, node: ast.AST) -> None:
        """Leave texts, errors and types as they are."""

    visit_Raise = visit_Assert = visit_JoinedStr = nothing  # noqa: N815

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outside = self._function
        self._function = outside or min([node.lineno, *(part.lineno for part in node.decorator_list)])
        for part in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(part)
        self._function = outside

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.delete_assignment(node, node.target)
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.delete_assignment(node, node.targets[0])
        self.generic_visit(node)

    def delete_assignment(self, node: ast.stmt, target: ast.expr) -> None:
        if self._function and isinstance(target, ast.Attribute | ast.Subscript):
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
        is_type = isinstance(node.op, ast.BitOr) and not self._function
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
        swapped = [*arguments[1:2], *arguments[:1], *arguments[2:]]
        is_other = [*map(ast.unparse, swapped)] != [*map(ast.unparse, arguments)] and name not in SYMMETRIC
        if is_other and not isinstance(swapped[0], ast.Starred | ast.JoinedStr):
            self.changed(node, args=swapped)
        self.generic_visit(node)


def mutants(path: str, source: bytes) -> list[Mutant]:
    return Mutator(path, source).found


class Trace:
    """Which functions of minidl run, by path and line, and which tests fail."""

    def __init__(self, tree: Path) -> None:
        self._package = str(tree / "minidl") + os.sep
        self._tree = tree
        self._codes = set[tuple[str, int]]()
        self.failed: list[str] = []

    def call(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(self._package) and code.co_flags & inspect.CO_OPTIMIZED:
            self._codes.add((code.co_filename, code.co_firstlineno))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def result(self) -> dict[str, Any]:
        functions: dict[str, list[int]] = {}
        for path, line in sorted(self._codes):
            functions.setdefault(Path(path).relative_to(self._tree).as_posix(), []).append(line)
        return {"seconds": sum(os.times()[:4]), "functions": functions, "failed": self.failed}


def run_tests(tree: Path, tests: list[str], seconds: int, cache: Path | None = None) -> tuple[str, list[str]]:
    """Run tests in a copy of the project until one fails: whether they passed, failed or hung, and which failed.

    They hung if they took more seconds of the processor than ``seconds``, or five times as many on the clock.
    """
    result = tree / "result.json"
    result.unlink(missing_ok=True)
    process = FORKS.Process(target=pytest_process, args=(tree, ["-x", *tests], cache, result, seconds))
    process.start()
    process.join(5.0 * seconds)
    hung = process.exitcode in (None, -signal.SIGXCPU)
    with contextlib.suppress(ProcessLookupError):  # also what the tests have left behind
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    outcome = "hung" if hung else "failed" if process.exitcode else "passed"
    return outcome, json.loads(result.read_text())["failed"] if result.exists() else []


def pytest_process(tree: Path, arguments: list[str], cache: Path | None, result: Path, seconds: int = 0) -> None:
    """Run pytest in this process, without a word, write the result, and end it. No ``seconds``: trace it."""
    os.setsid()  # its own group of processes, for ``killpg``
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    # No bytecode: that of another mutant, of the same size and second, would be taken for this one's.
    sys.dont_write_bytecode = True
    os.environ.update({"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"})
    os.environ.update({"MINIDL_TESTS_CACHE_DIR": str(cache)} if cache else {})
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    import pytest

    trace = Trace(tree)
    if seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 60))
    else:
        threading.settrace(trace.call)
        sys.settrace(trace.call)
    options = ["-q", "--assert=plain", "-p", "no:xdist", "-p", "no:cacheprovider"]  # Rewriting all assertions is slow.
    code = pytest.main([*options, *arguments], plugins=[trace])
    sys.settrace(None)
    if code <= pytest.ExitCode.TESTS_FAILED:
        result.write_text(json.dumps(trace.result()))
    os._exit(code)


class Campaign:
    """The copies of the project, one for each worker and one without a change, and what each test file runs."""

    def __init__(self, jobs: int, folder: Path, longest: float) -> None:
        self._kept = Path(tempfile.gettempdir()) / "minidl-mutants"
        self._kept.mkdir(exist_ok=True)
        self._longest = longest
        self._unchanged = folder / "unchanged"
        self._trees: SimpleQueue[Path] = SimpleQueue()
        for tree in [self._unchanged, *(folder / str(i) for i in range(jobs))]:
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
            compileall.compile_dir(tree / "minidl", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
            if tree is not self._unchanged:
                self._trees.put(tree)
        tests = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]
        self._tests = [path for path in tests if not any(f"test_{name}" in path for name in LEFT_OUT)]
        self._locks = {test: threading.Lock() for test in self._tests}
        self._traces: dict[str, dict[str, Any]] = {}

    def trace(self, test: str) -> dict[str, Any]:
        """Return the seconds and the functions of a test file, and the tests that fail without any change."""
        with self._locks[test]:
            if test not in self._traces:
                self._traces[test] = self._traced(test)
            return self._traces[test]

    def _traced(self, test: str) -> dict[str, Any]:
        tree = self._unchanged
        folders = (tree / "minidl", tree / "tests/support")
        sources = [tree / test, *(path for folder in folders for path in sorted(folder.rglob("*.py")))]
        kept = self._kept / f"{hashlib.sha256(b''.join(path.read_bytes() for path in sources)).hexdigest()}.json"
        if not kept.exists():
            print(f"tracing {test}", file=sys.stderr, flush=True)
            process = FORKS.Process(target=pytest_process, args=(tree, [test], self._kept / "compiled", kept))
            process.start()
            process.join()
        if not kept.exists():
            raise RuntimeError(f"mutants: expected tests that can run, got an error in {test}: run it with pytest")
        trace: dict[str, Any] = json.loads(kept.read_text())
        for name in trace["failed"]:
            print(f"left out, as it fails without a change: {name}", flush=True)
        return trace

    def groups(self, mutant: Mutant) -> Iterator[list[str]]:
        """Give the test files that call the function of a mutant: those of its package, then the others.

        What runs at import or in another process has no trace, nor has machine code.
        """
        path = Path(mutant.path)
        names = {name.strip("_").removesuffix(".py") for name in (path.parts[1], path.name)}
        near = [test for test in self._tests if any(name in test for name in names)]
        found = 0
        for tests in (near, [test for test in self._tests if test not in near]):
            random.shuffle(tests)  # so that several workers trace several files
            traces = {test: trace for test in tests if (trace := self.trace(test))["seconds"] < self._longest}
            ran = {test: trace["functions"].get(mutant.path, []) for test, trace in traces.items()}
            group = [test for test, functions in ran.items() if mutant.function in functions]
            if mutant.path.startswith("minidl/_compiled/kernels"):
                group = [test for test, trace in traces.items() if "minidl/_compiled/cache.py" in trace["functions"]]
            elif not found + len(group):
                group = [test for test, functions in ran.items() if functions]
            found += len(group)
            yield sorted(group, key=lambda test: float(traces[test]["seconds"]))

    def outcome(self, mutant: Mutant) -> str:
        """Run the tests that reach a mutant. One cache of compiled programs for all is right, as a name is a hash."""
        cache = None if mutant.path.endswith("_compiled/cache.py") else self._kept / "compiled"
        tree = self._trees.get()
        source = (tree / mutant.path).read_bytes()
        try:
            (tree / mutant.path).write_bytes(mutant.applied(source))
            for tests in filter(None, self.groups(mutant)):
                usual = sum(self.trace(test)["seconds"] for test in tests)
                seconds = round(60 + 5 * usual + 600 * ("_compiled" in mutant.path))  # to compile all anew
                if (outcome := self._outcome(tree, tests, seconds, cache)) != "passed":
                    return outcome
            return "survived"
        finally:
            (tree / mutant.path).write_bytes(source)
            self._trees.put(tree)

    def _outcome(self, tree: Path, tests: list[str], seconds: int, cache: Path | None) -> str:
        """Return whether tests passed, failed or hung. A test must fail twice: one may fail for want of time."""
        unsteady = [name for test in tests for name in self.trace(test)["failed"]]
        while True:
            skipped = [f"--deselect={name}" for name in unsteady]
            outcome, failed = run_tests(tree, [*tests, *skipped], seconds, cache)
            if not failed or run_tests(tree, failed, seconds, cache)[0] != "passed":
                return outcome
            unsteady += failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--longest", type=float, default=math.inf, help="leave out test files of more seconds")
    parser.add_argument("--only", default="", help="only changes with this text, such as minidl/losses.py:30")
    given = parser.parse_args()
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    FORKS.set_forkserver_preload(IMPORTED)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    modules = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "minidl").rglob("*.py"))]
    sources = {path: (ROOT / path).read_bytes() for path in modules if not path.startswith("minidl/testing")}
    drawn = [mutant for path, source in sources.items() for mutant in mutants(path, source)]
    random.Random(given.seed).shuffle(drawn)
    drawn = [mutant for mutant in drawn if given.only in mutant.shown(sources[mutant.path])][: given.count]
    found: dict[str, list[str]] = {"failed": [], "hung": [], "survived": []}
    with tempfile.TemporaryDirectory() as folder:
        campaign, pool = Campaign(given.jobs, Path(folder), given.longest), ThreadPoolExecutor(given.jobs)
        running = {pool.submit(campaign.outcome, mutant): mutant.shown(sources[mutant.path]) for mutant in drawn}
        try:
            for done in as_completed(running):
                found[done.result()].append(running[done])
                print(f"{sum(map(len, found.values()))}/{len(drawn)} {done.result():8} {running[done]}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, too
    for outcome in ("hung", "survived"):
        print("", f"{outcome}:", *found[outcome], sep="\n")
    print("\nmutants:", f"{len(drawn)} tried,", ", ".join(f"{len(found[outcome])} {outcome}" for outcome in found))
    sys.exit(bool(found["survived"]))


if __name__ == "__main__":
    main()
