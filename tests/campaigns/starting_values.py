"""Compare first values for the last layer of ``mlp``: ``python -m tests.campaigns.starting_values --seeds 10``.

Each scheme trains on each job from each seed. The losses are those of the training data, divided by the loss of the
best constant. The final figure is 1 − R² or the share of wrong classes on rows that were not trained on.

The rule. A scheme is refused if its final figure in any job is worse than that of Glorot uniform: the median higher by
more than a tenth and by more than 0.01, and p < 0.01 in Wilcoxon's signed-rank test over the seeds. All are ranked
in each job by the median loss after ten epochs. Of those that are not refused and lie within half a rank of the lowest
mean rank, the one with the lowest mean rank of the final figures wins. Glorot uniform stays unless the mean rank of the
winner after ten epochs is half a rank lower.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, wilcoxon

from minidl import (
    SGD,
    Adam,
    Dense,
    HalfSquaredError,
    Layer,
    Loss,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    metrics,
    mlp,
)
from minidl.errors import DivergenceError
from minidl.initializers import GlorotUniform, HeUniform, Initializer, LeCunUniform, Normal, Orthogonal, Uniform, Zeros
from minidl.optimizers import Optimizer
from minidl.solvers import levenberg_marquardt

Values = npt.NDArray[np.float64]
Scheme = Callable[[int], Initializer]
PRESENT = "Glorot uniform"

SCHEMES: dict[str, Scheme] = {
    PRESENT: lambda n: GlorotUniform(),
    "He uniform": lambda n: HeUniform(),
    "LeCun uniform": lambda n: LeCunUniform(),
    "orthogonal": lambda n: Orthogonal(),
    "U(±1/√n)": lambda n: Uniform(-1 / sqrt(n), 1 / sqrt(n)),
    "orthogonal × 0.1": lambda n: Orthogonal(0.1),
    "N(0, 1/n²)": lambda n: Normal(0, 1 / n),
    "N(0, 0.01²)": lambda n: Normal(0, 0.01),
    "zeros": lambda n: Zeros(),
}
"""The initializer of the last layer for n inputs."""


def network(sizes: Sequence[int], activation: Callable[[], Layer], scheme: Scheme,
            output: Callable[[], Layer] | None = None) -> Sequential:
    """Return what ``mlp`` makes, with another last layer."""
    last = Dense(sizes[-2], sizes[-1], weight_initializer=scheme(sizes[-2]))
    return Sequential(*mlp(sizes[:-1], activation=activation, output=activation), last, *([output()] if output else []))


def chain(sizes: Sequence[int], activation: Callable[[], Layer], scheme: Scheme) -> Sequential:
    """Return two networks of ``mlp``, one after the other."""
    return Sequential(network(sizes[:3], activation, scheme), activation(), network(sizes[2:], activation, scheme))


@dataclass(frozen=True)
class Job:
    """Data, a network, and how it is trained: by Levenberg–Marquardt where there is no optimizer."""

    name: str
    data: tuple[Values, npt.NDArray[Any]]
    make: Callable[[Scheme], Sequential]
    loss: Loss
    optimizer: Callable[[Any], Optimizer] | None
    epochs: int
    batch_size: int = 32

    def run(self, scheme: Scheme, seed: int) -> tuple[float, float, float]:
        """Return the first loss, the loss after ten epochs and the final figure of one network."""
        x, y = self.data
        order = np.random.default_rng(seed).permutation(len(x))
        unseen, seen = order[: len(x) // 4], order[len(x) // 4 :]
        model = self.make(scheme).initialize(seed)
        make_optimizer = self.optimizer or partial(SGD, learning_rate=0.1)  # only evaluates where a solver trains
        trainer = Trainer(model, self.loss, make_optimizer(model.parameters()), rng=seed)
        losses = [trainer.evaluate(x[seen], y[seen])["loss"]]
        for epochs in (10, self.epochs - 10):
            try:
                if self.optimizer is None:
                    levenberg_marquardt(model, x[seen], y[seen], max_iterations=epochs)
                else:
                    trainer.fit(x[seen], y[seen], epochs=epochs, batch_size=self.batch_size)
            except DivergenceError:
                return losses[0] / self.constant(y[seen]), np.inf, np.inf
            losses.append(trainer.evaluate(x[seen], y[seen])["loss"])
        metric = metrics.accuracy if self.classes else metrics.r2
        figure = 1.0 - trainer.evaluate(x[unseen], y[unseen], metrics=[metric])[metric.__name__]
        return losses[0] / self.constant(y[seen]), losses[1] / self.constant(y[seen]), figure

    @property
    def classes(self) -> bool:
        return len(np.unique(self.data[1])) <= 10

    def constant(self, y: npt.NDArray[Any]) -> float:
        """Return the loss of the best constant: half the variance, or the entropy of the classes."""
        if isinstance(self.loss, HalfSquaredError):
            return float(np.var(y, axis=0).sum() / 2)
        share = np.unique(y, return_counts=True)[1] / len(y)
        return float(-(share * np.log(share)).sum())


def jobs() -> Iterator[Job]:
    """Yield the jobs; all random data is drawn from one seed."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1

    rng = np.random.default_rng(0)

    def sgd(rate: float) -> Callable[[Any], Optimizer]:
        return lambda parameters: SGD(parameters, rate, momentum=0.9)

    def adam(rate: float) -> Callable[[Any], Optimizer]:
        return lambda parameters: Adam(parameters, rate)

    def plain(*sizes: int, activation: Callable[[], Layer] = ReLU,
              output: Callable[[], Layer] | None = None) -> Callable[[Scheme], Sequential]:
        return lambda scheme: network(sizes, activation, scheme, output)

    def standard(x: Values) -> Values:
        return np.asarray((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9))

    squared, softmax = HalfSquaredError(), SoftmaxCrossEntropy()
    x = np.linspace(0.0, 3.0 * np.pi, 400)[:, None]
    sine = x, np.sin(x)
    yield Job("sine, article", sine, plain(1, 20, 20, 1, activation=Sigmoid), squared, adam(0.01), 100, 8)
    yield Job("sine, LM", sine, plain(1, 20, 20, 1, activation=Tanh), squared, None, 30)
    plane = rng.uniform((0.0, -1.0), (3.0 * np.pi, 2.0), (800, 2))
    above = (np.sin(plane[:, :1]) <= plane[:, 1:]).astype(float)
    yield Job("sine, above or below", (plane, above), plain(2, 30, 30, 1, activation=Sigmoid, output=Sigmoid), squared,
              adam(0.01), 100, 8)
    images, digit = load_digits(return_X_y=True)
    yield Job("digits", (images / 16, digit), plain(64, 128, 10), softmax, sgd(0.03), 30)
    arm, turn = np.repeat(np.arange(3), 200), np.tile(np.linspace(0.1, 1, 200), 3)
    angle = 2 * np.pi * (arm / 3 + 1.2 * turn) + 0.1 * rng.normal(size=600)
    spiral = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) * 2
    yield Job("three spirals", (spiral, arm), plain(2, 64, 64, 3), softmax, adam(0.003), 60)
    tumours, benign = load_breast_cancer(return_X_y=True)
    yield Job("tumours", (standard(tumours), benign[:, None].astype(float)), plain(30, 32, 1, activation=Tanh),
              SigmoidCrossEntropy(), sgd(0.01), 30)
    many = rng.normal(size=(600, 50))
    noisy = many @ rng.normal(size=(50, 1)) / sqrt(50) + 0.5 * rng.normal(size=(600, 1))
    yield Job("linear, 50 inputs, noise", (many, noisy), plain(50, 256, 1), squared, sgd(0.001), 50)
    friedman, target = make_friedman1(800, noise=1.0, random_state=0)
    bent = standard(friedman), standard(target[:, None])
    yield Job("Friedman", bent, plain(10, 64, 64, 1), squared, adam(0.001), 60)
    yield Job("Friedman, SGD", bent, plain(10, 64, 64, 1, activation=Tanh), squared, sgd(0.003), 60)
    yield Job("Friedman, mean 100", (bent[0], 100 + 50 * bent[1]), plain(10, 64, 1), squared, adam(0.05), 60)
    yield Job("Friedman, two mlps", bent, lambda scheme: chain([10, 32, 16, 32, 1], ReLU, scheme), squared,
              adam(0.001), 60)
    ill, course = load_diabetes(return_X_y=True)
    yield Job("diabetes, 8 narrow", (standard(ill), standard(course[:, None])), plain(10, *[12] * 8, 1), squared,
              adam(0.003), 60)
    yield Job("spirals, 8 narrow", (spiral, arm), plain(2, *[12] * 8, 3, activation=Tanh), softmax, adam(0.003), 60)
    wide = rng.normal(size=(600, 8))
    yield Job("40 outputs", (wide, np.tanh(wide @ rng.normal(size=(8, 40)) / 2)), plain(8, 32, 40), squared,
              adam(0.003), 60)


