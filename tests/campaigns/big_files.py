"""Train from a memory-mapped file that is not in memory, on both engines.

``python -m tests.campaigns.big_files --gigabytes 2`` writes a file of 64 inputs and a target in float32, and prints for
each engine the rows per second of a shuffled epoch, and the most memory of the process besides the file's own pages.
Before each epoch the file is dropped from the page cache, so that it behaves like one larger than the memory. It fails
below `GOAL` rows per second, or if `MEMORY` megabytes are not enough. The file is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import SGD, MeanSquaredError, Tanh, Trainer, mlp
from minidl._training.compiled_engine import EngineName
from minidl.callbacks import Callback

GOAL = 1_000_000
MEMORY = 100.0
COLUMNS = 64


def write_table(path: Path, rows: int) -> None:
    """Write rows of random inputs and their mean, a piece at a time."""
    rng = np.random.default_rng(0)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, COLUMNS + 1))
    for begin in range(0, rows, 5_000):
        x = rng.standard_normal((min(5_000, rows - begin), COLUMNS), dtype=np.float32)
        table[begin : begin + len(x)] = np.column_stack([x, x.mean(axis=1)])
    table.flush()


def drop_from_cache(path: Path, table: npt.NDArray[Any]) -> None:
    """Drop the pages of a file from this process and from the page cache."""
    import mmap

    assert isinstance(table.base, mmap.mmap)
    table.base.madvise(mmap.MADV_DONTNEED)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def own_memory() -> float:
    """Return the megabytes of this process that are no pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


@contextmanager
def most_memory() -> Iterator[list[float]]:
    """Yield a list that at the end holds by how many megabytes the memory had grown at most."""
    found, before, ended = [0.0], own_memory(), Event()

    def watch() -> None:
        while not ended.wait(0.005):
            found[0] = max(found[0], own_memory() - before)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


class Timed(Callback):
    """Drop the file from the cache before each epoch, and note the seconds of each."""

    def __init__(self, path: Path, table: npt.NDArray[Any]) -> None:
        self.path, self.table = path, table
        self.seconds: list[float] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        self.begin()

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.seconds.append(time.perf_counter() - self.began)
        self.begin()

    def begin(self) -> None:
        drop_from_cache(self.path, self.table)
        self.began = time.perf_counter()


def measure(engine: EngineName, path: Path, dtype: npt.DTypeLike = np.float32) -> tuple[list[float], float]:
    """Return the rows per second of two epochs after a first small fit, which compiles; and the most memory in MB."""
    table = np.load(path, mmap_mode="r")
    model = mlp([COLUMNS, 32, 1], activation=Tanh, dtype=dtype, rng=0)
    trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.01), rng=0, engine=engine)
    few = np.array(table[:1000])
    trainer.fit(few[:, :COLUMNS], few[:, COLUMNS:], epochs=1, batch_size=256)
    timed = Timed(path, table)
    with most_memory() as memory:
        trainer.fit(table[:, :COLUMNS], table[:, COLUMNS:], epochs=2, batch_size=256, callbacks=[timed])
    return [len(table) / seconds for seconds in timed.seconds], memory[0]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--engines", nargs="+", default=["numpy", "compiled"])
    parser.add_argument("--goal", type=float, default=GOAL, help="rows per second")
    chosen = parser.parse_args(arguments)
    rows, good = int(chosen.gigabytes * 1e9 / (4 * COLUMNS + 4)), True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        write_table(path, rows)
        print(f"{rows:,} rows of {COLUMNS} + 1 float32; the file is dropped from the page cache before each epoch\n")
        print("| engine | model | rows/s, epoch 1 | epoch 2 | most memory |\n|---|---|---:|---:|---:|")
        for engine in chosen.engines:
            for dtype in ("float32", "float64"):
                speeds, memory = measure(engine, path, dtype)
                good = good and (min(speeds) >= chosen.goal or dtype == "float64") and memory < MEMORY
                print(f"| {engine} | {dtype} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {memory:.0f} MB |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
