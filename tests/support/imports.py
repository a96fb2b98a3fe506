"""Which modules of the package import which: read from the source, ``TYPE_CHECKING`` and inner imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ORDER = [
    "errors", "_core", "_drawing", "initializers", "layers", "losses", "metrics", "schedules", "optimizers", "_data",
    "_files", "_rules", "export", "onnx", "_trace", "solvers", "_compiled", "_training", "trainer", "compile_ahead",
    "callbacks", "search", "inspection", "sklearn", "testing", "",
]
"""The packages in order: each imports only from those before it. "" is the package itself, with the public names."""


def sources(root: Path) -> dict[str, str]:
    """Map the dotted name of each module inside of ``root/minidl`` to its source."""
    package = root / "minidl"
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path.read_text("utf-8")
    return found


def import_graph(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Map each module to the modules of the package that it imports."""
    return {name: set(_imports(name, source, modules)) - {name} for name, source in modules.items()}


def _imports(name: str, source: str, modules: Mapping[str, str]) -> Iterator[str]:
    is_package = not name or any(other.startswith(f"{name}.") for other in modules)
    here = ["minidl", *name.split(".")] if name else ["minidl"]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + is_package] if node.level else []
            imported = [*base, *(node.module.split(".") if node.module else [])]
            if imported[0] == "minidl":
                for alias in node.names:
                    inner = ".".join([*imported[1:], alias.name])
                    yield inner if inner in modules else ".".join(imported[1:])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == "minidl":
                    yield ".".join(rest)


def rank(module: str) -> int:
    """Return the number of a module's package in the order, -1 where it is not in it."""
    package = module.split(".")[0]
    return ORDER.index(package) if package in ORDER else -1


def later_imports(graph: Mapping[str, set[str]]) -> list[str]:
    """List the imports from a later package."""
    return [
        f"{name} imports {imported or 'minidl'}"
        for name in graph
        for imported in sorted(graph[name])
        if rank(imported) > rank(name)
    ]


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """List the circles: modules that all reach one another by imports."""
    reached = {name: _reached(graph, name) for name in graph}
    found = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(circle) for circle in found if circle)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Return the modules that an import of ``start`` leads to."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found
