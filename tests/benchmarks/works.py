"""The works: what is timed, one row of the table each. Before timing, all peers must have computed the same."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import override

from .agreement import check_learned, check_same
from .networks import MIDDLE, ONLINE, SMALL, WIDE, Network
from .peers.peer import Peer
from .timing import Task, stopwatch

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
        trainings = {p.name: t for p in peers if (t := p.training(self.network)) is not None}
        losses = {name: np.asarray(train(AGREEING)) for name, train in trainings.items()}
        check_same(self.name, losses, self.network.dtype)
        check_learned(self.name, losses, self.network.dtype)
        return [Task(name, stopwatch(train), self.network.batches) for name, train in trainings.items()]


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
        calls = {p.name: c for p in peers if (c := p.prediction(self.network, x)) is not None}
        shape = (self.rows, self.network.sizes[-1])
        check_same(self.name, {n: np.asarray(call()).reshape(shape) for n, call in calls.items()}, self.network.dtype)
        return [Task(name, stopwatch(_repeated(call))) for name, call in calls.items()]


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


def _repeated(call: Callable[[], object]) -> Callable[[int], None]:
    def run(times: int) -> None:
        for _ in range(times):
            call()

    return run


def _import_seconds(package: str) -> Callable[[int], float]:
    code = f"import time; began = time.perf_counter(); import {package}; print(time.perf_counter() - began)"
    here = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(here)}

    def seconds(times: int) -> float:
        total = 0.0
        for _ in range(times):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
            )
            total += float(done.stdout)
        return total

    return seconds


WORKS: tuple[Work, ...] = (
    *(Update(network) for network in (ONLINE, SMALL, MIDDLE, WIDE)),
    *(Prediction(network, rows) for rows in (1, 4096) for network in (ONLINE, SMALL, MIDDLE)),
    Import(),
)
