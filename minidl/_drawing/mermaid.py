"""Write a network as Mermaid text, which many pages and editors draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from .structure import INPUT, Node


def mermaid(node: Node) -> str:
    """Return the text of a flowchart."""
    lines = ["flowchart LR", f"  {INPUT}(({INPUT}))"]
    ends = _added(node, [INPUT], lines, count())
    return "\n".join([*lines, "  y((y))", *(f"  {end} --> y" for end in ends)]) + "\n"


def _added(node: Node, sources: Sequence[str], lines: list[str], numbers: count[int]) -> list[str]:
    """Add the lines of a node, and return the ids whose output is its output."""
    if node.wiring and node.parts:
        made = {INPUT: list(sources)}
        for name, inputs in node.wiring.items():
            given = [end for source in inputs for end in made[source]]
            made[name] = ends = _added(node.part(name), given, lines, numbers)
        return ends
    name, words = f"n{next(numbers)}", _quoted(node.text)
    if node.parts:
        lines.append(f'  subgraph {name}["{words}"]')
        for part in node.parts.values():
            _added(part, [], lines, numbers)
        lines.append("  end")
    else:
        lines.append(f'  {name}["{words}"]')
    lines += [f"  {source} --> {name}" for source in sources]
    return [name]


def _quoted(words: str) -> str:
    """Return a text for a label; Mermaid writes the entities of HTML with # in place of &."""
    for letter, entity in (("#", "#35;"), ("&", "#amp;"), ("<", "#lt;"), ('"', "#quot;")):
        words = words.replace(letter, entity)
    return words
