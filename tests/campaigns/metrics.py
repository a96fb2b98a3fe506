"""Compare the metrics with scikit-learn on random data: ``python -m tests.campaigns.metrics --count 1000``.

Each case draws the kind of data, the number of rows and classes, classes that do not occur, equal scores, the dtype,
and sample weights of which some are 0. A figure differs if it is more than 1e-12 of its size away.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl import metrics

KINDS = ("labels", "one-hot", "classes", "one column", "several labels", "values")


class Figure(NamedTuple):
    name: str
    ours: float | np.ndarray[Any, Any]
    theirs: float | np.ndarray[Any, Any]


def compared(kind: str, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield each figure of one random case."""
    rows = int(rng.integers(2, 40))
    weight = None if rng.random() < 0.5 else rng.uniform(0.1, 2, rows) * (rng.random(rows) > 0.2)
    if weight is not None and not weight.any():
        weight = None
    dtype = np.float32 if rng.random() < 0.5 else np.float64
    of = {"classes": classes, "one column": one_column, "several labels": several_labels, "values": values}
    if kind in of:
        yield from of[kind](rows, dtype, weight, rng)
    else:
        yield from classes(rows, dtype, weight, rng, form=kind)


def probabilities(rows: int, columns: int, dtype: Any, rng: np.random.Generator) -> Any:
    """Return rows that sum to 1, of which some are equal."""
    drawn = rng.integers(1, 9, (rows, columns)) if rng.random() < 0.5 else rng.random((rows, columns)) + 1e-3
    return (drawn / drawn.sum(axis=1, keepdims=True)).astype(dtype)


def classes(rows: int, dtype: Any, weight: Any, rng: np.random.Generator, form: str = "column") -> Iterator[Figure]:
    """Yield the figures of one class for each row; some of the classes do not occur."""
    import sklearn.metrics as sk

    columns = int(rng.integers(2, 7))
    present = rng.choice(columns, int(rng.integers(1, columns + 1)), replace=False)
    wanted, p = rng.choice(present, rows), probabilities(rows, columns, dtype, rng)
    target = {"labels": wanted, "one-hot": np.eye(columns)[wanted], "column": wanted[:, None].astype(dtype)}[form]
    scores = np.log(p) if rng.random() < 0.3 else p
    found = scores.argmax(axis=1)
    average = {"average": "binary"} if columns == 2 else {"average": "macro"}
    if form == "labels" and rng.random() < 0.3 and found.max() <= max(1, wanted.max()):
        scores = found
        average = {"average": "binary" if wanted.max() < 2 else "macro"}
    both, weights = {"zero_division": 0, "sample_weight": weight}, {"sample_weight": weight}
    yield Figure("accuracy", metrics.accuracy(scores, target, **weights), sk.accuracy_score(wanted, found, **weights))
    yield Figure("balanced_accuracy", metrics.balanced_accuracy(scores, target, **weights),
                 sk.balanced_accuracy_score(wanted, found, **weights))
    for ours, theirs in PAIRS:
        yield Figure(ours.__name__, ours(scores, target, **weights), theirs(sk)(wanted, found, **both, **average))
    if scores.ndim == 2:
        yield Figure("confusion_matrix", metrics.confusion_matrix(scores, target, **weights),
                     sk.confusion_matrix(wanted, found, labels=range(columns), **weights))
    double = p.astype(float)
    everything = {"labels": list(range(columns)), "sample_weight": weight}
    yield Figure("log_loss", metrics.log_loss(p, target, **weights), sk.log_loss(wanted, double, **everything))
    theirs_of = double[:, 1] if columns == 2 else double
    yield Figure("brier_score", metrics.brier_score(p, target, **weights), sk.brier_score_loss(
        wanted, theirs_of, **({"pos_label": 1, **weights} if columns == 2 else everything)))
    counted = wanted if weight is None else wanted[weight > 0]
    if 1 < len(set(counted)) == columns:
        yield Figure("roc_auc", metrics.roc_auc(p, target, **weights),
                     roc_auc_of_classes(wanted, double, weight))
        yield Figure("average_precision", metrics.average_precision(p, target, **weights),
                     sk.average_precision_score(wanted, theirs_of, **weights))


def roc_auc_of_classes(wanted: Any, p: Any, weight: Any) -> float:
    """Return the area of class 1, or the mean of the areas of each class against the rest."""
    import sklearn.metrics as sk

    chosen = [1] if p.shape[1] == 2 else range(p.shape[1])
    return float(np.mean([sk.roc_auc_score(wanted == k, p[:, k], sample_weight=weight) for k in chosen]))


