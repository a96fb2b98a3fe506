"""The whole job: a table with categories becomes a model in a file, and a new program loads it.

An aircraft has hit an animal. Was it damaged? Nine in ten were not, so the classes are unequal. It depends on the size
of the animal, the phase of the flight and the speed. `read`, `train` and `predict` are the job; `main` tries it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minidl import AdamW, Array, SigmoidCrossEntropy, Trainer, load, metrics, mlp, save
from minidl.callbacks import EarlyStopping
from minidl.initializers import Normal
from minidl.layers import Columns, Embedding, Parallel, Sequential, Sigmoid, Standardize

PHASES = ["approach", "climb", "descent", "landing", "takeoff"]
SIZES = ["small", "medium", "large"]
TIMES = ["dawn", "day", "dusk", "night"]


def read(table: str | Path) -> tuple[Array, Array]:
    """Return the codes of phase, size, time and month, then year and speed; and 1 where the aircraft was damaged."""
    rows = np.loadtxt(table, delimiter=",", skiprows=1, converters={0: PHASES.index, 1: SIZES.index, 2: TIMES.index})
    return rows[:, :6], rows[:, 6]


def train(x: Array, damaged: Array, file: str | Path, seed: int = 0) -> None:
    """Save a model that takes the rows of `read` and predicts the probability of damage."""
    categories = Sequential(Columns([0, 1, 2, 3]), Embedding([5, 3, 4, 13], 2, weight_initializer=Normal(0.0, 0.1)))
    numbers = Sequential(Columns([4, 5]), Standardize.of(x[:, 4:]))
    model = Sequential(Parallel(categories, numbers), mlp([4 * 2 + 2, 16, 1])).initialize(rng=seed)
    trainer = Trainer(model, SigmoidCrossEntropy(), AdamW(model.parameters(), 0.003, weight_decay=0.1), rng=seed)
    trainer.fit(x, damaged, epochs=200, validation=0.2, class_weight="balanced", callbacks=[EarlyStopping(20)])
    save(Sequential(model, Sigmoid()), file)


def predict(table: str | Path, file: str | Path) -> Array:
    return load(file).predict(read(table)[0])


def main() -> None:
    table = Path(__file__).parent / "data" / "bird_strikes.csv"
    x, damaged = read(table)
    order = np.random.default_rng(0).permutation(len(x))
    known, new = order[:1250], order[1250:]
    with TemporaryDirectory() as folder:
        file = f"{folder}/damage.safetensors"
        train(x[known], damaged[known], file)
        new_process = [sys.executable, __file__, str(table), file]
        printed = subprocess.run(new_process, check=True, stdout=subprocess.PIPE, text=True).stdout
    probability = np.array(printed.split(), dtype=float)
    score = metrics.balanced_accuracy(probability[new] > 0.5, damaged[new])
    print(f"balanced accuracy on {len(new)} new rows: {score:.3f}")
    assert score > 0.6


if __name__ == "__main__":
    if len(sys.argv) == 3:  # the new process
        print(*predict(sys.argv[1], sys.argv[2])[:, 0])
    else:
        main()
