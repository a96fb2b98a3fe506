"""``python -m tests.campaigns.datasets``: eight bundled data sets, learned by minidl, scikit-learn and PyTorch.

For each seed, every library trains the same network. The first weights and the split of the rows are the same, and the
rows are standardized by the training rows. Loss, Adam, batch size and number of epochs are the same, in float64 on one
thread. Each library draws its own order of the rows. Before that, all train five epochs without shuffling: their
losses and predictions must agree.

Score: the network after the last epoch, on the quarter of the rows that was not trained on. It is the accuracy, or the
mean squared error of the standardized values. The table has the mean over the seeds ± its standard error. "Difference"
is the score of minidl's NumPy engine minus that of the peer with the best mean, seed by seed. It is noise if its mean
is within two of its standard errors.

Time to target: a first fit finds the first epoch whose training loss is at most the target of the data set. Then a fit
of that many epochs from the first weights is timed. Each library makes three such fits, in turns, and the fastest
counts. Importing, compiling and making the model are not counted. Processor time is measured, because other programs
may run. The figure of a peer is its time divided by that of minidl's NumPy engine on the same seed, the median over
the seeds.

The command fails if the libraries disagree, or if a target is not reached.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from tests.campaigns.benchmarks.table import duration, significant
from tests.campaigns.blas import restart_with_own_kernels
from tests.campaigns.datasets.jobs import BY_NAME, Array, DataSet, Job
from tests.campaigns.datasets.libraries import Library, by_minidl, by_sklearn, by_torch

OWN = "minidl, NumPy"
COMPILED = "minidl, compiled"
PEERS: dict[str, tuple[str, Callable[[], Library]]] = {
    "sklearn": ("scikit-learn", lambda: by_sklearn),
    "torch": ("PyTorch", lambda: fastest([by_torch, partial(by_torch, foreach=True), partial(by_torch, fused=True)])),
}
"""Package of each peer, its name in the table, and what makes it."""

REPEATS = 3
"""Timed fits of each library on each seed."""

Figures: TypeAlias = dict[str, list[float]]
"""Numbers of each library, one for each seed."""


def libraries(peers: Sequence[str] = tuple(PEERS)) -> dict[str, Library]:
    """Make minidl's engines, the compiled one if Numba is installed, and the peers that are installed."""
    found: dict[str, Library] = {OWN: by_minidl("numpy")}
    if find_spec("numba") is not None:
        found[COMPILED] = by_minidl("compiled")
    return found | {PEERS[peer][0]: PEERS[peer][1]() for peer in peers if find_spec(peer) is not None}


def fastest(forms: Sequence[Library]) -> Library:
    """Choose the form that takes the least time for two epochs of the digits."""
    job = BY_NAME["digits"].job(0)
    seconds = [min(form(job, 2).seconds for _ in range(3)) for form in forms]
    return forms[seconds.index(min(seconds))]


def check(tools: Mapping[str, Library], job: Job, epochs: int = 5) -> None:
    """Train without shuffling, and raise if losses or predictions of a library differ from those of minidl in NumPy.

    scikit-learn's Adam adds ε at another place, which changes a step by some 1e-8 of it.
    """
    ordered = replace(job, data_set=replace(job.data_set, shuffle=False))
    own = tools[OWN](ordered, epochs)
    for name, tool in tools.items():
        other, what = tool(ordered, epochs), f"{job.data_set.name}: {name} and {OWN} differ"
        np.testing.assert_allclose(other.losses, own.losses, rtol=1e-5, err_msg=what)
        np.testing.assert_allclose(other.prediction, own.prediction, rtol=1e-4, atol=1e-4, err_msg=what)


def measure(data_set: DataSet, tools: Mapping[str, Library], seeds: Sequence[int]) -> tuple[Figures, Figures, Figures]:
    """Return the scores, the epochs to the target, and the seconds to the target."""
    check(tools, data_set.job(seeds[0]))
    scores: Figures = {name: [] for name in tools}
    epochs: Figures = {name: [] for name in tools}
    seconds: Figures = {name: [] for name in tools}
    for seed in seeds:
        job, counts = data_set.job(seed), {}
        for name, tool in tools.items():
            outcome = tool(job, data_set.epochs)
            scores[name].append(job.score(outcome.prediction))
            counts[name] = epochs_to(data_set.target, outcome.losses, f"{data_set.name}: {name}")
            epochs[name].append(counts[name])
        turns = [{name: tool(job, counts[name]).seconds for name, tool in tools.items()} for _ in range(REPEATS)]
        for name in tools:
            seconds[name].append(min(turn[name] for turn in turns))
    return scores, epochs, seconds


