"""Kernels in the text of a program: it computes what the calls compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl._compiled.inline import inlined

KERNELS = '''
COUNT = 3


@njit(**kernel)
def scaled(x, factor, y):
    """Multiply."""
    for i in range(len(x)):
        y[i] = factor * x[i]


@njit(**kernel)
def total(x):
    found = 0.0
    for i in range(len(x)):
        found += x[i]
    return found


@njit(**kernel)
def doubled_total(x, y):
    scaled(x, 2.0, y)
    found = total(y)
    return found


@njit(**kernel)
def clamped(x, low):
    low = low if low > 0.0 else 0.0
    for i in range(len(x)):
        x[i] = max(x[i], low)


@njit(**kernel)
def thrice(x, y):
    t = registers(COUNT)
    for i in range(0, len(x), COUNT):
        for k in unrolled(COUNT):
            t[k] = 10.0 * x[i + k]
        for k in unrolled(COUNT):
            y[i + k] = t[k] + t[0]
        y[i] += sum(t)


@njit(**large)
def long(x, y):
    t = registers(2)
    for k in unrolled(2):
        t[k] = x[k]
    y[0] = t[0] - t[1]
'''
PROGRAM = '''

def train(x, y, low, found):
    scaled(x, found[0] + 1.0, y)
    for batch in range(2):
        if batch == 1:
            found[batch] = doubled_total(x, y)
        else:
            error = total(x)
            found[batch] += error
    thrice(x, y)
    long(x, y)
    clamped(x, low)
    return low
'''
PYTHON = {"njit": lambda **_: lambda function: function, "kernel": {}, "large": {}, "unrolled": range,
          "registers": lambda count: [None] * count}


def run(source: str) -> list[Any]:
    names: dict[str, Any] = dict(PYTHON)
    exec(source, names)
    x, y, found = np.array([1.0, -2.0, 3.0, 4.0, 5.0, -6.0]), np.zeros(6), np.array([3.0, 0.0])
    low = names["train"](x, y, -1.0, found)
    return [x.tolist(), y.tolist(), found.tolist(), low]


def test_the_text_computes_what_the_calls_compute() -> None:
    assert run(inlined(KERNELS + PROGRAM)) == run(KERNELS + PROGRAM)


def test_kernels_and_loops_are_gone_but_those_that_are_called() -> None:
    text = inlined(KERNELS + PROGRAM)
    assert "def long(" in text
    assert not any(f"{name}(" in text for name in ("scaled", "total", "thrice", "clamped", "registers", "unrolled"))


def test_a_variable_of_a_kernel_is_not_one_of_the_program() -> None:
    kernel = "@njit(**kernel)\ndef kept(x):\n    y = x[0]\n    x[0] = y\n\n\n"
    text = inlined(kernel + "def train(x, y):\n    kept(x)\n    return y\n")
    names: dict[str, Any] = dict(PYTHON)
    exec(text, names)
    assert names["train"]([1.0], "mine") == "mine"


def test_a_program_without_kernels_stays_as_it_is() -> None:
    assert run(inlined(inlined(KERNELS + PROGRAM))) == run(KERNELS + PROGRAM)
