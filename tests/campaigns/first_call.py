"""``python -m tests.campaigns.first_call``: whole processes that train a new network, and digits by every engine.

A process begins with Python and its imports. "Cold" means an empty cache of compiled programs, "from the cache" the
next process. Digits are 1,797 rows, 64-128-10, 50 epochs in batches of 32, by Adam; they need scikit-learn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from tests.support.uses import ROOT

NETWORKS = {
    "1-20-20-1, single rows": ("[1, 20, 20, 1]", "Sigmoid", "SGD(p, 0.01)", 1, "float64"),
    "8-16-16-3, batches of 8": ("[8, 16, 16, 3]", "ReLU", "SGD(p, 0.01)", 8, "float32"),
    "64-128-10, batches of 32": ("[64, 128, 10]", "ReLU", "Adam(p)", 32, "float32"),
}
TRAIN = """
import numpy as np
from minidl import *
widths = {0}
model = mlp(widths, activation={1}, rng=0).astype("{4}")
p = model.parameters()
x, y = np.ones((256, widths[0]), "{4}"), np.ones((256, widths[-1]), "{4}")
Trainer(model, HalfSquaredError(), {2}, engine="compiled", rng=0).fit(x, y, epochs=2, batch_size={3})
"""
DIGITS = """
import numpy as np
from minidl import *
data = np.load("digits.npz")
model = mlp([64, 128, 10], activation=ReLU, rng=0).astype(np.float32)
run = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters()), engine="{0}", rng=0)
run.fit(data["x"].astype(np.float32), data["y"], epochs={1}, batch_size=32)
"""
PEER = """
import warnings
import numpy as np
from sklearn.neural_network import MLPClassifier
warnings.simplefilter("ignore")
data = np.load("digits.npz")
MLPClassifier((128,), batch_size=32, max_iter={1}, tol=0, n_iter_no_change=1000, alpha=0).fit(data["x"], data["y"])
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser("python -m tests.campaigns.first_call")
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="how many networks")
    parser.add_argument("--epochs", type=int, default=50, help="epochs of digits; 0 leaves them out")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        print("| a new network | cold, s | from the cache, s |\n|---|---:|---:|")
        for name, network in list(NETWORKS.items())[: options.networks]:
            cold, warm = (seconds(TRAIN.format(*network), folder) for _ in range(2))
            print(f"| {name} | {cold:.2f} | {warm:.2f} |", flush=True)
        if options.epochs and find_spec("sklearn"):
            digits(folder, options.epochs)


def digits(folder: str, epochs: int) -> None:
    """Print the times of digits: the second of two processes."""
    seconds("import numpy as np\nfrom sklearn.datasets import load_digits\nx, y = load_digits(return_X_y=True)\n"
            "np.savez('digits.npz', x=x / 16, y=y)", folder)
    print("\n| digits | s |\n|---|---:|")
    for name, code in (("numpy", DIGITS), ("compiled", DIGITS), ("auto", DIGITS), ("scikit-learn", PEER)):
        taken = [seconds(code.format(name, epochs), folder) for _ in range(2)]
        print(f"| {name} | {taken[1]:.2f} |", flush=True)


def seconds(code: str, folder: str) -> float:
    """Return how long a process takes that runs some code, its programs kept in a folder."""
    began = time.perf_counter()
    own = {"PYTHONPATH": str(ROOT), "MINIDL_CACHE_DIR": f"{folder}/cache"}
    subprocess.run([sys.executable, "-c", code], env=os.environ | own, cwd=folder, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
