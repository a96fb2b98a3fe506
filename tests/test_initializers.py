from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from minidl import Array, Dense
from minidl.errors import ArgumentError, DTypeError
from minidl.initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    Normal,
    Uniform,
    Zeros,
)

OUT, IN = 120, 180
LAWS: list[tuple[Initializer, Any]] = [
    (Normal(), stats.norm(0, 1)),
    (Normal(2.0, 0.5), stats.norm(2.0, 0.5)),
    (Uniform(-3, 1), stats.uniform(-3, 4)),
    (GlorotUniform(), stats.uniform(-sqrt(6 / (IN + OUT)), 2 * sqrt(6 / (IN + OUT)))),
    (GlorotNormal(), stats.norm(0, sqrt(2 / (IN + OUT)))),
    (HeUniform(), stats.uniform(-sqrt(6 / IN), 2 * sqrt(6 / IN))),
    (HeNormal(), stats.norm(0, sqrt(2 / IN))),
]


@pytest.mark.parametrize(("initializer", "law"), LAWS, ids=lambda value: type(value).__name__)
def test_a_large_weight_follows_the_law(initializer: Initializer, law: Any) -> None:
    weight = initializer.draw((OUT, IN), np.random.default_rng(0))
    assert weight.shape == (OUT, IN)
    assert weight.dtype == np.float64
    assert stats.kstest(weight.ravel(), law.cdf).pvalue > 0.01


@pytest.mark.parametrize(("initializer", "law"), LAWS, ids=lambda value: type(value).__name__)
def test_one_seed_gives_one_draw(initializer: Initializer, law: Any) -> None:
    first, again, other = (initializer.draw((3, 4), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_constants(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    state = repr(rng.bit_generator.state)
    assert (Zeros().draw(shape, rng) == 0).all()
    assert (Constant(2.5).draw(shape, rng) == 2.5).all()
    assert Zeros().draw(shape, rng).shape == shape
    assert repr(rng.bit_generator.state) == state


@pytest.mark.parametrize("initializer", [GlorotUniform(), GlorotNormal(), HeUniform(), HeNormal()], ids=repr)
def test_a_bias_counts_its_length_as_both_fans(initializer: Initializer) -> None:
    many = initializer.draw((20_000,), np.random.default_rng(0))
    variance = (2 if isinstance(initializer, (HeUniform, HeNormal)) else 1) / 20_000
    assert np.var(many) == pytest.approx(variance, rel=0.05)


def test_dense_draws_weights_and_biases_as_told_and_in_its_dtype() -> None:
    layer = Dense(3, 2, weight_initializer=Constant(0.5), bias_initializer=Constant(0.1), dtype=np.float32)
    assert layer.weight.value.tolist() == [[0.5] * 3] * 2
    assert layer.bias.value.tolist() == [float(np.float32(0.1))] * 2
    assert layer.weight.dtype == layer.bias.dtype == np.float32


def test_the_default_of_dense_is_glorot_uniform_and_zero_bias() -> None:
    layer = Dense(IN, OUT).initialize(0)
    assert np.abs(layer.weight.value).max() == pytest.approx(sqrt(6 / (IN + OUT)), rel=1e-3)
    assert (layer.bias.value == 0).all()


class Eye(Initializer):
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return np.eye(shape[0], shape[1])


def test_an_initializer_of_ones_own_needs_only_draw() -> None:
    assert Dense(2, 2, weight_initializer=Eye()).weight.value.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert repr(Eye()) == "Eye()"
    assert repr(Normal(0, 0.5)) == "Normal(0.0, 0.5)"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Normal(0, -1), ArgumentError, "at least 0, got -1"),
        (lambda: Normal(np.nan), ArgumentError, "Normal(mean)"),
        (lambda: Uniform(1, 0), ArgumentError, "at least 1.0, got 0"),
        (lambda: Constant(np.inf), ArgumentError, "Constant(value)"),
        (lambda: Constant("a"), DTypeError, "Constant(value): expected a number, got 'a'"),  # type: ignore[arg-type]
    ],
)
def test_arguments_are_checked(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)
