"""Train from a memory-mapped file, of which only the rows of a batch are ever in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minidl import SGD, Array, MeanSquaredError, Tanh, Trainer, mlp

ROWS, COLUMNS = 200_000, 8


def write_table(path: Path) -> None:
    """Write a table of inputs and one target, a piece at a time, as a measuring device would."""
    rng = np.random.default_rng(0)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(ROWS, COLUMNS + 1))
    for start in range(0, ROWS, 10_000):
        x = rng.normal(size=(10_000, COLUMNS))
        target = np.sin(x[:, 0]) + x[:, 1] * x[:, 2]
        table[start:start + 10_000] = np.column_stack([x, target])
    table.flush()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        write_table(path)
        table = np.load(path, mmap_mode="r")

        # A memory-mapped array is an array: fit shuffles its rows, and gathers those of a few batches at a time.
        model = mlp([COLUMNS, 32, 1], activation=Tanh, dtype=np.float32, rng=0)
        optimizer = SGD(model.parameters(), learning_rate=0.05, momentum=0.9)
        trainer = Trainer(model, MeanSquaredError(), optimizer, rng=0)
        history = trainer.fit(table[:, :COLUMNS], table[:, COLUMNS:], epochs=2, batch_size=64)
        print(f"shuffled rows of the file: {history}")

        # Whatever else can give batches is a stream: here the file from front to back, in pieces.
        def stream() -> Iterator[tuple[Array, Array]]:
            for start in range(0, ROWS, 1000):
                piece = np.array(table[start:start + 1000])
                yield piece[:, :COLUMNS], piece[:, COLUMNS:]

        trainer.fit_batches(stream, epochs=2)
        print(f"then as a stream:          {history}")

        error = trainer.evaluate(table[:20_000, :COLUMNS], table[:20_000, COLUMNS:])["loss"]
        print(f"mean squared error {error:.4f}; the targets vary by {float(np.var(table[:20_000, COLUMNS])):.2f}")
    assert error < 0.1


if __name__ == "__main__":
    main()
