"""``python -m tests.campaigns.pictures``: draw the pictures of docs/ again; ``--only NAME`` draws one of them.

Each is drawn by an example program, by the code of a page, or by another campaign. It takes about a minute with Numba.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.campaigns import backpropagation
from tests.support.uses import BLOCK, ROOT

PICTURES = ROOT / "docs" / "pictures"

PROGRAMS = (
    "custom_activation_and_loss", "custom_layer", "digits", "ensemble", "find_settings", "handwritten_loop",
    "residual_graph", "sine_classification", "sine_in_a_second", "sine_regression", "surrogate_jacobian",
    "tabular_branches", "tied_autoencoder", "why_does_it_not_learn",
)  # fmt: skip
"""The example programs that draw a picture of their name."""

DRAWN = {
    **{f"{name}.png": f"examples/{name}.py" for name in PROGRAMS},
    "decision.png": "docs/inspection.md",
    "backpropagation.svg": "tests/campaigns/backpropagation.py",
    "step.html": "tests/campaigns/backpropagation.py",
}
"""Maps each picture to what draws it."""

COLOURS = 128


def run(source: str, folder: Path) -> None:
    """Run a program, or the code of a page, in a folder."""
    program = ROOT / source
    if program.suffix == ".md":
        code = [text for language, text in BLOCK.findall(program.read_text("utf-8")) if language == "python"]
        program = folder / "page.py"
        program.write_text("\n".join(code), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, program], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)


def draw(name: str) -> None:
    """Draw one picture, and write it with fewer colours, which makes it small."""
    with tempfile.TemporaryDirectory() as folder:
        run(DRAWN[name], Path(folder))
        (found,) = Path(folder).rglob(name)
        Image.open(found).convert("RGB").quantize(COLOURS).save(PICTURES / name, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(DRAWN), help="the picture to draw")
    only = parser.parse_args(arguments).only
    for name, source in DRAWN.items():
        if only in (None, name) and name.endswith(".png"):
            print(f"{name}: {source}", flush=True)
            draw(name)
    if only is None or not only.endswith(".png"):
        backpropagation.main()


if __name__ == "__main__":
    main()
