"""Draw a network as neurons or as blocks."""

from typing import Literal, TypeAlias

from ..errors import ArgumentError
from .blocks import draw_blocks
from .neurons import columns_of, draw_neurons, is_small
from .structure import Node, chain_of

Style: TypeAlias = Literal["auto", "neurons", "blocks"]

STYLES = ("auto", "neurons", "blocks")


def draw(node: Node, style: Style = "auto", weights: bool = True, most_neurons: int = 24) -> str:
    """Return an SVG picture: neurons for a small chain of fully connected layers, blocks for any other network.

    Raises:
        ArgumentError: neurons were asked for, and it is not such a chain.
    """
    columns = None if style == "blocks" else columns_of(chain_of(node))
    if style == "neurons" and columns is None:
        raise ArgumentError(
            f'diagram(style="neurons"): expected a chain of Dense layers and activations, got {node.text}; '
            'use style="blocks"'
        )
    if columns and (style == "neurons" or is_small(columns, most_neurons)):
        return draw_neurons(columns, most_neurons, weights)
    return draw_blocks(node)
