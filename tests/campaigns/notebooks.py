"""``python -m tests.campaigns.notebooks``: run the notebooks of docs/notebooks/ in a real Jupyter kernel.

It needs nbclient and ipykernel, and with ``--html FOLDER`` nbconvert too: ``pip install nbclient ipykernel nbconvert``.
Where they are missing, the campaign says so and ends without an error. ``--html`` writes each notebook with its
outputs as a page, to be looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.notebooks import NOTEBOOKS

SECONDS = 120
"""A cell that takes longer is an error."""


def missing() -> str | None:
    """Return the name of a package that is needed and not installed."""
    return next((name for name in ("nbformat", "nbclient", "ipykernel") if find_spec(name) is None), None)


def executed(path: Path) -> Any:
    """Run a notebook in a kernel of its own, in an empty folder, and return it with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    return notebook


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the notebooks."""
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.notebooks", description=__doc__)
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=f"which of {', '.join(names)}")
    parser.add_argument("--html", type=Path, metavar="FOLDER", help="folder for pages with outputs")
    options = parser.parse_args(arguments)
    if (package := missing()) is not None:
        print(f"{package} is not installed: nothing was run (pip install nbclient ipykernel)")
        return
    for name in options.names:
        notebook = executed(NOTEBOOKS / f"{name}.ipynb")
        print(f"{name}: every cell ran", flush=True)
        if options.html is not None:
            from nbconvert import HTMLExporter

            options.html.mkdir(parents=True, exist_ok=True)
            page, _ = HTMLExporter().from_notebook_node(notebook)
            (options.html / f"{name}.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
