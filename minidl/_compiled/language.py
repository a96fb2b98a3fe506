"""The language of kernels: how a function says, by its parameters, what it works on.

A kernel is a plain Python function over arrays that are there already. It names what it needs, and the annotation says
how it wants to see it::

    def tanh_forward(x: Vector, y: Vector) -> None:
        for i in range(len(x)):
            y[i] = tanh(x[i])

Streams have fixed names: ``x`` and ``y`` are input and output of a layer, ``grad`` is ∂e/∂y and ``dx`` is ∂e/∂x,
``uniform`` are fresh random numbers in [0, 1), ``learning_rate`` is η and ``step`` the number of the step. A loss has
``prediction``, ``target``, ``sample_weight`` and ``gradient``. Any other name is looked up on the layer, loss or
optimizer: a parameter (``weight``; its gradient is ``weight_grad``; in prediction its transpose is ``weight_turned``),
a buffer (``running_mean``), a number (``slope``), a function (``derivative``). A name that is not found there is
memory: from the forward to the backward kernel, or within one.

In a kernel a number with a decimal point, and ``real(…)``, is of the dtype of the network; a whole number is not, and
makes float64 of what it meets. A kernel may call what `elementary` holds, `isfinite`, `log`, `log1p`, `erfc`, `sqrt`,
and NumPy as Numba knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array

Vector: TypeAlias = Array
"""All numbers in one run, whatever the shape."""

Matrix: TypeAlias = Array
"""``(rows, features)``; a weight in its own two dimensions."""

Column: TypeAlias = Array
"""One number for each row."""

Row: TypeAlias = Array
"""One number for each feature."""

Indices: TypeAlias = npt.NDArray[np.intp]
"""Numbers of rows."""

Real: TypeAlias = Any
"""A number in the dtype of the network; one annotated ``float`` comes in float64."""

Function: TypeAlias = Callable[[Array], Array]
"""A function of the user, compiled."""

Kernel: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Kernels:
    """What a layer becomes.

    Attributes:
        forward: The training pass.
        backward: Writes ``dx`` and the gradients of the parameters, or moves the parameters at once.
        backward_parameters: The same without ``dx``, for the first layer that learns; None where nothing is saved.
        predict: The pass of prediction; None where it is that of training.
    """

    forward: Kernel
    backward: Kernel
    backward_parameters: Kernel | None = None
    predict: Kernel | None = None


@dataclass(frozen=True)
class Argument:
    """What an argument of a generated program stands for.

    Attributes:
        kind: ``"parameter"``, ``"gradient"``, ``"turned"``, ``"buffer"``, ``"number"``, ``"vector"``, ``"memory"``,
            ``"uniform"``, ``"learning"`` (the parts of the vectors that are not frozen) or ``"stream"``.
        owner: The layer, loss or optimizer on which it is looked up.
        name: Under which name.
        annotation: How the kernel sees it.
        number: The layer's place in the chain; of a stream, its place between the layers.
    """

    kind: str
    owner: Any
    name: str
    annotation: str
    number: int
