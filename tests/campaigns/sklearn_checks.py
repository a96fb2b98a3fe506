"""All estimator checks of scikit-learn, in many variants: ``python -m tests.campaigns.sklearn_checks``.

A check that is skipped must be skipped for scikit-learn's own MLP as well. No failure is expected.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple
from unittest import SkipTest

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from minidl import BatchNorm, Dense, Dropout, Layer, LayerNorm, ReLU, Residual, Sequential, SiLU, mlp
from minidl.sklearn import NetworkClassifier, NetworkRegressor


def normalized(wide: int, out: int) -> Layer:
    """Make a network with batch normalization and dropout."""
    return Sequential(Dense(wide, 32), BatchNorm(32), ReLU(), Dropout(0.1), Dense(32, out))


def residual(wide: int, out: int) -> Layer:
    """Make a network with layer normalization and a skip connection."""
    return Sequential(Dense(wide, 32), LayerNorm(32), SiLU(), Residual(mlp([32, 16, 32])), Dense(32, out))


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "ensemble of 2": {"ensemble": 2},
    "lbfgs": {"solver": "lbfgs"},
    "batches of 4": {"batch_size": 4},
    "early stopping": {"early_stopping": True},
    "batch normalization": {"model": normalized, "learning_rate_init": 0.01},
    "layer normalization": {"model": residual, "learning_rate_init": 0.01},
    "tanh 64-64": {"hidden_layer_sizes": (64, 64), "activation": "tanh"},
    "sgd": {"solver": "sgd", "learning_rate_init": 1e-3},
    "compiled": {"engine": "compiled"},
}
"""Maps a name to arguments of both estimators."""

FITS_EVERY_ROW = {"check_class_weight_classifiers": "a network that learns every row by heart has no preference"}

EXCUSED: dict[str, dict[str, str]] = {
    "batches of 4": {"sample_weight_equivalence": "equal on average only: the batches are others", **FITS_EVERY_ROW},
    "early stopping": {"sample_weight_equivalence": "other rows are held out", **FITS_EVERY_ROW},
    "batch normalization": {"sample_weight_equivalence": "it counts rows", "fit2d_1sample": "it needs two rows"},
    "tanh 64-64": FITS_EVERY_ROW,
    "lbfgs": {"output_format_predict_proba": "as sure as 0 and 1, to rounding", **FITS_EVERY_ROW},
}
"""Checks that a variant cannot pass, and why; the defaults have none."""


class Result(NamedTuple):
    """What became of a check: ``"passed"``, ``"failed"`` or ``"skipped"``."""

    check: str
    outcome: str
    text: str


def results(estimator: Any, only: set[str] | None = None) -> Iterator[Result]:
    """Run the checks of scikit-learn on an estimator: all, or those with some names."""
    for one, check in estimator_checks_generator(estimator):
        inner = check
        while not hasattr(inner, "__name__"):
            inner = inner.func
        name = inner.__name__ + str(getattr(getattr(check, "func", None), "keywords", None) or "")
        if only is not None and name not in only:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check(one)
            yield Result(name, "passed", "")
        except SkipTest as error:
            yield Result(name, "skipped", str(error))
        except Exception as error:
            yield Result(name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def wrong(found: list[Result], own: Any, excused: Collection[str]) -> list[Result]:
    """Return the failures, and the skips of checks that scikit-learn's own estimator does not skip."""
    skipped = {result.check for result in found if result.outcome == "skipped"}
    skipped -= {result.check for result in results(own, skipped) if result.outcome == "skipped"}
    return [
        result for result in found
        if (result.outcome == "failed" or result.check in skipped) and not any(part in result.check for part in excused)
    ]


SIZES = ((150, 4, (100,)), (1000, 20, (32,)), (5000, 20, (64, 64)), (1797, 64, (100,)), (10_000, 100, (256, 128)))
"""Rows, features and hidden layers."""

PAIRS = ((NetworkClassifier, MLPClassifier), (NetworkRegressor, MLPRegressor))


def seconds(method: Callable[..., object], *arguments: Any, calls: int = 1) -> float:
    """Return the time of some calls."""
    began = time.perf_counter()
    for _ in range(calls):
        method(*arguments)
    return time.perf_counter() - began


def ratios(ours: Any, theirs: Any, x: Any, y: Any, rounds: int) -> str:
    """Return the time of theirs over the time of ours, of a fit and of a prediction of one row; medians, in turns."""
    fits, rows = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(rounds):
            fits.append(seconds(theirs.fit, x, y) / seconds(ours.fit, x, y))
            rows.append(seconds(theirs.predict, x[:1], calls=200) / seconds(ours.predict, x[:1], calls=200))
    return f"{statistics.median(fits):.2f} x | {statistics.median(rows):.2f} x"


def times(rounds: int = 7, rows_in_all: int = 20_000) -> Iterator[str]:
    """Compare the time of scikit-learn's estimators with ours: one line of a table for each size."""
    yield "| table, hidden layers | classifier: fit | one row | regressor: fit | one row |"
    for rows, features, hidden in SIZES:
        rng = np.random.default_rng(0)
        x, noise, epochs = rng.normal(size=(rows, features)), rng.normal(size=rows), max(2, rows_in_all // rows)
        counts = dict.fromkeys(("max_iter", "n_iter_no_change"), epochs)
        settings: dict[str, Any] = {"hidden_layer_sizes": hidden, "tol": 0.0, **counts}
        texts = [
            ratios(kind(**settings), own(**settings), x, y, rounds)
            for (kind, own), y in zip(PAIRS, (x[:, :4].argmax(axis=1), x[:, 0] + noise), strict=True)
        ]
        yield f"| {rows:,} x {features}, {'-'.join(map(str, hidden))} | {' | '.join(texts)} |"


def main(arguments: list[str] | None = None) -> None:
    """Print one line for each variant; end with 1 if a check is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--times", action="store_true", help="compare the time of a fit and of a prediction instead")
    given, count = parser.parse_args(arguments), 0
    if given.times:
        for line in times():
            print(line, flush=True)
        return
    for kind, own in PAIRS:
        for name in given.variants:
            began, found = time.perf_counter(), list(results(kind(**VARIANTS[name])))
            bad = wrong(found, own(), EXCUSED.get(name, {}))
            passed = sum(result.outcome == "passed" for result in found)
            print(f"{kind.__name__}, {name}: {passed} of {len(found)} passed, {len(bad)} wrong, "
                  f"{time.perf_counter() - began:.0f} s", flush=True)
            for result in bad:
                print(f"    {result.check}: {result.outcome}: {result.text}")
            count += len(bad)
    if count:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
