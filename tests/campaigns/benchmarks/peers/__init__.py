"""The peers of minidl: each a module that imports its package, and is imported only where that is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

from tests.campaigns.benchmarks.peers.peer import Peer

OWN = ("minidl_peer", "numpy_peer")
"""The modules of what is always measured."""

PEERS = {"torch": "torch_peer", "jax": "jax_peer", "sklearn": "sklearn_peer", "onnxruntime": "onnx_peer"}
"""Package of each optional peer, and the module here whose ``PEERS`` it has."""


def installed(packages: Iterable[str] = PEERS) -> list[Peer]:
    """List minidl first, the NumPy loop, and those of the optional peers that are installed."""
    modules = [*OWN, *(PEERS[package] for package in packages if find_spec(package) is not None)]
    return [peer for module in modules for peer in import_module(f"{__name__}.{module}").PEERS]
