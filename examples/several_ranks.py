"""Train one network on several processes with MPI, and compare it with a network that one process has trained.

``python examples/several_ranks.py`` runs alone. With mpi4py and an MPI
``mpiexec -n 2 python -m mpi4py examples/several_ranks.py`` runs the same program on two processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import Adam, MeanSquaredError, Tanh, Trainer, mlp

BATCH = 256


def all_ranks() -> Any:
    """Return the communicator of all processes; None if mpi4py is not installed."""
    try:
        from mpi4py import MPI
    except ImportError:
        return None
    return MPI.COMM_WORLD


def build(ranks: Any = None) -> Trainer:
    """Make the same Trainer on every rank: same first weights, same order of the rows."""
    model = mlp([8, 64, 64, 1], activation=Tanh, rng=0)
    return Trainer(model, MeanSquaredError(), Adam(model.parameters(), learning_rate=3e-3), rng=0, engine="numpy",
                   ranks=ranks)


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(4096, 8))
    y = np.sin(3 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    ranks = all_ranks()
    rank, size = (0, 1) if ranks is None else (ranks.Get_rank(), ranks.Get_size())

    together = build(ranks)
    history = together.fit(x, y, epochs=30, batch_size=BATCH)  # Each rank computes BATCH / size rows of each batch.

    alone = build()
    alone.fit(x, y, epochs=30, batch_size=BATCH)
    difference = np.abs(together.optimizer.vector.values - alone.optimizer.vector.values).max()
    if rank == 0:
        print(f"{size} process{'es' if size > 1 else ''}: {history}")
        print(f"largest difference from the weights of one process alone: {difference:.1e}")
    assert history.loss[-1] < 0.05 * history.loss[0]
    assert difference < 1e-9


if __name__ == "__main__":
    main()
