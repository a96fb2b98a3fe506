"""``python -m tests.campaigns.equations``: write the tables in docs/equations.md again, from the docstrings."""

from __future__ import annotations

from pathlib import Path

from minidl import layers, losses, optimizers
from minidl.inspection._equations import equations
from minidl.layers import Layer, Merge
from minidl.losses import Loss
from minidl.optimizers import Clip, Optimizer, Penalty

PAGE = Path(__file__).parents[2] / "docs" / "equations.md"
BEGIN, END = "<!-- tables: written by python -m tests.campaigns.equations -->\n", "<!-- end of the tables -->\n"

KINDS = {
    "Layers and activations": Layer,
    "Merges": Merge,
    "Losses": Loss,
    "Penalties": Penalty,
    "Optimizers": Optimizer,
    "Clips": Clip,
}


def built_in(kind: type) -> list[type]:
    """List the public classes of a kind, without base classes."""
    names = [(module, name) for module in (layers, losses, optimizers) for name in module.__all__]
    found = [getattr(module, name) for module, name in names]
    return [
        value for value in found
        if isinstance(value, type) and issubclass(value, kind) and not getattr(value, "__abstractmethods__", None)
    ]


def tables() -> str:
    """Return a table in Markdown for each kind."""
    text = ""
    for title, kind in KINDS.items():
        columns = ["update"] if issubclass(kind, (Optimizer, Clip)) else ["forward", "backward"]
        text += f"\n### {title}\n\n| class | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
        for part in built_in(kind):
            stated = [_cell(getattr(equations(part), column)) for column in columns]
            text += f"| `{part.__name__}` | {' | '.join(stated)} |\n"
    return text + "\n"


def _cell(lines: tuple[str, ...]) -> str:
    return "<br>".join(lines).replace("|", "\\|").replace("[", "\\[")


def main() -> None:
    """Put the tables between the two marks of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + tables() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
