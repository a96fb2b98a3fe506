"""``python -m tests.benchmarks``: time minidl and its peers in turns, and print the table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import table
from .machine import description
from .peers import PEERS, installed
from .timing import alternate
from .works import WORKS, Import


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, and the seconds of each turn."""

    rounds: int
    turn: float


FULL, QUICK = Size(9, 0.2), Size(2, 0.001)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and print it as Markdown."""
    options = _parser().parse_args(arguments)
    size = QUICK if options.quick else FULL
    rounds = options.rounds or size.rounds
    works = [work for work in WORKS if not options.only or any(part in work.name for part in options.only)]
    if not works:
        raise SystemExit(f"--only: no work of that name; there are {', '.join(work.name for work in WORKS)}")
    peers = installed(options.peers)
    names = [peer.name for peer in peers]
    print(description(peers), end="\n\n")
    if options.quick:
        print("The quick size shows that everything runs; its times say nothing.\n")
    print(table.header(names), flush=True)
    added: str | None = None
    for work in works:
        times = alternate(work.tasks(peers), rounds, size.turn)
        print(table.row(work.name, times, names), flush=True)
        if isinstance(work, Import):
            added = _beyond_numpy(times)
    print(f"\n{table.CAPTION} {rounds} rounds." + f" {added}" * (added is not None))
    for peer in peers:
        if peer.note:
            print(f"{peer.name}: {peer.note}")


def _beyond_numpy(times: table.Times) -> str:
    """Say how many milliseconds the import takes beyond NumPy's."""
    low, middle, high = np.quantile(np.asarray(times["minidl"]) - np.asarray(times["NumPy"]), (0.25, 0.5, 0.75)) * 1e3
    return f"Importing minidl takes {middle:.0f} ms ({low:.0f}–{high:.0f}) more than importing NumPy."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=_positive, help=f"rounds of turns (default {FULL.rounds})")
    parser.add_argument("--only", nargs="+", metavar="PART", help="only works whose name contains one of these")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="peers beside NumPy")
    parser.add_argument("--quick", action="store_true", help="a size that shows that everything runs")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return number


if __name__ == "__main__":
    main()
