"""Initial values: distributions against SciPy, orthogonality, and what `mlp` chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from minidl import (
    ELU,
    GELU,
    Activation,
    Dense,
    Layer,
    LeakyReLU,
    Parameter,
    PReLU,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    mlp,
)
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.initializers import (
    GlorotUniform,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
)

SHAPE = (40, 250)

DISTRIBUTIONS = [
    (LeCunNormal(), scipy.stats.norm(0.0, 250**-0.5)),
    (LeCunUniform(), scipy.stats.uniform(-((3 / 250) ** 0.5), 2 * (3 / 250) ** 0.5)),
    (TruncatedNormal(), scipy.stats.truncnorm(-2.0, 2.0)),
    (TruncatedNormal(3.0, 0.5, cut=1.0), scipy.stats.truncnorm(-1.0, 1.0, loc=3.0, scale=0.5)),
    (TruncatedNormal(cut=30.0), scipy.stats.norm()),
]


def draw(initializer: Initializer, shape: tuple[int, ...], seed: int = 0) -> Any:
    return initializer.draw(shape, np.random.default_rng(seed))


@pytest.mark.parametrize(("initializer", "distribution"), DISTRIBUTIONS, ids=[repr(i) for i, _ in DISTRIBUTIONS])
def test_follows_its_distribution(initializer: Initializer, distribution: Any) -> None:
    values = draw(initializer, SHAPE)
    assert values.shape == SHAPE
    assert scipy.stats.kstest(values.ravel(), distribution.cdf).pvalue > 0.01


@pytest.mark.parametrize("initializer", [LeCunNormal(), LeCunUniform(), TruncatedNormal(), Orthogonal(2.0)], ids=repr)
def test_the_same_seed_gives_the_same_bits(initializer: Initializer) -> None:
    assert draw(initializer, (4, 3)).tobytes() == draw(initializer, (4, 3)).tobytes()
    assert draw(initializer, (4, 3)).tobytes() != draw(initializer, (4, 3), seed=1).tobytes()


def test_lecun_keeps_the_variance_of_what_goes_through() -> None:
    x = np.random.default_rng(1).normal(size=(2000, 400))
    for initializer in (LeCunNormal(), LeCunUniform()):
        layer = Dense(400, 300, weight_initializer=initializer).initialize(0)
        assert layer(x).var() == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("cut", [0.01, 0.5, 2.0, 40.0])
def test_a_truncated_normal_stays_within_its_cut(cut: float) -> None:
    values = draw(TruncatedNormal(1.0, 3.0, cut=cut), (20_000,))
    assert np.isfinite(values).all()
    assert np.abs((values - 1.0) / 3.0).max() <= cut * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (1, 4), (4, 1)])
def test_orthogonal_rows_or_columns(shape: tuple[int, int]) -> None:
    values = draw(Orthogonal(1.5), shape)
    assert values.shape == shape
    product = values @ values.T if shape[0] < shape[1] else values.T @ values
    np.testing.assert_allclose(product, 2.25 * np.eye(min(shape)), atol=1e-14)


def test_orthogonal_keeps_the_norm_of_what_goes_through() -> None:
    x = np.random.default_rng(1).normal(size=(50, 6))
    model = mlp([6, 6, 6, 6], activation=lambda: Activation(lambda z: z, np.ones_like),
                weight_initializer=Orthogonal(), rng=0)
    np.testing.assert_allclose(np.linalg.norm(model(x), axis=1), np.linalg.norm(x, axis=1), rtol=1e-13)


def test_orthogonal_matrices_are_equally_likely() -> None:
    """The first entry of a random rotation of the plane is the cosine of a uniform angle; an unsigned Q is not."""
    rng = np.random.default_rng(0)
    entries = [Orthogonal().draw((2, 2), rng)[0, 0] for _ in range(3000)]
    assert scipy.stats.kstest(entries, scipy.stats.arcsine(-1.0, 2.0).cdf).pvalue > 0.01


def test_orthogonal_needs_a_matrix() -> None:
    with pytest.raises(ShapeError, match=r"Orthogonal\(1.0\): expected the shape .*got \(3,\)"):
        Parameter(Orthogonal(), (3,))


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: Orthogonal(0.0), ArgumentError, r"Orthogonal\(gain\).*above 0"),
    (lambda: Orthogonal("big"), DTypeError, r"Orthogonal\(gain\)"),  # type: ignore[arg-type]
    (lambda: TruncatedNormal(deviation=-1.0), ArgumentError, r"TruncatedNormal\(deviation\)"),
    (lambda: TruncatedNormal(cut=0.0), ArgumentError, r"TruncatedNormal\(cut\)"),
    (lambda: TruncatedNormal(mean=float("inf")), ArgumentError, r"TruncatedNormal\(mean\)"),
])
def test_wrong_arguments_are_named(make: Callable[[], Initializer], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def chosen(activation: Callable[[], Layer]) -> list[type[Initializer]]:
    layers = [layer for layer in mlp([3, 4, 4, 1], activation=activation, rng=0) if isinstance(layer, Dense)]
    return [type(layer.weight_initializer) for layer in layers]


@pytest.mark.parametrize("activation", [ReLU, LeakyReLU, ELU, GELU, SiLU, Softplus, PReLU])
def test_mlp_starts_rectifiers_as_he_says(activation: Callable[[], Layer]) -> None:
    assert chosen(activation) == [HeUniform, HeUniform, GlorotUniform]


@pytest.mark.parametrize("activation", [Sigmoid, Tanh, Softmax])
def test_mlp_starts_what_saturates_as_glorot_says(activation: Callable[[], Layer]) -> None:
    assert chosen(activation) == [GlorotUniform] * 3


def test_mlp_looks_at_the_activation_of_the_output_too() -> None:
    *_, last, _ = mlp([3, 4, 1], activation=Sigmoid, output=ReLU, rng=0)
    assert isinstance(last, Dense)
    assert isinstance(last.weight_initializer, HeUniform)


def test_mlp_looks_into_a_chain() -> None:
    assert chosen(lambda: Sequential(ReLU(), Tanh()))[0] is HeUniform


def test_an_activation_of_ones_own_says_what_it_wants() -> None:
    class Cube(Activation):
        initializer_before = LeCunNormal()

        def __init__(self) -> None:
            super().__init__(lambda x: x**3, lambda x: 3 * x**2)

    assert chosen(Cube)[0] is LeCunNormal


def test_what_is_given_to_mlp_stands() -> None:
    for layer in mlp([3, 4, 1], weight_initializer=Normal(0, 1), rng=0):
        assert not isinstance(layer, Dense) or isinstance(layer.weight_initializer, Normal)


def test_signals_neither_fade_nor_explode_through_thirty_rectified_layers() -> None:
    x = np.random.default_rng(1).normal(size=(200, 100))
    y = mlp([100] * 31, rng=0)[:-1](x)
    assert 0.3 < (y**2).mean() / (x**2).mean() < 3.0


@pytest.mark.parametrize(("wide", "outputs"), [(9, 1), (9, 9), (4, 12)])
def test_the_first_outputs_have_the_variance_of_their_widths(wide: int, outputs: int) -> None:
    """He values keep the mean square of x through ReLU; n inputs of variance 2 / (n + m) make it 2 n / (n + m)."""
    x = np.array([[1.0, -2.0, 0.5]])
    y = [mlp([3, wide, outputs], rng=seed)(x) for seed in range(2000)]
    assert np.mean(np.square(y)) == pytest.approx(2 * wide / (wide + outputs) * (x**2).mean(), rel=0.12)


def test_mlp_refuses_an_activation_that_is_no_layer() -> None:
    with pytest.raises(DTypeError, match=r"mlp\(activation\): expected a Layer, got 3"):
        mlp([2, 2, 1], activation=lambda: 3)  # type: ignore[arg-type,return-value]
