"""Time work beside busy loops, divided by its time with one thread of BLAS: ``python -m tests.campaigns.busy``.

Two BLAS threads wait for each other without giving up their cores, so on a busy machine they cost many times what they
gain. Work that is entered by `one_blas_thread` takes as long as in a process that has one thread from the start.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minidl import SGD, Predictor, Sigmoid, SoftmaxCrossEntropy, Trainer, mlp
from minidl.solvers import levenberg_marquardt
from tests.campaigns.blas import restart_with_own_kernels

ROOT = Path(__file__).parents[2]
LIMIT = 1.3
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def solve() -> Callable[[], object]:
    """Return 20 steps of Levenberg–Marquardt on the sine."""
    x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]

    def work() -> None:
        model = mlp([1, 20, 20, 1], activation=Sigmoid, rng=0)
        levenberg_marquardt(model, x, np.sin(x), max_iterations=20, progress=False)

    return work


def fit() -> Callable[[], object]:
    """Return a fit of 20 batches of 128 rows."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20 * 128, 64)).astype(np.float32), rng.integers(0, 10, 20 * 128)
    model = mlp([64, 128, 10], dtype=np.float32, rng=0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 1e-3), rng=0, engine="numpy")
    return lambda: trainer.fit(x, y, epochs=1, batch_size=128, progress=False)


def predict(*sizes: int) -> Callable[[], object]:
    """Return the prediction of 4,096 rows."""
    x = np.random.default_rng(0).normal(size=(4096, sizes[0])).astype(np.float32)
    predictor = Predictor(mlp(sizes, dtype=np.float32, rng=0))
    return lambda: predictor(x)


WORKS: dict[str, Callable[[], Callable[[], object]]] = {
    "levenberg_marquardt, sine": solve,
    "fit 64-128-10 in NumPy, batch 128": fit,
    "Predictor 64-128-10, 4096 rows": lambda: predict(64, 128, 10),
    "Predictor 784-256-128-10, 4096 rows": lambda: predict(784, 256, 128, 10),
}


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep cores busy with other processes."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measured(name: str, times: int) -> list[float]:
    """Return the seconds of a work, which is done once before."""
    work, found = WORKS[name](), []
    work()
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


def in_a_process(name: str, times: int, environment: dict[str, str]) -> list[float]:
    """Return the same from a new process."""
    command = [sys.executable, "-m", "tests.campaigns.busy", "--times", str(times), "--alone", name]
    others = {key: value for key, value in os.environ.items() if key not in ONE_THREAD}
    done = subprocess.run(command, cwd=ROOT, env=others | environment, stdout=subprocess.PIPE, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.busy", description=__doc__)
    parser.add_argument("--loops", type=int, default=2, help="busy loops beside the work")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind, in turns")
    parser.add_argument("--times", type=int, default=20, help="how often each process does the work")
    parser.add_argument("--only", nargs="+", default=list(WORKS), choices=WORKS, help="works to time")
    parser.add_argument("--alone", choices=WORKS, help="time one work here, and print its seconds")
    options = parser.parse_args(arguments)
    if options.alone:
        print(json.dumps(measured(options.alone, options.times)))
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, before {options.loops} busy loops\n")
    print(f"| work | ms | ms with one BLAS thread | ratio, ≤ {LIMIT} |\n|---|---:|---:|---:|")
    with busy_loops(options.loops):
        for name in options.only:
            own: list[float] = []
            one: list[float] = []
            for _ in range(options.rounds):
                own += in_a_process(name, options.times, {})
                one += in_a_process(name, options.times, ONE_THREAD)
            first, second = statistics.median(own), statistics.median(one)
            print(f"| {name} | {first * 1e3:.3g} | {second * 1e3:.3g} | {first / second:.2f} |", flush=True)


if __name__ == "__main__":
    restart_with_own_kernels()
    main()
