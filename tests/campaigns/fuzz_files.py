"""Feed mutated files to the readers: ``python -m tests.campaigns.fuzz_files --files 1000000``.

Mutations know the structure (fields, shapes, offsets, names, the tree of the architecture) and put the right checksum
on most files, so that what lies behind it is reached. Every tenth file is traced, and one that takes a new step through
the readers becomes a seed of later ones. Anything but a good load, a `FileFormatError`, or the refusal of
another run than the Trainer's, is a failure.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import override

import minidl._files
import minidl._training.checkpoint
from minidl import (
    SGD,
    Activation,
    BatchNorm,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Graph,
    HalfSquaredError,
    Identity,
    LayerNorm,
    Parallel,
    PReLU,
    Residual,
    Sequential,
    Trainer,
    load,
    load_weights,
    metrics,
    save,
)
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, FileFormatError
from tests.support.hostile import GOOD, OTHER_RUNS, RUNS, TABLE, frame, put, signed, split

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 65, 255, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63),
    0.0, 0.5, -0.5, 1e-300, 1e300, "", "0", "x", "0.weight", "F32", "F64", "I64", "BOOL", "float32", "os.system",
    "Dense", "numpy.sin", "scipy.special.expit", "__class__", "../x", [], [0], [1, 1], {}, {"class": "Tanh"},
    {"tuple": []}, {"parameter": "0.weight"}, {"function": "numpy.cos"}, {"dtype": "float32"},
    {"mapping": {}}, [[]] * 50,
]  # fmt: skip

Seed = tuple[dict[str, Any], dict[str, Any], bytes]


class Result(NamedTuple):
    loaded: int
    refused: int
    others: list[str]
    slowest: float
    lines: int


def trainer() -> Trainer:
    """Build the Trainer that every file is restored into."""
    model = Sequential(Dense(2, 2), Dropout(0.1)).initialize(0)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01, momentum=0.5), rng=0)


def run_file(path: Path) -> bytes:
    """Make the file of a run that was stopped in the middle of its third epoch."""

    class Stop(Callback):
        every_batches = 1

        @override
        def on_batches_end(self, trainer: Trainer) -> None:
            if (len(trainer.history), trainer.position.batch) == (2, 2):
                trainer.stop("enough")

    made = trainer()
    x = np.random.default_rng(0).normal(size=(10, 2))
    made.fit(x, x, epochs=3, batch_size=3, metrics=[metrics.mean_absolute_error], callbacks=[Stop()])
    made.save(path)
    return path.read_bytes()


def seeds(folder: Path) -> list[Seed]:
    """Good files of many kinds, taken apart."""
    tied = Sequential(Dense(3, 3), Dense(3, 3), Dropout(0.1), Dropout(0.1))
    tied[1].weight = tied[0].weight  # type: ignore[attr-defined]
    tied[3].rng = tied[2].rng  # type: ignore[attr-defined]
    twister = Dropout(0.1).initialize(np.random.Generator(np.random.MT19937(0)))
    philox = Dropout(0.1).initialize(np.random.Generator(np.random.Philox(0)))
    models = [
        Sequential(Dense(3, 4), BatchNorm(4), Dropout(0.5), Activation(np.sin, np.cos), PReLU(), Dense(4, 2)),
        Sequential(Embedding(5, 3), LayerNorm(3), Residual(Sequential(Dense(3, 3), Identity()))).astype("float32"),
        Graph({"h": (Dense(3, 4), "x"), "j": (Concat(), "x", "h"), "out": (Dense(7, 1), "j")}, output="out"),
        Sequential(Parallel(Dense(2, 2), Identity(), philox), twister),
        tied,
    ]
    found = [split(GOOD)]
    for place, model in enumerate(models):
        save(model, folder / f"{place}")
        found.append(split((folder / f"{place}").read_bytes()))
    found += [split(run_file(folder / "run"))] * 3
    return found


def places(value: Any) -> list[tuple[Any, Any]]:
    """List (holder, key) of everything in a JSON value."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.append((value, key))
        found.extend(places(item))
    return found


