"""``python -m tests.campaigns.benchmarks``: time minidl and its peers in turns, and print the table.

``--only update predict import process memory`` selects parts of it, or single works by a part of their names.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from tests.campaigns.benchmarks import table
from tests.campaigns.benchmarks.machine import description
from tests.campaigns.benchmarks.peers import PEERS, installed
from tests.campaigns.benchmarks.timing import alternate
from tests.campaigns.benchmarks.works import works
from tests.campaigns.blas import restart_with_own_kernels


@dataclass(frozen=True)
class Size:
    """Number of rounds, and seconds of each turn."""

    rounds: int
    turn: float


FULL, QUICK = Size(9, 0.3), Size(2, 0.001)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and print it as Markdown."""
    options = _parser().parse_args(arguments)
    size = QUICK if options.quick else FULL
    rounds = options.rounds or size.rounds
    every = works(quick=options.quick)
    chosen = [work for work in every if not options.only or any(part in work.name for part in options.only)]
    if not chosen:
        raise SystemExit(f"--only: no work of that name; there are {', '.join(work.name for work in every)}")
    peers = installed(options.peers)
    names = [peer.name for peer in peers]
    print(description(peers), end="\n\n")
    if options.quick:
        print("The quick size shows that everything runs; its times say nothing.\n")
    print(table.header(names), flush=True)
    remarks, fastest = [], []
    for work in chosen:
        tasks = work.tasks(peers)
        times = alternate(tasks, rounds, size.turn)
        print(table.row(work.name, times, names, work.written), flush=True)
        if (remark := work.remark(times)) is not None:
            remarks.append(f"- {work.name}: {remark}.")
        if forms := [f"{task.name} {task.form}" for task in tasks if task.form]:
            fastest.append(f"- {work.name}: {'; '.join(forms)}.")
    print("\n".join([f"\n{table.CAPTION} {rounds} rounds.\n", *remarks]))
    print("\n".join(["\nThe fastest forms, which were timed:\n", *fastest, ""]))
    for peer in peers:
        if peer.note:
            print(f"- {peer.name}: {peer.note}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.benchmarks", description=__doc__)
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
    restart_with_own_kernels()
    main()
