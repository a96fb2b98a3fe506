"""Count what the readers refuse: ``python -m tests.campaigns.refusals``. Prints the hostile table, truncations, flipped
bits, damaged runs."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from minidl import BatchNorm, Dense, Dropout, Sequential, load, save
from minidl.errors import ArgumentError, FileFormatError
from tests.campaigns.fuzz_files import run_file, trainer
from tests.support.hostile import OTHER_RUNS, RUNS, TABLE, put


def refused(files: Iterable[bytes], path: Path, read: Callable[[Path], object]) -> tuple[int, int, float]:
    """Return how many files there were, how many of them were refused, and the longest time that one took."""
    tried = count = 0
    longest = 0.0
    for raw in files:
        path.write_bytes(raw)
        tried += 1
        began = time.process_time()
        try:
            read(path)
        except (FileFormatError, ArgumentError):
            count += 1
        longest = max(longest, time.process_time() - began)
    return tried, count, longest


def flipped(good: bytes, flips: int, seed: int = 0) -> Iterator[bytes]:
    """Yield a good file with one bit of it changed, many times."""
    draw = random.Random(seed)
    for _ in range(flips):
        raw = bytearray(good)
        bit = draw.randrange(8 * len(raw))
        raw[bit // 8] ^= 1 << bit % 8
        yield bytes(raw)


def main() -> None:
    """Print one line for each kind of bad file."""
    complete = True
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = Path(folder) / "file"
        model = Sequential(Dense(8, 16), BatchNorm(16), Dropout(0.5), Dense(16, 4)).initialize(0)
        model.forward(np.random.default_rng(0).normal(size=(5, 8)))
        save(model, path)
        good = path.read_bytes()
        run = run_file(path)
        kinds = {
            "hostile files": (case.make() for case in TABLE),
            "truncations": (good[:length] for length in range(len(good))),
            "bit flips": flipped(good, 10_000),
            "damaged runs": (put(run, place, value) for place, value in [*RUNS, *OTHER_RUNS]),
        }
        for kind, files in kinds.items():
            tried, count, longest = refused(files, path, trainer().restore if kind == "damaged runs" else load)
            complete &= tried == count
            print(f"{kind}: {tried:,} tried, {count:,} refused, slowest {longest:.2f} s")
    sys.exit(not complete)


if __name__ == "__main__":
    main()
