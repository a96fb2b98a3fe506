"""Draw a small chain as neurons, with lines coloured by weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TypeAlias

import numpy as np

from .._core.arrays import Array
from .structure import INPUT, Node
from .svg import moved, picture, shortened, subscript, text

MOST_COLUMNS = 8
"""Most columns of neurons that a chain is drawn with unasked."""

COLUMNS = 150.0
SHADES = 8
"""Kinds of line, from the smallest to the largest weight of a layer."""

NAMED = 64
"""Most lines of a layer that show their weight under the pointer."""


_Places: TypeAlias = "dict[int | None, tuple[float, float]]"
"""Maps the neurons of a column that are drawn to their places; None stands for those that are left out."""


@dataclass
class _Column:
    """A layer of neurons: its width, the weights before it, and the functions after them."""

    width: int
    path: str = ""
    weight: Array | None = None
    functions: list[str] = field(default_factory=list)

    def shown(self, most: int) -> list[int | None]:
        """List the neurons that are drawn; None stands for those that are left out."""
        if self.width <= most:
            return list(range(self.width))
        half = max(1, most // 2)
        return [*range(half), None, *range(self.width - half, self.width)]


def columns_of(chain: Sequence[Node] | None) -> list[_Column] | None:
    """Return the columns of a chain that begins with a fully connected layer; None for any other network.

    What lies between two fully connected layers must keep the width.
    """
    if not chain or chain[0].weight is None:
        return None
    columns = [_Column(chain[0].weight.shape[1], functions=[INPUT])]
    for node in chain:
        if node.weight is not None:
            if node.weight.shape[1] != columns[-1].width:
                return None
            columns.append(_Column(len(node.weight), node.path, node.weight))
        else:
            columns[-1].functions.append(node.text.removesuffix("()"))
    return columns


def is_small(columns: Sequence[_Column], most_neurons: int) -> bool:
    """Whether a chain is drawn as neurons unasked."""
    return len(columns) <= MOST_COLUMNS and max(column.width for column in columns) <= most_neurons


def draw_neurons(columns: Sequence[_Column], most: int, weights: bool) -> str:
    """Return a picture of neurons in columns.

    Args:
        columns: The layers.
        most: Most neurons drawn in a column.
        weights: Whether a line shows its weight: blue above zero, orange below, thick and opaque for a large one.
    """
    shown = [column.shown(most) for column in columns]
    tallest = max(map(len, shown))
    radius, step = (20, 54) if tallest <= 6 else (7, 17)
    bottom = 34 + tallest * step
    places = [
        {neuron: (60 + COLUMNS * number, 10 + step * (tallest / 2 + row - (len(some) - 1) / 2))
         for row, neuron in enumerate(some)}
        for number, some in enumerate(shown)
    ]  # fmt: skip
    content = ""
    for number in range(1, len(columns)):
        content += _lines(columns[number], number, places[number - 1], places[number], radius, weights)
    for number, (column, some) in enumerate(zip(columns, places, strict=True), 1):
        content += f'<g class="column" data-layer="{number}">'
        for neuron, (x, y) in some.items():
            if neuron is None:
                content += text(x, y, "⋮")
                continue
            content += f'<circle class="box" data-neuron="{neuron}" cx="{x:.5g}" cy="{y:.5g}" r="{radius}"/>'
            content += f'<text class="value small" x="{x:.5g}" y="{y:.5g}"/>' * (radius > 10)
        content += text(x, bottom, f"L{subscript(number)}: {column.width}")
        for row, function in enumerate(column.functions or ["identity"], 1):
            content += text(x, bottom + 2 + 14 * row, shortened(function, 24), "small")
        content += "</g>"
    bottom += 2 + 14 * max(len(column.functions) for column in columns)
    if weights:
        content += moved(_legend(bottom + 26), COLUMNS / 2 * (len(columns) - 1) - 63, 0)  # in the middle
    label = "Network " + "-".join(str(column.width) for column in columns)
    return picture(COLUMNS * (len(columns) - 1) + 120, bottom + (40 if weights else 14), label, content)


def _lines(
    column: _Column, number: int, before: _Places, after: _Places, radius: float, weights: bool
) -> str:
    """Draw the lines from one column to the next; those of one sign and shade are one path."""
    weight = column.weight
    assert weight is not None
    sizes = np.abs(np.nan_to_num(weight))
    shades = np.round(sizes / (sizes.max(initial=0.0) or 1.0) * SHADES)
    many = len(before) * len(after) > NAMED
    ways: dict[tuple[str, float, str], str] = defaultdict(str)
    for neuron, (x2, y2) in after.items():
        for source, (x1, y1) in before.items():
            if neuron is not None and source is not None:
                value = weight[neuron, source]
                kind = "plain" if not weights else "less" if value < 0 else "more"
                name = f"W{subscript(number)}[{neuron + 1},{source + 1}] = {value:.4g}" if weights and not many else ""
                way = f"M{x1 + radius:.4g} {y1:.4g}L{x2 - radius:.4g} {y2:.4g}"
                ways[kind, shades[neuron, source] if weights else SHADES / 4, name] += way
    content = "".join(_line(*look, way, 1.4 if many else 3.0) for look, way in ways.items())
    return f'<g class="lines" data-layer="{number}" data-path="{escape(column.path)}">{content}</g>'


def _line(kind: str, shade: float, name: str, way: str, thick: float) -> str:
    share = shade / SHADES
    look = f'class="{kind}" stroke-width="{0.4 + thick * share:.2g}" opacity="{0.12 + 0.88 * share**1.5:.2g}"'
    title = f"<title>{name}</title>" if name else ""
    return f'<path {look} d="{way}">{title}</path>'


def _legend(y: float) -> str:
    lines = f'<path class="more" stroke-width="2" d="M20 {y}h24"/><path class="less" stroke-width="2" d="M130 {y}h24"/>'
    return lines + text(80, y, "weight > 0", "small") + text(190, y, "weight < 0", "small")
