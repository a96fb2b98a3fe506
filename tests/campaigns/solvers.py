"""Solve least-squares problems with both solvers and with MINPACK from the same first values.

``python -m tests.campaigns.solvers`` prints the loss that each reaches, and counts the problems that are solved and the
runs that say "converged" where they should not. ``--seeds N`` sets how many first values of the article's network are
tried.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from typing_extensions import override

from minidl import Array, Dense, Layer, Parameter, Sigmoid, Tanh, mlp
from minidl.initializers import Normal
from minidl.solvers import SolverResult, lbfgs, levenberg_marquardt, parameter_jacobian

TOLERANCE = 1e-8
"""What the solvers are given: their default."""

SOLVED = 1.001
"""A problem is solved where the loss is at most this multiple of MINPACK's."""

Values = npt.NDArray[np.float64]


class Curve(Layer):
    """y = f(w, x), with derivatives by complex step."""

    def __init__(self, function: Callable[[Array, Array], Array], *first: float) -> None:
        self.function, self.w = function, Parameter(np.array(first))

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return self.function(self.w.value, x)

    @override
    def backward(self, grad: Array) -> Array:
        for place, value in enumerate(self.w.value):
            w = self.w.value.astype(complex)
            step = 1e-20 * max(abs(value), 1e-20)
            w[place] += 1j * step
            self.w.grad[place] += np.sum(grad * self.function(w, self._x).imag / step)
        return np.zeros_like(grad)


@dataclass(frozen=True)
class Problem:
    """A model from its first values, and data.

    Attributes:
        unique: Whether every minimum has the same loss, so that it can be compared with MINPACK's.
    """

    name: str
    make: Callable[[], Layer]
    x: Values
    y: Values
    unique: bool = True
    goal: float | None = None


def noise(seed: int, *shape: int) -> Values:
    return np.random.default_rng(seed).normal(size=shape)


def linear() -> Iterator[Problem]:
    """Yield linear models of inputs in bad units."""

    def fit(inputs: int, outputs: int = 1, dtype: type[np.floating] = np.float64) -> Callable[[], Layer]:
        return lambda: Dense(inputs, outputs, dtype=dtype).initialize(rng=0)

    wave, line = np.linspace(380e-9, 750e-9, 60)[:, None], np.linspace(-1.0, 1.0, 60)[:, None]
    error = 0.1 * noise(10, 60, 1)
    yield Problem("wavelengths", fit(1), wave, 1 + 2e6 * wave)
    yield Problem("wavelengths, noise", fit(1), wave, 1 + 2e6 * wave + error)
    yield Problem("wavelengths, float32", fit(1, 1, np.float32), wave, 1 + 2e6 * wave + error)
    yield Problem("offset of 3e6", fit(1), line + 3e6, 1 + 2 * line + error)
    yield Problem("offset of 1e4", fit(1), line + 1e4, 1 + 2 * line + error)
    yield Problem("years", fit(1), 1985 + 35 * line, 10 + line + error)
    z, w = noise(11, 80, 3), np.array([[1.0], [-2.0], [0.5]])
    units, target = np.array([1e6, 1.0, 1e-7]), z @ w + 0.7 + 0.1 * noise(12, 80, 1)
    yield Problem("three units", fit(3), z * units, target)
    yield Problem("three units, three outputs", fit(3, 3), z * units, z @ noise(13, 3, 3) + 0.1 * noise(14, 80, 3))
    yield Problem("three units, float32", fit(3, 1, np.float32), z * [1e3, 1.0, 1e-3], target)
    yield Problem("nearly collinear", fit(2), np.hstack([z[:, :1], z[:, :1] + 1e-5 * z[:, 1:2]]), target)
    yield Problem("more parameters than rows", fit(20), noise(15, 6, 20) * np.logspace(-2, 2, 20), noise(16, 6, 1) + 9)
    yield Problem("column of zeros", fit(4), np.hstack([z * units, 0 * z[:, :1]]), target)
    yield Problem("powers to 6", fit(6), (5 * line + 5) ** np.arange(1, 7), np.sin(5 * line + 5) + error)
    yield Problem("targets of 1e6", fit(3), z, 1e6 * target)
    yield Problem("targets of 1e-6", fit(3), z, 1e-6 * target)


