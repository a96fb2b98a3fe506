"""Ranks stop, fail and refuse together: none waits for a message that never comes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Adam, Array, Dense, Dropout, Layer, MeanSquaredError, Sequential, Tanh, Trainer, mlp
from minidl._core.interrupts import Interrupts
from minidl.callbacks import Callback, Checkpoint, EarlyStopping, LogFile, StopAfter
from minidl.errors import ArgumentError, CallOrderError, CompileError, DataError, DivergenceError, DTypeError, RankError
from minidl.search import fit_all
from tests.support.ranks import ThreadRank, all_right, on_ranks

X = np.random.default_rng(0).normal(size=(64, 4))
Y = X[:, :1] * X[:, 1:2]


def build(ranks: Any = None, seed: int = 0, rate: float = 0.01, rng: int | None = 0, **options: Any) -> Trainer:
    model = options.pop("model", None) or mlp([4, 8, 1], activation=Tanh, rng=seed)
    return Trainer(model, MeanSquaredError(), Adam(model.parameters(), rate), rng=rng, ranks=ranks, **options)


def errors_of(size: int, work: Callable[[ThreadRank], object]) -> list[BaseException]:
    """Return the errors that end all ranks."""
    found = on_ranks(size, work)
    assert all(isinstance(one, BaseException) for one in found), found
    return [one for one in found if isinstance(one, BaseException)]


class At(Callback):
    """Act at one batch of the first epoch on one rank."""

    every_batches = 1

    def __init__(self, rank: int, batch: int, act: Callable[[Trainer], object]) -> None:
        self.rank, self.batch, self.act = rank, batch, act

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        ranks: Any = trainer.ranks
        if ranks.rank == self.rank and (len(trainer.history), trainer.position.batch) == (0, self.batch):
            self.act(trainer)


def stand(trainer: Trainer) -> tuple[Any, ...]:
    position, history = trainer.position, trainer.history
    return len(history), position.batch, trainer.optimizer.steps, history.stopped_by, trainer.interrupted


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_stop_on_one_rank_stops_all_at_the_same_batch(rank: int) -> None:
    def work(own: ThreadRank) -> tuple[Any, ...]:
        trainer = build(own)
        acting = [At(rank, 3, lambda trainer: trainer.stop("enough"))] if own.rank == rank else []
        trainer.fit(X, Y, epochs=5, batch_size=8, callbacks=acting)
        return stand(trainer)

    assert all_right(on_ranks(3, work)) == [(0, 3, 3, "enough", False)] * 3


def test_a_stop_after_an_epoch_stops_all_there() -> None:
    class Once(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            trainer.stop("one epoch")

    def work(own: ThreadRank) -> tuple[Any, ...]:
        trainer = build(own)
        trainer.fit(X, Y, epochs=5, batch_size=8, callbacks=[Once()] if own.rank else [])
        return stand(trainer)

    assert all_right(on_ranks(2, work)) == [(1, 0, 8, "one epoch", False)] * 2


def test_a_stop_before_the_first_batch_stops_all_there() -> None:
    class Never(Callback):
        @override
        def on_train_begin(self, trainer: Trainer) -> None:
            trainer.stop("not today")

    def work(own: ThreadRank) -> tuple[Any, ...]:
        trainer = build(own)
        trainer.fit(X, Y, epochs=5, batch_size=8, callbacks=[Never()] if own.rank else [])
        return stand(trainer)

    assert all_right(on_ranks(2, work)) == [(0, 0, 0, "not today", False)] * 2


def test_a_stop_from_another_thread_stops_all_at_the_same_batch() -> None:
    def work(own: ThreadRank) -> tuple[Any, ...]:
        trainer = build(own)
        if own.rank:
            threading.Timer(0.2, lambda: trainer.stop("timer")).start()
        trainer.fit(X, Y, epochs=10**6, batch_size=8)
        return stand(trainer)

    first, second = all_right(on_ranks(2, work))
    assert first == second
    assert first[3] == "timer"


def test_a_time_limit_on_any_rank_stops_all() -> None:
    def work(own: ThreadRank) -> tuple[Any, ...]:
        trainer = build(own)
        trainer.fit(X, Y, epochs=10**6, batch_size=8, callbacks=[StopAfter(0.1 + 9 * own.rank)])
        return stand(trainer)

    first, second = all_right(on_ranks(2, work))
    assert first == second
    assert first[3] == "StopAfter: 0.1 seconds are over"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[int, Interrupts]:
    """Map each thread to what notes its signals, because threads get none."""
    found: dict[int, Interrupts] = {}

    class Noted(Interrupts):
        @override
        def __enter__(self) -> Interrupts:  # type: ignore[override]
            found[threading.get_ident()] = self
            return super().__enter__()

    monkeypatch.setattr("minidl._training.loop.Interrupts", Noted)
    return found


@pytest.mark.parametrize("why", ["SIGINT", "enough"])
def test_a_signal_or_a_stop_waits_for_no_callback(why: str, here: dict[int, Interrupts]) -> None:
    def work(own: ThreadRank) -> tuple[Any, ...]:
        def stream() -> Iterator[tuple[Array, Array]]:
            for batch in range(40):
                if own.rank == 1 and batch == 10 and why == "SIGINT":
                    here[threading.get_ident()].received = why
                elif own.rank == 1 and batch == 10:
                    trainer.stop(why)
                yield X[:8], Y[:8]

        trainer = build(own)
        trainer.fit_batches(stream, epochs=1)
        return stand(trainer)

    assert all_right(on_ranks(2, work)) == [(0, 11, 11, why, why == "SIGINT")] * 2


def test_a_signal_to_one_rank_ends_all_and_the_run_can_be_resumed(here: dict[int, Interrupts]) -> None:
    def work(own: ThreadRank) -> tuple[Any, ...]:
        trainer, whole = build(own), build(own)
        signal = At(1, 3, lambda _: setattr(here[threading.get_ident()], "received", "SIGTERM"))
        stopping = EarlyStopping(1, "loss")
        trainer.fit(X, Y, epochs=3, batch_size=8, callbacks=[signal, stopping])
        before = stand(trainer)
        trainer.resume(X, Y)
        whole.fit(X, Y, epochs=3, batch_size=8, callbacks=[EarlyStopping(1, "loss")])
        return (*before, trainer.optimizer.vector.values.tobytes() == whole.optimizer.vector.values.tobytes())

    assert all_right(on_ranks(2, work)) == [(0, 3, 3, "SIGTERM", True, True)] * 2


class SpoilsLargeNumbers(Layer):
    """Give infinity, forward or backward, where a part of the batch holds a mark."""

    def __init__(self, backward: bool = False) -> None:
        self.spoils_backward = backward

    @override
    def forward(self, x: Array) -> Array:
        self._marked = bool((x > 50.0).any())
        return np.where(x > 50.0, np.inf, x) if not self.spoils_backward else np.minimum(x, 1.0)

    @override
    def backward(self, grad: Array) -> Array:
        return grad * np.inf if self._marked else grad


@pytest.mark.parametrize(("backward", "phase"), [(False, "forward"), (True, "backward")])
def test_a_number_that_is_not_finite_on_one_rank_ends_all_alike(backward: bool, phase: str) -> None:
    x = X.copy()
    x[5 * 8 + 7, 2] = 100.0  # of batch 5 the last row, which the last rank has

    def work(own: ThreadRank | None) -> None:
        model = Sequential(Dense(4, 4), SpoilsLargeNumbers(backward), Dense(4, 1)).initialize(0)
        model[0].weight.value = np.eye(4)  # type: ignore[attr-defined]
        trainer = build(own, model=model, engine="numpy")
        try:
            trainer.fit(x, Y, epochs=2, batch_size=8, shuffle=False)
        finally:
            states.append((stand(trainer)[:4], trainer.optimizer.vector.values.tobytes()))

    states: list[Any] = []
    found = errors_of(3, work)
    assert len({str(error) for error in found}) == len(set(states)) == 1
    with pytest.raises(DivergenceError) as alone:
        work(None)
    for error in found:
        assert isinstance(error, DivergenceError)
        assert (error.epoch, error.batch, error.layer, error.phase) == (0, 5, "1", phase)
        assert str(error) == str(alone.value)
        np.testing.assert_array_equal(error.data[0], x[40:48])
    assert states[0][0] == (0, 5, 5, "divergence")


def test_weights_that_overflow_end_all_ranks_alike() -> None:
    def work(own: ThreadRank) -> None:
        model = mlp([4, 8, 1], activation=Tanh, rng=0)
        Trainer(model, MeanSquaredError(), SGD(model.parameters(), 1e200), rng=0, ranks=own).fit(X, Y, epochs=9)

    found = errors_of(2, work)
    assert [type(error) for error in found] == [DivergenceError] * 2
    assert str(found[0]) == str(found[1])


def boom(trainer: Trainer) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_rank_ends_the_others_with_its_text(rank: int) -> None:
    def work(own: ThreadRank) -> None:
        build(own).fit(X, Y, epochs=5, batch_size=8, callbacks=[At(rank, 3, boom)])

    found = errors_of(3, work)
    assert isinstance(found.pop(rank), OSError)
    for error in found:
        assert isinstance(error, RankError)
        assert str(error) == f"fit: another rank has ended with an error; rank {rank}: OSError: disk full"


def test_a_fit_in_a_callback_is_refused_and_ends_all() -> None:
    def work(own: ThreadRank) -> None:
        nested = At(1, 3, lambda trainer: trainer.fit(X, Y, epochs=1))
        build(own).fit(X, Y, epochs=5, batch_size=8, callbacks=[nested])

    assert [type(error) for error in errors_of(2, work)] == [RankError, CallOrderError]


def test_after_an_error_in_a_message_no_other_is_sent() -> None:
    class Broken(ThreadRank):
        calls = 0

        @override
        def Allreduce(self, send: Any, receive: Any) -> None:
            self.calls += 1
            if self.calls == 10:
                raise OSError("network down")
            super().Allreduce(send, receive)

    def work(own: ThreadRank) -> int:
        broken = Broken(own.team, own.rank)
        with pytest.raises(OSError, match="network down"):
            build(broken).fit(X, Y, epochs=5, batch_size=8)
        return broken.calls

    assert all_right(on_ranks(2, work)) == [10, 10]


def test_an_error_in_a_layer_on_one_rank_restores_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: SpoilsLargeNumbers, x: Array) -> Array:
        if (x > 50).any():
            raise ValueError("no such number")
        return x

    monkeypatch.setattr(SpoilsLargeNumbers, "forward", forward)
    x = X.copy()
    x[63] = 100.0

    def work(own: ThreadRank) -> None:
        trainer = build(own, model=Sequential(SpoilsLargeNumbers(), Dense(4, 1)).initialize(0))
        try:
            trainer.fit(x, Y, epochs=2, batch_size=8, shuffle=False)
        finally:
            steps.append(trainer.optimizer.steps)

    steps: list[int] = []
    assert [type(error) for error in errors_of(2, work)] == [RankError, ValueError]
    assert steps == [1, 1]  # a layer of one's own is tried in the first batch; the other seven are undone


def differing(name: str, own: ThreadRank) -> None:
    """Train, but on the last rank with something else."""
    last, x, y, options = own.rank == 1, X.copy(), Y.copy(), {"batch_size": 8, "epochs": 2}
    model = mlp([4, 9 if last and name == "the parameters" else 8, 1], activation=Tanh, rng=0)
    trainer = build(own, model=model)
    if last and name == "weights and buffers":
        trainer = build(own, seed=1)
    elif last and name == "weights and buffers, frozen":
        model[0].freeze()
    elif last and name == "a seed of the Trainer":
        trainer = build(own, rng=None)
    elif last and name == "the optimizer's numbers":
        trainer.optimizer.learning_rate = 0.5
    elif last and name == "arguments of fit":
        options["batch_size"] = 9
    elif last and name == "data, fewer rows":
        x, y = x[:40], y[:40]
    elif last and name == "data, another number":
        x[3, 3] += 1.0
    trainer.fit(x, y, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["the parameters", "weights and buffers", "weights and buffers, frozen",
     "a seed of the Trainer", "the optimizer's numbers", "arguments of fit",
     "data, fewer rows", "data, another number"],
)  # fmt: skip
def test_ranks_that_differ_are_refused_on_all_ranks_before_the_first_batch(name: str) -> None:
    found = errors_of(2, lambda own: differing(name, own))
    assert [type(error) for error in found] == [ArgumentError] * 2
    assert str(found[0]) == str(found[1])
    what = "a state of the optimizer" if name == "the optimizer's numbers" else name.split(",")[0]
    assert str(found[0]).startswith(f"Trainer(ranks): expected {what} as on rank 0, ")
    assert "on rank 1; run the same program with the same seeds on all ranks" in str(found[0])


def test_data_that_one_rank_refuses_ends_all_before_the_first_batch() -> None:
    def work(own: ThreadRank) -> None:
        x = np.where(np.arange(64)[:, None] == 5, np.nan, X) if own.rank else X
        build(own).fit(x, Y, epochs=2)

    found = errors_of(2, work)
    assert [type(error) for error in found] == [RankError, DataError]
    assert str(found[1]) in str(found[0])


def test_a_resume_on_one_rank_only_ends_all(tmp_path: Path) -> None:
    def work(own: ThreadRank) -> None:
        trainer = build(own)
        if own.rank == 0:
            trainer.restore(tmp_path / "run.safetensors")
        trainer.resume(X, Y)

    alone = build()
    alone.fit(X, Y, epochs=2)
    alone.save(tmp_path / "run.safetensors")
    assert [type(error) for error in errors_of(2, work)] == [RankError, CallOrderError]


@pytest.mark.parametrize("lengths", [(4, 3), (3, 4)])
def test_streams_of_other_lengths_are_refused_on_all_ranks(lengths: tuple[int, int]) -> None:
    def work(own: ThreadRank) -> None:
        build(own).fit_batches(lambda: [(X[:8], Y[:8])] * lengths[own.rank], epochs=2)

    assert [type(error) for error in errors_of(2, work)] == [RankError] * 2


def test_batches_of_other_sizes_are_refused_on_all_ranks() -> None:
    def work(own: ThreadRank) -> None:
        build(own).fit_batches([(X[:8], Y[:8]), (X[: 8 + own.rank], Y[: 8 + own.rank])], epochs=2)

    assert [type(error) for error in errors_of(2, work)] == [RankError] * 2


def test_weights_that_a_callback_changes_on_one_rank_are_noticed() -> None:
    def work(own: ThreadRank) -> None:
        shift = At(1, 2, lambda trainer: trainer.optimizer.vector.values.__iadd__(1e-9))
        build(own).fit(X, Y, epochs=2, batch_size=8, callbacks=[shift])

    found = errors_of(2, work)
    assert [type(error) for error in found] == [RankError] * 2
    assert "rank 1 has other weights than rank 0" in str(found[0]) + str(found[1])


@pytest.mark.parametrize("also_stop", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_weights_changed_at_the_end_of_a_fit_are_noticed(rank: int, also_stop: bool) -> None:
    """Rank 0 sends its weights, so it cannot see the difference itself."""

    class Shift(Callback):
        @override
        def on_epoch_end(self, trainer: Trainer) -> None:
            ranks: Any = trainer.ranks
            if ranks.rank == rank:
                trainer.optimizer.vector.values[:] += 1e-9
            if also_stop and ranks.rank == 0:
                trainer.stop("enough")

    found = errors_of(2, lambda own: build(own).fit(X, Y, epochs=1, callbacks=[Shift()]))
    assert [type(error) for error in found] == [RankError] * 2
    assert all("rank 1 has other weights than rank 0" in str(error) for error in found)


@pytest.mark.parametrize("longer", [0, 1])
def test_a_last_row_that_only_one_rank_reads_is_refused_on_all(longer: int) -> None:
    """Of a batch of one row rank 1 computes nothing, so its message looks like that of a rank without a batch."""

    def work(own: ThreadRank) -> None:
        last = [(X[8:9], Y[8:9])] if own.rank == longer else []
        build(own).fit_batches(lambda: [(X[:8], Y[:8]), *last], epochs=1)

    found = errors_of(2, work)
    assert [type(error) for error in found] == [RankError] * 2
    assert all("give every rank the same batches" in str(error) for error in found)


def test_only_rank_0_writes_files(tmp_path: Path) -> None:
    def work(own: ThreadRank) -> None:
        folder = tmp_path / str(own.rank)
        folder.mkdir()
        trainer = build(own)
        writing = [Checkpoint(folder / "points", every_batches=3, keep_last=1), LogFile(folder / "log.csv")]
        trainer.fit(X, Y, epochs=2, batch_size=8, callbacks=writing)
        trainer.save(folder / "run.safetensors")

    all_right(on_ranks(2, work))
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["log.csv", "points", "run.safetensors"]
    assert list((tmp_path / "1").iterdir()) == []


def test_only_rank_0_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(own: ThreadRank) -> None:
        build(own).fit(X, Y, epochs=2, progress=True)

    shown: list[object] = []
    monkeypatch.setattr("minidl._core.progress.Progress.patience", -1.0)
    monkeypatch.setattr("minidl._core.progress._tqdm", lambda *arguments: shown.append(arguments))
    all_right(on_ranks(2, work))
    assert len(shown) == 1


def test_a_checkpoint_of_rank_0_is_resumed_by_all(tmp_path: Path) -> None:
    def work(own: ThreadRank, cut: bool) -> bytes:
        trainer = build(own, model=Sequential(Dense(4, 4), Dropout(0.5), Dense(4, 1)).initialize(0))
        watch = [EarlyStopping(5, "loss"), Checkpoint(tmp_path, every_batches=3)]
        acting = [At(1, 6, lambda trainer: trainer.stop("cut"))] if cut else []
        trainer.fit(X, Y, epochs=2, batch_size=8, callbacks=[*watch, *acting])
        return trainer.optimizer.vector.values.tobytes()

    def again(own: ThreadRank) -> bytes:
        trainer = build(own, model=Sequential(Dense(4, 4), Dropout(0.5), Dense(4, 1)).initialize(0))
        trainer.restore(tmp_path / "epoch-000000-batch-0000006.safetensors")
        trainer.resume(X, Y, callbacks=[EarlyStopping(5, "loss"), Checkpoint(tmp_path, every_batches=3),
                                        At(1, 99, boom)])
        return trainer.optimizer.vector.values.tobytes()

    whole = all_right(on_ranks(2, lambda own: work(own, cut=False)))
    all_right(on_ranks(2, lambda own: work(own, cut=True)))
    assert {*all_right(on_ranks(2, again))} == {*whole}


def test_compiled_code_is_refused_and_auto_takes_numpy() -> None:
    def work(own: ThreadRank) -> str | None:
        trainer = build(own)
        trainer.fit(X, Y, epochs=50_000, batch_size=64, callbacks=[StopAfter(0.01)])
        return trainer.last_engine

    assert all_right(on_ranks(2, work)) == ["numpy"] * 2
    found = errors_of(2, lambda own: build(own, engine="compiled").fit(X, Y, epochs=1))
    assert [type(error) for error in found] == [CompileError] * 2
    assert str(found[0]) == (
        'Trainer(engine="compiled"): expected no ranks, got rank 0 of 2; use engine="numpy" or "auto"'
    )


def test_one_rank_is_one_process() -> None:
    def work(own: ThreadRank | None) -> bytes:
        trainer = build(own)
        trainer.fit(X, Y, epochs=3)
        assert trainer.ranks is None
        return trainer.optimizer.vector.values.tobytes()

    assert all_right(on_ranks(1, work)) == [work(None)]


def test_a_copy_trains_alone() -> None:
    def work(own: ThreadRank) -> list[int]:
        trainer = build(own)
        trainer.fit(X, Y, epochs=1)
        copies = [copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))]
        return [len(one.fit(X, Y, epochs=1)) for one in copies if own.rank == 0 and one.ranks is None]

    assert all_right(on_ranks(2, work)) == [[2, 2], []]


def test_a_search_refuses_trainers_with_ranks() -> None:
    found = errors_of(2, lambda own: fit_all([build(own), build(own, seed=1)], X, Y, epochs=1))
    assert [type(error) for error in found] == [ArgumentError] * 2
    assert "fit_all: expected Trainers without ranks" in str(found[0])


def test_generators_that_cannot_jump_are_refused_on_all_ranks() -> None:
    def work(own: ThreadRank) -> None:
        model = Sequential(Dense(4, 4), Dropout(0.5), Dense(4, 1)).initialize(0)
        model[1].rng = np.random.Generator(np.random.MT19937(0))  # type: ignore[attr-defined]
        build(own, model=model).fit(X, Y, epochs=1)

    found = errors_of(2, work)
    assert [type(error) for error in found] == [ArgumentError] * 2
    assert "got MT19937" in str(found[0])


@pytest.mark.parametrize("wrong", [3, "MPI", object(), ThreadRank, np.ones(3), [0, 1]])
def test_something_that_is_no_communicator_is_refused(wrong: Any) -> None:
    with pytest.raises(DTypeError, match=r"Trainer\(ranks\): expected a communicator with the methods Get_rank"):
        build(wrong)
