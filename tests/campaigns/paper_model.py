"""Efficiency of many ranks on paper: measured times of a step on one core, and a model of the network between machines.

``python -m tests.campaigns.paper_model`` prints the tables of ``docs/scale.md``.
"""

from __future__ import annotations

from math import ceil, log2
from typing import NamedTuple

RANKS = (2, 8, 64, 256, 1024)


class Work(NamedTuple):
    """A network: bytes of its gradient, rows of a batch, and seconds of a step: ``start + rows × row`` on one core."""

    name: str
    size: int
    rows: int
    start: float
    row: float

    def seconds(self, rows: int) -> float:
        return self.start + rows * self.row


class Fabric(NamedTuple):
    """A network between machines: seconds until a message arrives, bytes per second, and bytes added per second."""

    name: str
    latency: float
    bandwidth: float
    addition: float


WORK = (
    Work("481 parameters, float64, batch 32", 481 * 8, 32, 30e-6, 0.1e-6),
    Work("9,800 parameters, float64, batch 64", 9811 * 8, 64, 36e-6, 0.78e-6),
    Work("235,000 parameters, float32, batch 128", 235146 * 4, 128, 209e-6, 4.45e-6),
    Work("2 million parameters, float32, batch 256", 1984640 * 4, 256, 2000e-6, 49.8e-6),
)
FABRICS = (Fabric("100 Gb/s, 2 µs", 2e-6, 11e9, 5e9), Fabric("10 Gb/s Ethernet, 30 µs", 30e-6, 1.1e9, 5e9))
LARGER = 64


def allreduce(ranks: int, size: int, fabric: Fabric) -> float:
    """Return the seconds of a sum over all ranks, by the better of two methods.

    The first sends the whole message in each of log₂ R rounds. The second first adds up a part on each rank, then
    collects the parts.
    """
    rounds, share = ceil(log2(ranks)), (ranks - 1) / ranks
    whole = rounds * (fabric.latency + size / fabric.bandwidth + size / fabric.addition)
    in_parts = 2 * rounds * fabric.latency + share * (2 * size / fabric.bandwidth + size / fabric.addition)
    return min(whole, in_parts)


def weak(work: Work, ranks: int, fabric: Fabric) -> float:
    """Return the efficiency if each rank has a batch of its own: time of one rank / time of many."""
    alone = work.seconds(work.rows)
    return alone / (alone + allreduce(ranks, work.size, fabric))


def strong(work: Work, ranks: int, fabric: Fabric) -> float:
    """Return the speed-up if the ranks share a batch that is `LARGER` times as large."""
    rows = LARGER * work.rows
    return work.seconds(rows) / (work.seconds(ceil(rows / ranks)) + allreduce(ranks, work.size, fabric))


def tables() -> str:
    """Return both tables in Markdown."""
    found = []
    head = " | ".join(f"{ranks:,} ranks" for ranks in RANKS) + " |\n|---|" + "---:|" * len(RANKS)
    for title, figure in (("a batch for each rank: efficiency", weak), ("a batch 64 times as large: speed-up", strong)):
        lines = [f"| {title} | {head}"]
        for fabric in FABRICS:
            for work in WORK:
                values = [figure(work, ranks, fabric) for ranks in RANKS]
                shown = [f"{value:.0%}".replace("%", " %") if figure is weak else f"{value:.1f}" for value in values]
                lines.append(f"| {work.name}; {fabric.name} | {' | '.join(shown)} |")
        found.append("\n".join(lines))
    return "\n\n".join(found)


if __name__ == "__main__":
    print(tables())
