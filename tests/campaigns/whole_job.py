"""Compare examples/whole_job.py with scikit-learn's MLP: ``python -m tests.campaigns.whole_job --seeds 5``.

Each seed divides the rows anew, and draws first values and orders. Both train on the same rows: one hidden layer of 16,
Adam with the rate 0.003, batches of 32, balanced classes, early stopping on a fifth of the rows.
"""

from __future__ import annotations

import argparse
import sys
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import compute_sample_weight

from minidl import Array, load, metrics
from tests.campaigns.experiments import EXAMPLES, load_example

JOB = load_example("whole_job")


class Scores(NamedTuple):
    """Of the rows that were not trained on."""

    balanced_accuracy: float
    roc_auc: float


def scikit_learn(x: Array, damaged: Array, seed: int) -> Any:
    """Return the function that predicts the probability of damage."""
    columns = make_column_transformer((OneHotEncoder(), [0, 1, 2, 3]), (StandardScaler(), [4, 5]), sparse_threshold=0)
    model = MLPClassifier((16,), learning_rate_init=0.003, batch_size=32, early_stopping=True, validation_fraction=0.2,
                          n_iter_no_change=20, max_iter=200, random_state=seed)
    model.fit(columns.fit_transform(x), damaged, sample_weight=compute_sample_weight("balanced", damaged))
    return lambda rows: model.predict_proba(columns.transform(rows))[:, 1:]


def compare(seed: int) -> dict[str, Scores]:
    """Train both on the rows of one seed."""
    x, damaged = JOB.read(EXAMPLES / "data" / "bird_strikes.csv")
    order = np.random.default_rng(seed).permutation(len(x))
    known, new = order[:1250], order[1250:]
    with TemporaryDirectory() as folder:
        JOB.train(x[known], damaged[known], f"{folder}/model.safetensors", seed)
        model = load(f"{folder}/model.safetensors")
    predictions = {
        "minidl": model.predict(x[new]),
        "scikit-learn": scikit_learn(x[known], damaged[known], seed)(x[new]),
    }
    return {
        name: Scores(metrics.balanced_accuracy(y, damaged[new], threshold=0.5), metrics.roc_auc(y, damaged[new]))
        for name, y in predictions.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each seed and the means; fail if minidl is worse by more than twice the error of the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args(arguments).seeds
    print("| seed | balanced accuracy, minidl | scikit-learn | ROC AUC, minidl | scikit-learn |")
    print("|---|---:|---:|---:|---:|")
    rows = []
    for seed in range(seeds):
        ours, theirs = compare(seed).values()
        rows.append([ours.balanced_accuracy, theirs.balanced_accuracy, ours.roc_auc, theirs.roc_auc])
        print(f"| {seed} | " + " | ".join(f"{score:.3f}" for score in rows[-1]) + " |", flush=True)
    scores = np.array(rows)
    print("| mean | " + " | ".join(f"{score:.3f}" for score in scores.mean(axis=0)) + " |")
    gains = scores[:, 0] - scores[:, 1]
    error = float(gains.std(ddof=1) / np.sqrt(seeds)) if seeds > 1 else np.inf
    print(f"minidl is better by {gains.mean():.3f} ± {error:.3f}")
    return int(gains.mean() < -2 * error)


if __name__ == "__main__":
    sys.exit(main())
