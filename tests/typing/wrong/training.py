"""Optimizers and trainers that were given the wrong things."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from minidl import SGD, Array, HalfSquaredError, Huber, Parameter, Trainer, mlp
from minidl.callbacks import EarlyStopping
from minidl.initializers import Initializer
from minidl.optimizers import Optimizer
from minidl.solvers import lbfgs, levenberg_marquardt


def constant() -> float:
    return 0.1


model = mlp([1, 2, 1])
SGD(model.parameters(), "0.1")  # error: [arg-type] expected "float | Callable[[int], float]"
SGD(model.parameters())  # error: [call-arg] Missing positional argument "learning_rate"
SGD(model, 0.1)  # error: [arg-type] has incompatible type "Sequential"; expected "Iterable[Parameter]"
SGD(model.parameters(), 0.1, 0.9)  # error: [call-arg] Too many positional arguments for "SGD"
SGD(model.parameters(), constant)  # error: [arg-type] expected "float | Callable[[int], float]"
Optimizer(model.parameters(), 0.1)  # error: [abstract] abstract attribute "update"

optimizer = SGD(model.parameters(), learning_rate=0.1)
Trainer(model, HalfSquaredError, optimizer)  # error: [arg-type] has incompatible type "type[HalfSquaredError]"
Trainer(model, optimizer, optimizer)  # error: [arg-type] has incompatible type "SGD"; expected "Loss"
trainer = Trainer(model, HalfSquaredError(), optimizer)
trainer.fit(np.ones((2, 1)), np.ones((2, 1)))  # error: [call-arg] Missing named argument "epochs"
trainer.fit(np.ones((2, 1)), [[1], [1]], epochs="3")  # error: [arg-type] has incompatible type "str"; expected "int"
trainer.evaluate(np.ones((2, 1)), np.ones((2, 1)), None)  # error: [call-arg] Too many positional arguments
EarlyStopping(10, "loss", mode="maximum")  # error: [arg-type] expected "Literal['min', 'max'] | None"
trainer.history.loss.append("0.1")  # error: [arg-type] expected "float"
lbfgs(model, np.ones((2, 1)), [[1], [1]], l2=0.1)  # error: [call-arg] Unexpected keyword argument "l2" for "lbfgs"
levenberg_marquardt(model, [[1]], [[1]], loss=Huber())  # error: [arg-type] has incompatible type "Huber"
Parameter(1.0).grad = "zero"  # error: [assignment] has type "str"


class ReturnsNothing(Initializer):
    @override
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:  # error: [override] Return type "None"
        rng.normal(size=shape)


class TakesNoRate(Optimizer):
    @override
    def update(self, values: Array, gradients: Array) -> None:  # error: [override] Signature of "update" incompatible
        values -= gradients
