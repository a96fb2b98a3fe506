"""Several ranks that train one model compute what one process computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typing_extensions import override

from minidl import (
    SGD,
    Adam,
    Array,
    BatchNorm,
    Buffer,
    Dense,
    Dropout,
    Embedding,
    Layer,
    MeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    load,
    metrics,
    mlp,
)
from minidl.callbacks import Callback
from minidl.optimizers.clipping import ClipGlobalNorm
from minidl.optimizers.penalties import L2
from tests.support.ranks import ThreadRank, all_right, on_ranks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 8))
Y = np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]
WEIGHT = RNG.uniform(0.0, 2.0, 96)


def build(ranks: ThreadRank | None = None, dtype: npt.DTypeLike = np.float64, extras: bool = False) -> Trainer:
    model = mlp([8, 16, 16, 1], activation=Tanh, rng=0, dtype=dtype)
    more: dict[str, Any] = {}
    if extras:
        more = {"penalties": [L2(0.01, model.parameters())], "clip": ClipGlobalNorm(0.3)}
    return Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-2), rng=0, ranks=ranks, **more)


def bits(trainer: Trainer) -> tuple[bytes, ...]:
    slots = [slot.tobytes() for slot in trainer.optimizer.slots().values()]
    return (trainer.optimizer.vector.values.tobytes(), *slots, repr(trainer.history.loss).encode())


def fitted(size: int, **options: Any) -> list[Trainer]:
    """Fit on ranks; return the Trainers, which must all have the same bits."""
    dtype, extras = options.pop("dtype", np.float64), options.pop("extras", False)

    def work(rank: ThreadRank) -> Trainer:
        trainer = build(rank, dtype, extras)
        trainer.fit(X, Y, **options)
        return trainer

    trainers = all_right(on_ranks(size, work))
    assert len({bits(trainer) for trainer in trainers}) == 1
    return trainers


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("extras", [False, True])
def test_two_ranks_have_the_bits_of_micro_batches_of_half(dtype: npt.DTypeLike, extras: bool) -> None:
    shared, *_ = fitted(2, epochs=3, batch_size=16, dtype=dtype, extras=extras)
    one = build(dtype=dtype, extras=extras)
    one.fit(X, Y, epochs=3, batch_size=16, micro_batch_size=8)
    assert bits(shared) == bits(one)


def test_a_part_goes_through_the_model_in_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Tanh, x: Array) -> Array:
        rows.append(len(x))
        return original(self, x)

    rows: list[int] = []
    original = Tanh.forward
    monkeypatch.setattr(Tanh, "forward", forward)
    shared, *_ = fitted(2, epochs=1, batch_size=32, micro_batch_size=4)
    assert rows == [4] * (2 * 96 // 4)  # in two layers
    one = build()
    one.fit(X, Y, epochs=1, batch_size=32, micro_batch_size=4)
    np.testing.assert_allclose(shared.optimizer.vector.values, one.optimizer.vector.values, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("size", "batch_size"), [(2, 16), (3, 16), (4, 96), (2, 1), (4, 3), (3, 19), (2, 13)]
)
def test_ranks_agree_with_plain_training_however_a_batch_is_divided(size: int, batch_size: int) -> None:
    shared, *_ = fitted(size, epochs=2, batch_size=batch_size, sample_weight=WEIGHT)
    one = build()
    one.engine = "numpy"
    one.fit(X, Y, epochs=2, batch_size=batch_size, sample_weight=WEIGHT)
    np.testing.assert_allclose(shared.optimizer.vector.values, one.optimizer.vector.values, rtol=0, atol=2e-13)
    np.testing.assert_allclose(shared.history.loss, one.history.loss, rtol=1e-13)


def test_a_step_of_sgd_is_that_of_the_whole_batch_to_the_last_digits() -> None:
    def work(rank: ThreadRank | None) -> Array:
        model = mlp([8, 16, 1], activation=Tanh, rng=0)
        trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1), rng=0, ranks=rank, engine="numpy")
        trainer.fit(X, Y, epochs=4, batch_size=32)
        return trainer.optimizer.vector.values

    for shared in all_right(on_ranks(3, work)):
        np.testing.assert_allclose(shared, work(None), rtol=0, atol=1e-14)


def test_classes_weights_metrics_and_validation_are_those_of_one_process() -> None:
    labels = (Y[:, 0] > 0.5).astype(int)

    def work(rank: ThreadRank | None) -> Trainer:
        model = mlp([8, 16, 2], activation=Tanh, rng=0)
        optimizer = Adam(model.parameters(), 1e-2)
        trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=3, ranks=rank, engine="numpy")
        trainer.fit(X, labels, epochs=3, batch_size=10, class_weight="balanced", sample_weight=WEIGHT, validation=0.25,
                    metrics=[metrics.accuracy])
        return trainer

    one, first, second = work(None), *all_right(on_ranks(2, work))
    assert first.history.validation_loss == second.history.validation_loss
    np.testing.assert_allclose(first.history.validation_loss, one.history.validation_loss, rtol=1e-12)
    assert first.history.metrics == one.history.metrics
    np.testing.assert_allclose(first.history.loss, one.history.loss, rtol=1e-12)


def test_a_stream_is_divided_like_arrays() -> None:
    def work(rank: ThreadRank | None) -> bytes:
        trainer = build(rank)
        trainer.fit_batches([(X[i : i + 16], Y[i : i + 16]) for i in range(0, 96, 16)], epochs=2)
        return trainer.optimizer.vector.values.tobytes()

    def arrays(rank: ThreadRank) -> bytes:
        trainer = build(rank)
        trainer.fit(X, Y, epochs=2, batch_size=16, shuffle=False)
        return trainer.optimizer.vector.values.tobytes()

    assert {*all_right(on_ranks(2, work))} == {*all_right(on_ranks(2, arrays))}


def test_large_data_is_divided_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl._training.sources.is_large", lambda arrays: True)
    monkeypatch.setattr("minidl._training.sources.PIECE", 4096)
    monkeypatch.setattr("minidl._training.sources.BLOCK", 512)
    shared, *_ = fitted(2, epochs=2, batch_size=8)
    one = build()
    one.fit(X, Y, epochs=2, batch_size=8, micro_batch_size=4)
    assert bits(shared) == bits(one)


def test_rows_that_only_one_rank_has_reach_the_gradient_of_all() -> None:
    codes = np.repeat([[0.0], [1.0], [2.0]], 4, axis=0)

    def work(rank: ThreadRank | None) -> Array:
        model = Sequential(Embedding(3, 2), Dense(2, 1)).initialize(0)
        trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters(), 0.1), rng=0, ranks=rank, engine="numpy")
        trainer.fit(codes, codes, epochs=2, batch_size=12, shuffle=False)
        return trainer.optimizer.vector.values

    for shared in all_right(on_ranks(3, work)):
        np.testing.assert_allclose(shared, work(None), rtol=0, atol=1e-13)


def test_one_message_is_sent_in_each_step() -> None:
    trainers = fitted(2, epochs=3, batch_size=16)
    rank = trainers[0].ranks
    assert isinstance(rank, ThreadRank)
    start, steps, agreements, end = 4, 3 * 6, 1 + 3, 1
    assert rank.team.messages == start + steps + agreements + end


def test_the_loss_of_a_float32_model_travels_in_float64() -> None:
    shared, *_ = fitted(2, epochs=1, batch_size=16, dtype=np.float32)
    one = build(dtype=np.float32)
    one.fit(X, Y, epochs=1, batch_size=16, micro_batch_size=8)
    assert shared.history.loss == one.history.loss
    assert shared.history.loss[0] != float(np.float32(shared.history.loss[0]))


def test_running_statistics_are_averaged_and_batches_counted_once() -> None:
    x = RNG.normal(2.0, 3.0, size=(12, 2))

    def work(rank: ThreadRank) -> list[Array]:
        model = Sequential(BatchNorm(2), Dense(2, 1)).initialize(0)
        trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters()), rng=0, ranks=rank)
        trainer.fit(x, x[:, :1], epochs=1, batch_size=12, shuffle=False)
        norm: Any = model[0]
        return [norm.running_mean.value, norm.running_var.value, norm.num_batches_tracked.value]

    variances = [x[:6].var(axis=0, ddof=1), x[6:].var(axis=0, ddof=1)]
    for mean, variance, count in all_right(on_ranks(2, work)):
        np.testing.assert_allclose(mean, 0.1 * x.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(variance, 0.9 + 0.1 * np.mean(variances, axis=0), rtol=1e-14)
        assert count == 1


class Masked(Layer):
    """Keep buffers that no pass changes, and one that is true after the first."""

    def __init__(self) -> None:
        self.limits, self.third, self.used = Buffer([-np.inf, 1 / 3]), Buffer(0.1), Buffer(False)

    @override
    def forward(self, x: Array) -> Array:
        self.used.value = np.array(True)
        return x

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def test_buffers_that_no_pass_changes_keep_their_bits() -> None:
    def work(rank: ThreadRank) -> list[Any]:
        model = Sequential(Dense(8, 1), Masked()).initialize(0)
        Trainer(model, MeanSquaredError(), Adam(model.parameters()), rng=0, ranks=rank).fit(X, Y, epochs=3)
        masked: Any = model[1]
        return [*masked.limits.value, float(masked.third.value), masked.used.value.dtype.kind, bool(masked.used.value)]

    assert all_right(on_ranks(3, work)) == [[-np.inf, 1 / 3, 0.1, "b", True]] * 3


def test_no_rank_gets_a_single_row_where_a_layer_needs_two() -> None:
    def work(rank: ThreadRank) -> list[float]:
        model = Sequential(Dense(8, 4), BatchNorm(4), Dense(4, 1)).initialize(0)
        trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters()), rng=0, ranks=rank)
        return trainer.fit(X[:25], Y[:25], epochs=2, batch_size=11).loss  # batches of 11, 11 and 3 rows on 4 ranks

    losses = all_right(on_ranks(4, work))
    assert losses[0] == losses[3]
    assert np.isfinite(losses[0]).all()


class Draws(Layer):
    """Write down a random number in each pass."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.drawn: list[float] = []

    @override
    def forward(self, x: Array) -> Array:
        self.drawn.append(float(self.rng.random()))
        return x

    @override
    def backward(self, grad: Array) -> Array:
        return grad


