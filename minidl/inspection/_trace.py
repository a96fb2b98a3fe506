"""The numbers of one training step, as a table, as a page and as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import path_ending
from .._drawing.tables import text_table
from ..layers._structure import one_line
from ._numbers import Numbers
from ._page import page


@dataclass(eq=False, repr=False)
class Trace(Numbers):
    """The numbers of one training step; `trace` makes it.

    ``t["gate.0"]`` is the `PartTrace` of the layer at that path, and ``t[""]`` that of the model.

    Attributes:
        model: A copy of the model, as it was before the step.
        loss: A copy of the loss.
        optimizer: A copy of the optimizer, as it is after the step; None without.
        rows: Rows of the batch; arrays with one row for each sample hold the first 8.
        error: e, with the penalties: the loss of the whole batch.
        steps: All steps, in order.
        parts: Maps the path of each layer and merge to what it did.
        gradients: Maps the path of each parameter to the gradient that the optimizer gets: with penalties, clipped.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the trace in plain values for JSON; numbers that are not finite are the texts "NaN" and "Infinity"."""
        steps = [
            {
                "number": step.number, "phase": step.phase, "path": step.path, "part": step.name, "depth": step.depth,
                "inputs": step.inputs, "outputs": step.outputs, "sources": step.sources, "is_sum": step.is_sum,
                "parameters": step.parameters, "gradients": step.gradients, "rate": step.rate,
                "finite": step.finite,
                "lines": [{"function": line.function, "number": line.number, "text": line.text,
                           "read": line.read, "made": line.made} for line in step.lines],
            }
            for step in self.steps
        ]  # fmt: skip
        symbols = self.symbols() if self.is_chain else {}
        plain: dict[str, Any] = _plain({"rows": self.rows, "error": self.error, "is_chain": self.is_chain,
                                        "symbols": symbols, "gradients": self.gradients, "steps": steps})
        return plain

    def to_html(self, title: str = "One step of back-propagation") -> str:
        """Return a page that steps through the computation: one HTML file without outside references."""
        return page(self, title)

    def _repr_html_(self) -> str:
        """Show the page in a notebook."""
        frame = 'sandbox="allow-scripts" style="width:100%;height:760px;border:0" title="One step of back-propagation"'
        return f'<iframe {frame} srcdoc="{escape(self.to_html())}"></iframe>'

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trace to a file.

        Args:
            path: A ``.html`` file, a page to read, or a ``.json`` file.

        Raises:
            ArgumentError: another kind of file.
        """
        html = path_ending(path, (".html", ".json"), "Trace.save(path)") == ".html"
        made = self.to_html() if html else json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)
        Path(path).write_text(made, "utf-8")

    def __str__(self) -> str:
        rows = [("step", "phase", "part", "in", "out")]
        for step in self.steps:
            ins, outs = ("  ".join(map(_short, arrays)) for arrays in (step.inputs, step.outputs))
            rows.append((str(step.number), step.phase, step.name, ins, outs))
            rows += [("", "", f"  gradient of {name}", "", _short(array)) for name, array in step.gradients.items()]
        return "\n".join(text_table(rows, 5))

    def __repr__(self) -> str:
        return f"Trace({one_line(self.model)}, {self.rows} rows, error {self.error:.6g}, {len(self.steps)} steps)"


def _short(array: npt.NDArray[Any]) -> str:
    """Write a few numbers, or the shape and the range of many."""
    if array.size <= 6:
        return np.array2string(array, precision=4, separator=", ", max_line_width=10_000).replace("\n", "")
    return f"{' x '.join(map(str, array.shape))} from {array.min():.3g} to {array.max():.3g}"


def _plain(value: Any) -> Any:
    """Return a value with lists in place of arrays and tuples, and texts in place of numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or np.isfinite(value).all()
        return value.tolist() if finite else _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value).replace("inf", "Infinity").replace("nan", "NaN")
    return value
