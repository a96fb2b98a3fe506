"""Rules of one's own layers that do not fit, and names that a language uses itself."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import GELU, Array, Dense, Parameter, Sequential, Sigmoid
from minidl._rules import Builder, Value
from minidl.errors import ArgumentError, ShapeError
from minidl.export import to_c, to_javascript, to_numpy
from minidl.layers import Identity
from tests.campaigns.export import LANGUAGES, missing
from tests.export.test_export import WRITERS, need

X = np.array([[-1.0, 0.5, 2.0]])


class Own(Identity):
    """A layer that computes a function, and is exported by a rule."""

    def __init__(self, function: Callable[[Array], Array], rule: Callable[[Builder, Value], Value]) -> None:
        self.function = function
        self.rule = rule

    @override
    def compute(self, x: Array) -> Array:
        return self.function(x)

    def export(self, to: Builder, x: Value) -> Value:
        return self.rule(to, x)


@pytest.mark.parametrize("language", LANGUAGES)
def test_negative_numbers_are_arguments_like_others(language: str) -> None:
    need(language)
    share = 1.0 / (1.0 + np.exp(1.0))
    layer = Own(lambda x: x + share, lambda to, x: x + to.apply("sigmoid", -1.0))
    found = LANGUAGES[language][1]({"": (layer, X)}, np.float64)[""]
    np.testing.assert_allclose(found, X + share, rtol=1e-14)


REFUSED: dict[str, tuple[Callable[[Builder, Value], Value], str]] = {
    "a column before the first": (lambda to, x: to.columns(x, [-1]), r"columns 0 … 2, got -1"),
    "a column after the last": (lambda to, x: to.columns(x, [0, 3]), r"columns 0 … 2, got 3"),
    "a short row": (lambda to, x: x + to.columns(x, [0, 1]), r'to.apply\("\+", …\) at "1": .* 3 and 2 numbers'),
    "a short constant": (lambda to, x: x * to.array([1.0, 2.0]), r'to.apply\("\*", …\) at "1": .* 3 and 2 numbers'),
    "a narrow matrix": (
        lambda to, x: to.dense(x, Parameter(np.ones((2, 4))), None), r'to.dense at "1": expected 4 numbers, .* got 3'
    ),
    "a wrong bias": (
        lambda to, x: to.dense(x, Parameter(np.ones((2, 3))), Parameter(np.ones(3))),
        r'to.dense at "1": expected a bias of 2 numbers, got 3',
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", REFUSED)
def test_an_operation_on_rows_that_do_not_fit_is_refused(writer: Any, kind: str) -> None:
    rule, message = REFUSED[kind]
    with pytest.raises(ShapeError, match=message):
        writer(Sequential(Dense(3, 3), Own(np.copy, rule)))


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("function", "count", "given"), [("tanh", 1, 2), ("+", 2, 1), ("where", 3, 2), ("exp", 1, 0)])
def test_a_function_of_another_number_of_values_is_refused(writer: Any, function: str, count: int, given: int) -> None:
    layer = Own(np.copy, lambda to, x: to.apply(function, *[x] * given))
    with pytest.raises(ArgumentError, match=rf'at "1": expected {count} values?, got {given}$'):
        writer(Sequential(Dense(3, 3), layer))


WORDS = {
    to_c: ["int", "double", "main", "exp", "expf", "erfc", "isnan", "nextafterl", "INFINITY", "while", "gamma"],
    to_javascript: ["class", "let", "await", "eval", "Math", "Array", "erfc", "Infinity", "function"],
    to_numpy: ["np", "math", "sigmoid", "erfc", *keyword.kwlist],
}


@pytest.mark.parametrize(("writer", "name"), [(writer, name) for writer, names in WORDS.items() for name in names])
def test_a_name_that_the_language_uses_itself_is_refused(writer: Any, name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"\(name\): expected a name that .* does not use itself, .* got '{name}'"):
        writer(Dense(2, 1), name=name)


@pytest.mark.parametrize("name", ["x", "y", "i", "j", "s", "p", "v1", "_", "Int", "predict2", "k_0"])
def test_a_name_like_that_of_a_variable_is_right(name: str) -> None:
    model = Sequential(Dense(3, 3), GELU(), Sigmoid()).initialize(rng=0)
    space: dict[str, Any] = {}
    exec(to_numpy(model, name=name), space)
    np.testing.assert_allclose(space[name](X), model.predict(X), rtol=1e-14)
    if not missing("C"):
        assert re.search(rf"void {name}\(", to_c(model, name=name))
