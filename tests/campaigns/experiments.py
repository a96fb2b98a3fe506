"""The article's two experiments over many seeds: ``python -m tests.campaigns.experiments --seeds 20``.

The runs share the processors of the machine. Each is printed as it ends; at the end the command fails if

- on any seed the first epoch differs by more than 1e-12 from a plain loop over the same values in the same order;
- a seed of the sine at learning rate 0.05 has a mean squared error above 1e-3, or the median is above 2e-5;
- a seed of the classification has a test accuracy below 94 %, or the median is below 97 %.

The medians are held from 20 seeds on: single seeds of the sine differ a hundredfold, so a median of three says little.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import ModuleType

import numpy as np

from minidl import SGD, Dense, HalfSquaredError, Sequential, Trainer
from tests.support import reference
from tests.support.reference import Functions, Numbers

LEARNING_RATE = 0.05
ENOUGH_FOR_A_MEDIAN = 20
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Outcome:
    """What one run came to: the figure of merit, and the largest difference to the plain loop after one epoch."""

    experiment: str
    seed: int
    figure: float
    difference: float
    seconds: float


def load_example(name: str) -> ModuleType:
    """Import the program ``examples/<name>.py`` from its file."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def regression(seed: int) -> Outcome:
    """Learn the sine; the figure is the mean squared error."""
    began = time.perf_counter()
    example = load_example("sine_regression")
    x, y = example.sine()
    difference = first_epoch_difference(example.network(seed), x, y, seed, *reference.LOGISTIC_IDENTITY)
    model = example.train(LEARNING_RATE, seed)
    error = float(np.mean((model.predict(x) - np.sin(x)) ** 2))
    return Outcome("regression", seed, error, difference, time.perf_counter() - began)


def classification(seed: int) -> Outcome:
    """Learn the points above and below the sine; the figure is the share of test points put on their side."""
    began = time.perf_counter()
    example = load_example("sine_classification")
    rng = np.random.default_rng(seed)
    x, y = example.points(rng)
    test_x, _ = example.points(rng)
    difference = first_epoch_difference(example.network(seed), x, y, seed, *reference.LOGISTIC)
    model = example.train(x, y, LEARNING_RATE, seed)
    above = test_x[:, 1] >= np.sin(test_x[:, 0])
    share = float(np.mean((model.predict(test_x)[:, 0] >= 0.5) == above))
    return Outcome("classification", seed, share, difference, time.perf_counter() - began)


def first_epoch_difference(
    model: Sequential, x: Numbers, y: Numbers, seed: int, f: Functions, f_prime: Functions
) -> float:
    """Train for one epoch here and in the plain loop; return the largest difference of a weight or bias."""
    dense = [layer for layer in model if isinstance(layer, Dense)]
    W = {i: layer.weight.value.copy() for i, layer in enumerate(dense, 1)}
    b = {i: layer.bias.value.copy() for i, layer in enumerate(dense, 1)}
    order = np.random.default_rng(seed).permutation(len(x))
    reference.epoch(W, b, f, f_prime, x, y, order, LEARNING_RATE)

    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), LEARNING_RATE))
    trainer.fit(x[order], y[order], epochs=1, batch_size=1, shuffle=False)
    return max(
        float(np.abs(here - there).max())
        for i, layer in enumerate(dense, 1)
        for here, there in ((layer.weight.value, W[i]), (layer.bias.value, b[i]))
    )


def run(seeds: int, processes: int) -> list[Outcome]:
    """Run both experiments on seeds 0 … seeds − 1, printing each as it ends."""
    outcomes = []
    experiments = (classification, regression)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        waiting = [pool.submit(experiment, seed) for seed in range(seeds) for experiment in experiments]
        for future in as_completed(waiting):
            outcome = future.result()
            outcomes.append(outcome)
            print(
                f"{outcome.experiment:<14}  seed {outcome.seed:>2}  {figure_text(outcome.experiment, outcome.figure)}  "
                f"first epoch within {outcome.difference:.0e}  {outcome.seconds:.0f} s",
                flush=True,
            )
    return outcomes


def figure_text(experiment: str, figure: float) -> str:
    return f"MSE {figure:.1e}" if experiment == "regression" else f"test accuracy {figure:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds, from 0 (default 20)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many runs at a time")
    arguments = parser.parse_args()
    outcomes = run(arguments.seeds, arguments.processes)

    errors = [outcome.figure for outcome in outcomes if outcome.experiment == "regression"]
    shares = [outcome.figure for outcome in outcomes if outcome.experiment == "classification"]
    print(f"sine at learning rate {LEARNING_RATE}: median MSE {median(errors):.1e}, worst {max(errors):.1e}")
    print(f"above or below the sine: median test accuracy {median(shares):.1%}, worst {min(shares):.1%}")
    assert max(outcome.difference for outcome in outcomes) <= 1e-12
    assert max(errors) <= 1e-3
    assert min(shares) >= 0.94
    if arguments.seeds >= ENOUGH_FOR_A_MEDIAN:
        assert median(errors) <= 2e-5
        assert median(shares) >= 0.97


if __name__ == "__main__":
    main()
