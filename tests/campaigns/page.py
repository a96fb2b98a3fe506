"""``python -m tests.campaigns.page``: visit every step of several pages of traces in a real browser.

It needs Chromium: ``apt-get install chromium``, or its path in the environment variable CHROMIUM. Where it is not
there, the campaign says so and ends without an error. ``--axe PATH`` is ``axe.min.js`` of the npm package axe-core,
which finds what screen readers and keyboards stumble over: ``npm install axe-core``. Without it, these rules are left
out.

Each page is opened in a wide window, in one of 360 pixels, and as a notebook shows it. In light and dark it looks for
errors, numbers that are worked out wrongly, pages that are wider than the window, and violations of the rules of axe.
``--pictures FOLDER`` writes pictures of some steps, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from minidl import (
    L2,
    SGD,
    Adam,
    ClipGlobalNorm,
    CrossEntropy,
    HalfSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    mlp,
)
from minidl.inspection import Trace, trace
from tests.inspection.models import MODELS, block, gates, nested

CHECK = Path(__file__).with_name("page_check.js")
NAMES = ("chromium", "chromium-browser", "google-chrome")
MINUTES = 5

WINDOWS: dict[str, tuple[int, str]] = {"wide": (1100, ""), "narrow": (360, "#step=3"), "notebook": (800, "")}
"""Maps the ways in which a page is opened to its width and the end of its address."""


def traces() -> dict[str, Callable[[], Trace]]:
    """Map the name of each page to what makes its trace."""
    rng = np.random.default_rng(0)

    def small(rows: int, kind: Any = SGD) -> Trace:
        model = MODELS["2-2-1"]()
        x, y = rng.normal(size=(rows, 2)), rng.random((rows, 1))
        return trace(model, HalfSquaredError(), x, y, optimizer=kind(model.parameters(), 0.5))

    def many(model: Any, rows: int, width: int, loss: Any, targets: Any, **more: Any) -> Trace:
        return trace(model.initialize(0), loss, rng.normal(size=(rows, width)), targets, **more)

    def graph() -> Trace:
        model = gates().initialize(0)
        parameters = model.parameters()
        return trace(model, HalfSquaredError(), rng.normal(size=(3, 4)), rng.normal(size=(3, 1)),
                     optimizer=Adam(parameters), penalties=[L2(0.01, parameters[:1])], clip=ClipGlobalNorm(1.0))

    def evil() -> Trace:
        class Evil(Tanh):
            def __repr__(self) -> str:
                return "<img src=x onerror=\"console.error('run')\">"

        return trace(Sequential(*mlp([2, 2], rng=0), Evil()), HalfSquaredError(), np.ones((1, 2)), np.ones((1, 2)))

    return {
        "2-2-1": lambda: small(1), "2-2-1, a batch": lambda: small(4, Adam),
        "1-20-20-1": lambda: many(mlp([1, 20, 20, 1], activation=Tanh), 3, 1, HalfSquaredError(), np.ones((3, 1))),
        "784-256-128-10": lambda: many(mlp([784, 256, 128, 10]), 1, 784, SoftmaxCrossEntropy(), np.eye(10)[[3]]),
        "10,000 rows": lambda: many(MODELS["normalized"](), 10_000, 4, CrossEntropy(),
                                    np.eye(2)[rng.integers(0, 2, 10_000)]),
        "a graph": graph,
        "nested": lambda: many(nested(), 3, 4, HalfSquaredError(), np.ones((3, 1))),
        "own container": lambda: many(MODELS["own"](), 2, 4, HalfSquaredError(), np.ones((2, 1))),
        "folded blocks": lambda: many(Sequential(*[block(4) for _ in range(4)]), 1, 4, HalfSquaredError(),
                                      np.ones((1, 4))),
        "names with HTML": evil,
        "not finite": lambda: many(mlp([2, 3, 1]), 1, 2, HalfSquaredError(), np.full((1, 1), 1e200)),
    }


def browser() -> str | None:
    """Return the path of Chromium; None where it is not installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(which, NAMES)), None)


def opened(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a window, and return what the browser printed."""
    program = browser()
    assert program
    with tempfile.TemporaryDirectory() as profile:
        always = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                  "--disable-features=IsolateSandboxedIframes", f"--user-data-dir={profile}"]
        return subprocess.run([program, *always, *options, path.as_uri()], capture_output=True, text=True,
                              timeout=MINUTES * 60, check=False)


def visited(folder: Path, page: str, window: str, axe: str) -> dict[str, Any]:
    """Visit every step of a page; return what was found."""
    width, end = WINDOWS[window]
    inside = folder / "inside.html"
    scripts = "".join(f"<script>{code}</script>" for code in (CHECK.read_text("utf-8"), axe))
    checked = page.replace("<style>", f"{scripts}<style>", 1)
    inside.write_text(checked, "utf-8")
    sandbox = f'sandbox="allow-scripts" srcdoc="{escape(checked)}"'  # as Trace._repr_html_ does
    source = sandbox if window == "notebook" else f'src="inside.html{end}"'
    outside = folder / "outside.html"
    outside.write_text(
        f'<!doctype html><pre id="found"></pre><iframe width="{width}" height="900" {source}></iframe><script>'
        'addEventListener("message", e => { document.getElementById("found").textContent = JSON.stringify(e.data); });'
        "</script>", "utf-8",
    )  # fmt: skip
    printed = opened(outside, "--dump-dom", "--virtual-time-budget=600000").stdout
    found = re.search(r'<pre id="found">(.+?)</pre>', printed, re.DOTALL)
    if found is None:
        return {"problems": ["the page did not answer"], "steps": 0, "worked": 0, "passes": 0}
    answer: dict[str, Any] = json.loads(unescape(found[1]))
    return answer


def main(arguments: list[str] | None = None) -> int:
    """Visit the pages; return the number of problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axe", type=Path, help="path of axe.min.js")
    parser.add_argument("--only", default="", help="part of the names of the pages")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of some steps")
    given = parser.parse_args(arguments)
    if browser() is None:
        print("The pages are not visited: there is no Chromium. Install it: apt-get install chromium")
        return 0
    if given.axe is None:
        print("Without the rules of axe-core: npm install axe-core, and --axe node_modules/axe-core/axe.min.js")
    axe = given.axe.read_text("utf-8") if given.axe else ""
    count = 0
    for name, make in traces().items():
        if given.only in name:
            page = make().to_html(f"A trace of {name}")
            for window in WINDOWS:
                with tempfile.TemporaryDirectory() as folder:
                    found = visited(Path(folder), page, window, axe)
                print(f"{name + ', ' + window:28} {found.get('steps', 0):3} steps, {found.get('worked', 0):4} numbers, "
                      f"{found.get('passes', 0):5} rules, {len(page.encode()) / 1000:5.1f} kB", flush=True)
                for problem in found["problems"]:
                    print(f"    {problem}", flush=True)
                count += len(found["problems"])
            if given.pictures:
                draw(given.pictures, name, page)
    print(f"{count} problems")
    return count


def draw(folder: Path, name: str, page: str) -> None:
    """Write pictures of a page: the first steps of each phase, in light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        inside = Path(scratch) / "page.html"
        for step, theme, width in [(2, "light", 1100), (9, "dark", 1100), (9, "light", 500)]:
            inside.write_text(page.replace("location.hash", f'"step={step}&theme={theme}"'), "utf-8")
            target = folder / f"{name}-{step}-{theme}-{width}.png".replace(" ", "_")
            opened(inside, f"--screenshot={target}", f"--window-size={width},1100")


if __name__ == "__main__":
    sys.exit(bool(main()))
