"""Pieces of SVG: the style of all pictures, text, boxes and wires.

No element has an id, so that any number of pictures fit on one page. Colours come from the text around the picture
(``currentColor``), so that it is legible on a light page and on a dark one.
"""

from __future__ import annotations

from html import escape
from unicodedata import east_asian_width

STYLE = """
.minidl-net{font:12px system-ui,sans-serif;max-width:100%;height:auto}
.minidl-net text{fill:currentColor;text-anchor:middle;dominant-baseline:central}
.minidl-net .small{font-size:10px;opacity:.75}
.minidl-net .box{fill:currentColor;fill-opacity:.06;stroke:currentColor;stroke-opacity:.55}
.minidl-net .frame{fill:none;stroke:currentColor;stroke-opacity:.4;stroke-dasharray:4 3}
.minidl-net .wire{fill:none;stroke:currentColor;stroke-opacity:.6;stroke-width:1.2;stroke-linejoin:round}
.minidl-net .dot{fill:currentColor;fill-opacity:.7}
.minidl-net .curve{fill:none;stroke-width:1.6}.minidl-net .dashed{stroke-dasharray:4 2}
.minidl-net .more{stroke:#2a7fd4}.minidl-net .less{stroke:#d9730d}.minidl-net .plain{stroke:currentColor}
""".replace("\n", "")
"""Blue and orange differ for every kind of colour vision, and on white as on black."""

LONGEST_TEXT = 40
"""Most characters of a text in a picture."""

TIP = "m-5-3.5l5 3.5l-5 3.5"
"""The tip of an arrow to the right, as the end of a path."""


def picture(width: float, height: float, label: str, content: str) -> str:
    """Return a whole picture; ``label`` is what a screen reader says."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" class="minidl-net" {size} role="img"'
    return f'{start} aria-label="{escape(label)}"><style>{STYLE}</style>{content}</svg>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return a text around a point."""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.5g}" y="{y:.5g}"{style}>{escape(shortened(words))}</text>'


def text_width(words: str, size: float = 7.0) -> float:
    """Estimate the width of a text; ``size`` is the width of a letter."""
    return size * sum(1.7 if east_asian_width(letter) in "WF" else 1.0 for letter in shortened(words))


def shortened(words: str, most: int = LONGEST_TEXT) -> str:
    """Return the text as a picture shows it: arrows in place of ``->``, and … in place of what is too long."""
    words = words.replace("->", "→")
    return words if len(words) <= most else f"{words[: most - 1]}…"


def moved(content: str, x: float, y: float) -> str:
    """Return pieces at another place."""
    return f'<g transform="translate({x:.5g} {y:.5g})">{content}</g>'


def wire(x1: float, y1: float, x2: float, y2: float, tip: bool = True) -> str:
    """Return a wire to the right, curved where the heights differ."""
    bend = (x2 - x1) / 2
    level = abs(y1 - y2) < 0.5
    way = f"H{x2:.5g}" if level else f"C{x1 + bend:.5g} {y1:.5g} {x2 - bend:.5g} {y2:.5g} {x2:.5g} {y2:.5g}"
    return f'<path class="wire" d="M{x1:.5g} {y1:.5g}{way}{TIP if tip else ""}"/>'


def box(width: float, height: float, kind: str = "box") -> str:
    """Return a box with round corners."""
    return f'<rect class="{kind}" width="{width:.5g}" height="{height:.5g}" rx="6"/>'


def subscript(number: int) -> str:
    """Return a number in small digits below the line: L₁."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
