"""The language of kernels, and the rows of the kernel tables, which declare the arguments of kernels.

A kernel is a plain Python function over arrays that exist already. The names of its parameters say what it gets, and
their annotations say in which form::

    def leaky_relu_forward(x: Vector, y: Vector, slope: Real) -> None:
        for i in range(len(x)):
            y[i] = x[i] if x[i] > 0.0 else slope * x[i]

Some names are fixed:

- Layers: ``x`` and ``y`` are input and output, ``grad`` is ∂e/∂y, ``dx`` is ∂e/∂x, ``learning_rate`` is η. At both ends
  of a Residual, ``other_x`` and ``other_grad`` are those of the other end. On padded memory ``inputs`` is the number of
  the columns of x that exist.
- Losses: ``prediction``, ``target``, ``sample_weight``, and ``gradient``, which is ∂e/∂prediction; ``flat_gradient`` is
  the same memory as a `Vector`.
- Optimizers: ``values`` and ``gradients``, ``learning_rate``, and ``step``, the number of the step.
- Penalties: ``values`` and ``gradients``; ``l1`` and ``l2``, which are λ of each number.
- Clips: ``gradients``, and ``places``: where the numbers that are clipped together begin and end.

Each other name is declared in the row of the table (`Needs`)::

    LeakyReLU: Kernels(leaky_relu_forward, leaky_relu_backward, numbers=("slope",))

In a kernel a number with a decimal point, and ``real(…)``, has the dtype of the network. A whole number does not: a
float32 and a whole number give float64. In Numba ``float(…)`` leaves float32 as it is; ``np.float64(…)`` does not. A
kernel may call the functions of `elementary`, other kernels, `isfinite`, `exp`, `log`, `log1p`, `erfc`, `sqrt`, and the
NumPy functions that Numba supports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..._core.arrays import Array

Vector: TypeAlias = Annotated[Array, "size"]
"""All numbers of an array of any shape, in one dimension."""

Matrix: TypeAlias = Annotated[Array, "rows", "features"]
"""``(rows, features)``; for a weight its own two dimensions."""

Column: TypeAlias = Annotated[Array, "rows"]
"""One number for each row."""

Row: TypeAlias = Annotated[Array, "features"]
"""One number for each feature."""

Indices: TypeAlias = npt.NDArray[np.intp]
"""Numbers of rows, or of places in a vector."""

Real: TypeAlias = Annotated[Any, "number"]
"""A number in the dtype of the network; one annotated ``float`` is float64."""

Function: TypeAlias = Callable[..., Array]
"""A function of the user, compiled."""

Kernel: TypeAlias = Callable[..., Any]


class Argument(NamedTuple):
    """The meaning of an argument of a generated program.

    Attributes:
        kind: ``"parameter"``, ``"gradient"``, ``"transposed"``, ``"buffer"``, ``"number"``, ``"array"``,
            ``"function"``, ``"vector"``, ``"sequence"``, ``"memory"``, ``"target"``, ``"uniform"``, ``"learning"`` (the
            parts of the vectors that learn), ``"places"`` (where the numbers that are clipped together begin and end),
            ``"penalty"`` (λ of each number of the vectors), or ``"half"`` (the gradient over one half of a batch;
            ``place`` is the number of the half).
        owner: The object that has it: a layer, a loss, an optimizer or its vector, a clip; penalties of one class; None
            for memory.
        name: The name of its attribute there.
        shape: The dimensions of memory: ``"rows"``, ``"features"``.
        place: The place in the chain of the layer; the memory has as many features as the layer's input.
    """

    kind: str
    owner: Any = None
    name: str = ""
    shape: tuple[str, ...] = ()
    place: int = 0

    @property
    def value(self) -> Any:
        """The present value of the attribute."""
        return getattr(self.owner, self.name)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The attributes of a layer, loss or optimizer that its kernels use, by name.

    Attributes:
        parameters: Parameters. A kernel may also name the gradient of each, such as ``weight_grad``, and in prediction
            its transpose, ``weight_transposed``.
        buffers: Buffers.
        numbers: Numbers; annotated `Real`, or ``float`` for float64.
        arrays: Lists of numbers that do not change; annotated `Row`.
        functions: Functions of the user; annotated `Function`.
        vectors: State of an optimizer: vectors like ``values``.
        sequences: Numbers of an optimizer that change from step to step; annotated ``float``. For ``product``, its
            method ``_products(count)`` gives those of the next steps.
        memory: Arrays that a kernel fills for itself or for the backward kernel, with their shapes: `Matrix`, `Column`
            or `Row`, with the features of the layer's input. They are not attributes.
        uniform: The random generator of the kernel's ``uniform``: one random number in [0, 1) for each number of the
            input.
    """

    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)
    uniform: str = ""

    def arguments(self, owner: object, place: int = 0) -> dict[str, Argument]:
        """Map each declared name that a kernel may use to its meaning."""
        found = {"uniform": Argument("uniform", owner, self.uniform, place=place)} if self.uniform else {}
        for name in self.parameters:
            found[name] = Argument("parameter", owner, name)
            found[f"{name}_grad"] = Argument("gradient", owner, name)
            found[f"{name}_transposed"] = Argument("transposed", owner, name)
        for kind, names in (
            ("buffer", self.buffers), ("number", self.numbers), ("array", self.arrays), ("function", self.functions),
            ("vector", self.vectors), ("sequence", self.sequences),
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
        backward_parameters: The same without ``dx``, for the first layer that learns; None if that saves nothing.
        predict: The pass of prediction; None if it equals the training pass.
    """

    forward: Kernel
    backward: Kernel
    backward_parameters: Kernel | None = None
    predict: Kernel | None = None


@dataclass(frozen=True)
class OneKernel(Needs):
    """The row of a loss, which returns (1/N) Σᵢ wᵢ eᵢ, of a clip, or of a part of an optimizer's step.

    Attributes:
        kernel: The kernel.
    """

    kernel: Kernel
