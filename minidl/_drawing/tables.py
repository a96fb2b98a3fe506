"""Tables as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def text_table(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Return lines in which the columns of some rows stand below each other; the first ``left`` begin at the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:left], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[left:], widths[left:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def html_table(rows: Sequence[Sequence[str]], caption: str, left: int = 0) -> str:
    """Return a table for a notebook; the first row is the heading, and the first ``left`` columns begin at the left."""
    heading, *body = ("".join(_cell(row, place, left, number == 0) for place in range(len(row)))
                      for number, row in enumerate(rows))
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    style = "border-collapse:collapse;font-variant-numeric:tabular-nums"
    return (f'<table style="{style}"><caption style="text-align:left;white-space:nowrap">{escape(caption)}</caption>'
            f"<thead><tr>{heading}</tr></thead><tbody>{lines}</tbody></table>")


def _cell(row: Sequence[str], place: int, left: int, heads: bool) -> str:
    side, tag = "left" if place < left else "right", "th" if heads else "td"
    return f'<{tag} style="text-align:{side};white-space:pre;padding:2px 10px">{escape(row[place])}</{tag}>'
