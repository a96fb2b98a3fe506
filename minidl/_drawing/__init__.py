"""Pictures of networks, from plain data: it knows no layers."""

from typing import Literal, TypeAlias

from .blocks import draw_blocks
from .neurons import MOST_COLUMNS, columns_of, draw_neurons
from .structure import Node, chain_of

Style: TypeAlias = Literal["auto", "neurons", "blocks"]


def draw(node: Node, style: Style = "auto", weights: bool = True, most_neurons: int = 24) -> str:
    """Return an SVG picture: neurons for a small chain of fully connected layers, blocks for any other network."""
    columns = None if style == "blocks" else columns_of(chain_of(node))
    few = columns and len(columns) <= MOST_COLUMNS and max(column.width for column in columns) <= most_neurons
    return draw_neurons(columns, most_neurons, weights) if columns and (few or style == "neurons") else draw_blocks(node)
