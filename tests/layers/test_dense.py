from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from minidl import SGD, BatchNorm, Dense, HalfSquaredError, LayerNorm, Sequential, Tanh, Trainer, load, save
from minidl.errors import DTypeError, ShapeError
from minidl.initializers import Normal
from minidl.layers.base import trait
from tests.support.derivatives import complex_step, relative_error
from tests.support.refusal import refused

RNG = np.random.default_rng(0)


def layer(dtype: Any = np.float64) -> Dense:
    return Dense(3, 4, bias_initializer=Normal(), dtype=dtype).initialize(0)


@pytest.mark.parametrize("rows", [0, 1, 2, 17])
def test_forward_is_the_sum_over_the_inputs_plus_the_bias(rows: int) -> None:
    dense, x = layer(), RNG.normal(size=(rows, 3))
    W, b = dense.weight.value, dense.bias.value
    expected = np.array([[sum(W[j, k] * x[i, k] for k in range(3)) + b[j] for j in range(4)] for i in range(rows)])
    expected = expected.reshape(rows, 4)
    assert np.allclose(dense.forward(x), expected, rtol=0, atol=1e-14)
    assert (dense.predict(x) == dense.forward(x)).all()


@pytest.mark.parametrize("rows", [1, 5])
def test_gradients_are_those_of_the_complex_step(rows: int) -> None:
    dense, x, upstream = layer(), RNG.normal(size=(rows, 3)), RNG.normal(size=(rows, 4))
    W, b = dense.weight.value.copy(), dense.bias.value.copy()
    dense.forward(x)
    dx = dense.backward(upstream)
    assert relative_error(dx, complex_step(lambda v: np.sum(upstream * (v @ W.T + b)), x)) < 1e-10
    by_weight = complex_step(lambda v: np.sum(upstream * (x @ v.T + b)), W)
    assert relative_error(dense.weight.grad, by_weight) < 1e-10
    by_bias = complex_step(lambda v: np.sum(upstream * (x @ W.T + v)), b)
    assert relative_error(dense.bias.grad, by_bias) < 1e-10


def test_it_may_be_differentiated_by_complex_step_itself() -> None:
    dense, x = layer(), RNG.normal(size=(2, 3))
    upstream = RNG.normal(size=(2, 4))
    assert np.allclose(complex_step(lambda v: np.sum(upstream * dense.predict(v)), x), upstream @ dense.weight.value)


def test_float32_gradients_agree_to_two_parts_in_a_thousand() -> None:
    exact, single = layer(), layer(np.float32)
    exact.weight.value, exact.bias.value = single.weight.value, single.bias.value
    x, upstream = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 4))
    exact.forward(x)
    single.forward(x.astype(np.float32))
    dx = single.backward(upstream.astype(np.float32))
    assert dx.dtype == single.weight.grad.dtype == single.bias.grad.dtype == np.float32
    assert relative_error(dx, exact.backward(upstream)) < 2e-3
    for ours, theirs in zip(single.parameters(), exact.parameters(), strict=True):
        assert relative_error(ours.grad, theirs.grad) < 2e-3


def test_gradients_add_up_over_micro_batches() -> None:
    whole, parts = layer(), layer()
    x, upstream = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 4))
    whole.forward(x)
    whole.backward(upstream)
    for rows in (slice(0, 2), slice(2, 6)):
        parts.forward(x[rows])
        parts.backward(upstream[rows])
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        assert np.allclose(ours.grad, theirs.grad, rtol=1e-13)


def test_backward_parameters_gives_the_gradients_of_backward() -> None:
    whole, short = layer(), layer()
    x, upstream = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))
    for dense in (whole, short):
        dense.forward(x)
    whole.backward(upstream)
    short.backward_parameters(upstream)
    for ours, theirs in zip(short.parameters(), whole.parameters(), strict=True):
        assert (ours.grad == theirs.grad).all()


LAYOUTS: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "transposed": lambda x: x.T.copy().T,
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_gives_the_same_numbers(layout: str) -> None:
    plain, other = layer(), layer()
    x, upstream = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))
    laid, laid_upstream = LAYOUTS[layout](x), LAYOUTS[layout](upstream)
    laid.flags.writeable = laid_upstream.flags.writeable = False
    assert (laid == x).all()
    assert np.allclose(other.forward(laid), plain.forward(x), rtol=1e-14)
    assert np.allclose(other.backward(laid_upstream), plain.backward(upstream), rtol=1e-14)
    for ours, theirs in zip(other.parameters(), plain.parameters(), strict=True):
        assert np.allclose(ours.grad, theirs.grad, rtol=1e-13)


def test_a_row_broadcast_with_stride_zero() -> None:
    dense = layer()
    row = RNG.normal(size=(1, 3))
    expected = np.repeat(dense.predict(row), 4, axis=0)
    assert np.allclose(dense.predict(np.broadcast_to(row, (4, 3))), expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(5, 4), (5, 2), (3,), (2, 5, 3)])
def test_an_input_of_another_width_or_rank_is_refused(shape: tuple[int, ...]) -> None:
    with refused(ShapeError, "Dense(3 -> 4): expected x of shape (batch, 3)", f"got {shape}"):
        layer().forward(np.ones(shape))


