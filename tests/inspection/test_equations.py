"""Equations in docstrings: their form, their symbols, and the tables made from them."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

import pytest
from typing_extensions import override

from minidl import Array, Layer, Sigmoid, Tanh
from minidl.inspection._equations import Equations, equations
from minidl.layers.activations import Pointwise
from minidl.optimizers import Clip, Optimizer
from tests.campaigns.equations import KINDS, PAGE, built_in, tables

BUILT_IN = [part for kind in KINDS.values() for part in built_in(kind)]
LINE = re.compile(r"\S.* [=←] \S.*")
FORM = re.compile(r"(?P<summary>[A-Z].*)\n\n(Forward:\n(    .+\n)+Backward:\n(    .+\n)+|Update:\n(    .+\n)+)(\n|$)")
WORDS = {"if", "else", "over", "of", "rows", "columns", "nodes", "layers", "with", "that", "read"}
SYMBOL = re.compile(r"e⁻ˣ|(?![½²ΣΠ₁₂])[^\W\d_](?:[^\W²]|[\u0302₊′])*")


def name(part: Any) -> str:
    return str(part.__name__)


@pytest.mark.parametrize("part", BUILT_IN, ids=name)
def test_a_docstring_has_a_summary_and_then_its_equations(part: type) -> None:
    form = FORM.match((inspect.getdoc(part) or "") + "\n")
    assert form is not None
    assert not LINE.match(form["summary"])
    found = equations(part)
    assert bool(found.update) == issubclass(part, (Optimizer, Clip))
    assert bool(found.forward) == bool(found.backward) == (not found.update)
    for line in (*found.forward, *found.backward, *found.update):
        assert LINE.fullmatch(line)


@pytest.mark.parametrize("part", BUILT_IN, ids=name)
def test_each_symbol_of_an_equation_is_explained_on_the_page(part: type) -> None:
    glossary = PAGE.read_text(encoding="utf-8").partition("| symbol |")[2].partition("<!--")[0]
    explained = set(re.findall(r"`([^`]+)`", glossary))
    found = equations(part)
    lines = " ".join((*found.forward, *found.backward, *found.update)).replace("∂", " ")
    assert set(SYMBOL.findall(lines)) - WORDS <= explained


def test_the_tables_of_the_page_are_those_of_the_docstrings() -> None:
    assert tables() in PAGE.read_text(encoding="utf-8")


class Square(Layer):
    """y = x²."""

    @override
    def forward(self, x: Array) -> Array:
        self._x = x
        return x * x

    @override
    def backward(self, grad: Array) -> Array:
        """∂e/∂x = 2 x ∘ ∂e/∂y.

        The rest is not an equation.
        """
        return 2 * self._x * grad


class Silent(Square):
    @override
    def backward(self, grad: Array) -> Array:
        return super().backward(grad)


class Cube(Pointwise):
    @override
    def compute(self, x: Array) -> Array:
        """Y = x³."""
        return x**3

    @override
    def gradient(self, grad: Array) -> Array:
        return 3 * self._x**2 * grad


class Half(Sigmoid):
    """Half of the logistic function.

    Forward:
        y = ½ σ(x)
    """


class OwnTanh(Tanh):
    pass


@dataclass(eq=False, repr=False)
class Plain(Optimizer):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        """W ← W − η g."""
        values -= learning_rate * gradients


@dataclass(eq=False, repr=False)
class Wordless(Optimizer):
    @override
    def update(self, values: Array, gradients: Array, learning_rate: float) -> None:
        values -= learning_rate * gradients


@pytest.mark.parametrize(("part", "expected"), [
    (Square(), Equations(("y = x²",), ("∂e/∂x = 2 x ∘ ∂e/∂y",))),
    (Silent(), Equations(("y = x²",))),
    (Cube(), Equations(("Y = x³",))),
    (Half(), Equations(("y = ½ σ(x)",), ("∂e/∂x = ∂e/∂y ∘ y ∘ (1 − y)",))),
    (OwnTanh(), Equations(("y = tanh(x)",), ("∂e/∂x = ∂e/∂y ∘ (1 − y²)",))),
    (Plain, Equations(update=("W ← W − η g",))),
    (Wordless, Equations()),
    (object(), Equations()),
], ids=lambda value: type(value).__name__)
def test_a_class_without_sections_gives_the_first_lines_of_its_docstrings(part: object, expected: Equations) -> None:
    assert equations(part) == expected
