"""``python -m tests.campaigns.backpropagation``: draw the picture of docs/backpropagation.md again, from a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minidl.inspection import Trace
from tests.campaigns.experiments import load_example

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

STYLE = """
  text { font: 15px system-ui, sans-serif; fill: #222; text-anchor: middle }
  .back { fill: #a63c06 } .head { font-weight: 600 }
  line { stroke: #999; stroke-width: 1.5 } circle { fill: #f2f6fa; stroke: #335 ; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee } .back { fill: #ffa56b } line { stroke: #888 } circle { fill: #22303d; stroke: #9bd }
  }
"""


def picture(t: Trace) -> str:
    """Return a network of layers as an SVG: I, O and E at each neuron, weight and gradient at each line."""
    body = "\n".join([*_lines(t), *_neurons(t)])
    about = "Each neuron shows its input I, its output O and its error E; each line shows its weight and its gradient."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 400" width="860" role="img" aria-label="{about}">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _place(t: Trace, i: int, neuron: int) -> tuple[float, float]:
    """Return where the neuron of layer i is."""
    return 110 + 320 * (i - 1), 205 + 190 * (neuron - (t.O[i].shape[1] - 1) / 2)


def _lines(t: Trace) -> Iterator[str]:
    for i, weights in t.W.items():
        for (to, source), weight in np.ndenumerate(weights):
            (x1, y1), (x2, y2) = _place(t, i, source), _place(t, i + 1, to)
            yield f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'
            along = 0.3 if y1 != y2 and t.O[i + 1].shape[1] > 1 else 0.5  # Where lines cross, labels keep away.
            x, y = x1 + along * (x2 - x1), y1 + along * (y2 - y1)
            yield _text(x, y - 6, f"W {weight:.4g}")
            yield _text(x, y + 14, f"ΔW {t.dW[i][to, source]:.4f}", "back")


def _neurons(t: Trace) -> Iterator[str]:
    for i, outputs in t.O.items():
        yield _text(_place(t, i, 0)[0], 24, f"L{i}", "head")
        for neuron, output in enumerate(outputs[0]):
            x, y = _place(t, i, neuron)
            yield f'<circle cx="{x:g}" cy="{y:g}" r="50"/>'
            if i in t.I:
                yield _text(x, y - 20, f"I {t.I[i][0, neuron]:.4g}")
                yield _text(x, y + 26, f"E {t.E[i][0, neuron]:.4f}", "back")
            yield _text(x, y + 4, f"O {output:.4g}")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{f" class={kind!r}" if kind else ""}>{text.replace("-", "−")}</text>'


def main() -> None:
    """Write the picture."""
    example = load_example("see_a_step")
    t = example.step(example.network())
    (PICTURES / "backpropagation.svg").write_text(picture(t), encoding="utf-8")


if __name__ == "__main__":
    main()
