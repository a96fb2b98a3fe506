"""Sample weights that are all 0 are refused where no row would count, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minidl import SGD, BatchNorm, Dense, HalfSquaredError, MeanSquaredError, Sequential, Trainer, mlp
from minidl.errors import DataError
from minidl.solvers import lbfgs, levenberg_marquardt
from tests.support.refusal import refused

X = np.linspace(-1, 1, 12)[:, None]
Y = X**2
ZEROS, FIRST = np.zeros(12), np.eye(12)[0]
ENGINES = ["numpy", "compiled"]


def trainer(engine: Any = "numpy", dtype: Any = np.float64) -> Trainer:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Sequential(Dense(1, 3), BatchNorm(3), Dense(3, 1)).initialize(rng=0).astype(dtype)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1, momentum=0.5), rng=0, engine=engine)


def everything(trainer: Trainer) -> list[bytes]:
    norm: Any = trainer.model[1]  # type: ignore[index]
    slots = trainer.optimizer.slots().values()
    return [array.tobytes() for array in (trainer.optimizer.vector.values, *slots, norm.running_mean.value)]


def refusals() -> Iterator[tuple[Callable[[Trainer], object], str]]:
    above = "expected a weight above 0, got zeros for all 12 rows; leave it out, and all rows count the same"
    yield lambda t: t.fit(X, Y, epochs=1, sample_weight=ZEROS), f"sample_weight: {above}"
    yield lambda t: t.fit(X, Y, epochs=1, validation=(X, Y, ZEROS)), f"validation: sample_weight: {above}"
    yield lambda t: t.fit_batches([(X, Y)], epochs=1, validation=(X, Y, ZEROS)), f"validation: sample_weight: {above}"
    yield lambda t: t.evaluate(X, Y, sample_weight=ZEROS), f"sample_weight: {above}"
    one_side = "fit(validation): 0.25 of 12 rows leaves only rows of sample_weight 0 on one side; choose"
    yield lambda t: t.fit(X, Y, epochs=1, validation=0.25, shuffle=False, sample_weight=FIRST), one_side
    yield lambda t: t.fit(X, Y, epochs=1, validation=0.25, shuffle=False, sample_weight=FIRST[::-1]), one_side
    yield lambda t: t.fit(X, Y, epochs=1, validation=0.25, sample_weight=FIRST), one_side
    epoch = "fit_batches: expected a sample_weight above 0 in an epoch, got zeros in all its batches"
    yield lambda t: t.fit_batches([(X, Y, ZEROS)] * 3, epochs=1), epoch


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("call", "words"), list(refusals()), ids=range(8))
def test_weights_that_are_all_zero_are_refused_before_a_change(call: Any, words: str, engine: Any) -> None:
    run = trainer(engine)
    before = everything(run)
    with refused(DataError, words):
        call(run)
    assert everything(run) == before
    assert (len(run.history), run.optimizer.steps, run.figures) == (0, 0, {})


def test_weights_that_float32_rounds_to_zero_are_refused() -> None:
    with refused(DataError, "got zeros for all 12 rows"):
        trainer(dtype=np.float32).fit(X, Y, epochs=1, sample_weight=FIRST * 1e-60)


@pytest.mark.parametrize("solver", [lbfgs, levenberg_marquardt])
def test_solvers_refuse_weights_that_are_all_zero(solver: Any) -> None:
    model = mlp([1, 3, 1], rng=0)
    before = [parameter.value.copy() for parameter in model.parameters()]
    with refused(DataError, "sample_weight: expected a weight above 0, got zeros for all 12 rows"):
        solver(model, X, Y, sample_weight=ZEROS)
    with refused(DataError, f"{solver.__name__}(validation): sample_weight: expected a weight above 0, got zeros"):
        solver(model, X, Y, validation=(X, Y, ZEROS))
    assert all((p.value == value).all() for p, value in zip(model.parameters(), before, strict=True))


def line(engine: Any) -> Trainer:
    if engine == "compiled":
        pytest.importorskip("numba")
    model = Dense(1, 1)
    model.weight.value, model.bias.value = [[2.0]], [1.0]
    return Trainer(Sequential(model), MeanSquaredError(), SGD(model.parameters(), 0.1), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_batch_of_weight_zero_has_loss_zero_and_moves_nothing(streamed: bool, engine: Any) -> None:
    run = line(engine)
    x, y, weight = X[:4], np.zeros((4, 1)), np.array([0.0, 0.0, 3.0, 1.0])
    w, b = 2.0, 1.0
    e = [w * float(row) + b for row in x[2:, 0]]
    loss = (3 * e[0] ** 2 + e[1] ** 2) / 2  # of the second batch; that of the first is 0
    w -= 0.1 * (3 * e[0] * float(x[2, 0]) + e[1] * float(x[3, 0]))
    b -= 0.1 * (3 * e[0] + e[1])
    if streamed:
        run.fit_batches([(x[:2], y[:2], weight[:2]), (x[2:], y[2:], weight[2:])], epochs=1)
    else:
        run.fit(x, y, epochs=1, batch_size=2, shuffle=False, sample_weight=weight)
    assert run.optimizer.steps == 2
    assert run.optimizer.vector.values.tolist() == pytest.approx([w, b])
    assert run.history.loss == [pytest.approx(loss / 2)]


def test_pieces_of_weight_zero_add_up_to_the_whole_batch() -> None:
    weight = np.zeros(12)
    weight[7] = 2.0
    whole, pieces = mlp([1, 3, 1], rng=0), mlp([1, 3, 1], rng=0)
    for model, size in ((whole, None), (pieces, 2)):
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=0)
        run.fit(X, Y, epochs=2, batch_size=12, sample_weight=weight, micro_batch_size=size)
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_later_epoch_of_weight_zero_is_an_error(engine: Any) -> None:
    run, epochs = line(engine), iter([FIRST, FIRST, ZEROS])  # the first is read twice: to check it, and to train

    def stream() -> Any:
        weight = next(epochs)
        return iter([(X[:6], Y[:6], weight[:6]), (X[6:], Y[6:], weight[6:])])

    with refused(DataError, "expected a sample_weight above 0 in an epoch"):
        run.fit_batches(stream, epochs=2)
    assert len(run.history) == 1