def test_each_rank_draws_random_numbers_of_its_own() -> None:
    def work(rank: ThreadRank) -> list[float]:
        draws = Draws()
        model = Sequential(Dense(8, 1), draws)
        model[0].initialize(0)
        trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters()), rng=0, ranks=rank)
        trainer.fit(X, Y, epochs=2, batch_size=32)
        return draws.drawn[-6:]  # those before are of the checks of widths

    def jumps(rank: int) -> Iterator[float]:
        checked = np.random.PCG64(5)
        checked.advance(2)
        for batch in range(6):
            yield np.random.Generator(checked.jumped(3 * batch + rank)).random()

    assert all_right(on_ranks(3, work)) == [list(jumps(rank)) for rank in range(3)]


def test_layers_that_share_a_generator_never_draw_a_number_twice() -> None:
    def work(rank: ThreadRank) -> list[float]:
        first, second = Draws(), Draws()
        second.rng = first.rng
        model = Sequential(Dense(8, 1), first, second)
        trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters()), rng=0, ranks=rank)
        model[0].initialize(0)
        trainer.fit(X, Y, epochs=2, batch_size=32)
        return first.drawn[-6:] + second.drawn[-6:]

    drawn = [number for rank in all_right(on_ranks(2, work)) for number in rank]
    assert len(drawn) == len(set(drawn)) == 2 * 2 * 6


