"""The structure of a network as plain data, which every picture is drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._core.arrays import Array

INPUT = "x"
"""What a wiring calls the input of the container."""

LONGEST_PATTERN = 8
"""Most parts in a pattern whose repeats are folded."""


@dataclass(frozen=True, eq=False)
class Node:
    """One part of a network.

    Attributes:
        path: Its path in the model; empty for the model.
        text: What it is, such as ``"Dense(4 -> 8)"``.
        note: How many numbers it learns, as text.
        parts: The parts of a container by name.
        wiring: Maps each part to the names of its inputs, in the order in which they are computed; the last is the
            output. Empty where the data flow is not known. A name that is not in ``parts`` is an operation of the
            container itself, such as the ``+`` of a residual connection.
        closed: Whether it has parts that are not drawn.
        weight: The weights of a fully connected layer, ``(out, in)``.
    """

    path: str
    text: str
    note: str = ""
    parts: Mapping[str, Node] = field(default_factory=dict)
    wiring: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    closed: bool = False
    weight: Array | None = None

    def part(self, name: str) -> Node:
        """Return a part, or the operation of that name."""
        return self.parts.get(name) or Node(self.path, name)


def runs(wiring: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """Group the names of a wiring into runs: in a run, each is the only one that reads the one before it."""
    readers = Counter(source for inputs in wiring.values() for source in inputs)
    found: dict[str, list[str]] = {}
    for name, inputs in wiring.items():
        before = inputs[0]
        alone = len(inputs) == 1 and before in found and readers[before] == 1
        found[name] = [*found.pop(before), name] if alone else [name]
    return list(found.values())


def chain_of(node: Node) -> list[Node] | None:
    """List the layers of a network that is one chain; None for any other."""
    if not node.parts:
        return None if node.closed else [node]
    found: list[Node] = []
    if len(runs(node.wiring)) != 1 or len(node.wiring) != len(node.parts):
        return None
    for name in node.wiring:
        inner = chain_of(node.parts[name])
        if inner is None:
            return None
        found += inner
    return found


def folded(nodes: Sequence[Node]) -> list[tuple[Sequence[Node], int]]:
    """Split a chain into (pattern, times): a pattern that is repeated three times or more comes once."""
    kinds = [_kind(node) for node in nodes]
    found: list[tuple[Sequence[Node], int]] = []
    at = 0
    while at < len(nodes):
        size, times = _repeated(kinds, at)
        later = _repeated(kinds, at + 1)
        if times < 3 or (later[0] * later[1] >= size * times and later[1] > 2):
            size = times = 1
        found.append((nodes[at : at + size], times))
        at += size * times
    return found


def _repeated(kinds: Sequence[object], at: int) -> tuple[int, int]:
    """Return the size of the pattern that begins at ``at`` and covers most when repeated, and how often it comes."""
    found = [(size, _repeats(kinds, at, size)) for size in range(1, LONGEST_PATTERN + 1)]
    return max(found, key=lambda one: one[0] * one[1] * (one[1] > 2))


def _repeats(kinds: Sequence[object], at: int, size: int) -> int:
    """Count how often the pattern of ``size`` kinds that begins at ``at`` comes there."""
    pattern, times = kinds[at : at + size], 1
    while len(pattern) == size and kinds[at + times * size : at + (times + 1) * size] == pattern:
        times += 1
    return times


def _kind(node: Node) -> object:
    """Return what two parts that look the same have in common."""
    parts = tuple((name, _kind(part)) for name, part in node.parts.items())
    return node.text, node.note, parts, tuple(node.wiring.items())
