"""``python -m minidl.compile_ahead``: compile the programs of usual networks, so that no training waits for them.

A program does not depend on the sizes of a network, but on its kinds: layers, loss, optimizer, dtype, and whether a
batch is a single row, small or large. So one run of this command on a new machine, or while a container is built, fills
the cache on disk for all networks of these kinds. ``--help`` lists the choices.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np

from . import layers, losses, optimizers
from ._compiled import Predictor
from ._compiled.cache import cache_folder
from ._compiled.kernels.activations import ELEMENTWISE
from ._compiled.kernels.losses import LOSSES
from ._compiled.kernels.optimizers import OPTIMIZERS
from .layers import mlp
from .trainer import Trainer

FEATURES, HIDDEN, OUTPUTS = 32, 16, 8
"""Widths of the networks that are compiled; programs for other widths are the same."""

PREDICTED = 1, 16, 1024
"""Rows for which a prediction is compiled: a single one, some, many."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile what the command line asks for.

    Args:
        arguments: The arguments of the command; None for those of the process.

    Example:
        >>> main(["--hidden", "1", "--losses"])  # No loss: nothing to do.
        0 programs in 0 s
    """
    options = _parser().parse_args(arguments)
    began = perf_counter()
    kinds = list(product(options.hidden, options.activations, options.losses, options.optimizers, options.dtypes))
    for hidden, activation, loss, optimizer, dtype in kinds:
        start = perf_counter()
        print(f"{hidden} x {activation}, {loss}, {optimizer}, {dtype}", end=": ", flush=True)
        _compile(hidden, activation, loss, optimizer, dtype, options.batches)
        print(f"{perf_counter() - start:.1f} s", flush=True)
    where = f" in {cache_folder()}" if kinds else ""
    if kinds and not any(cache_folder().glob("minidl_*")):
        raise SystemExit(f"nothing was kept{where}, which cannot be written; set MINIDL_CACHE_DIR to another folder")
    print(f"{len(kinds) * len(options.batches)} programs in {perf_counter() - began:.0f} s{where}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m minidl.compile_ahead", description=(__doc__ or "").splitlines()[0])
    usual: dict[str, tuple[str, list[str], list[str]]] = {
        "activations": ("activations of the hidden layers", _names(ELEMENTWISE), ["ReLU", "Tanh"]),
        "losses": ("losses", _names(LOSSES, "ElementwiseLoss", "Pinball", "GaussianNLL"),
                   ["MeanSquaredError", "SoftmaxCrossEntropy"]),
        "optimizers": ("optimizers", _names(OPTIMIZERS), ["Adam"]),
        "dtypes": ("dtypes", ["float64", "float32"], ["float64", "float32"]),
    }
    numbers = {"hidden": ("numbers of hidden layers", [1, 2]), "batches": ("rows of a batch", [8, 256])}
    for name, (text, default) in numbers.items():
        parser.add_argument(f"--{name}", type=int, nargs="*", default=default, metavar="N", help=text)
    for name, (text, choices, chosen) in usual.items():
        parser.add_argument(f"--{name}", nargs="*", choices=choices, default=chosen, help=text)
    return parser


def _names(table: Mapping[type[Any], Any], *without: str) -> list[str]:
    return sorted(kind.__name__ for kind in table if kind.__name__ not in without)


def _compile(hidden: int, activation: str, loss: str, optimizer: str, dtype: str, batches: Sequence[int]) -> None:
    """Train and predict once with each kind of batch."""
    goal = getattr(losses, loss)()
    widths = [FEATURES, *([HIDDEN] * hidden), OUTPUTS]
    model = mlp(widths, activation=getattr(layers, activation), rng=0).astype(dtype)
    step = getattr(optimizers, optimizer)(model.parameters())
    for rows in batches:
        x = np.zeros((rows, FEATURES), dtype)
        y = np.full((rows, goal.target_features(OUTPUTS)), 1 / OUTPUTS, dtype)
        Trainer(model, goal, step, rng=0, engine="compiled").fit(x, y, epochs=1, batch_size=rows)
    predict = Predictor(model)
    for rows in PREDICTED:
        predict(np.zeros((rows, FEATURES), dtype))


if __name__ == "__main__":
    main()
