"""Everything that minidl prints fits a console of code page 1252, such as that of Windows in Western Europe."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from inspect import isabstract
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import (
    SGD,
    Activation,
    Add,
    BatchNorm,
    Columns,
    Dense,
    Embedding,
    Graph,
    LayerNorm,
    MeanSquaredError,
    Parallel,
    Residual,
    RMSNorm,
    Sequential,
    Tanh,
    Trainer,
    load,
    mlp,
)
from minidl.errors import MinidlError
from minidl.solvers import levenberg_marquardt
from minidl.testing import Report, check_layer
from minidl.testing.report import Outcome
from tests.support.conformance_table import TABLE
from tests.support.planted.layers import MissingTranspose

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT).as_posix() for folder in ("minidl", "examples") for path in (ROOT / folder).rglob("*.py")
    if not re.search(r"_drawing/(?!tables)|inspection/(_page|_formulas)", path.as_posix())  # for browsers: UTF-8
)

WITH_ARGUMENTS: dict[str, Callable[[], object]] = {
    "Activation": lambda: Activation(np.sin, np.cos),
    "BatchNorm": lambda: BatchNorm(2),
    "Columns": lambda: Columns([0, 1]),
    "Dense": lambda: Dense(1, 2),
    "Embedding": lambda: Embedding(3, 2),
    "Graph": lambda: Graph({"h": (Dense(1, 2), "x"), "y": (Add(), "h", "h")}, output="y"),
    "LayerNorm": lambda: LayerNorm(2),
    "Parallel": lambda: Parallel(Dense(1, 2), Tanh()),
    "RMSNorm": lambda: RMSNorm(2),
    "Residual": lambda: Residual(Dense(2, 2)),
    "Sequential": lambda: mlp([1, 2, 1]), "Standardize": lambda: minidl.layers.Standardize(2),
    "Rescale": lambda: minidl.layers.Rescale(2),
}


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the strings of a module and the pieces of its f-strings, without docstrings."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield from texts(node)


def fits(text: str) -> bool:
    return text.encode("cp1252", "ignore").decode("cp1252") == text


@pytest.mark.parametrize("path", SOURCES)
def test_every_string_fits(path: str) -> None:
    found = texts(ast.parse((ROOT / path).read_text("utf-8")))
    assert [f"line {node.lineno}: {node.value!r}" for node in found if not fits(str(node.value))] == []


def test_the_reader_of_strings_sees_each_kind_and_leaves_docstrings_out() -> None:
    source = '''"""1"""\nclass A:\n    a = f"→{'←'}", ["↑"]\n    """2"""\n    def f(self):\n        """3"""'''
    found = [str(node.value) for node in texts(ast.parse(source))]
    assert found == ["→", "←", "↑"]
    assert not any(map(fits, found))
    assert fits("±½ × … — µ")


@pytest.mark.parametrize("name", TABLE)
def test_what_a_check_asks_for_fits(name: str) -> None:
    for check in TABLE[name]():
        assert fits(str(Report(check.subject, (Outcome(check.name, check.about, failure="wrong"),))))


def errors() -> Iterator[Callable[[], object]]:
    """Yield calls that are refused."""
    x = np.ones((3, 1))
    yield lambda: mlp([1, 2, 1]).predict(np.ones((2, 3)))
    yield lambda: Sequential(Dense(1, 2), Dense(3, 1))
    yield lambda: Graph({"a": (Tanh(), "b"), "b": (Tanh(), "a")}, output="a")
    yield lambda: Embedding(3, 2).forward(np.full((1, 1), 7.0))
    yield lambda: Dense(1, 2).backward(np.ones((1, 2)))
    yield lambda: load(ROOT / "README.md")
    yield lambda: minidl.Predictor(Embedding(3, 2))
    yield lambda: trainer().fit(x, np.full((3, 1), np.nan), epochs=1)
    yield lambda: check_layer(MissingTranspose())


def trainer() -> Trainer:
    model = mlp([1, 2, 1], rng=0)
    return Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1), rng=0)


def print_everything() -> None:
    """Print what a console may be asked to show; run in a process of its own."""
    for name in minidl.layers.__all__:
        kind = getattr(minidl.layers, name)
        if isinstance(kind, type) and not isabstract(kind):
            make: Callable[[], object] = WITH_ARGUMENTS.get(name, kind)
            print(repr(make()))
    x = np.linspace(0.0, 1.0, 8)[:, None]
    trained = trainer()
    print(repr(trained.fit(x, x, epochs=2)))
    print(repr(levenberg_marquardt(trained.model, x, x, max_iterations=3)))
    print(check_layer(Dense(2, 2)))
    for number, refused in enumerate(errors()):
        try:
            refused()
        except MinidlError as error:
            print(f"{type(error).__name__}: {error}")
        else:
            raise AssertionError(f"call {number} was not refused")


def test_a_console_of_code_page_1252_prints_everything() -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import print_everything; print_everything()"],
        cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode()
    shown = run.stdout.decode("cp1252")
    for line in ("Dense(1 -> 2)", "  y: Add() <- h, h", "  failed: gradient of x"):
        assert line in shown.splitlines()
    assert "History(2 epochs, loss " in shown
    assert "SolverResult(" in shown
    assert "a <- b <- a" in shown
