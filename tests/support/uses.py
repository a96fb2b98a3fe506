"""Where the code of the pages and of the programs uses public names."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isclass, isroutine
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


PUBLIC_MODULES = [
    "callbacks", "errors", "export", "initializers", "inspection", "layers", "losses", "metrics", "onnx", "optimizers",
    "schedules", "search", "sklearn", "solvers", "testing", "trainer",
]


def public() -> dict[str, list[str]]:
    """Map each public module to its public names."""
    modules = ["minidl", *(f"minidl.{module}" for module in PUBLIC_MODULES)]
    return {name: import_module(name).__all__ for name in modules}


def public_names() -> list[str]:
    """Return the full names of everything public."""
    return [f"{module}.{name}" for module, names in public().items() for name in names]


def pages() -> list[Path]:
    """Return the README and the pages in Markdown."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def programs() -> list[Path]:
    """Return the example programs."""
    return sorted((ROOT / "examples").glob("*.py"))


def homes() -> dict[int, str]:
    """Map the identity of everything public to its full name, in the module that describes it."""
    found = {}
    for module, names in public().items():  # "minidl" comes first, so its names take their home from what follows
        found.update({id(getattr(import_module(module), name)): f"{module}.{name}" for name in names})
    return found


def uses() -> dict[str, list[str]]:
    """Map full names to the pages and programs that use them; an import alone does not count."""
    names = homes()
    found: dict[str, list[str]] = {}
    for path in [*pages(), *programs()]:
        used = {names[id(part)] for part in _used(ast.parse("\n".join(_code(path)))) if id(part) in names}
        for name in used:
            found.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return found


def has_example(name: str) -> bool:
    """Return whether the docstring of a public name has an example."""
    module, _, last = name.rpartition(".")
    part = getattr(import_module(module), last)
    text = part.__doc__ or "" if isclass(part) or isroutine(part) else ""
    return ">>> " in text or "::\n" in text


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


def _used(tree: ast.Module) -> Iterator[Any]:
    """Yield the parts of minidl that code names after it has imported them."""
    imported: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "minidl":
            module = import_module(node.module or "")
            for alias in node.names:
                imported[alias.asname or alias.name] = getattr(module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield imported.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield getattr(imported.get(node.value.id), node.attr, None)
