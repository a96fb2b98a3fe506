"""Count what the readers refuse: ``python -m tests.refusals``. Prints the hostile table, truncations, flipped bits."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from minidl import BatchNorm, Dense, Dropout, FileFormatError, Sequential, load, save

from .hostile import TABLE


def refused(files: Iterable[bytes], path: Path) -> tuple[int, int]:
    """Return how many files there were, and how many of them were refused."""
    tried = count = 0
    for raw in files:
        path.write_bytes(raw)
        tried += 1
        try:
            load(path)
        except FileFormatError:
            count += 1
    return tried, count


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
        kinds = {
            "hostile files": (case.make() for case in TABLE),
            "truncations": (good[:length] for length in range(len(good))),
            "bit flips": flipped(good, 10_000),
        }
        for kind, files in kinds.items():
            tried, count = refused(files, path)
            complete &= tried == count
            print(f"{kind}: {tried:,} tried, {count:,} refused")
    sys.exit(not complete)


if __name__ == "__main__":
    main()
