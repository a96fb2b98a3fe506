"""Draw a network as blocks and wires: chains are wrapped, repeats are folded, branches lie side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from .layout import Block, chain, layered, row, wrapped
from .structure import INPUT, Node, folded, runs
from .svg import box, moved, picture, text, text_width, wire

MARGIN = 12.0

UNSAID = ("", "layer", "merge")
"""Names that the containers of minidl give, which say nothing to a reader."""


def draw_blocks(node: Node) -> str:
    """Return a picture in which every layer is a block."""
    lines = runs(node.wiring)
    blocks = _run(node, lines[0]) if len(lines) == 1 else [_of(node)]
    enter, leave = (Block(12, 12, 6, 6, text(6, 6, name)) for name in "xy")
    blocks[0] = row([enter, blocks[0]])
    blocks[-1] = row([blocks[-1], leave])
    _, block = wrapped(blocks)
    content = moved(block.content, MARGIN, MARGIN)
    return picture(block.width + 2 * MARGIN, block.height + 2 * MARGIN, f"Diagram of {node.text}", content)


def _of(node: Node) -> Block:
    """Draw a layer as a box, and a container by its parts."""
    if not node.parts:
        return _leaf(node)
    if not node.wiring:  # Somebody's own container: what flows where is not known.
        return _framed(chain([_of(part) for part in node.parts.values()], wired=False), node, node.text)
    lines = runs(node.wiring)
    blocks = {line[-1]: chain(_run(node, line)) for line in lines}
    inputs = {line[-1]: node.wiring[line[0]] for line in lines}
    return layered(blocks, inputs, INPUT) if len(blocks) > 1 else blocks[lines[0][-1]]


def _leaf(node: Node) -> Block:
    if node.text == "+":
        circle = '<circle class="box" cx="9" cy="9" r="9"/>' + text(9, 9, "+")
        return _part(Block(18, 18, 9, 9, circle), node)
    width = max(54.0, text_width(node.text) + 18, text_width(node.note, 6) + 18)
    height = 40.0 if node.note else 28.0
    words = text(width / 2, 14, node.text)
    words += text(width / 2, 29, node.note, "small") if node.note else ""
    return _part(Block(width, height, height / 2, height / 2, box(width, height) + words), node)


def _part(block: Block, node: Node) -> Block:
    """Let a block tell its path: to a pointer, and to a page that marks it."""
    title = escape(f"{node.path}: {node.text}" if node.path else node.text)
    content = f'<g class="part" data-path="{escape(node.path)}"><title>{title}</title>{block.content}</g>'
    return replace(block, content=content)


def _framed(block: Block, node: Node, title: str, wired: bool = False) -> Block:
    """Draw a frame with a title around a block."""
    width = max(block.width, text_width(title, 6)) + 20
    left = (width - block.width) / 2
    content = box(width, block.height + 30, "frame") + text(width / 2, 11, title, "small")
    content += moved(block.content, left, 22)
    framed = _part(Block(width, block.height + 30, 22 + block.entry, 22 + block.exit, content), node)
    if not wired:
        return framed
    wires = wire(0, framed.entry, left, framed.entry) + wire(left + block.width, framed.exit, width, framed.exit, False)
    return replace(framed, content=framed.content + wires)


def _captioned(block: Block, name: str) -> Block:
    """Write the name that a user gave to a node above its block."""
    if name in UNSAID or name.isdecimal():
        return block
    width = max(block.width, text_width(name, 5.5))
    left = (width - block.width) / 2
    content = text(width / 2, 5, name, "small") + moved(block.content, left, 13)
    if left:
        content += wire(0, 13 + block.entry, left, 13 + block.entry, False)
        content += wire(left + block.width, 13 + block.exit, width, 13 + block.exit, False)
    return Block(width, block.height + 13, block.entry + 13, block.exit + 13, content)


def _run(container: Node, names: Sequence[str]) -> list[Block]:
    """Draw parts that follow each other, repeats once."""
    nodes = [container.part(name) for name in names]
    blocks = []
    for pattern, times in folded(nodes):
        if times > 1:
            blocks.append(_framed(chain([_of(node) for node in pattern]), container, f"× {times}", wired=True))
        else:
            blocks += [_captioned(_of(node), node.path[len(container.path) :].lstrip(".")) for node in pattern]
    return blocks
