"""The works: what is timed, one row of the table each. Before timing, all peers must have computed the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from typing_extensions import override

from tests.campaigns.benchmarks import table
from tests.campaigns.benchmarks.agreement import check_learned, check_same
from tests.campaigns.benchmarks.doing import Here, Repeated, ready
from tests.campaigns.benchmarks.networks import MIDDLE, ONLINE, PLANE, SMALL, TINY, VARIATIONS, WIDE, Array, Network
from tests.campaigns.benchmarks.peers.minidl_peer import long_engine
from tests.campaigns.benchmarks.peers.peer import Peer
from tests.campaigns.benchmarks.timing import Task

AGREEING = 3
"""Epochs whose losses are compared before anything is timed."""


class Work(ABC):
    """One row of the table."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the table calls it."""

    @abstractmethod
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        """Make it ready for each peer that can do it.

        Raises:
            DisagreementError: the peers do not compute the same.
        """

    def written(self, amount: float) -> str:
        """Write a measured amount with its unit."""
        return table.duration(amount)

    def remark(self, times: table.Times) -> str | None:
        """Say what the row of the table does not."""
        return None


@dataclass(frozen=True)
class Update(Work):
    """One update: forward, the value of the loss, backward, step."""

    network: Network

    @property
    @override
    def name(self) -> str:
        return f"update {self.network.name}"

    @override
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        makers = {p.name: ready(partial(p.training, self.network), apart=p.apart) for p in peers}
        trainings = {name: training for name, training in makers.items() if training is not None}
        losses = {name: training.result(AGREEING) for name, training in trainings.items()}
        alike = losses if self.network.between != "dropout" else _own(losses)  # Each tool draws numbers of its own.
        check_same(self.name, alike, self.network.dtype)
        check_learned(self.name, losses, self.network.dtype)
        tasks = [Task(name, training.seconds, self.network.batches) for name, training in trainings.items()]
        return [*tasks, Task(PEAK, Here(_repeated(_product())).seconds)] if self.network is WIDE else tasks

    @override
    def remark(self, times: table.Times) -> str | None:
        parts = []
        if {"minidl", "minidl in NumPy", "NumPy"} <= times.keys():
            loop, by_hand = np.asarray(times["NumPy"]), np.asarray(times["minidl in NumPy"])
            parts.append(f"minidl in NumPy takes {table.ratio(by_hand / loop)} of the time of the NumPy loop")
        if PEAK in times:
            peak = SIDE**3 / np.asarray(times[PEAK])
            share = self.network.multiplications / np.asarray(times["minidl"]) / peak
            product = f"np.dot of {SIDE} × {SIDE} {self.network.dtype.__name__}"
            parts.append(f"{product} makes {2e-9 * np.median(peak):.0f} GFLOP/s, minidl {table.ratio(share)} of it")
        return "; ".join(parts) or None


@dataclass(frozen=True)
class Prediction(Work):
    """One call that predicts so many rows."""

    network: Network
    rows: int

    @property
    @override
    def name(self) -> str:
        return f"predict {self.network.name}, {self.rows} row{'s' * (self.rows > 1)}"

    @override
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        x = self.network.inputs(self.rows)
        makers = {p.name: ready(partial(predicting, p, self.network, x), apart=p.apart) for p in peers}
        predictions = {name: prediction for name, prediction in makers.items() if prediction is not None}
        shape = (self.rows, self.network.sizes[-1])
        results = {name: prediction.result(1).reshape(shape) for name, prediction in predictions.items()}
        check_same(self.name, results, self.network.dtype)
        return [Task(name, prediction.seconds) for name, prediction in predictions.items()]


def predicting(peer: Peer, network: Network, x: Array) -> Repeated | None:
    """Make ready what predicts the same rows again and again."""
    call = peer.prediction(network, x)
    return None if call is None else _repeated(call)


@dataclass(frozen=True)
class Import(Work):
    """The import of the package in a fresh process, without the start of Python itself."""

    @property
    @override
    def name(self) -> str:
        return "import"

    @override
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        return [Task(p.name, _import_seconds(p.package), warm_up=0) for p in peers if p.package is not None]

    @override
    def remark(self, times: table.Times) -> str:
        low, middle, high = np.quantile(np.asarray(times["minidl"]) - np.asarray(times["NumPy"]), (0.25, 0.5, 0.75))
        return f"minidl takes {middle * 1e3:.0f} ms ({low * 1e3:.0f}–{high * 1e3:.0f}) more than NumPy"