def change(value: Any, draw: random.Random, other: Any) -> None:
    """Change one place of a JSON value, or a few."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        known = places(value)
        if not known:
            return
        holder, key = draw.choice(known)
        action = draw.randrange(8)
        if action == 0:
            del holder[key]
        elif action == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif action == 2:
            source, name = draw.choice(known)
            if name in source if isinstance(source, dict) else name < len(source):
                holder[key] = copy.deepcopy(source[name])
        elif action == 3 and (elsewhere := places(other)):
            source, name = draw.choice(elsewhere)
            holder[key] = copy.deepcopy(source[name])
        elif action == 4 and isinstance(holder, dict):
            holder[str(draw.choice(VALUES))] = holder.pop(key)
        elif action == 5 and type(holder[key]) in (int, float):
            holder[key] += draw.choice((-1, 1, 8, -8, 2**32, 0.5))
        elif action == 6 and isinstance(holder[key], str) and holder[key]:
            at, new = draw.randrange(len(holder[key])), chr(draw.choice((0, 46, 48, 49, 97, 0x202E, 0xD800)))
            holder[key] = holder[key][:at] + new + holder[key][at + 1 :]
        else:
            holder[key] = copy.deepcopy(draw.choice(VALUES))


def mutated(known: list[Seed], draw: random.Random) -> tuple[bytes, Seed]:
    """Make one file out of those that are known."""
    tensors, entry, data = copy.deepcopy(draw.choice(known))
    other = draw.choice(known)
    action = draw.randrange(12)
    if action < 3:
        change(tensors, draw, other[0])
    elif action < 9:
        change(entry, draw, other[1])
    elif action == 9:
        change(tensors, draw, other[0])
        change(entry, draw, other[1])
    elif action == 10 and data:
        raw = bytearray(data)
        for _ in range(draw.choice((1, 8, 64))):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        data = bytes(raw)
    else:
        data = data[: draw.randrange(len(data) + 1)] + bytes(draw.randrange(3))
    kept = {key: value for key, value in entry.items() if key not in ("format", "sha256")}
    if draw.randrange(10) and not ({"format", "sha256"} - entry.keys()):
        made = signed(tensors, kept, data)
    else:
        text = json.dumps({"format": "minidl", "version": 1, "sha256": "0" * 64, **entry})
        made = frame(json.dumps({"__metadata__": {"minidl": text}, **tensors}).encode(), data)
    if not draw.randrange(8):
        raw = bytearray(made)
        for _ in range(draw.choice((1, 1, 2, 16))):
            at = draw.randrange(len(raw))
            if not draw.randrange(3):
                raw[at : at + draw.randrange(9)] = bytes(draw.randrange(256) for _ in range(draw.randrange(9)))
            elif at < len(raw):
                raw[at] = draw.randrange(256)
            if not raw:
                break
        made = bytes(raw)
    return made, (tensors, entry, data)


def traced(read: Callable[[], None]) -> set[tuple[str, int, int]]:
    """Run a reader and return the steps from line to line that it took in the readers' own code."""
    homes = os.path.dirname(minidl._files.__file__), minidl._training.checkpoint.__file__
    steps: set[tuple[str, int, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(homes):
            return None
        before = frame.f_lineno

        def line(inner: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            steps.add((inner.f_code.co_name, before, inner.f_lineno))
            before = inner.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        read()
    finally:
        sys.settrace(None)
    return steps


def fuzz(files: int, seed: int = 0, report: bool = False) -> Result:
    """Try many files; say what became of them."""
    draw = random.Random(seed)
    loaded = refused = 0
    others: list[str] = []
    slowest = 0.0
    steps: set[tuple[str, int, int]] = set()
    target = Sequential(Dense(2, 2))
    runner = trainer()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as name, np.errstate(all="ignore"), warnings.catch_warnings():
        # A changed environment is a good run all the same.
        warnings.simplefilter("ignore", UserWarning)
        path = Path(name) / "file"
        known = seeds(Path(name))
        run = run_file(Path(name) / "run")
        raws = [*(case.make() for case in TABLE), *(put(run, place, value) for place, value in [*RUNS, *OTHER_RUNS])]
        for number in range(files):
            if number < len(raws):
                raw, parts = raws[number], known[0]
            else:
                raw, parts = mutated(known, draw)
            path.write_bytes(raw)
            for read in (
                lambda: load(path),
                lambda: load_weights(target, path, strict=False, cast=True),
                lambda: runner.restore(path),
            ):
                began = time.perf_counter()
                try:
                    if number % 10:
                        read()
                    else:
                        def outcome(read: Callable[[], object] = read) -> None:
                            with suppress(FileFormatError, ArgumentError):
                                read()

                        new = traced(outcome) - steps
                        steps |= new
                        if new and number >= len(raws) and len(known) < 500:
                            known.append(parts)
                        read()
                    loaded += 1
                except FileFormatError:
                    refused += 1
                except ArgumentError as error:
                    # A run that is another one than the Trainer's; nothing else may be refused in this way.
                    if str(error).startswith("restore: expected"):
                        refused += 1
                    else:
                        others.append(traceback.format_exc())
                except BaseException:
                    others.append(traceback.format_exc())
                    Path(tempfile.gettempdir(), f"fuzz-{seed}-{number}.safetensors").write_bytes(raw)
                if number % 10:
                    slowest = max(slowest, time.perf_counter() - began)
            if report and number and not number % 20_000:
                so_far = f"{number:,} files, {len(known)} seeds, {len(steps)} steps"
                print(f"{so_far}, {len(others)} other exceptions", flush=True)
    return Result(loaded, refused, others, slowest, len(steps))


def main() -> None:
    """Fuzz, and print one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = fuzz(options.files, options.seed, report=True)
    for text in result.others[:3]:
        print(text)
    print(
        f"fuzz files: {options.files:,} tried by three readers, {result.refused:,} refusals, {result.loaded:,} loads, "
        f"{len(result.others)} other exceptions, {result.lines} steps reached, slowest {result.slowest:.2f} s"
    )
    sys.exit(bool(result.others))


if __name__ == "__main__":
    main()