class Cut(Callback):
    """Stop a run on all ranks in the middle of an epoch, and save it."""

    every_batches = 1

    def __init__(self, path: Path, batch: int | None) -> None:
        self.path, self.batch = path, batch

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (1, self.batch):
            trainer.save(self.path)
            trainer.stop("cut")


def test_a_run_is_resumed_on_the_same_ranks_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def make(rank: ThreadRank | None) -> Trainer:
        model = Sequential(Dense(8, 6), BatchNorm(6), Dropout(0.3), Tanh(), Dense(6, 1)).initialize(0)
        return Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-2), rng=0, ranks=rank)

    def cut(rank: ThreadRank, batch: int | None = 3) -> Trainer:
        trainer = make(rank)
        trainer.fit(X, Y, epochs=3, batch_size=16, callbacks=[Cut(path, batch)])
        return trainer

    def resumed(rank: ThreadRank) -> Trainer:
        trainer = make(rank)
        trainer.restore(path)
        trainer.resume(X, Y, callbacks=[Cut(path, None)])
        return trainer

    def everything(trainer: Trainer) -> tuple[bytes, ...]:
        norm, dropout = trainer.model[1], trainer.model[2]  # type: ignore[index]
        state = repr(dropout.rng.bit_generator.state).encode()
        return (*bits(trainer), norm.running_mean.value.tobytes(), norm.num_batches_tracked.value.tobytes(), state)

    whole = all_right(on_ranks(2, lambda rank: cut(rank, None)))
    assert {trainer.history.stopped_by for trainer in all_right(on_ranks(2, cut))} == {"cut"}
    assert load(path).predict(X).shape == (96, 1)
    assert {everything(one) for one in all_right(on_ranks(2, resumed))} == {everything(whole[0])}
    assert everything(whole[0]) == everything(whole[1])
    alone = make(None)
    alone.restore(path)
    alone.engine = "numpy"
    assert len(alone.resume(X, Y, callbacks=[Cut(path, None)])) == 3
