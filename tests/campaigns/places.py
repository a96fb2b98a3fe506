"""``python -m tests.campaigns.places``: sizes and times of the model of docs/deployment.md, in every place.

Times are the shortest of several rounds. What needs gcc, node or onnxruntime is left out where they are missing.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from threading import Thread
from timeit import repeat
from typing import Any

import numpy as np

from tests.campaigns.export import sizes
from tests.support.uses import BLOCK, ROOT

JAVASCRIPT = """
import { flowers } from "./flowers.mjs";
const x = [5.1, 3.5, 1.4, 0.2];
let best = Infinity;
for (let round = 0; round < 20; round++) {
  const began = performance.now();
  for (let i = 0; i < 20000; i++) flowers(x);
  best = Math.min(best, (performance.now() - began) / 20);
}
console.log(best);
"""


def page() -> dict[str, Any]:
    """Run the code of the page, up to the layers of your own; return its names."""
    space: dict[str, Any] = {"__name__": "deployment"}
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8").partition("\n## A layer of your own")[0]
    for language, code in BLOCK.findall(text):
        if language == "python":
            exec(compile(code, "deployment.md", "exec"), space)
    return space


def microseconds(call: Callable[[], object], turns: int = 1000) -> float:
    """Return the shortest time of a call."""
    return min(repeat(call, number=turns, repeat=9)) / turns * 1e6


def figures() -> Iterator[tuple[str, float]]:
    """Yield the name and the value of each figure."""
    space = page()
    model, row = space["model"], np.array([[5.1, 3.5, 1.4, 0.2]])
    yield "bytes of the file", Path("flowers.safetensors").stat().st_size
    yield "microseconds of a row in minidl", microseconds(lambda: model.predict(row))
    yield "bytes of NumPy", len(space["to_numpy"](model))
    yield "microseconds of a row in NumPy alone", microseconds(lambda: space["predict"](row))
    yield "bytes of JavaScript", len(space["to_javascript"](model))
    in_c = sizes(model.astype(np.float32), row.astype(np.float32))
    yield from ((f"{name}, float32", figure) for name, figure in in_c.items() if " C" in name or "code" in name)
    server = space["ThreadingHTTPServer"](("127.0.0.1", 0), space["Predictions"])
    Thread(target=server.serve_forever, daemon=True).start()
    space["address"] = f"http://127.0.0.1:{server.server_port}"
    yield "microseconds of a row in the web server", microseconds(lambda: space["ask"](row.tolist()), 50)
    server.shutdown()
    server.server_close()
    if Path("flowers.onnx").exists():
        yield "bytes of ONNX", Path("flowers.onnx").stat().st_size
    if "session" in space:
        rows = row.astype(np.float32)
        yield "microseconds of a row in onnxruntime", microseconds(lambda: space["session"].run(["y"], {"x": rows}))
    if which("node"):
        Path("time.mjs").write_text(JAVASCRIPT, "utf-8")
        printed = subprocess.run(["node", "time.mjs"], capture_output=True, text=True, check=True).stdout
        yield "microseconds of a row in Node", float(printed)


def main() -> None:
    """Print the table."""
    print("| flowers, 4-16-3 | |\n|---|---:|")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name, figure in figures():
                print(f"| {name} | {figure:,.3g} |", flush=True)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    main()
