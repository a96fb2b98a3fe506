"""Two versions of minidl in one process, and the same networks in both."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODULES = ("layers", "losses", "optimizers")


class Version:
    """A version of minidl, unpacked in a folder.

    Args:
        root: Folder that contains ``minidl/``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, Any] = {}
        with self.active():
            self.minidl = importlib.import_module("minidl")
            for name in MODULES:
                importlib.import_module(f"minidl.{name}")

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within this context, ``import minidl`` gives this version."""
        other = _taken_out()
        sys.modules.update(self._modules)
        sys.path.insert(0, str(self.root))
        try:
            yield
        finally:
            sys.path.remove(str(self.root))
            self._modules = _taken_out()
            sys.modules.update(other)


def _taken_out() -> dict[str, Any]:
    """Remove minidl from the modules that are imported, and return what was removed."""
    names = [name for name in sys.modules if name.partition(".")[0] == "minidl"]
    return {name: sys.modules.pop(name) for name in names}


@dataclass(frozen=True)
class Network:
    """A network whose time is compared.

    Attributes:
        make: Makes the model, from the module ``minidl``.
        sizes: Width of input and output, and rows of a batch.
        dtype: float64 or float32.
        optimizer: Name of the optimizer.
        limit: Largest ratio of the time of an update to that of version 0.1.
    """

    make: Callable[[Any], Any]
    sizes: tuple[int, int, int]
    dtype: type[np.floating[Any]]
    optimizer: str
    limit: float


def _narrow(m: Any) -> Any:
    return m.Sequential(m.Dense(1, 20), m.Sigmoid(), m.Dense(20, 20), m.Sigmoid(), m.Dense(20, 1))


def _middle(m: Any) -> Any:
    return m.Sequential(m.Dense(64, 128), m.ReLU(), m.Dense(128, 10))


def _wide(m: Any) -> Any:
    return m.Sequential(m.Dense(784, 256), m.ReLU(), m.Dense(256, 128), m.ReLU(), m.Dense(128, 10))


def _residual(m: Any) -> Any:
    return m.Sequential(m.Dense(8, 16), m.Residual(m.Sequential(m.Dense(16, 16), m.Tanh())), m.Dense(16, 1))


def _parallel(m: Any) -> Any:
    return m.Sequential(m.Parallel(m.Dense(8, 8), m.Sequential(m.Dense(8, 8), m.Tanh())), m.Dense(16, 1))


def _graph(m: Any) -> Any:
    nodes = {"h": (m.Dense(8, 16), "x"), "t": (m.Tanh(), "h"), "j": (m.Concat(), "x", "t"), "o": (m.Dense(24, 1), "j")}
    return m.Graph(nodes, output="o")


NETWORKS = {
    "1-20-20-1": Network(_narrow, (1, 1, 1), np.float64, "SGD", 1.03),
    "64-128-10": Network(_middle, (64, 10, 32), np.float32, "SGD", 1.03),
    "784-256-128-10": Network(_wide, (784, 10, 128), np.float32, "SGD", 1.03),
    "1-20-20-1, Adam": Network(_narrow, (1, 1, 1), np.float64, "Adam", 1.05),
    "64-128-10, Adam": Network(_middle, (64, 10, 32), np.float32, "Adam", 1.05),
    "Residual": Network(_residual, (8, 1, 8), np.float64, "SGD", 1.10),
    "Parallel": Network(_parallel, (8, 1, 8), np.float64, "SGD", 1.10),
    "Graph": Network(_graph, (8, 1, 8), np.float64, "SGD", 1.10),
}
PREDICT_LIMIT = 1.15


class Case:
    """A network of one version, with data: what is timed.

    Args:
        version: Version of minidl, which must be active.
        network: What to make.
    """

    def __init__(self, version: Version, network: Network) -> None:
        m, (wide_in, wide_out, rows) = version.minidl, network.sizes
        rng = np.random.default_rng(0)
        self._x = rng.normal(size=(rows, wide_in)).astype(network.dtype)
        self._y = rng.normal(size=(rows, wide_out)).astype(network.dtype)
        self._row = self._x[:1]
        self._model = network.make(m).initialize(0).astype(network.dtype)
        self._loss = m.HalfSquaredError()
        self._optimizer = getattr(m, network.optimizer)(self._model.parameters(), 1e-6)

    def update(self) -> None:
        """Compute one update of the weights."""
        self._loss.forward(self._model.forward(self._x), self._y)
        self._model.backward_parameters(self._loss.backward())
        self._optimizer.step()

    def predict(self) -> None:
        """Predict one row."""
        self._model.predict(self._row)
