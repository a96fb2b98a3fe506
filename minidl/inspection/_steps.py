"""The steps of a trace: what went into each, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from .._core.arrays import Array
from ..errors import StructureError
from ..layers._structure import one_line
from ..layers.base import Component
from ._lines import Line


@dataclass(eq=False)
class Step:
    """One step of the computation: what went in, and what came out.

    Of a batch with more than 8 rows, ``inputs`` and ``outputs`` hold the first 8.

    Attributes:
        number: Its place in ``trace.steps``.
        phase: ``"data"``, ``"forward"``, ``"loss"``, ``"backward"`` or ``"update"``.
        path: Path of the layer or merge, ``""`` for the model; ``"data"``, ``"loss"``, ``"penalties.0"``, ``"clip"``;
            in the update the path of a parameter.
        part: The layer, merge, loss, penalty, clip or optimizer; a copy. None for the data.
        inputs: Arrays that went in. Forward: x. Loss: prediction, target (and weights). Backward: ∂e/∂y.
            Update: the value before, and the gradient.
        outputs: Arrays that came out. Forward: y. Loss: e. Backward: ∂e/∂x. Update: the value after.
        sources: For each input, the number of the step that made it; None where no step did.
        parameters: Maps the name of each parameter of the part itself to its value.
        gradients: Maps the name of each of these parameters to what the step added to its gradient.
        depth: Containers around the part.
        is_sum: Whether the step is a container's own sum of its inputs, as in `Residual`, and where a value was used
            several times.
        finite: Whether all numbers that the step made are finite, those of the rows that are not kept included.
        lines: The lines of code that ran.
        rate: Update: η of the parameter, which may be that of a group.

    Example:
        >>> from minidl.inspection import trace
        >>> t = trace(mlp([2, 1], rng=0), MeanSquaredError(), np.ones((1, 2)), np.zeros((1, 1)))
        >>> [step.phase for step in t.steps]
        ['data', 'forward', 'loss', 'backward', 'backward']
    """

    number: int
    phase: str
    path: str
    part: Any
    inputs: tuple[npt.NDArray[Any], ...]
    outputs: tuple[npt.NDArray[Any], ...] = ()
    sources: tuple[int | None, ...] = ()
    parameters: Mapping[str, Array] = field(default_factory=dict)
    gradients: Mapping[str, Array] = field(default_factory=dict)
    depth: int = 0
    is_sum: bool = False
    finite: bool = True
    lines: list[Line] = field(default_factory=list)
    rate: float = 0.0

    @property
    def name(self) -> str:
        """The part in one line, with its path."""
        part = one_line(self.part) if isinstance(self.part, Component) else repr(self.part)
        what = f"sum in {part}" if self.is_sum else part
        name = self.path if self.part is None else f"{self.path}: {what}" if self.path else what
        return name.replace("…", "...")  # It is printed, perhaps where there is only ASCII.

    def __repr__(self) -> str:
        return f"Step({self.number}, {self.phase}, {self.name})"


@dataclass(eq=False, repr=False)
class PartTrace:
    """What one layer or merge did in the pass.

    Attributes:
        path: Its path in the model.
        part: The layer or merge; a copy.
        slope: O′, for a function of each number alone: what its backward makes of ones; None for another.

    Example:
        >>> from minidl.inspection import trace
        >>> t = trace(mlp([2, 3, 1], rng=0), MeanSquaredError(), np.ones((1, 2)), np.zeros((1, 1)))
        >>> dense = t["0"]
        >>> dense.x
        array([[1., 1.]])
        >>> dense.gradients["weight"].shape
        (3, 2)
    """

    path: str
    part: Component
    forward: Step | None = None
    backward: Step | None = None
    slope: Array | None = None

    @property
    def x(self) -> Any:
        """Input, ``(rows, in_features)``; a tuple of inputs for a merge."""
        return _single(self._ran(self.forward).inputs)

    @property
    def y(self) -> Array:
        """Output, ``(rows, out_features)``."""
        return self._ran(self.forward).outputs[0]

    @property
    def error(self) -> Array:
        """∂e/∂y, ``(rows, out_features)``."""
        return self._ran(self.backward).inputs[0]

    @property
    def input_error(self) -> Any:
        """∂e/∂x, ``(rows, in_features)``; a tuple for a merge; None where the part did not compute it."""
        return _single(self._ran(self.backward).outputs)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Maps the name of each parameter of the part itself to its value in the pass."""
        return self._ran(self.forward).parameters

    @property
    def gradients(self) -> Mapping[str, Array]:
        """Maps the name of each parameter of the part itself to what the part added to its gradient."""
        return self._ran(self.backward).gradients

    def _ran(self, step: Step | None) -> Step:
        if step is None:
            raise StructureError(f"trace: {self!r} took no part in this pass")
        return step

    def __repr__(self) -> str:
        return f'PartTrace("{self.path}", {one_line(self.part)})'


def _single(arrays: tuple[Any, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays or None
