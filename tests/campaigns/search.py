"""Search for good settings of the article's sine, over several seeds and executors.

``python -m tests.campaigns.search --seeds 5 --updates 20000000`` prints what `find_settings` reaches with 64 candidates
and the space of ``examples/find_settings.py``, and fails if a seed has a mean squared error above 2e-6.
``--executors threads processes dask mpi`` instead runs one small search and one `fit_all` by each that is installed,
and fails if their bits differ. MPI wants ``mpiexec -n 3 python -m mpi4py.futures -m tests.campaigns.search …``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from minidl.search import SearchResult, find_settings, fit_all
from tests.campaigns.experiments import load_example

GOAL = 2e-6
SIZES = (64, 21, 7, 2, 1)


def rungs_for(updates: int, sizes: Sequence[int] = SIZES) -> list[tuple[int, int]]:
    """Return rungs with an equal number of updates each, 200 in an epoch."""
    return [(size, max(1, updates // (200 * len(sizes) * size))) for size in sizes]


def search(seed: int, rungs: Sequence[tuple[int, int]], executor: Executor | None = None) -> SearchResult:
    """Search in the space of the example."""
    example = load_example("find_settings")
    return find_settings(example.build, example.SPACE, example.X, example.Y, candidates=rungs[0][0], rungs=rungs,
                         batch_size=1, rng=seed, executor=executor)


def seeds(count: int, updates: int, executor: Executor | None = None) -> list[float]:
    """Print a line for each seed, and return the mean squared errors."""
    example, rungs, errors = load_example("find_settings"), rungs_for(updates), []
    total = 200 * sum(size * epochs for size, epochs in rungs)
    print(f"rungs {rungs}, {total:,} updates\n\n| seed | MSE | loss | seconds | settings |\n|---:|---:|---:|---:|---|")
    for seed in range(count):
        result = search(seed, rungs, executor)
        errors.append(example.error(result.trainer))
        figure = result.candidates[0].figures[-1]
        settings = ", ".join(f"{name} {value:.4g}" for name, value in result.settings.items())
        print(f"| {seed} | {errors[-1]:.1e} | {figure:.1e} | {result.seconds:.1f} | {settings} |", flush=True)
    print(f"\n{sum(error <= GOAL for error in errors)} of {count} at most {GOAL:.0e}")
    return errors


@contextmanager
def dask() -> Iterator[Executor]:
    from dask.distributed import Client  # type: ignore[import-not-found, unused-ignore]

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client.get_executor()


@contextmanager
def mpi() -> Iterator[Executor]:
    from mpi4py.futures import MPIPoolExecutor  # type: ignore[import-not-found, unused-ignore]

    with MPIPoolExecutor() as executor:
        yield executor


EXECUTORS: dict[str, Callable[[], object]] = {
    "threads": lambda: ThreadPoolExecutor(2), "processes": lambda: ProcessPoolExecutor(2), "dask": dask, "mpi": mpi
}


def compare(names: Sequence[str]) -> dict[str, list[float]]:
    """Run a small search and a `fit_all` by each executor that is installed; return the losses of each."""
    example, found = load_example("find_settings"), {}
    for name in names:
        began = time.perf_counter()
        try:
            with EXECUTORS[name]() as executor:  # type: ignore[attr-defined]
                result = search(0, [(9, 5), (3, 20), (1, 60)], executor)
                some = [example.build(rate) for rate in (0.01, 0.05)]
                fitted = fit_all(some, example.X, example.Y, epochs=10, batch_size=1, executor=executor)
        except ImportError as error:
            print(f"{name}: not installed ({error})", flush=True)
            continue
        found[name] = [*result.trainer.history.loss, *(loss for one in fitted for loss in one.history.loss)]
        print(f"{name}: loss {result.candidates[0].figures[-1]!r}, {time.perf_counter() - began:.1f} s", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.search", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=20_000_000)
    parser.add_argument("--processes", type=int, default=0, help="of the pool that the seeds share; 0 for threads")
    parser.add_argument("--executors", nargs="+", default=[], choices=EXECUTORS)
    options = parser.parse_args(arguments)
    if options.executors:
        found = list(compare(options.executors).values())
        assert all(np.array_equal(one, found[0]) for one in found)
    elif options.processes:
        with ProcessPoolExecutor(options.processes) as executor:
            assert max(seeds(options.seeds, options.updates, executor)) <= GOAL
    else:
        assert max(seeds(options.seeds, options.updates)) <= GOAL


if __name__ == "__main__":
    main()
