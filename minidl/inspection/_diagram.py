"""A picture of a model."""

from __future__ import annotations

from html import escape
from os import PathLike
from pathlib import Path

from .._core.arrays import flag, one_of, path_ending, positive_int
from .._drawing.mermaid import mermaid
from .._drawing.picture import STYLES, Style, draw
from .._drawing.structure import Node
from ..layers._picture import structure
from ..layers._structure import check_part
from ..layers.base import Layer

COLOURS = """:root{color:#1c2026;background:#fff}
@media(prefers-color-scheme:dark){:root{color:#e6e9ed;background:#14171b}}"""
"""Colours of a file of its own, for a light and a dark screen."""


class Diagram:
    """A picture of a model; a notebook shows it.

    Attributes:
        svg: The picture as SVG text, for any HTML page. It takes the colour of the text around it.

    Example:
        >>> from minidl.inspection import diagram
        >>> picture = diagram(mlp([2, 3, 1], rng=0))
        >>> picture.svg[:4]
        '<svg'
        >>> print(picture.mermaid().splitlines()[0])
        flowchart LR
    """

    def __init__(self, svg: str, structure: Node) -> None:
        self.svg = svg
        self._structure = structure

    def mermaid(self) -> str:
        """Return the structure as Mermaid text: a flowchart that many wikis and editors draw."""
        return mermaid(self._structure)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture to a file.

        Args:
            path: A name that ends in ``.svg`` or ``.html``.

        Raises:
            ArgumentError: another ending.
        """
        ending = path_ending(path, (".svg", ".html"), "Diagram.save(path)")
        content = self.svg.replace("<style>", f"<style>{COLOURS}", 1)
        if ending == ".html":
            title = escape(f"Diagram of {self._structure.text}")
            content = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{content}</html>'
        Path(path).write_text(content, encoding="utf-8")

    def _repr_html_(self) -> str:
        """Show the picture in a notebook."""
        return f"<div>{self.svg}</div>"

    def __repr__(self) -> str:
        return f"<Diagram of {self._structure.text}, {len(self.svg) / 1000:.1f} kB>"


def diagram(
    model: Layer, *, style: Style = "auto", weights: bool = True, depth: int | None = None, most_neurons: int = 24
) -> Diagram:
    """Draw a model: a small chain of Dense layers and activations as neurons, any other as blocks.

    Repeated parts are drawn once, with ``× 30``. A container of your own is a frame around its parts.

    Args:
        model: What to draw.
        style: ``"neurons"``, ``"blocks"``, or ``"auto"``: neurons for at most 8 layers of ``most_neurons`` neurons.
        weights: Whether the line between two neurons shows the weight: blue above 0, orange below.
        depth: Levels of nesting that are drawn; None for all.
        most_neurons: Neurons that are drawn of a layer; ⋮ stands for the others.

    Raises:
        ArgumentError: ``style="neurons"`` for a model that is not such a chain.
    """
    check_part(model, Layer, "diagram(model)")
    one_of(style, STYLES, "diagram(style)")
    weights = flag(weights, "diagram(weights)")
    most_neurons = positive_int(most_neurons, "diagram(most_neurons)")
    found = structure(model, None if depth is None else positive_int(depth, "diagram(depth)"))
    return Diagram(draw(found, style, weights, most_neurons), found)
