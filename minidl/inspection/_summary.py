"""A table of the parts of a model, with their shapes and the numbers that they learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, positive_int
from .._core.parameter import Buffer, Parameter
from .._data import checked_input
from .._drawing.tables import html_table, text_table
from .._trace import not_too_deep, pass_methods, shadowed
from ..errors import ArgumentError
from ..layers._parts import children, named
from ..layers._structure import check_part, count, one_line
from ..layers.base import Component, Layer, trait

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One part of a model.

    Attributes:
        path: Its path, such as ``"1.layer.0"``; empty for the model itself.
        layer: Its repr on one line.
        depth: How deeply it is nested; 0 for the model itself.
        sources: Paths of the parts whose outputs it reads; ``"x"`` is the input of the model, ``"?"`` another array.
        inputs: The shape of a row of each input; empty if the part was not called.
        output: The shape of a row of the output; None if the part was not called.
        parameters: Numbers that it learns and no row above has, so the rows add up to the total. A container has those
            of its own attributes; with ``depth``, the last level has those of all that is in it.
        shared: Whether a row above has one of its parameters too.
        frozen: Whether training leaves one of its parameters as it is.

    Example:
        >>> from minidl.inspection import summary
        >>> [(row.path, row.layer, row.parameters) for row in summary(mlp([2, 3, 1], rng=0)).rows[1:]]
        [('0', 'Dense(2 -> 3)', 9), ('1', 'ReLU()', 0), ('2', 'Dense(3 -> 1)', 4)]
    """

    path: str
    layer: str
    depth: int
    sources: tuple[str, ...]
    inputs: tuple[Shape, ...]
    output: Shape | None
    parameters: int
    shared: bool
    frozen: bool


@dataclass(frozen=True)
class Summary:
    """The parts of a model; printed, it is a table.

    Attributes:
        rows: A row for the model and for each part.
        parameters: Numbers that the model learns, shared ones counted once.
        frozen: How many of them are frozen.
        bytes: Memory of the values of parameters and buffers.

    Example:
        >>> from minidl.inspection import summary
        >>> found = summary(mlp([2, 3, 1], rng=0))
        >>> found.parameters, found.bytes
        (13, 104)
    """

    rows: tuple[Row, ...]
    parameters: int
    frozen: int
    bytes: int

    def __str__(self) -> str:
        return "\n".join([*text_table(self._cells(), self._cells()[0].index("parameters")), self._total()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        cells = self._cells()
        return html_table(cells, self._total(), cells[0].index("parameters"))

    def _cells(self) -> list[list[str]]:
        """Return the table as text; it says what a part reads only if that is not always the part before it."""
        leaves = [row for row, below in zip(self.rows, [*self.rows[1:], self.rows[0]], strict=True)
                  if below.depth <= row.depth]
        before = ["x", *(row.path for row in leaves)]
        chain = all(row.sources == (source,) for row, source in zip(leaves, before, strict=False))
        rows = [["part", "layer", *([] if chain else ["from"]), "in", "out", "parameters"]]
        for row in self.rows:
            note = "shared " * row.shared + "frozen " * row.frozen
            learned = f"{row.parameters:,}" if row.parameters or row.shared else ""
            shapes = [", ".join(map(_shown, row.inputs)), "" if row.output is None else _shown(row.output)]
            sources = [] if chain else [", ".join(row.sources)]
            rows.append(["  " * row.depth + row.path, row.layer, *sources, *shapes, note + learned])
        return rows

    def _total(self) -> str:
        size = f"{self.bytes:,} bytes" if self.bytes < 10_000 else f"{self.bytes / 1000:,.1f} kB"
        return f"{self.parameters:,} parameters" + f", {self.frozen:,} of them frozen" * bool(self.frozen) + f", {size}"


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "1"


@not_too_deep("summary")
def summary(model: Layer, x: npt.ArrayLike | None = None, *, depth: int | None = None) -> Summary:
    """List the parts of a model with shapes and parameters; the model is not changed.

    Args:
        model: Any model.
        x: Some input, ``(batch, in_features)``, of which one row is used; None for a pass without rows.
        depth: Levels of nesting that are listed; None for all.

    Raises:
        ArgumentError: no ``x`` for a model that takes any width.
        ShapeError, DTypeError, DataError: an ``x`` that the model does not take.

    Example:
        >>> from minidl import mlp
        >>> print(summary(mlp([2, 8, 1], rng=0)))
        part  layer            in  out  parameters
              Sequential(...)  2   1
          0   Dense(2 -> 8)    2   8            24
          1   ReLU()           8   8
          2   Dense(8 -> 1)    8   1             9
        33 parameters, 264 bytes
    """
    check_part(model, Layer, "summary(model)")
    depth = None if depth is None else positive_int(depth, "summary(depth)")
    passes = _passes(model, _input(model, x))
    known: set[int] = set()
    rows = []
    for level, path, part in _parts(model, "", 0):
        if depth is None or level <= depth:
            own = [one for _, one in children(part) if isinstance(one, Parameter)]
            learned = {id(parameter): parameter for parameter in (part.parameters() if level == depth else own)}
            fresh = sum(parameter.size for key, parameter in learned.items() if key not in known)
            sources, inputs, output = passes.get(path, ((), (), None))
            shared, frozen = bool(learned.keys() & known), any(parameter.frozen for parameter in learned.values())
            text = one_line(part).replace("…", "...")  # It is printed, perhaps where there is only ASCII.
            rows.append(Row(path, text, level, sources, inputs, output, fresh, shared, frozen))
            known |= learned.keys()
    values = list(named(model, (Parameter, Buffer)).values())
    still = sum(parameter.size for parameter in model.parameters() if parameter.frozen)
    return Summary(tuple(rows), count(model), still, sum(part.value.nbytes for part in values))


def _parts(part: Component, path: str, level: int) -> Iterator[tuple[int, str, Component]]:
    """Yield the level, the path and the object of a part and of all in it."""
    yield level, path, part
    for name, child in children(part):
        if isinstance(child, Component):
            yield from _parts(child, f"{path}.{name}" if path else name, level + 1)


def _input(model: Layer, x: npt.ArrayLike | None) -> Array:
    """Return one row of an input, or no rows of the width that the model takes."""
    if x is not None:
        return checked_input(model, x, "summary")[:1]
    width = trait(model, "in_features")
    if width is None:
        raise ArgumentError("summary(x): expected some x, as this model takes rows of any width, got None")
    return np.zeros((0, width), model.dtype or np.float64)


def _passes(model: Layer, x: Array) -> dict[str, tuple[tuple[str, ...], tuple[Shape, ...], Shape]]:
    """Map the path of each part that a pass calls to the sources and shapes of its inputs, and the shape of its output.

    The source of an array is the part that made this very object.
    """
    found: dict[str, tuple[tuple[str, ...], tuple[Shape, ...], Shape]] = {}
    made = {id(x): ("x", x)}

    def noting(method: Callable[..., Array], path: str, part: object, name: str) -> Callable[..., Array]:
        def forward(*inputs: Array) -> Array:
            y = method(*inputs)
            made.setdefault(id(y), (path, y))  # The array is kept too, as its id would be used again.
            sources = tuple(made[id(one)][0] if id(one) in made else "?" for one in inputs)
            found[path] = sources, tuple(one.shape[1:] for one in inputs), y.shape[1:]
            return y

        return forward

    clone = model.inference()
    methods = [method for method in pass_methods(clone) if method[2] == "forward"]
    with np.errstate(all="ignore"), warnings.catch_warnings(), shadowed(methods, noting):
        warnings.simplefilter("ignore")
        clone.forward(x)
    return found