def epochs_to(target: float, losses: Sequence[float], who: str) -> int:
    """Return the number of the first epoch whose loss is at most the target; exit if there is none."""
    for epoch, loss in enumerate(losses, start=1):
        if loss <= target:
            return epoch
    raise SystemExit(f"{who}: expected a training loss of {target:g}, got {min(losses):.3g} in {len(losses)} epochs")


def mean_and_error(values: Array | Sequence[float]) -> tuple[float, float]:
    """Return the mean of two or more values and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)


def score_row(data_set: DataSet, job: Job, scores: Figures) -> tuple[str, bool]:
    """Write means and standard errors, and return whether the difference from the best peer is noise."""
    sign = 1.0 if job.classes else -1.0
    best = max((name for name in scores if name in peer_names()), key=lambda name: sign * np.mean(scores[name]))
    mean, error = mean_and_error(np.subtract(scores[OWN], scores[best]))
    noise = abs(mean) <= 2.0 * error
    texts = ["{:.4g} ± {:.2g}".format(*mean_and_error(found)) for found in scores.values()]
    network = f"{'-'.join(map(str, job.sizes))}, {data_set.batch}, {data_set.epochs}"
    name = f"{data_set.name}, {'accuracy' if job.classes else 'error'}"
    difference = f"{mean:+.2g} ± {error:.2g} ({best})"
    return f"| {' | '.join([name, network, *texts, difference, 'yes' if noise else 'no'])} |", noise


def time_row(data_set: DataSet, epochs: Figures, seconds: Figures) -> tuple[str, float]:
    """Write the medians of epochs, of our seconds and of multiples of them; return the multiple of the fastest peer."""
    own = np.asarray(seconds[OWN])
    multiples = {name: float(np.median(np.asarray(found) / own)) for name, found in seconds.items() if name != OWN}
    counts = [f"{np.median(found):g}" for found in epochs.values()]
    texts = [*counts, duration(float(np.median(own))), *map(significant, multiples.values())]
    row = f"| {data_set.name}, loss {data_set.target:g} | {' | '.join(texts)} |"
    return row, min(multiple for name, multiple in multiples.items() if name in peer_names())


def peer_names() -> list[str]:
    """List the names of all peers."""
    return [name for name, _ in PEERS.values()]


def lines(data_sets: Sequence[DataSet], tools: Mapping[str, Library], seeds: Sequence[int]) -> Iterator[str]:
    """Measure, and yield the lines of both tables and a summary."""
    names, rows, noise, multiples = list(tools), [], [], []
    yield f"| test score | network, batch, epochs | {' | '.join(names)} | difference | noise |"
    yield f"|---|---|{'---:|' * (len(names) + 1)}---|"
    for data_set in data_sets:
        scores, epochs, seconds = measure(data_set, tools, seeds)
        row, is_noise = score_row(data_set, data_set.job(seeds[0]), scores)
        yield row
        row, multiple = time_row(data_set, epochs, seconds)
        rows.append(row)
        noise.append(is_noise)
        multiples.append(multiple)
    yield f"\n| time to target | {' | '.join(f'epochs: {name}' for name in names)} | {' | '.join(names)} |"
    yield f"|---|{'---:|' * (2 * len(names))}"
    yield from rows
    yield (f"\nWithin the noise of the best peer on {sum(noise)} of {len(noise)}. The fastest peer takes at least "
           f"{significant(min(multiples))} times as long.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and print it as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.datasets", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds, 2 or more (default 10)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--only", nargs="+", choices=BY_NAME, default=BY_NAME, help="only these data sets")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="only these peers")
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds: a standard error needs 2 or more")
    seeds = range(options.first, options.first + options.seeds)
    with threadpool_limits(1):
        for line in lines([BY_NAME[name] for name in options.only], libraries(options.peers), seeds):
            print(line, flush=True)


if __name__ == "__main__":
    restart_with_own_kernels()
    main()