def classic() -> Iterator[Problem]:
    """Yield curves that programs for least squares are tested on; the data is NIST's."""
    x = np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0])
    y = np.array([10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.4, 75.47, 81.78])
    for name, first in (("far", (500.0, 1e-4)), ("near", (250.0, 5e-4))):
        yield Problem(f"Misra1a, {name}", partial(Curve, lambda w, x: w[0] * (1 - np.exp(-w[1] * x)), *first),
                      x[:, None], y[:, None])
    x = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    y = np.array([0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
    yield Problem("MGH09, near", lambda: Curve(
        lambda w, x: w[0] * (x * x + w[1] * x) / (x * x + w[2] * x + w[3]), 0.25, 0.39, 0.415, 0.39),
        x[:, None], y[:, None])


def article(seeds: int) -> Iterator[Problem]:
    """Yield the sine of the article from first values that are N(0, 1)."""
    x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
    for seed in range(seeds):
        make = partial(mlp, [1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(),
                       rng=seed)
        yield Problem(f"article, seed {seed}", make, x, np.sin(x), unique=False, goal=1e-6)


def new() -> Iterator[Problem]:
    """Yield ten problems that were written down before the rule was run on them."""
    t = np.linspace(0.0, 1.0, 50)[:, None]
    years = 1790 + 200 * t
    yield Problem("logistic growth", lambda: Curve(
        lambda w, x: w[0] / (1 + np.exp(-(x - w[1]) / w[2])), 200.0, 1900.0, 60.0),
        years, 390 / (1 + np.exp(-(years - 1958) / 41)) + 2 * noise(20, 50, 1))
    yield Problem("two decays in a millisecond", lambda: Curve(
        lambda w, x: w[0] * np.exp(-w[1] * x) + w[2] * np.exp(-w[3] * x), 1.0, 500.0, 1.0, 2e4),
        1e-3 * t, 2 * np.exp(-1.5e3 * 1e-3 * t) + 3 * np.exp(-1.2e4 * 1e-3 * t) + 0.01 * noise(21, 50, 1))
    mol = 10.0 ** (-6.5 + 2.5 * t)
    yield Problem("enzyme in mol/l", lambda: Curve(lambda w, x: w[0] * x / (w[1] + x), 1e-8, 1e-4),
                  mol, 4e-8 * mol / (2e-5 + mol) + 4e-10 * noise(22, 50, 1))
    nm = 1400 + 100 * t
    yield Problem("peak on a slope", lambda: Curve(
        lambda w, x: w[0] * np.exp(-(((x - w[1]) / w[2]) ** 2)) + w[3] + w[4] * x, 1.0, 1445.0, 20.0, 0.0, 0.0),
        nm, 3 * np.exp(-(((nm - 1458) / 9) ** 2)) - 12 + 0.01 * nm + 0.03 * noise(23, 50, 1))
    s = 10 * t
    yield Problem("damped oscillation", lambda: Curve(
        lambda w, x: w[0] * np.exp(-w[1] * x) * np.cos(w[2] * x + w[3]), 1.0, 0.1, 2.3, 0.0),
        s, 1.7 * np.exp(-0.25 * s) * np.cos(2.5 * s + 0.4) + 0.02 * noise(24, 50, 1))
    kelvin = 280 + 80 * t
    yield Problem("Arrhenius", lambda: Curve(lambda w, x: w[0] * np.exp(-w[1] / 8.314 * (1 / x - 1 / 300)), 1.0, 2e4),
                  kelvin, 0.03 * np.exp(-6.2e4 / 8.314 * (1 / kelvin - 1 / 300)) * (1 + 0.02 * noise(25, 50, 1)))
    uniform = np.random.default_rng(26).uniform(size=(120, 3))
    weather = uniform[:, :2] * [1.0, 20.0]
    yield Problem("net 2-6-1, humidity and wind", lambda: mlp([2, 6, 1], activation=Tanh, rng=31), weather,
                  np.sqrt(weather[:, 1:]) * (1 - weather[:, :1] ** 2) + 0.05 * noise(27, 120, 1), unique=False)
    plane = 2 * uniform[:, 1:] - 1
    yield Problem("net 2-12-1, rings", lambda: mlp([2, 12, 1], activation=Tanh, rng=32), plane,
                  np.cos(6 * np.hypot(plane[:, :1], plane[:, 1:])) + 0.05 * noise(28, 120, 1), unique=False)
    yield Problem("net 1-10-1, edge, float32", lambda: mlp([1, 10, 1], activation=Tanh, rng=33, dtype=np.float32),
                  4 * t - 2, np.abs(4 * t - 2) + 0.05 * noise(29, 50, 1), unique=False)
    cube = 3 * uniform
    two = np.hstack([np.sin(cube[:, :1] * cube[:, 1:2]), 100 * np.exp(-cube[:, 2:]) * cube[:, :1]])
    yield Problem("net 3-8-2, outputs of 1 and 100", lambda: mlp([3, 8, 2], activation=Sigmoid, rng=34), cube,
                  two + noise(30, 120, 2) * [0.05, 5.0], unique=False)


@dataclass(frozen=True)
class Outcome:
    """What a solver and MINPACK did with a problem.

    Attributes:
        cosine: The largest cosine between the residuals and a column of the Jacobian at the end.
        rounding: The part of the loss that is lost in the rounding of the outputs.
    """

    problem: Problem
    solver: str
    result: SolverResult
    minpack: float
    cosine: float
    rounding: float

    @property
    def loss(self) -> float:
        return min(self.result.loss)

    @property
    def solved(self) -> bool:
        exact = 1e-24 * float(np.mean(self.problem.y**2))
        return self.loss <= (self.problem.goal or SOLVED * self.minpack + exact)

    @property
    def false(self) -> bool:
        """Whether "converged" was said of a point where the loss can still be lowered."""
        small = self.cosine**2 <= 1.01 * TOLERANCE + self.rounding
        return self.result.reason == "converged" and not (small and (self.solved or not self.problem.unique))


def outcome(problem: Problem, solver: Callable[..., SolverResult], minpack: float) -> Outcome:
    """Run one of the solvers."""
    model = problem.make()
    result = solver(model, problem.x, problem.y, goal=problem.goal, progress=False)
    dtype = model.dtype or np.dtype(float)
    model = model.astype(np.float64)
    jacobian = parameter_jacobian(model, problem.x).reshape(problem.y.size, -1)
    prediction = model.predict(problem.x)
    residual = (prediction - problem.y).ravel()
    norms = np.linalg.norm(jacobian, axis=0) * np.linalg.norm(residual)
    cosine = float(np.max(np.abs(jacobian.T @ residual) / np.where(norms > 0, norms, 1.0)))
    rounding = float(np.finfo(dtype).eps * np.linalg.norm(prediction) / max(np.linalg.norm(residual), 1e-300))
    return Outcome(problem, solver.__name__, result, minpack, cosine, rounding)


def minpack_loss(problem: Problem) -> float:
    """Return the loss that MINPACK reaches in float64 from the same first values."""
    model = problem.make().astype(np.float64)
    parameters = model.parameters()
    first = np.concatenate([parameter.value.ravel() for parameter in parameters])

    def put(w: Values) -> None:
        start = 0
        for parameter in parameters:
            parameter.value = w[start:start + parameter.size].reshape(parameter.shape)
            start += parameter.size

    def residual(w: Values) -> Values:
        put(w)
        return (model.predict(problem.x) - problem.y).ravel()

    def jacobian(w: Values) -> Values:
        put(w)
        return parameter_jacobian(model, problem.x).reshape(problem.y.size, -1).astype(np.float64)

    with np.errstate(all="ignore"):
        end = least_squares(residual, first, jacobian, method="lm" if problem.y.size >= first.size else "trf",
                            x_scale="jac", ftol=1e-12, xtol=1e-12, gtol=1e-12, max_nfev=500)
    return 2.0 * float(end.cost) / problem.y.size


def run(problems: Sequence[Problem]) -> Iterator[Outcome]:
    """Run Levenberg–Marquardt on the problems, and L-BFGS on those of which the minimum is unique."""
    for problem in problems:
        minpack = np.nan if problem.goal else minpack_loss(problem)
        yield outcome(problem, levenberg_marquardt, minpack)
        if problem.unique:
            yield outcome(problem, lbfgs, minpack)


def report(kind: str, problems: Sequence[Problem]) -> list[Outcome]:
    """Print a line for each run, and the counts."""
    print(f"\n{kind}\n\n| problem | solver | end | steps | loss | MINPACK's | cosine |")
    print("|---|---|---|---:|---:|---:|---:|")
    found = []
    for one in run(problems):
        found.append(one)
        wrong = " (false)" * one.false
        print(f"| {one.problem.name} | {one.solver} | {one.result.reason}{wrong} | {one.result.iterations} | "
              f"{one.loss:.6g} | {one.minpack:.6g} | {one.cosine:.1e} |", flush=True)
    for solver in ("levenberg_marquardt", "lbfgs"):
        own = [one for one in found if one.solver == solver]
        if own:
            print(f"\n{solver}: {sum(one.solved for one in own)} of {len(own)} solved, "
                  f"{sum(one.false for one in own)} false \"converged\"")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.solvers", description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--only", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args(arguments)
    for kind in options.only:
        report(kind, list(article(options.seeds) if kind == "article" else KINDS[kind]()))


KINDS: dict[str, Callable[[], Iterator[Problem]]] = {
    "linear": linear, "classic": classic, "new": new, "article": lambda: article(1)
}


if __name__ == "__main__":
    main()
