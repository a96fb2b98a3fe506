"""Penalties: errors of the parameters themselves, added to the loss so that they stay small."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
from typing_extensions import override

from .._core.arrays import listed, real, sum_of_squares
from .._core.parameter import Parameter, unique_parameters
from ..errors import ArgumentError, DTypeError


class Penalty(ABC):
    """Add a term to the loss that depends on chosen parameters alone.

    The Trainer and the solvers take ``penalties=[L2(1e-4, weights)]``. By hand, between ``backward`` and ``step``::

        error = loss.forward(model.forward(x), y) + penalty.value()
        model.backward(loss.backward())
        penalty.backward()
        optimizer.step()

    A subclass writes `value` and `backward`. Like an optimizer, a penalty keeps its parameters.

    Args:
        strength: λ ≥ 0.
        parameters: On which parameters; a shared one counts once.
    """

    def __init__(self, strength: float, parameters: Iterable[Parameter]) -> None:
        self.strength: float = real(strength, f"{type(self).__name__}(strength)", least=0)
        self.parameters: list[Parameter] = unique_parameters(parameters, f"{type(self).__name__}(parameters)")

    @abstractmethod
    def value(self) -> float:
        """Return the term."""

    @abstractmethod
    def backward(self) -> None:
        """Add the gradient of the term to the gradients of the parameters."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.strength:g}, {len(self.parameters)} parameters)"


class L1(Penalty):
    """Make weights zero that are not needed (Tibshirani 1996).

    Forward:
        e = λ Σ |W|
    Backward:
        ∂e/∂W = λ sign(W)

    Example:
        >>> model = mlp([2, 3, 1], rng=0)
        >>> weights = [layer.weight for layer in model if isinstance(layer, Dense)]
        >>> optimizer = SGD(model.parameters(), learning_rate=0.1)
        >>> trainer = Trainer(model, MeanSquaredError(), optimizer, penalties=[L1(1e-3, weights)], rng=0)
    """

    @override
    def value(self) -> float:
        return self.strength * sum(float(np.abs(parameter.value).sum()) for parameter in self.parameters)

    @override
    def backward(self) -> None:
        for parameter in self.parameters:
            parameter.grad += self.strength * np.sign(parameter.value)


class L2(Penalty):
    """Keep weights small (Hoerl and Kennard 1970): what `SGD` does by ``weight_decay=λ``.

    Forward:
        e = ½ λ Σ W²
    Backward:
        ∂e/∂W = λ W
    """

    @override
    def value(self) -> float:
        return 0.5 * self.strength * sum(sum_of_squares(parameter.value) for parameter in self.parameters)

    @override
    def backward(self) -> None:
        for parameter in self.parameters:
            parameter.grad += self.strength * parameter.value


def checked_penalties(
    penalties: Iterable[Penalty], parameters: Iterable[Parameter], where: str = "Trainer"
) -> tuple[Penalty, ...]:
    """Return the penalties of a Trainer or a solver, all of them on parameters of its model.

    Raises:
        DTypeError: something that is not a penalty.
        ArgumentError: a penalty on a parameter of another model.
    """
    if isinstance(penalties, Penalty):
        raise DTypeError(f"{where}(penalties): expected a list of penalties, got one; write [{penalties!r}]")
    given = tuple(listed(penalties, f"{where}(penalties)", "penalties such as L2(1e-4, weights)"))
    own = {id(parameter) for parameter in parameters}
    for penalty in given:
        if not isinstance(penalty, Penalty):
            raise DTypeError(f"{where}(penalties): expected penalties such as L2(1e-4, weights), got {penalty!r}")
        if not all(id(parameter) in own for parameter in penalty.parameters):
            raise ArgumentError(f"{where}(penalties): expected parameters of this model, got others in {penalty!r}")
    return given
