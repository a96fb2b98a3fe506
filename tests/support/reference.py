"""The article's network as a plain loop, written from equations (1) to (7) in the article's symbols.

Layers are L_1 … L_n. `W[i]` and `b[i]` lead from layer i to layer i + 1, `f[i]` and `f_prime[i]` belong to layer i;
all are mappings, so that an index here is the index of the article. The loop shares no code with minidl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[Any]
Functions: TypeAlias = Mapping[int, Callable[[Numbers], Numbers]]


def logistic(x: Numbers) -> Numbers:
    y: Numbers = 1.0 / (1.0 + np.exp(-x))
    return y


def logistic_prime(x: Numbers) -> Numbers:
    return logistic(x) * (1.0 - logistic(x))


def identity(x: Numbers) -> Numbers:
    return x


def identity_prime(x: Numbers) -> Numbers:
    return np.ones_like(x)


LOGISTIC = {2: logistic, 3: logistic, 4: logistic}, {2: logistic_prime, 3: logistic_prime, 4: logistic_prime}
"""f and f′ of four layers that are logistic throughout."""

LOGISTIC_IDENTITY = {2: logistic, 3: logistic, 4: identity}, {2: logistic_prime, 3: logistic_prime, 4: identity_prime}
"""f and f′ of four layers with an identity at the end."""


def feedforward(W: dict[int, Numbers], b: dict[int, Numbers], f: Functions, x: Numbers) -> Numbers:
    O_i = x
    for i in W:
        O_i = f[i + 1](W[i] @ O_i + b[i])
    return O_i


def update(
    W: dict[int, Numbers], b: dict[int, Numbers], f: Functions, f_prime: Functions, x: Numbers, y: Numbers, eta: float
) -> None:
    """Replace the entries of ``W`` and ``b`` by those after one update for the point (x, y)."""
    n = len(W) + 1
    inputs, O, E = {}, {1: x}, {}  # noqa: E741 - the article's O; its I would be refused as well
    for i in range(1, n):
        inputs[i + 1] = W[i] @ O[i] + b[i]  # (1)
        O[i + 1] = f[i + 1](inputs[i + 1])  # (2)
    E[n] = f_prime[n](inputs[n]) * (O[n] - y)  # (3)
    for i in range(n, 2, -1):
        E[i - 1] = (W[i - 1].T @ E[i]) * f_prime[i - 1](inputs[i - 1])  # (4)
    for i in range(1, n):
        W[i] = W[i] - eta * np.outer(E[i + 1], O[i])  # (5) and (7)
        b[i] = b[i] - eta * E[i + 1]  # (6) and (7)


def epoch(
    W: dict[int, Numbers], b: dict[int, Numbers], f: Functions, f_prime: Functions,
    X: Numbers, Y: Numbers, order: Iterable[int], eta: float,
) -> None:
    """Update once for each row of ``X`` and ``Y``, in the given order."""
    for row in order:
        update(W, b, f, f_prime, X[row], Y[row], eta)