@dataclass(frozen=True)
class Process(Work):
    """The sine experiment as a whole process, start of Python and imports included.

    Attributes:
        method: What the table calls it.
        program: The module that does it, and its arguments.
        epochs: What the plain NumPy loop would do.
        timed: What it does: the rest is the same again.
    """

    method: str
    program: tuple[str, ...]
    epochs: int = 4000
    timed: int = 200

    @property
    @override
    def name(self) -> str:
        return f"process, sine by {self.method}"

    @override
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        tasks = {"minidl": self._whole, "NumPy": self._scaled}
        return [Task(p.name, _total(tasks[p.name]), warm_up=0) for p in peers if p.name in tasks]

    @override
    def remark(self, times: table.Times) -> str:
        return f"the NumPy loop did {self.timed} of its {self.epochs} epochs; they were scaled up, its imports were not"

    def _whole(self) -> float:
        began = time.perf_counter()
        _run("-m", f"{PROGRAMS}.{self.program[0]}", *self.program[1:])
        return time.perf_counter() - began

    def _scaled(self) -> float:
        began = time.perf_counter()
        seconds = float(_run("-m", f"{PROGRAMS}.sine_by_loop", str(self.timed)))
        return time.perf_counter() - began + seconds * (self.epochs / self.timed - 1.0)


@dataclass(frozen=True)
class Memory(Work):
    """The most memory that the process of a fit holds."""

    network: Network
    epochs: int = 5

    @property
    @override
    def name(self) -> str:
        return f"memory, fit of {self.network.name}"

    @override
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        engine = long_engine(self.network)
        what = {"minidl": engine, "NumPy": "loop"}
        named = {p.name: what[p.name] for p in peers if p.name in what}
        if engine == "compiled":
            named |= {NUMPY_ENGINE: "numpy", DATA: "data", NUMBA: "numba"}
        return [Task(name, self._peak(program), warm_up=0) for name, program in named.items()]

    @override
    def written(self, amount: float) -> str:
        return f"{amount / 1e6:.0f} MB"

    @override
    def remark(self, times: table.Times) -> str:
        peaks = {name: np.asarray(found) for name, found in times.items()}
        said = f"minidl {table.ratio(peaks['minidl'] / peaks['NumPy'])} of the NumPy loop's"
        if NUMBA not in peaks:
            return f"{said}, both without Numba"
        own = peaks[NUMBA] - peaks[DATA]
        return (
            f"{said}, and {table.ratio((peaks['minidl'] - own) / peaks['NumPy'])} without Numba's own share "
            f"of {self.written(float(np.median(own)))}; with engine=\"numpy\" "
            f"{table.ratio(peaks[NUMPY_ENGINE] / peaks['NumPy'])}"
        )

    def _peak(self, what: str) -> Callable[[int], float]:
        code = ("-m", f"{PROGRAMS}.peak_memory", what, self.network.name, str(self.epochs))
        return _total(lambda: float(_run(*code)))


PROGRAMS = "tests.campaigns.benchmarks.programs"
PEAK, NUMPY_ENGINE, NUMBA, DATA = "BLAS", "NumPy engine", "Numba", "data"
SIDE = 1024
"""Rows and columns of the matrices whose product shows what BLAS can do."""


def _own(losses: dict[str, Array]) -> dict[str, Array]:
    return {name: found for name, found in losses.items() if name.startswith("minidl")}


def _product() -> Callable[[], object]:
    matrix = np.random.default_rng(4).normal(size=(SIDE, SIDE)).astype(np.float32)
    return lambda: np.dot(matrix, matrix)


def _repeated(call: Callable[[], object]) -> Repeated:
    def run(times: int) -> object:
        found = None
        for _ in range(times):
            found = call()
        return found

    return run


def _total(measure: Callable[[], float]) -> Callable[[int], float]:
    return lambda times: sum(measure() for _ in range(times))


def _import_seconds(package: str) -> Callable[[int], float]:
    code = f"import time; began = time.perf_counter(); import {package}; print(time.perf_counter() - began)"
    return _total(lambda: float(_run("-c", code)))


def _run(*arguments: str) -> str:
    """Run Python, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def works(*, quick: bool = False) -> list[Work]:
    """List all works; the quick ones do less where a whole process is measured."""
    epochs, timed = (200, 2) if quick else (4000, 200)
    return [
        *(Update(network) for network in (ONLINE, PLANE, TINY, SMALL, MIDDLE, WIDE, *VARIATIONS)),
        *(Prediction(network, rows) for rows in (1, 4096) for network in (ONLINE, SMALL, MIDDLE)),
        Import(),
        Process(f"{epochs} epochs of SGD", ("sine_by_sgd", str(epochs)), epochs, timed),
        Process("Levenberg–Marquardt to 1e-6", ("sine_by_levenberg_marquardt",), epochs, timed),
        *(Memory(network, 1 if quick else 5) for network in (MIDDLE, WIDE)),
    ]
