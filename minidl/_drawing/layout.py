"""Place blocks: one after the other, or in levels where the data flow branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from .svg import TIP, moved, wire

WIDEST = 860.0
"""Width at which a chain goes on in a new row."""

GAP = 26.0
LEVELS = 32.0
ROWS = 20.0
SWEEPS = 6


@dataclass(frozen=True)
class Block:
    """A piece of the picture with its corner at 0, 0: a wire enters at the left and leaves at the right.

    Attributes:
        width: Its width.
        height: Its height.
        entry: Height of the wire that enters.
        exit: Height of the wire that leaves.
        content: SVG.
    """

    width: float
    height: float
    entry: float
    exit: float
    content: str


def chain(blocks: Sequence[Block], wired: bool = True) -> Block:
    """Place blocks one after the other, in several rows if they are many, and wires at both ends if there are rows."""
    rows, (end, block) = _rows(blocks), wrapped(blocks, wired)
    if len(rows) == 1:
        return block
    content = moved(block.content, GAP / 2, 0) + wire(0, block.entry, GAP / 2, block.entry, wired)
    content += wire(GAP / 2 + end, block.exit, GAP + block.width, block.exit, False) if wired else ""
    return replace(block, width=block.width + GAP, content=content)


def wrapped(blocks: Sequence[Block], wired: bool = True) -> tuple[float, Block]:
    """Place blocks in rows; return the right end of the last row too."""
    lines = [row(one, wired) for one in _rows(blocks)]
    tops = [0.0]
    for line in lines:
        tops.append(tops[-1] + line.height + ROWS)
    content = "".join(moved(line.content, 0, top) for line, top in zip(lines, tops, strict=False))
    for (above, top), (below, next_top) in pairwise(zip(lines, tops, strict=False)):
        down = f"M{above.width:.5g} {top + above.exit:.5g}h8V{next_top - ROWS / 2:.5g}"
        back = f"H-10V{next_top + below.entry:.5g}H0{TIP}"
        content += f'<path class="wire" d="{down}{back}"/>' if wired else ""
    width, leave = max(line.width for line in lines), tops[-2] + lines[-1].exit
    return lines[-1].width, Block(width, tops[-1] - ROWS, lines[0].entry, leave, content)


def _rows(blocks: Sequence[Block]) -> list[list[Block]]:
    """Split blocks into rows that are not too wide."""
    rows: list[list[Block]] = [[]]
    width = 0.0
    for block in blocks:
        if rows[-1] and width + block.width > WIDEST:
            rows.append([])
            width = 0.0
        rows[-1].append(block)
        width += block.width + GAP
    return rows


def row(blocks: Sequence[Block], wired: bool = True) -> Block:
    """Place blocks in one row, so that each wire is straight."""
    line, places = 0.0, []
    for block in blocks:
        places.append(line - block.entry)
        line += block.exit - block.entry
    top = min(places)
    x, content = 0.0, ""
    for block, y in zip(blocks, places, strict=True):
        if x and wired:
            content += wire(x - GAP, y + block.entry - top, x, y + block.entry - top)
        content += moved(block.content, x, y - top)
        x += block.width + GAP
    height = max(y + block.height for block, y in zip(blocks, places, strict=True)) - top
    return Block(x - GAP, height, -top, line - top, content)


@dataclass(eq=False)
class _Place:
    """A block in a level, or a lane: the part of a long wire that passes this level."""

    block: Block
    level: int
    lane: bool = False
    sources: list[_Place] = field(default_factory=list)
    readers: list[_Place] = field(default_factory=list)
    order: float = 0.0
    x: float = 0.0
    y: float = 0.0


def layered(blocks: Mapping[str, Block], inputs: Mapping[str, tuple[str, ...]], start: str) -> Block:
    """Place blocks in levels: each to the right of its inputs; a wire over several levels gets a lane in each.

    Args:
        blocks: The blocks by name, each after those that it reads; the last is the output.
        inputs: Names of the inputs of each.
        start: Name of the input of all.
    """
    first = here = _Place(Block(6, 6, 3, 3, '<circle class="dot" cx="3" cy="3" r="3"/>'), 0)
    places, lanes = {start: first}, []
    for name, block in blocks.items():
        here = places[name] = _Place(block, 1 + max(places[source].level for source in inputs[name]))
        for source in inputs[name]:
            lanes += _connected(places[source], here)
    levels: list[list[_Place]] = [[] for _ in range(here.level + 1)]
    for place in [*lanes, *places.values()]:
        levels[place.level].append(place)
    _set_order(levels)
    _set_coordinates(levels)
    top = min(place.y for level in levels for place in level)
    bottom = max(place.y + place.block.height for level in levels for place in level)
    content = "".join(_drawn(place, top) for level in levels for place in level)
    leave = here.y - top + here.block.exit
    return Block(here.x + here.block.width, bottom - top, first.y - top + 3, leave, content)


def _connected(source: _Place, reader: _Place) -> list[_Place]:
    """Connect two places, and return the lanes between them."""
    lanes = [_Place(Block(0, 10, 5, 5, ""), level, lane=True) for level in range(source.level + 1, reader.level)]
    for before, after in pairwise([source, *lanes, reader]):
        before.readers.append(after)
        after.sources.append(before)
    return lanes


def _set_order(levels: Sequence[list[_Place]]) -> None:
    """Order each level so that few wires cross: by the mean place of the neighbours, from both sides in turns."""
    for sweep in range(SWEEPS):
        for level in reversed(levels) if sweep % 2 else levels:
            for place in level:
                near = place.readers if sweep % 2 else place.sources
                place.order = _mean([other.order for other in near]) if near else place.order
            level.sort(key=lambda place: place.order)
            for number, place in enumerate(level):
                place.order = number - (len(level) - 1) / 2


def _set_coordinates(levels: Sequence[list[_Place]]) -> None:
    """Stack the blocks of each level, at the mean height of what they read."""
    x = 0.0
    for level in levels:
        width, y = max(place.block.width for place in level), 0.0
        for place in level:
            if place.lane:
                place.block = replace(place.block, width=width, content=wire(0, 5, width, 5, False))
            place.x, place.y = x + (width - place.block.width) / 2, y
            y += place.block.height + ROWS
        pairs = [(source, place) for place in level if not place.lane for source in place.sources]
        pairs = [pair for pair in pairs if not pair[0].lane] or pairs
        shift = _mean([a.y + a.block.exit - b.y - b.block.entry for a, b in pairs]) if pairs else 0.0
        for place in level:
            place.y += shift
        x += width + LEVELS


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _drawn(place: _Place, top: float) -> str:
    """Draw a block and the wires that enter it."""
    y = place.y - top
    content = moved(place.block.content, place.x, y)
    for source in place.sources:
        leave = source.y - top + source.block.exit
        tip = source is place.sources[-1] and not place.lane
        content += wire(source.x + source.block.width, leave, place.x, y + place.block.entry, tip)
    return content
