"""Show what a run brought in a notebook: a sentence and a small curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

import numpy as np

from .._core.arrays import Array
from .svg import picture, text, text_width

Points: TypeAlias = Array
"""Rows (place, value)."""

WIDTH, HEIGHT, MARGIN = 300.0, 80.0, 10.0

MOST_POINTS = 300
"""Most points of a curve; others are left out."""

STROKES = ("more", "less dashed")


def html_of_run(words: str, curves: Mapping[str, Sequence[float]]) -> str:
    """Return the words, and below them a small picture of the curves.

    Args:
        words: The repr of the result.
        curves: One or two series by name, on a logarithmic scale if all numbers are above 0. Numbers that are not
            finite are left out.
    """
    finite = {name: _points(numbers) for name, numbers in curves.items()}
    drawn = {name: points for name, points in finite.items() if len(points) > 1}
    return f"<div><code>{escape(words)}</code><br>{_picture(drawn) if drawn else ''}</div>"


def _points(numbers: Sequence[float]) -> Points:
    """Return the places and values of the finite numbers, few enough for a picture."""
    values = np.asarray(numbers, float)
    places = np.flatnonzero(np.isfinite(values))
    places = places[np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).astype(int))] if len(places) else places
    return np.stack([places, values[places]], axis=1)


def _picture(curves: Mapping[str, Points]) -> str:
    every = np.concatenate(list(curves.values()))
    scale = np.log if every[:, 1].min() > 0 else np.positive
    low, high = scale(every[:, 1].min()), scale(every[:, 1].max())
    content, label = "", []
    for row, ((name, points), stroke) in enumerate(zip(curves.items(), STROKES, strict=False)):
        x = MARGIN + WIDTH * points[:, 0] / every[:, 0].max()
        y = MARGIN + HEIGHT * (high - scale(points[:, 1])) / (high - low or 1.0)
        way = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
        words = f"{name}: {points[0, 1]:.4g} → {points[-1, 1]:.4g}"
        label.append(words)
        bottom = HEIGHT + 2 * MARGIN + 10 + 16 * row
        content += f'<path class="curve {stroke}" d="M{way}"/><path class="curve {stroke}" d="M{MARGIN} {bottom}h24"/>'
        content += text(MARGIN + 32 + text_width(words, 6) / 2, bottom, words, "small")
    return picture(WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN + 20 + 16 * (len(curves) - 1), ", ".join(label), content)
