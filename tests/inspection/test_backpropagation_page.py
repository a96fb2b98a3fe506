"""docs/backpropagation.md: the numbers that are worked out, and the picture, are those of a trace."""

from __future__ import annotations

import re
from math import exp
from typing import Any

import numpy as np
import pytest

from minidl.inspection import Trace
from tests.campaigns.backpropagation import PICTURES, picture
from tests.campaigns.experiments import load_example
from tests.support.uses import BLOCK

PAGE = PICTURES.parent / "backpropagation.md"
TEXTS = [code for language, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language == "text"]
WORKED_OUT = [line for text in TEXTS for line in text.splitlines()]


@pytest.fixture(scope="module")
def traced() -> Trace:
    example = load_example("see_a_step")
    t = example.step(example.network())
    assert isinstance(t, Trace)
    return t


def value(t: Trace, name: str) -> float:
    """Return the number of a name such as ``ΔW_1[0, 1]``; a weight or bias is the new one, after the update."""
    if name == "e":
        return t.error
    match = re.fullmatch(r"(Δ?\w)_(\d)\[(.*)\]", name)
    assert match is not None
    kind, i, index = match[1].replace("Δ", "d"), int(match[2]), tuple(map(int, match[3].split(", ")))
    arrays: dict[int, Any] = getattr(t, kind)
    array = arrays[i] - 0.5 * getattr(t, "d" + kind)[i] if kind in "Wb" else arrays[i]
    return float(np.ravel(array)[index] if len(index) == 1 else array[index])


def test_numbers_are_worked_out_for_all_of_the_page() -> None:
    assert len(WORKED_OUT) == 19


@pytest.mark.parametrize("line", WORKED_OUT)
def test_a_number_that_is_worked_out_is_that_of_the_trace(line: str, traced: Trace) -> None:
    name, worked, result = line.split(" = ")
    assert round(value(traced, name), 4) == float(result)
    assert round(eval(worked.replace("×", "*"), {"exp": exp}), 4) == float(result)  # as a pocket calculator gives it


def test_the_weights_of_the_page_are_those_of_the_program(traced: Trace) -> None:
    names: dict[str, Any] = {}
    blocks = [code for language, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language == "python"]
    exec(blocks[0], names)
    for i in (1, 2):
        assert names[f"W_{i}"].tolist() == traced.W[i].tolist()
        assert names[f"b_{i}"].tolist() == traced.b[i].tolist()
    assert [names["x"].tolist()] == traced.O[1].tolist()


def test_the_picture_of_the_page_is_that_of_the_trace(traced: Trace) -> None:
    assert (PICTURES / "backpropagation.svg").read_text(encoding="utf-8") == picture(traced)


def test_the_page_of_the_step_is_that_of_the_trace(traced: Trace) -> None:
    saved = (PICTURES / "step.html").read_text(encoding="utf-8")
    assert saved == traced.to_html(), "write it again: python -m tests.campaigns.backpropagation"
