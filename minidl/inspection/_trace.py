"""The numbers of one training step: of each part, each step of the computation, and in the article's symbols."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, path_text
from ..errors import ArgumentError, StructureError
from ..layers._structure import one_line
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ._steps import PartTrace, Step
from ._symbols import ArticleLayer, article_layers


@dataclass(eq=False, repr=False)
class Trace:
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

    model: Layer
    loss: Loss
    optimizer: Optimizer | None
    rows: int
    error: float = float("nan")
    steps: list[Step] = field(default_factory=list)
    parts: dict[str, PartTrace] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, path: str) -> PartTrace:
        if path not in self.parts:
            raise ArgumentError(f"trace: expected the path of a layer, one of {list(self.parts)}, got {path!r}")
        return self.parts[path]

    @property
    def prediction(self) -> Array:
        """Output of the model, ``(rows, features)``."""
        return self.parts[""].y

    @property
    def layers(self) -> list[ArticleLayer]:
        """L₁ … Lₙ of the article.

        Raises:
            StructureError: the model is not a chain.
        """
        found = article_layers(self.steps)
        if found is None:
            raise StructureError(
                "trace: expected a model whose layers form a chain, as the article numbers them; "
                'for another use t["path"] and t.symbols()'
            )
        return found

    @property
    def is_chain(self) -> bool:
        """Whether each layer's input is the output of the one before, so that the article's numbers can be given."""
        return article_layers(self.steps) is not None

    @property
    def I(self) -> dict[int, Array]:  # noqa: E743, N802 - the article's letter
        """Maps i to I_i, the input of layer i, ``(rows, n_i)``; for a chain, as the next five."""
        return {layer.number: layer.I for layer in self.layers if layer.I is not None}

    @property
    def O(self) -> dict[int, Array]:  # noqa: E743, N802 - the article's letter
        """Maps i to O_i, the output of layer i."""
        return {layer.number: layer.O for layer in self.layers}

    @property
    def E(self) -> dict[int, Array]:  # noqa: N802 - the article's letter
        """Maps i to E_i = ∂e/∂I_i; each row carries the 1/N of the loss."""
        return {layer.number: layer.E for layer in self.layers if layer.E is not None}

    @property
    def W(self) -> dict[int, Array]:  # noqa: N802 - the article's letter
        """Maps i to W_i, the weights from layer i to layer i + 1."""
        return self._by_number("weight", gradient=False)

    @property
    def b(self) -> dict[int, Array]:
        """Maps i to b_i."""
        return self._by_number("bias", gradient=False)

    @property
    def dW(self) -> dict[int, Array]:  # noqa: N802 - the article's letter
        """Maps i to ΔW_i, the sum over the batch."""
        return self._by_number("weight", gradient=True)

    @property
    def db(self) -> dict[int, Array]:
        """Maps i to Δb_i."""
        return self._by_number("bias", gradient=True)

    def _by_number(self, name: str, *, gradient: bool) -> dict[int, Array]:
        found = {}
        for layer in self.layers:
            part = self.parts[layer.affine] if layer.affine is not None else None
            values: Mapping[str, Array] = {} if part is None else part.gradients if gradient else part.parameters
            if name in values:
                found[layer.number - 1] = values[name]
        return found

    def symbols(self) -> dict[str, Array]:
        """Map symbols to arrays: for a chain by the article's numbers, ``"ΔW_1"``, else by path, ``"E_gate.0"``."""
        found: dict[str, Array] = {}
        if self.is_chain:
            letters = {"I": self.I, "O": self.O, "W": self.W, "b": self.b, "E": self.E, "ΔW": self.dW, "Δb": self.db}
            return {f"{letter}_{i}": array for letter, arrays in letters.items() for i, array in arrays.items()}
        for step in self.steps:
            if step.phase == "forward":
                found[f"O_{step.path}"] = step.outputs[0]
            elif step.phase == "backward" and step.path in self.parts and not step.is_sum:
                found[f"E_{step.path}"] = step.inputs[0]
                found.update({f"Δ{step.path}.{name}": gradient for name, gradient in step.gradients.items()})
        return found

    def first_not_finite(self) -> Step | None:
        """Return the first step that made a number that is not finite; None if all are."""
        return next((step for step in self.steps if not step.finite), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the trace in plain values for JSON; numbers that are not finite are the texts "NaN" and "Infinity"."""
        steps = [
            {
                "number": step.number, "phase": step.phase, "path": step.path, "part": step.name, "depth": step.depth,
                "inputs": step.inputs, "outputs": step.outputs, "sources": step.sources, "is_sum": step.is_sum,
                "parameters": step.parameters, "gradients": step.gradients, "finite": step.finite,
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
        from ._page import page

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
        target = Path(path_text(path))
        if target.suffix not in (".html", ".json"):
            raise ArgumentError(f'Trace.save(path): expected a name that ends in ".html" or ".json", got {str(target)!r}')
        made = self.to_html() if target.suffix == ".html" else json.dumps(
            self.to_dict(), allow_nan=False, ensure_ascii=False
        )
        target.write_text(made, "utf-8")

    def __str__(self) -> str:
        rows = [("step", "phase", "part", "in", "out")]
        for step in self.steps:
            ins, outs = ("  ".join(map(_short, arrays)) for arrays in (step.inputs, step.outputs))
            rows.append((str(step.number), step.phase, step.name, ins, outs))
            rows += [("", "", f"  gradient of {name}", "", _short(array)) for name, array in step.gradients.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

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
