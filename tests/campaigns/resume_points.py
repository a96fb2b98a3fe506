"""Kill training runs at random moments, resume them, and compare every bit with uninterrupted ones.

``python -m tests.campaigns.resume_points --points 200`` trains in child processes that save a checkpoint after every
batch, and kills each with SIGKILL at a random moment. A new Trainer restores the newest checkpoint and finishes the
run. Parameters, running statistics, optimizer memory, generators, counters of early stopping and the history are
compared with those of a run in one piece.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl import SGD, BatchNorm, Dense, Dropout, HalfSquaredError, Layer, Sequential, Tanh, Trainer, optimizers
from minidl._core.parameter import Buffer
from minidl._training.checkpoint import saved_run
from minidl.callbacks import Callback, Checkpoint, EarlyStopping, ReduceOnPlateau
from minidl.layers._parts import named
from minidl.schedules import Cosine, Warmup

X = np.random.default_rng(1).normal(size=(90, 3))
Y = np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:]
EPOCHS, BATCH = 6, 8

OPTIMIZERS: dict[str, Callable[[Layer], optimizers.Optimizer]] = {
    "sgd": lambda model: SGD(model.parameters(), 0.05),
    "momentum": lambda model: SGD(model.parameters(), 0.02, momentum=0.9, nesterov=True),
    "adam": lambda model: optimizers.Adam(model.parameters(), 0.01),
    "scheduled": lambda model: SGD(model.parameters(), lambda step: 0.05 / (1 + step)),
    "scheduled in epochs": lambda model: SGD(model.parameters(), Warmup(Cosine(0.05, epochs=5), steps=7)),
}
EXTRAS: dict[str, Callable[[], list[Layer]]] = {
    "plain": lambda: [Tanh()],
    "dropout": lambda: [Tanh(), Dropout(0.2)],
    "norm": lambda: [BatchNorm(8), Tanh()],
    "both": lambda: [BatchNorm(8), Tanh(), Dropout(0.2)],
}
KINDS = list(itertools.product(OPTIMIZERS, EXTRAS, (True, False)))


def build(optimizer: str, extra: str) -> Trainer:
    model = Sequential(Dense(3, 8), *EXTRAS[extra](), Dense(8, 1)).initialize(rng=3)
    return Trainer(model, HalfSquaredError(), OPTIMIZERS[optimizer](model), rng=4)


def watchers(optimizer: str) -> list[Callback]:
    plateau: list[Callback] = [] if optimizer.startswith("scheduled") else [ReduceOnPlateau(0.5, patience=1)]
    return [EarlyStopping(patience=3), *plateau]


def fit(trainer: Trainer, optimizer: str, shuffle: bool, *more: Callback) -> None:
    trainer.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, shuffle=shuffle, validation=0.2,
                callbacks=[*watchers(optimizer), *more])


def bits(trainer: Trainer) -> dict[str, Any]:
    """Return all that must be equal, as bytes and plain values; the seconds of the epochs are no part of it."""
    history = trainer.history.to_dict()
    del history["seconds"]
    model, optimizer = trainer.model, trainer.optimizer
    return {
        "parameters": [parameter.value.tobytes() for parameter in model.parameters()],
        "buffers": [buffer.value.tobytes() for buffer in named(model, Buffer).values()],
        "generators": [own.bit_generator.state for own in named(model, np.random.Generator).values()],
        "slots": {name: slot.tobytes() for name, slot in optimizer.slots().items()},
        "numbers": optimizer.numbers(),
        "shuffle": trainer._run.start_state,
        "callbacks": [repr(vars(c)) for c in trainer._run.callbacks if not isinstance(c, Checkpoint)],
        "history": history,
    }


def kept(trainer: Trainer) -> str:
    """Write down what a file keeps of where a run stands."""
    progress = saved_run(trainer._run).run
    kept = progress.plan, progress.position, progress.fingerprint, progress.callbacks, progress.figures
    return repr((*kept, trainer._run.start_state))


def resumed(optimizer: str, extra: str, shuffle: bool, path: Path) -> Trainer:
    """Go on from a checkpoint in a new Trainer."""
    trainer = build(optimizer, extra)
    trainer.restore(path)
    trainer.resume(X, Y, validation=0.2, callbacks=[*watchers(optimizer), Checkpoint(path.parent, every_batches=1)])
    return trainer


def killed(optimizer: str, extra: str, shuffle: bool, folder: Path, seconds: float) -> Path | None:
    """Train in a child process that saves after every batch, kill it, and return its newest checkpoint."""
    child = os.fork()
    if child == 0:
        fit(build(optimizer, extra), optimizer, shuffle, Checkpoint(folder, every_batches=1, keep_last=2))
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    files = sorted(folder.glob("epoch-*.safetensors"))
    return files[-1] if files else None


def points(count: int, seed: int) -> Iterator[tuple[str, bool]]:
    """Yield, for each kill that came after the first save, what was killed and whether the resumed run is equal."""
    rng = np.random.default_rng(seed)
    whole: dict[tuple[str, str, bool], Trainer] = {}
    took: dict[tuple[str, str, bool], float] = {}
    done = 0
    for kind in itertools.cycle([KINDS[int(number)] for number in rng.permutation(len(KINDS))]):
        if kind not in whole:
            with tempfile.TemporaryDirectory() as folder:
                whole[kind] = build(kind[0], kind[1])
                began = time.perf_counter()
                fit(whole[kind], kind[0], kind[2], Checkpoint(folder, every_batches=1, keep_last=2))
                took[kind] = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            path = killed(*kind, Path(folder), float(rng.uniform(0, took[kind])))
            if path is not None:
                yield f"{kind} from {path.name}", bits(resumed(*kind, path)) == bits(whole[kind])
                done += 1
        if done == count:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    results = list(points(arguments.points, arguments.seed))
    for name, equal in results:
        if not equal:
            print("not equal:", name)
    equal_count = sum(equal for _, equal in results)
    print(f"resume points tried {len(results)}, equal {equal_count}")
    if equal_count < len(results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
