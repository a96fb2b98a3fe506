"""The language of kernels, and the rows of the kernel tables, which declare what kernels need.

A kernel is a plain Python function over arrays that exist already. Its parameters name what it needs; an annotation
says how it sees that::

    def leaky_relu_forward(x: Vector, y: Vector, slope: Real) -> None:
        for i in range(len(x)):
            y[i] = x[i] if x[i] > 0.0 else slope * x[i]

Some names are fixed:

- Layers: ``x`` and ``y`` are input and output, ``grad`` is ∂e/∂y, ``dx`` is ∂e/∂x, ``learning_rate`` is η.
- Losses: ``prediction``, ``target``, ``sample_weight``, and ``gradient``, which is ∂e/∂prediction.
- Optimizers: ``values`` and ``gradients``, ``learning_rate``, and ``step``, the number of the step.

Each other name is declared in the row of the table (`Needs`)::

    LeakyReLU: Kernels(leaky_relu_forward, leaky_relu_backward, numbers=("slope",))

In a kernel a number with a decimal point, and ``real(…)``, has the dtype of the network. A whole number has not: with a
float32 it gives float64. A kernel may call the functions of `elementary`, other kernels, `isfinite`, `log`, `log1p`,
`erfc`, `sqrt`, and what Numba supports of NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..._core.arrays import Array

Vector: TypeAlias = Annotated[Array, "size"]
"""All numbers in one dimension, whatever the shape."""

Matrix: TypeAlias = Annotated[Array, "rows", "features"]
"""``(rows, features)``; a weight in its own two dimensions."""

Column: TypeAlias = Annotated[Array, "rows"]
"""One number for each row."""

Row: TypeAlias = Annotated[Array, "features"]
"""One number for each feature."""

Indices: TypeAlias = npt.NDArray[np.intp]
"""Numbers of rows."""

Real: TypeAlias = Annotated[Any, "number"]
"""A number in the dtype of the network; one annotated ``float`` is float64."""

Function: TypeAlias = Callable[[Array], Array]
"""A function of the user, compiled."""

Kernel: TypeAlias = Callable[..., Any]


class Argument(NamedTuple):
    """What an argument of a generated program stands for.

    Attributes:
        kind: ``"parameter"``, ``"gradient"``, ``"transposed"``, ``"buffer"``, ``"number"``, ``"function"``,
            ``"vector"``, ``"memory"``, ``"uniform"``, or ``"learning"`` (the parts of the vectors that learn).
        owner: The object that has it: a layer, a loss, an optimizer or its vector; None for memory.
        name: The name of its attribute there.
        shape: The dimensions of memory: ``"rows"``, ``"features"``.
        place: The layer's place in the chain, whose input has as many features as the memory.
    """

    kind: str
    owner: Any = None
    name: str = ""
    shape: tuple[str, ...] = ()
    place: int = 0

    @property
    def value(self) -> Any:
        """The attribute, as it is now."""
        return getattr(self.owner, self.name)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What kernels need of their layer, loss or optimizer, by the names of its attributes.

    Attributes:
        parameters: Parameters. A kernel may also name the gradient of each, such as ``weight_grad``, and in prediction
            its transpose, ``weight_transposed``.
        buffers: Buffers.
        numbers: Numbers; annotated `Real`, or ``float`` for float64.
        functions: Functions of the user; annotated `Function`.
        vectors: State of an optimizer: vectors like ``values``.
        memory: Arrays that a kernel fills for itself or for the backward kernel, with their shapes: `Matrix`, `Column`
            or `Row`, with the features of the layer's input. This is no attribute.
        uniform: The random generator from which the kernel's ``uniform`` is drawn: for each number of the input one in
            [0, 1).
    """

    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)
    uniform: str = ""

    def arguments(self, owner: object, place: int = 0) -> dict[str, Argument]:
        """Map each declared name that a kernel may use to what it stands for."""
        found = {"uniform": Argument("uniform", owner, self.uniform, place=place)} if self.uniform else {}
        for name in self.parameters:
            found[name] = Argument("parameter", owner, name)
            found[f"{name}_grad"] = Argument("gradient", owner, name)
            found[f"{name}_transposed"] = Argument("transposed", owner, name)
        for kind, names in (
            ("buffer", self.buffers), ("number", self.numbers), ("function", self.functions), ("vector", self.vectors)
        ):
            found |= {name: Argument(kind, owner, name) for name in names}
        for name, shape in self.memory.items():
            found[name] = Argument("memory", shape=shape.__metadata__, place=place)
        return found


@dataclass(frozen=True)
class Kernels(Needs):
    """The row of a layer.

    Attributes:
        forward: The training pass.
        backward: Writes ``dx`` and the gradients of the parameters, or updates the parameters.
        backward_parameters: The same without ``dx``, for the first layer that learns; None where that saves nothing.
        predict: The pass of prediction; None where it is the training pass.
    """

    forward: Kernel
    backward: Kernel
    backward_parameters: Kernel | None = None
    predict: Kernel | None = None


@dataclass(frozen=True)
class OneKernel(Needs):
    """The row of a loss, which returns (1/N) Σᵢ wᵢ eᵢ, or of a part of an optimizer's step.

    Attributes:
        kernel: The kernel.
    """

    kernel: Kernel