def one_column(rows: int, dtype: Any, weight: Any, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield the figures of two classes and one probability."""
    import sklearn.metrics as sk

    wanted = rng.integers(0, 2, rows) * int(rng.random() < 0.9)
    p = probabilities(rows, 2, dtype, rng)[:, :1]
    target = rng.choice([0, 1])
    given: Any = wanted if target else wanted[:, None].astype(dtype)
    border = float(rng.choice([0.3, 0.5, 0.7]))
    found, double = (p[:, 0] >= border).astype(int), p[:, 0].astype(float)
    weights, limit = {"sample_weight": weight}, {"threshold": border, "sample_weight": weight}
    yield Figure("accuracy", metrics.accuracy(p, given, **limit), sk.accuracy_score(wanted, found, **weights))
    for ours, theirs in PAIRS:
        yield Figure(ours.__name__, ours(p, given, **limit), theirs(sk)(wanted, found, zero_division=0, **weights))
    yield Figure("log_loss", metrics.log_loss(p, given, **weights),
                 sk.log_loss(wanted, double, labels=[0, 1], **weights))
    yield Figure("brier_score", metrics.brier_score(p, given, **weights),
                 sk.brier_score_loss(wanted, double, pos_label=1, **weights))
    if len(set(wanted if weight is None else wanted[weight > 0])) == 2:
        yield Figure("roc_auc", metrics.roc_auc(p, given, **weights), sk.roc_auc_score(wanted, double, **weights))
        yield Figure("average_precision", metrics.average_precision(p, given, **weights),
                     sk.average_precision_score(wanted, double, **weights))


def several_labels(rows: int, dtype: Any, weight: Any, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield the figures of several labels for each row, of which some never occur."""
    import sklearn.metrics as sk

    columns = int(rng.integers(2, 6))
    wanted = (rng.random((rows, columns)) < rng.choice([0, 0.3, 0.6, 1.0], columns)).astype(int)
    p = np.stack([probabilities(rows, 2, dtype, rng)[:, 0] for _ in range(columns)], axis=1)
    border = float(rng.choice([0.3, 0.5, 0.7]))
    found, double = (p >= border).astype(int), p.astype(float)
    given: Any = found if rng.random() < 0.3 else p
    limit: dict[str, Any] = {"sample_weight": weight} | ({} if given is found else {"threshold": border})
    weights = {"sample_weight": weight}
    yield Figure("accuracy", metrics.accuracy(given, wanted, **limit), sk.accuracy_score(wanted, found, **weights))
    for ours, theirs in PAIRS:
        yield Figure(ours.__name__, ours(given, wanted, **limit),
                     theirs(sk)(wanted, found, average="macro", zero_division=0, **weights))
    each: list[tuple[Any, Any, dict[str, Any]]] = [
        (metrics.log_loss, sk.log_loss, {"labels": [0, 1]}),
        (metrics.brier_score, sk.brier_score_loss, {"pos_label": 1}),
    ]  # fmt: skip
    for ours, single, options in each:
        means = [single(wanted[:, k], double[:, k], **options, **weights) for k in range(columns)]
        yield Figure(ours.__name__, ours(p, wanted, **weights), float(np.mean(means)))
    counted = wanted if weight is None else wanted[weight > 0]
    if all(len(set(column)) == 2 for column in counted.T):
        yield Figure("roc_auc", metrics.roc_auc(p, wanted, **weights), sk.roc_auc_score(wanted, double, **weights))
        yield Figure("average_precision", metrics.average_precision(p, wanted, **weights),
                     sk.average_precision_score(wanted, double, **weights))


def values(rows: int, dtype: Any, weight: Any, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield the figures of values of one or more outputs, near 0 or far from it."""
    import sklearn.metrics as sk

    columns = int(rng.integers(1, 4))
    target = (rng.normal(size=(rows, columns)) + rng.choice([0, 20_000])).astype(dtype)
    prediction = (target + rng.normal(size=target.shape)).astype(dtype)
    exact, weights = (target.astype(float), prediction.astype(float)), {"sample_weight": weight}
    yield Figure("mean_absolute_error", metrics.mean_absolute_error(prediction, target, **weights),
                 sk.mean_absolute_error(*exact, **weights))
    yield Figure("mean_squared_error", metrics.mean_squared_error(prediction, target, **weights),
                 sk.mean_squared_error(*exact, **weights))
    counted = target if weight is None else target[weight > 0]
    if (np.ptp(counted, axis=0) > 0).all():
        yield Figure("r2", metrics.r2(prediction, target, **weights), sk.r2_score(*exact, **weights))


PAIRS: list[tuple[Any, Callable[[Any], Any]]] = [
    (metrics.precision, lambda sk: sk.precision_score), (metrics.recall, lambda sk: sk.recall_score),
    (metrics.f1, lambda sk: sk.f1_score),
]  # fmt: skip


def campaign(count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Return how often each metric was compared, and each difference."""
    made: dict[str, int] = {}
    differences = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of absent classes
        for case in range(count):
            kind = KINDS[case % len(KINDS)]
            for name, ours, theirs in compared(kind, np.random.default_rng([seed, case])):
                made[name] = made.get(name, 0) + 1
                if np.shape(ours) != np.shape(theirs) or not np.allclose(ours, theirs, rtol=1e-12, atol=1e-12):
                    differences.append(f"seed {seed}, case {case}, {kind}: {name} {ours} for {theirs}")
    return made, differences


def main() -> None:
    """Compare, and print one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made, differences = campaign(options.count, options.seed)
    for text in differences[:5]:
        print(text)
    found = f"{sum(made.values())} figures, {len(differences)} differences from scikit-learn"
    print(f"metrics: {options.count} cases, {found}")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
