"""Where the code of the pages and of the programs uses public names."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


PUBLIC_MODULES = [
    "callbacks", "errors", "export", "initializers", "inspection", "layers", "losses", "metrics", "onnx", "optimizers",
    "schedules", "search", "sklearn", "solvers", "testing", "trainer",
]


def public() -> dict[str, list[str]]:
    """Map each public module to its public names."""
    return {name: import_module(name).__all__ for name in ["minidl", *(f"minidl.{module}" for module in PUBLIC_MODULES)]}


def public_names() -> list[str]:
    """Return the full names of everything public."""
    return [f"{module}.{name}" for module, names in public().items() for name in names]


def pages() -> list[Path]:
    """Return the README and the pages in Markdown."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def programs() -> list[Path]:
    """Return the example programs."""
    return sorted((ROOT / "examples").glob("*.py"))


def uses() -> dict[str, list[str]]:
    """Map names that code mentions to the pages and programs that do so; an import alone does not count."""
    found: dict[str, list[str]] = {}
    for path in [*pages(), *programs()]:
        names = {name for code in _code(path) for name in _names(code)}
        for name in names:
            found.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return found


def _code(path: Path) -> Iterator[str]:
    """Yield the Python code of a page or program."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield text
    for language, code in BLOCK.findall(text) if path.suffix == ".md" else ():
        if language == "python":
            yield code
        elif language == "pycon":
            yield from (example.source for example in doctest.DocTestParser().get_examples(code))


def _names(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
