"""The works: what is timed, one row of the table each. Before timing, all peers must have computed the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from typing_extensions import override

from tests.campaigns.benchmarks import table
from tests.campaigns.benchmarks.agreement import check_learned, check_same
from tests.campaigns.benchmarks.doing import Elsewhere, Here, Make, Repeated
from tests.campaigns.benchmarks.networks import MIDDLE, ONLINE, PLANE, SMALL, TINY, VARIATIONS, WIDE, Array, Network
from tests.campaigns.benchmarks.peers.minidl_peer import fitting_all, fitting_one_by_one, long_engine
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
        trainings = all_ready({p: partial(p.trainings, self.network) for p in peers}, AGREEING)
        losses = _results(trainings)
        alike = losses if self.network.between != "dropout" else _own(losses)  # Each tool draws numbers of its own.
        check_same(self.name, alike, self.network.dtype)
        check_learned(self.name, losses, self.network.dtype)
        tasks = [Task(name, work.seconds, self.network.batches, form=work.form) for name, work in trainings.items()]
        peak = Here(lambda: [("", _repeated(_product()))], 1)
        return [*tasks, Task(PEAK, peak.seconds)] if self.network is WIDE else tasks

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
        predictions = all_ready({p: partial(predicting, p, self.network, x) for p in peers}, 1)
        shape = (self.rows, self.network.sizes[-1])
        results = {name: found.reshape(shape) for name, found in _results(predictions).items()}
        check_same(self.name, results, self.network.dtype)
        return [Task(name, work.seconds, form=work.form) for name, work in predictions.items()]


def predicting(peer: Peer, network: Network, x: Array) -> Iterator[tuple[str, Repeated]]:
    """Make ready what predicts the same rows again and again."""
    for form, call in peer.predictions(network, x):
        yield form, _repeated(call)


@dataclass(frozen=True)
class ManyModels(Work):
    """One update of one of many models of a network that are trained together, in a training of so many epochs."""

    network: Network
    models: int = 64
    epochs: int = 1000

    @property
    @override
    def name(self) -> str:
        return f"update {self.models} models {self.network.name}"

    @override
    def tasks(self, peers: Sequence[Peer]) -> list[Task]:
        makers = {p: partial(p.many_trainings, self.network, self.models) for p in peers}
        works = all_ready(makers, AGREEING)
        own = {name: works.pop(name) for name in ("minidl",) if name in works}
        check_same(self.name, _results(works), self.network.dtype)
        if own:
            one, processes = ThreadPoolExecutor(1), ProcessPoolExecutor(mp_context=get_context("spawn"))
            for name, executor in ((ONE_THREAD, one), (PROCESSES, processes)):
                own[name] = Here(partial(_fitting_all, self.network, self.models, executor), AGREEING)
            loop = {"a loop": np.asarray(fitting_one_by_one(self.network, self.models, AGREEING))}
            check_same(self.name, loop | _results(own), self.network.dtype)
        every = own | works
        check_learned(self.name, _results(every), self.network.dtype)
        return [self._task(name, work) for name, work in every.items()]

    @override
    def remark(self, times: table.Times) -> str | None:
        parts = [f"{name} {_multiple(times, name)}" for name in (ONE_THREAD, PROCESSES) if name in times]
        return f"of minidl's time on all cores: {', '.join(parts)}" if parts else None

    def _task(self, name: str, work: Here | Elsewhere) -> Task:
        epochs = min(self.epochs, LOOPED) if name == "NumPy" else self.epochs
        units = epochs * self.network.batches * self.models
        return Task(name, lambda times: work.seconds(times * epochs), units, warm_up=0, form=work.form)


def _fitting_all(network: Network, models: int, executor: Executor) -> list[tuple[str, Repeated]]:
    return [("", fitting_all(network, models, executor))]


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
ONE_THREAD, PROCESSES = "one thread", "processes"
LOOPED = 5
"""Epochs of the NumPy loop over many models, each of which takes it as long as the one before."""
SIDE = 1024
"""Rows and columns of the matrices whose product shows what BLAS can do."""


def all_ready(makers: Mapping[Peer, Make], times: int) -> dict[str, Here | Elsewhere]:
    """Make a piece of work ready for each peer that can do it, in a process of its own where the peer wants one."""
    works = {peer.name: (Elsewhere if peer.apart else Here)(make, times) for peer, make in makers.items()}
    return {name: work for name, work in works.items() if work.results}


def _results(works: Mapping[str, Here | Elsewhere]) -> dict[str, Array]:
    """Return the results of all forms of all peers."""
    return {
        f"{name}, {form}".removesuffix(", "): found
        for name, work in works.items()
        for form, found in work.results.items()
    }


def _multiple(times: table.Times, name: str) -> str:
    return table.ratio(np.asarray(times[name]) / np.asarray(times["minidl"]))


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
        ManyModels(ONLINE, 3 if quick else 64, 2 if quick else 1000),
        Import(),
        Process(f"{epochs} epochs of SGD", ("sine_by_sgd", str(epochs)), epochs, timed),
        Process("Levenberg–Marquardt to 1e-6", ("sine_by_levenberg_marquardt",), epochs, timed),
        *(Memory(network, 1 if quick else 5) for network in (MIDDLE, WIDE)),
    ]
