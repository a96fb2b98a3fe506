"""Several ranks by real MPI: same bits, stops, errors, resumed runs; and what a step and its message take.

``python -m tests.campaigns.ranks --size 4`` starts itself under ``mpiexec``. It needs mpi4py and an MPI such as Open
MPI, and says what is missing. ``--times`` measures instead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from minidl import Adam, MeanSquaredError, ReLU, SoftmaxCrossEntropy, Tanh, Trainer, mlp
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, DivergenceError, RankError

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(512, 8))
Y = np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]


def build(ranks: Any = None, dtype: Any = np.float64) -> Trainer:
    model = mlp([8, 32, 32, 1], activation=Tanh, rng=0, dtype=dtype)
    return Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-3), rng=0, engine="numpy", ranks=ranks)


class At(Callback):
    """Act in the second epoch after batch 5."""

    every_batches = 1

    def __init__(self, act: Callable[[Trainer], object]) -> None:
        self.act = act

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if (len(trainer.history), trainer.position.batch) == (1, 5):
            self.act(trainer)


def fitted(ranks: Any, last: bool = False, act: Callable[[Trainer], object] | None = None) -> Trainer:
    """Fit three epochs; on the last rank ``act`` is called in the second."""
    trainer = build(ranks)
    trainer.fit(X, Y, epochs=3, batch_size=64, callbacks=[At(act)] if act and last else [])
    return trainer


def ended(trainer: Trainer) -> str:
    return f"{len(trainer.history)}, {trainer.position.batch}, {trainer.history.stopped_by}, {trainer.interrupted}"


def error_of(work: Callable[[], object], kind: type[Exception]) -> str:
    """Return the text of the error that ``work`` raises."""
    try:
        work()
    except kind as error:
        return str(error)
    raise AssertionError(f"expected {kind.__name__}")


def boom(_: Trainer) -> None:
    raise OSError("disk full")


def check(ranks: Any, folder: Path) -> None:
    """Run all checks on one rank."""
    rank, size = ranks.Get_rank(), ranks.Get_size()
    last = rank == size - 1

    def same(value: object, what: str) -> None:
        """Check that all ranks have the same value."""
        values = ranks.allgather(value)
        assert len(set(values)) == 1, (what, values)
        if rank == 0:
            print(f"ok: {what}", flush=True)

    for dtype in (np.float64, np.float32):
        shared, pieces, plain = build(ranks, dtype), build(None, dtype), build(None, dtype)
        shared.fit(X, Y, epochs=3, batch_size=64)
        pieces.fit(X, Y, epochs=3, batch_size=64, micro_batch_size=64 // size)
        plain.fit(X, Y, epochs=3, batch_size=64)
        values, by_pieces, whole = (one.optimizer.vector.values for one in (shared, pieces, plain))
        same(values.tobytes(), f"weights in {np.dtype(dtype)} are the same on all ranks")
        if size == 2:
            assert values.tobytes() == by_pieces.tobytes()
            assert shared.history.loss == pieces.history.loss
            same("", "they have the bits of micro-batches of half")
        np.testing.assert_allclose(values, whole, rtol=0, atol=1e-13 if dtype == np.float64 else 1e-5)
    uneven = build(ranks)
    uneven.fit(X[:101], Y[:101], epochs=2, batch_size=9)
    same(uneven.optimizer.vector.values.tobytes(), "uneven batches")
    stopped = fitted(ranks, last, lambda trainer: trainer.stop("enough"))
    assert ended(stopped) == "1, 5, enough, False", ended(stopped)
    same(ended(stopped), "a stop on the last rank stops all at the same batch")
    killed = fitted(ranks, last, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert ended(killed) == "1, 5, SIGTERM, True", ended(killed)
    same(ended(killed), "SIGTERM to the last rank ends all at the same batch")
    path = ranks.bcast(folder / "run.safetensors")
    killed.save(path)
    ranks.Barrier()
    again = build(ranks)
    again.restore(path)
    again.resume(X, Y, callbacks=[])
    assert again.optimizer.vector.values.tobytes() == fitted(ranks).optimizer.vector.values.tobytes()
    same(again.optimizer.vector.values.tobytes(), "a restored run has the bits of one in one piece")
    y = Y.copy()
    y[-1] = 1e300  # Its square is infinite; the last rank has this row.
    same(error_of(lambda: build(ranks).fit(X, y, epochs=2, shuffle=False), DivergenceError), "the same DivergenceError")
    text = error_of(lambda: fitted(ranks, last, boom), OSError if last else RankError)
    same(text if last else text.rpartition("OSError: ")[2], "an error on the last rank ends all")
    text = error_of(lambda: build(ranks).fit(X + last, Y, epochs=2), ArgumentError)
    same(text, "other data on the last rank is refused")


def times(ranks: Any) -> None:
    """Print what a message takes, and a step of 784-256-128-10 with batches of 1,024."""
    for count in (481, 9811, 235146):
        sent, received, found = np.zeros(count), np.zeros(count), []
        for _ in range(200):
            began = time.perf_counter()
            ranks.Allreduce(sent, received)
            found.append(time.perf_counter() - began)
        if ranks.Get_rank() == 0:
            print(f"message of {count:,} numbers: {statistics.median(found) * 1e6:.1f} µs")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8192, 784)), rng.integers(0, 10, 8192)
    for dtype in (np.float64, np.float32):
        for who, name in ((None, "1 process"), (ranks, f"{ranks.Get_size()} ranks")):
            if who is not None or ranks.Get_rank() == 0:
                model = mlp([784, 256, 128, 10], activation=ReLU, rng=0, dtype=dtype)
                loss, optimizer = SoftmaxCrossEntropy(), Adam(model.parameters())
                trainer = Trainer(model, loss, optimizer, rng=0, engine="numpy", ranks=who)
                trainer.fit(x.astype(dtype), y, epochs=9, batch_size=1024)
                if ranks.Get_rank() == 0:
                    milliseconds = statistics.median(trainer.history.seconds) / 8 * 1e3
                    print(f"{name}, {np.dtype(dtype)}: {milliseconds:.1f} ms a step", flush=True)
            arrived = ranks.Ibarrier()
            while not arrived.Test():  # A rank that waits in a message takes a core.
                time.sleep(0.05)


def missing() -> list[str]:
    """List what an MPI run needs and does not find."""
    there = {"mpi4py": find_spec("mpi4py"), "mpiexec": shutil.which("mpiexec")}
    return [name for name, found in there.items() if not found]


def launch(size: int, arguments: Sequence[str]) -> int:
    """Start this module on some ranks, and return the exit code."""
    command = ["mpiexec", "-n", str(size)]
    version = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True, check=True).stdout
    if "Open MPI" in version or "OpenRTE" in version:
        command += ["--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
    command += [sys.executable, "-m", "mpi4py", "-m", "tests.campaigns.ranks", *arguments]
    settings = {"OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env={**os.environ, **settings}, cwd=ROOT, timeout=600, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2, help="number of ranks")
    parser.add_argument("--times", action="store_true", help="measure instead of checking")
    parser.add_argument("--inside", choices=["check", "times", "fail"], help="what a rank does; for mpiexec")
    given = parser.parse_args(arguments)
    if absent := missing():
        raise SystemExit(f"not found: {', '.join(absent)}; install an MPI such as Open MPI, then: pip install mpi4py")
    if given.inside is None:
        code = launch(given.size, ["--inside", "times" if given.times else "check"])
        assert code == 0, f"exit code {code}"
        if not given.times:
            assert launch(given.size, ["--inside", "fail"]) != 0
            print("ok: an error outside of fit on the last rank ends all, with python -m mpi4py")
        return
    from mpi4py import MPI  # type: ignore[import-not-found, unused-ignore]

    ranks = MPI.COMM_WORLD
    if given.inside == "fail":
        assert ranks.Get_rank() < ranks.Get_size() - 1, "this error is wanted"
        fitted(ranks)
    elif given.inside == "times":
        times(ranks)
    else:
        with tempfile.TemporaryDirectory() as folder:
            check(ranks, Path(folder))


if __name__ == "__main__":
    main()
