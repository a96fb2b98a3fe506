"""The article's two experiments at full length on three seeds, and the plain loop that they are compared with."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.support import reference
from tests.support.reference import Numbers


def test_both_experiments_reach_the_figures_of_the_article_on_three_seeds() -> None:
    command = [sys.executable, "-m", "tests.campaigns.experiments", "--seeds", "3", "--processes", "2"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("seed") == 6


def test_the_plain_loop_moves_against_the_complex_step_gradient() -> None:
    rng = np.random.default_rng(3)
    sizes = [2, 3, 4, 1]
    W: dict[int, Numbers] = {i: rng.normal(size=(sizes[i], sizes[i - 1])) for i in (1, 2, 3)}
    b: dict[int, Numbers] = {i: rng.normal(size=sizes[i]) for i in (1, 2, 3)}
    x, y, eta, h = rng.normal(size=2), rng.normal(size=1), 0.3, 1e-30
    f, f_prime = reference.LOGISTIC

    expected: dict[tuple[str, int], Numbers] = {}
    for name, place in [(name, place) for name in "Wb" for place in (1, 2, 3)]:
        array = {"W": W, "b": b}[name][place]
        expected[name, place] = array.copy()
        for index in np.ndindex(array.shape):
            stepped: dict[str, dict[int, Numbers]] = {"W": dict(W), "b": dict(b)}
            stepped[name][place] = array.astype(complex)
            stepped[name][place][index] += 1j * h
            output = reference.feedforward(stepped["W"], stepped["b"], f, x)
            error = 0.5 * np.sum((output - y) ** 2)
            expected[name, place][index] -= eta * error.imag / h

    after_W, after_b = dict(W), dict(b)
    reference.update(after_W, after_b, f, f_prime, x, y, eta)
    for place in (1, 2, 3):
        np.testing.assert_allclose(after_W[place], expected["W", place], rtol=0, atol=1e-14)
        np.testing.assert_allclose(after_b[place], expected["b", place], rtol=0, atol=1e-14)
