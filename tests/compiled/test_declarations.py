"""The rows of the kernel tables: each need of a kernel is declared, and is what the declaration says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minidl import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    Huber,
    LayerNorm,
    Parameter,
    Residual,
    RMSNorm,
    RMSProp,
)
from minidl._compiled.kernels import LAYERS, NARROW, ONE_ROW, ONE_ROW_DESCENT
from minidl._compiled.kernels.activations import ARRAY_ACTIVATION, RESIDUAL_BEGIN, RESIDUAL_END
from minidl._compiled.kernels.dense import DENSE
from minidl._compiled.kernels.dropout import DROPOUT
from minidl._compiled.kernels.gradients import CLIPS
from minidl._compiled.kernels.language import (
    Argument,
    Column,
    Function,
    Kernel,
    Kernels,
    Matrix,
    Needs,
    OneKernel,
    Real,
    Row,
    Vector,
)
from minidl._compiled.kernels.losses import LOSSES
from minidl._compiled.kernels.normalization import BATCH_NORM, FIXED_NORM
from minidl._compiled.kernels.optimizers import SGD_MOMENTUM, step_of
from minidl._compiled.source import parameters_of
from minidl._core.parameter import Buffer
from minidl.layers.activations import Activation
from minidl.layers.scaling import Rescale, Standardize
from minidl.losses import ElementwiseLoss, Pinball
from minidl.optimizers import Adagrad, NAdam

LAYER = {"x", "y", "grad", "dx", "learning_rate"}
LOSS = {"prediction", "target", "sample_weight", "gradient", "flat_gradient"}
CLIP = {"gradients", "places"}
STEP = {"values", "gradients", "learning_rate", "step"}
ARRAYS = (Vector, Matrix, Row, Column)
SEEN_AS: dict[str, tuple[Any, ...]] = {
    "parameter": ARRAYS, "gradient": ARRAYS, "transposed": (Matrix,), "buffer": ARRAYS, "vector": (Vector,),
    "uniform": (Vector,), "number": (Real, float), "array": (Row,), "function": (Function,),
    "sequence": (float,),
}
KINDS: dict[str, tuple[type, ...]] = {
    "parameter": (Parameter,), "gradient": (Parameter,), "transposed": (Parameter,), "buffer": (Buffer,),
    "number": (float,), "array": (list,), "vector": (np.ndarray,), "uniform": (np.random.Generator,),
    "sequence": (float,),
}


def layer(kind: type[Any]) -> Any:
    if kind is Activation:
        return Activation(np.sin, np.cos)
    if kind is Dense:
        return Dense(3, 2)
    arguments: dict[Any, Any] = {Dropout: [0.5], LayerNorm: [3], RMSNorm: [3], BatchNorm: [3]}
    arguments |= {Standardize: [3], Rescale: [3]}
    return kind(*arguments.get(kind, []))


def rows() -> Iterator[Any]:
    """Each row of each table, with an object that it is for, and the names that need no declaration."""
    for table in LAYERS, ONE_ROW, NARROW, ONE_ROW_DESCENT:
        for kind, row in table.items():
            if table is LAYERS or row is not LAYERS[kind]:
                yield pytest.param(row, layer(kind), LAYER, id=f"{kind.__name__} {row.forward.__name__}")
    yield pytest.param(FIXED_NORM, layer(BatchNorm), LAYER, id="frozen BatchNorm")
    yield pytest.param(ARRAY_ACTIVATION, layer(Activation), LAYER, id="Activation of arrays")
    for ends in RESIDUAL_BEGIN, RESIDUAL_END:
        yield pytest.param(ends, Residual(Dense(3, 3)), {*LAYER, "other_x", "other_grad"}, id=ends.forward.__name__)
    for loss, own in LOSSES.items():
        arguments: dict[Any, Any] = {Pinball: [[0.1, 0.9]], ElementwiseLoss: [np.hypot, np.hypot]}
        yield pytest.param(own, loss(*arguments.get(loss, [])), LOSS, id=loss.__name__)
    for clip, own in CLIPS.items():
        yield pytest.param(own, clip(1.0), CLIP, id=clip.__name__)
    for make in steps():
        optimizer = make([Parameter(np.ones((2, 2)))], 0.1)
        for part in step_of(optimizer):
            yield pytest.param(part, optimizer, STEP, id=f"{type(optimizer).__name__} {part.kernel.__name__}")


def steps() -> Iterator[Callable[..., Any]]:
    yield lambda parameters, rate: SGD(parameters, rate, weight_decay=0.1)
    yield lambda parameters, rate: SGD(parameters, rate, momentum=0.9)
    yield lambda parameters, rate: SGD(parameters, rate, momentum=0.9, nesterov=True)
    yield lambda parameters, rate: Adam(parameters, rate, weight_decay=0.1)
    yield lambda parameters, rate: AdamW(parameters, rate, weight_decay=0.1)
    yield lambda parameters, rate: NAdam(parameters, rate)
    yield lambda parameters, rate: Adagrad(parameters, rate)
    yield lambda parameters, rate: RMSProp(parameters, rate)
    yield lambda parameters, rate: RMSProp(parameters, rate, momentum=0.9)
    yield lambda parameters, rate: SGD(parameters, rate).set_group(parameters, rate_factor=0.5)


def kernels_of(row: Needs) -> list[Kernel]:
    """List the kernels of a row: its fields that are functions."""
    found = [getattr(row, field.name) for field in dataclasses.fields(row)]
    return [kernel for kernel in found if callable(kernel)]


def check(row: Needs, owner: object, fixed: set[str]) -> None:
    """Raise an AssertionError that says what is wrong with a row."""
    declared = row.arguments(owner)
    assert not fixed & set(declared), f"fixed names are declared: {fixed & set(declared)}"
    used = set()
    for kernel in kernels_of(row):
        assert "float" not in kernel.__code__.co_names, f"{kernel.__name__}: float() leaves float32 as it is in Numba"
        for name, annotation in parameters_of(kernel).items():
            assert name in fixed or name in declared, f"{kernel.__name__}: {name} is not declared"
            if name in declared:
                used.add(subject(name, declared[name]))
                check_kind(f"{kernel.__name__}({name})", annotation, declared[name], row.memory.get(name))
    names = {subject(name, argument) for name, argument in declared.items()}
    assert used == names, f"no kernel uses {names - used}"


def subject(name: str, argument: Argument) -> str:
    """The declared name: a parameter for its gradient and its transpose too."""
    return name if argument.kind in ("memory", "uniform") else argument.name


def check_kind(where: str, annotation: Any, argument: Argument, shape: Any) -> None:
    if argument.kind == "memory":
        assert shape in (Matrix, Row, Column), f"{where}: no shape of memory"
        assert annotation in (shape, *([Vector] if shape == Matrix else [])), f"{where}: not the declared shape"
        return
    assert annotation in SEEN_AS[argument.kind], f"{where}: annotation of a {argument.kind}"
    value = getattr(argument.owner, argument.name, None)
    right = callable(value) if argument.kind == "function" else isinstance(value, KINDS[argument.kind])
    assert right, f"{where}: {type(argument.owner).__name__} has no {argument.kind} {argument.name}"


@pytest.mark.parametrize(("row", "owner", "fixed"), list(rows()))
def test_kernels_use_what_their_row_declares(row: Needs, owner: object, fixed: set[str]) -> None:
    check(row, owner, fixed)


def with_unknown(x: Vector, y: Vector, slope: Real) -> None:
    """Name what no row declares."""


def with_wrong_kind(x: Vector, y: Vector, rate: Vector) -> None:
    """See a number as an array."""


@pytest.mark.parametrize(
    ("row", "owner", "fixed", "message"),
    [
        (dataclasses.replace(DENSE, parameters=("weight",)), Dense(3, 2), LAYER, "bias is not declared"),
        (Kernels(with_unknown, with_unknown), Dropout(0.5), LAYER, "with_unknown: slope is not declared"),
        (dataclasses.replace(DENSE, numbers=("epsilon",)), Dense(3, 2), LAYER, "no kernel uses {'epsilon'}"),
        (dataclasses.replace(DENSE, memory={"mask": Matrix}), Dense(3, 2), LAYER, "no kernel uses {'mask'}"),
        (dataclasses.replace(DENSE, uniform="rng"), Dense(3, 2), LAYER, "no kernel uses {'uniform'}"),
        (dataclasses.replace(DENSE, numbers=("x",)), Dense(3, 2), LAYER, "fixed names are declared"),
        (DENSE, Dropout(0.5), LAYER, "Dropout has no parameter weight"),
        (dataclasses.replace(DROPOUT, uniform="generator"), Dropout(0.5), LAYER, "Dropout has no uniform generator"),
        (dataclasses.replace(DROPOUT, memory={"mask": Row}), Dropout(0.5), LAYER, "not the declared shape"),
        (dataclasses.replace(BATCH_NORM, buffers=()), BatchNorm(3), LAYER, "running_mean is not declared"),
        (Kernels(with_wrong_kind, with_wrong_kind, numbers=("rate",)), Dropout(0.5), LAYER, "annotation of a number"),
        (OneKernel(LOSSES[Huber].kernel), Huber(), LOSS, "huber: delta is not declared"),
        (SGD_MOMENTUM, SGD([Parameter(1.0)], 0.1), STEP, "SGD has no vector velocity"),
    ],
)
def test_a_wrong_row_is_found(row: Needs, owner: object, fixed: set[str], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(row, owner, fixed)
