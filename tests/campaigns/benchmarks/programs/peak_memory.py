"""Print the bytes of memory that this process held at most: ``peak_memory WHAT NETWORK EPOCHS``.

WHAT is ``loop``, the plain NumPy loop; ``numpy`` or ``compiled``, minidl's Trainer by that engine; ``data``, the data
and nothing else; ``numba``, the same and a small function that Numba compiles.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.campaigns.benchmarks.networks import MIDDLE, WIDE, Network


def main(what: str, network: Network, epochs: int) -> None:
    """Do it, and print the peak."""
    if what == "loop":
        from tests.campaigns.benchmarks.peers.numpy_peer import NumPyLoop

        _, train = next(NumPyLoop().trainings(network))
        train(epochs)
    elif what in ("numpy", "compiled"):
        from tests.campaigns.benchmarks.peers.minidl_peer import trainer_of

        x, y = network.data()
        trainer = trainer_of(network, "numpy" if what == "numpy" else "compiled")
        trainer.fit(x, y, epochs=epochs, batch_size=network.batch, shuffle=False, progress=False)
    else:
        x, _ = network.data()
        if what == "numba":
            import numba
            import numpy as np

            numba.njit(lambda x: np.dot(x, x.T))(x[:2])
    print(peak())


def peak() -> int:
    """Return the bytes that the process held at most.

    On Linux ``ru_maxrss`` would not do: a child begins with the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1], {network.name: network for network in (MIDDLE, WIDE)}[sys.argv[2]], int(sys.argv[3]))
