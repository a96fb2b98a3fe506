"""Run the cells of a notebook without Jupyter, and collect what it would show."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
FORMATS = {"text/html": "_repr_html_", "image/png": "_repr_png_", "text/plain": "__repr__"}
"""The formats in which a notebook shows a value, the richest first, and the methods that give them."""


@dataclass
class Session:
    """A notebook after its last cell: its variables, and what each cell shows, by the id of the cell and the format."""

    names: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)


def read(name: str) -> dict[str, Any]:
    """Read a notebook."""
    notebook: dict[str, Any] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    return notebook


def source(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    return "".join(cell["source"])


def text(name: str) -> str:
    """Return the Markdown of a notebook."""
    return "\n\n".join(source(cell) for cell in read(name)["cells"] if cell["cell_type"] == "markdown")


def run(name: str) -> Session:
    """Run the cells from top to bottom; the value of a cell's last line is shown, as in Jupyter."""
    session = Session({"__name__": "__main__"})
    for cell in read(name)["cells"]:
        if cell["cell_type"] == "code":
            value = _run_cell(source(cell), f"{name}, cell {cell['id']}", session.names)
            session.shown[cell["id"]] = {
                kind: getattr(value, method)() for kind, method in FORMATS.items() if hasattr(value, method)
            } if value is not None else {}
    return session


def _run_cell(code: str, where: str, names: dict[str, Any]) -> Any:
    tree = ast.parse(code, where)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, where, "exec"), names)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names)
