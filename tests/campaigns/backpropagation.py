"""``python -m tests.campaigns.backpropagation``: draw the picture of docs/backpropagation.md again, from a trace."""

from __future__ import annotations

from collections.abc import Iterator
from math import atan2, degrees
from pathlib import Path
from typing import Any

import numpy as np

from minidl._drawing.svg import subscript
from minidl.inspection import Trace
from tests.campaigns.experiments import load_example

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

STYLE = """
  text { font: 15px system-ui, sans-serif; fill: #222; text-anchor: middle }
  .back { fill: #a63c06 }
  line { stroke: #999; stroke-width: 1.5 } circle { fill: #f2f6fa; stroke: #335; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee } .back { fill: #ffa56b } line { stroke: #888 } circle { fill: #22303d; stroke: #9bd }
  }
"""


ABOUT = "A network of three layers, with all numbers of one step of back-propagation."

HEAD = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="40 10 780 360" width="780" role="img" aria-label="{ABOUT}">'


def picture(t: Trace) -> str:
    """Return a network as an SVG: b, I, O and E at each neuron, weight and gradient at each line."""
    return "\n".join([HEAD, f"<style>{STYLE}</style>", *_lines(t), *_neurons(t), "</svg>", ""])


def _place(t: Trace, i: int, neuron: int) -> tuple[float, float]:
    """Return where the neuron of layer i is."""
    return 110 + 320 * (i - 1), 205 + 190 * (neuron - (t.O[i].shape[1] - 1) / 2)


def _lines(t: Trace) -> Iterator[str]:
    for i, weights in t.W.items():
        for (to, source), weight in np.ndenumerate(weights):
            (x1, y1), (x2, y2) = _place(t, i, source), _place(t, i + 1, to)
            yield f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'
            along = 0.5 if y1 == y2 or len(weights) == 1 else 0.33  # Labels keep away from where lines cross.
            place = f"translate({x1 + along * (x2 - x1):.0f} {y1 + along * (y2 - y1):.0f})"
            turn = f"rotate({degrees(atan2(y2 - y1, x2 - x1)):.1f})"
            yield f'<g transform="{place} {turn}">'
            yield _text(0, -6, "W", weight) + _text(0, 17, "ΔW", t.dW[i][to, source], "back") + "</g>"


def _neurons(t: Trace) -> Iterator[str]:
    for i, outputs in t.O.items():
        yield f'<text x="{_place(t, i, 0)[0]:.0f}" y="30">L{subscript(i)}</text>'
        for neuron, output in enumerate(outputs[0]):
            x, y = _place(t, i, neuron)
            yield f'<circle cx="{x:g}" cy="{y:g}" r="50"/>' + _text(x, y + 5, "O", output)
            if i in t.I:
                yield _text(x, y - 58, "b", t.b[i - 1][neuron]) + _text(x, y - 17, "I", t.I[i][0, neuron])
                yield _text(x, y + 27, "E", t.E[i][0, neuron], "back")
    yield _text(x, y + 74, "e", t.error)


def _text(x: float, y: float, name: str, number: Any, kind: str = "forth") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{name} {f"{round(number, 4):g}".replace("-", "−")}</text>'


def main() -> None:
    """Write the picture, and the page that steps through it."""
    example = load_example("see_a_step")
    t = example.step(example.network())
    t.save(PICTURES / "step.html")
    (PICTURES / "backpropagation.svg").write_text(picture(t), encoding="utf-8")


if __name__ == "__main__":
    main()
