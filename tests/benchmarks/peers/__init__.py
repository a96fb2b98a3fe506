"""The peers of minidl: each a module that imports its package, and is imported only where that is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

from .minidl_peer import HandLoop, TrainerFit
from .numpy_peer import NumPyLoop
from .peer import Peer

PEERS = {"torch": "torch_peer", "jax": "jax_peer", "sklearn": "sklearn_peer"}
"""Package of each optional peer, and the module here whose ``PEER`` it is."""


def installed(packages: Iterable[str] = PEERS) -> list[Peer]:
    """List minidl first, the NumPy loop, and those of the optional peers that are installed."""
    found = [package for package in packages if find_spec(package) is not None]
    optional: list[Peer] = [import_module(f"{__name__}.{PEERS[package]}").PEER for package in found]
    return [HandLoop(), TrainerFit(), NumPyLoop(), *optional]
