"""The picture of a Watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np

from .._core.picture import picture
from ._figures import Look, Part

MOST = 7
"""Layers that are drawn; of more, some in equal distances."""


def plot_looks(looks: Sequence[Look], path: str | PathLike[str] | None) -> Any:
    """Draw the figures of looks over the updates."""
    steps = [look.step for look in looks]
    panels: list[tuple[str, str, Callable[[Part], float | None]]] = [
        ("error of a layer", "log", lambda part: part.error if part.weights is not None else None),
        ("update / weight", "log", lambda part: part.update),
        ("flat outputs", "linear", lambda part: part.flat),
    ]
    with picture("Watch.plot", 8.0, 10.0, path) as figure:
        axes = figure.subplots(4, 1, sharex=True)
        axes[0].plot(steps, [look.loss for look in looks], label="loss")
        axes[0].plot(steps, [look.shuffled for look in looks], label="loss with the targets of other rows")
        axes[0].set(ylabel="loss", yscale="log" if all(look.loss > 0.0 for look in looks) else "linear")
        for axis, (name, scale, figure_of) in zip(axes[1:], panels, strict=True):
            for place in _chosen(looks, figure_of):
                numbers = [figure_of(look.parts[place]) for look in looks]
                shown = [np.nan if number is None else number for number in numbers]
                axis.plot(steps, shown, label=f"{looks[0].parts[place].path} {looks[0].parts[place].name}")
            axis.set(ylabel=name, yscale=scale)
        axes[2].axhspan(1e-4, 1e-1, color="#009E73", alpha=0.12, label="normal")
        axes[3].set_ylim(-0.03, 1.03)
        axes[3].set_xlabel("update")
        for axis in axes:
            if axis.get_legend_handles_labels()[1]:
                axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure


def _chosen(looks: Sequence[Look], figure: Callable[[Part], float | None]) -> list[int]:
    """Return the places of the parts that have a figure, at most `MOST` of them."""
    places = [place for place, part in enumerate(looks[0].parts) if figure(part) is not None] if looks else []
    return [places[k] for k in np.unique(np.linspace(0, len(places) - 1, MOST).astype(int))] if places else []