def spread(values: Values) -> str:
    return f"{np.median(values):.3g} ({np.max(values):.3g})"


def is_worse(final: Values, present: Values) -> bool:
    """Say whether a scheme is refused for its final figures, one for each seed."""
    here, there = np.median(final), np.median(present)
    return bool(here > max(1.1 * there, there + 0.01) and wilcoxon(final, present, alternative="greater").pvalue < 0.01)


def main() -> None:
    """Train everything; print a table of each job, and the ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    options = parser.parse_args()
    seeds, names = range(options.first, options.first + options.seeds), list(dict.fromkeys([PRESENT, *options.schemes]))
    early, final = [], []
    refused: dict[str, list[str]] = {name: [] for name in names}
    for job in jobs():
        print(f"\n{job.name:26}{'first loss':>18}{'ten epochs':>18}{'final':>18}   median (worst), {len(seeds)} seeds")
        found = {name: np.array([job.run(SCHEMES[name], seed) for seed in seeds]) for name in names}
        for name, figures in found.items():
            print(f"{name:26}" + "".join(f"{spread(column):>18}" for column in figures.T), flush=True)
            if is_worse(figures[:, 2], found[PRESENT][:, 2]):
                refused[name].append(job.name)
        medians = np.array([np.median(figures, axis=0) for figures in found.values()])
        early.append(rankdata(medians[:, 1]))
        final.append(rankdata(medians[:, 2]))
    print(f"\n{'mean rank':26}{'ten epochs':>12}{'final':>8}   refused for")
    for name, *ranks in zip(names, np.mean(early, axis=0), np.mean(final, axis=0), strict=True):
        print(f"{name:26}{ranks[0]:12.1f}{ranks[1]:8.1f}   {', '.join(refused[name])}")


if __name__ == "__main__":
    main()