def test_a_refused_forward_leaves_the_pass_before_it_as_it_was() -> None:
    dense, x = layer(), RNG.normal(size=(2, 3))
    dense.forward(x)
    with refused(ShapeError):
        dense.forward(np.ones((2, 5)))
    assert dense.backward(np.ones((2, 4))).shape == (2, 3)


@pytest.mark.parametrize("shape", [(5, 3), (4, 4), (1, 4), (5, 1), (4,)])
def test_a_gradient_of_another_shape_is_refused_and_leaves_no_trace(shape: tuple[int, ...]) -> None:
    dense = layer()
    dense.forward(np.ones((5, 3)))
    with refused(ShapeError, "Dense(3 -> 4): expected a gradient of shape (5, 4)", f"got {shape}"):
        dense.backward(np.ones(shape))
    assert not dense.weight.grad.any()
    assert not dense.bias.grad.any()


def test_repr_and_sizes() -> None:
    dense = Dense(3, 4)
    assert repr(dense) == "Dense(3 -> 4)"
    assert (trait(dense, "in_features"), dense.output_features(3)) == (3, 4)
    assert dense.weight.shape == (4, 3)
    assert dense.bias.shape == (4,)


def test_without_a_bias_only_the_product_is_computed_and_learned() -> None:
    dense, x, upstream = Dense(3, 4, bias=False).initialize(0), RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))
    assert list(dense.named_parameters()) == ["weight"]
    assert repr(dense) == "Dense(3 -> 4, bias=False)"
    W = dense.weight.value
    expected = [[sum(W[j, k] * x[i, k] for k in range(3)) for j in range(4)] for i in range(5)]
    assert np.allclose(dense.forward(x), expected, rtol=0, atol=1e-14)
    assert np.allclose(dense.backward(upstream), upstream @ W, rtol=0, atol=1e-14)
    assert np.allclose(dense.weight.grad, sum(np.outer(upstream[i], x[i]) for i in range(5)), rtol=0, atol=1e-14)


def test_bias_is_true_or_false() -> None:
    with refused(DTypeError, "Dense(bias): expected True or False, got None"):
        Dense(3, 4, bias=None)  # type: ignore[arg-type]


def test_layers_without_bias_may_share_a_weight(tmp_path: Path) -> None:
    first, second = Dense(3, 3, bias=False), Dense(3, 3, bias=False)
    second.weight = first.weight
    model = Sequential(first, Tanh(), second).initialize(1)
    x = RNG.normal(size=(4, 3))

    def error(weight: Any) -> Any:
        return np.sum(np.tanh(x @ weight.T) @ weight.T)

    model.forward(x)
    model.backward(np.ones((4, 3)))
    assert relative_error(first.weight.grad, complex_step(error, first.weight.value)) < 1e-10
    save(model, tmp_path / "tied")
    again = load(tmp_path / "tied")
    assert len(again.parameters()) == 1
    assert (again.predict(x) == model.predict(x)).all()


MANY = 300_000


@pytest.mark.parametrize("make", [lambda: Dense(1, 2, dtype="f4"), lambda: LayerNorm(2, dtype="f4"),
                                  lambda: BatchNorm(2, dtype="f4"), lambda: BatchNorm(2, dtype="f4").inference()])
def test_the_bias_gradient_of_many_rows_in_float32_is_exact(make: Callable[[], Any]) -> None:
    layer = make()
    x = RNG.normal(size=(MANY, layer.in_features)).astype(np.float32)
    grad = np.full((MANY, 2), 0.1, np.float32)
    layer.forward(x)
    layer.backward(grad)
    assert np.allclose(layer.bias.grad, MANY * float(np.float32(0.1)), rtol=1e-7, atol=0)
    layer.backward(grad)
    assert np.allclose(layer.bias.grad, 2 * MANY * float(np.float32(0.1)), rtol=1e-7, atol=0)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("norm", [None, BatchNorm, LayerNorm])
def test_a_step_with_many_rows_in_float32_is_exact(engine: Any, norm: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    layer: Any = Dense(2, 2) if norm is None else norm(2)
    model = Sequential(layer).astype(np.float32)
    layer = model[0]
    before = layer.bias.value.astype(float)
    optimizer = SGD(model.parameters(), 1.0)
    x, weights = np.tile(np.array([[1, -1], [-1, 1]], np.float32), (MANY // 2, 1)), np.full(MANY, 0.1, np.float32)
    y = (model.forward(x) + 1.0).astype(np.float32)
    trainer = Trainer(model, HalfSquaredError(), optimizer, engine=engine)
    trainer.fit(x, y, epochs=1, batch_size=MANY, sample_weight=weights, shuffle=False)
    # ∂e/∂b = Σ 0.1 (p − y) / N = −0.1, and e = Σ 0.1 · ½ · 2 / N
    assert np.allclose(layer.bias.value - before, 0.1, rtol=2e-6, atol=0)
    assert trainer.history.loss == pytest.approx([0.1], rel=1e-6)
