"""Describe what a measurement depends on: machine, Python, NumPy and its BLAS, threads, and peers."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.campaigns.benchmarks.peers.peer import Peer
from tests.campaigns.blas import kernels, pools


def description(peers: Sequence[Peer]) -> str:
    """Make one line for each fact."""
    return "\n".join(f"- {line}" for line in _lines(peers))


def _lines(peers: Sequence[Peer]) -> Iterator[str]:
    yield f"{_cpu()}, {os.cpu_count()} cores; {platform.system()} {platform.machine()}"
    yield f"Python {platform.python_version()}, NumPy {np.__version__}, {_blas()}"
    if hasattr(os, "getloadavg"):
        yield f"load average {os.getloadavg()[0]:.1f} before the run: what threads gain shows on an idle machine only"
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if variable in os.environ:
            yield f"{variable}={os.environ[variable]}"
    yield ", ".join(about for peer in peers if (about := peer.about()))


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _blas() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"BLAS {blas['name']} {blas['version']} (kernel {kernels()}, {_blas_threads()})"


def _blas_threads() -> str:
    counts = sorted({pool["num_threads"] for pool in pools()})
    return f"{'/'.join(map(str, counts))} threads" if counts else "default threads"
