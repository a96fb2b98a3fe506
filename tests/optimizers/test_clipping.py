"""Clipping: limits held, directions kept, faults named, order of calls."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidl import SGD, Array, ClipGlobalNorm, ClipNorm, ClipValue, Parameter
from minidl.errors import ArgumentError, CallOrderError, DTypeError, GradientError
from minidl.optimizers import Clip
from minidl.optimizers.clipping import norm

CLIPS: list[type[Clip]] = [ClipValue, ClipNorm, ClipGlobalNorm]

each = pytest.mark.parametrize("make", CLIPS)


def parameters_with(*gradients: Any, dtype: str = "float64") -> tuple[SGD, list[Parameter]]:
    found = [Parameter(np.zeros(np.shape(gradient)), dtype=dtype) for gradient in gradients]
    optimizer = SGD(found, 1.0)
    for parameter, gradient in zip(found, gradients, strict=True):
        parameter.grad += np.asarray(gradient, dtype)
    return optimizer, found


def test_by_value_limits_each_number() -> None:
    optimizer, (first, second) = parameters_with([[0.5, -3.0]], [7.0])
    assert ClipValue(2.0)(optimizer.vector) == 7.0
    assert first.grad.tolist() == [[0.5, -2.0]]
    assert second.grad.tolist() == [2.0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_by_value_returns_the_largest_number_of_small_gradients(sign: float) -> None:
    optimizer, _ = parameters_with([[0.125 * sign, -0.0625 * sign]], [0.25 * sign])
    assert ClipValue(0.5)(optimizer.vector) == 0.25


def test_by_norm_limits_each_parameter_alone() -> None:
    optimizer, (first, second, third) = parameters_with([[3.0, 4.0]], [0.6, 0.8], [[0.0, 12.0], [5.0, 0.0]])
    assert ClipNorm(2.0)(optimizer.vector) == 13.0
    np.testing.assert_allclose(first.grad, [[1.2, 1.6]], rtol=1e-15)
    assert second.grad.tolist() == [0.6, 0.8]
    np.testing.assert_allclose(third.grad, np.array([[0.0, 12.0], [5.0, 0.0]]) * 2 / 13, rtol=1e-15)


def test_by_global_norm_keeps_the_direction() -> None:
    optimizer, (first, second) = parameters_with([[3.0, 4.0]], [12.0])
    assert ClipGlobalNorm(6.5)(optimizer.vector) == 13.0
    np.testing.assert_allclose(first.grad, [[1.5, 2.0]], rtol=1e-15)
    np.testing.assert_allclose(second.grad, [6.0], rtol=1e-15)


@each
def test_a_list_of_parameters_is_clipped_as_their_vector_is(make: type[Clip]) -> None:
    gradients = [[[3.0, -4.0], [0.1, 2.0]], [12.0, -0.2], 0.3]
    optimizer, joined = parameters_with(*gradients)
    _, listed = parameters_with(*gradients)
    assert make(1.5)(optimizer.vector) == pytest.approx(make(1.5)(listed), rel=1e-15)
    for one, other in zip(joined, listed, strict=True):
        np.testing.assert_allclose(one.grad, other.grad, rtol=1e-15)


def test_chosen_parameters_are_clipped_alone() -> None:
    _, (first, second) = parameters_with([3.0, 4.0], [9.0])
    ClipGlobalNorm(1.0)([first])
    np.testing.assert_allclose(first.grad, [0.6, 0.8], rtol=1e-15)
    assert second.grad == 9.0


@each
def test_small_gradients_keep_their_bits(make: type[Clip]) -> None:
    optimizer, (parameter,) = parameters_with([0.1, -0.7])
    before = parameter.grad.tobytes()
    make(10.0)(optimizer.vector)
    assert parameter.grad.tobytes() == before


@each
def test_the_step_uses_what_was_clipped_and_uses_it_up(make: type[Clip]) -> None:
    optimizer, (parameter,) = parameters_with([5.0])
    make(2.0)(optimizer.vector)
    optimizer.step()
    assert parameter.value == -2.0
    with pytest.raises(CallOrderError):
        optimizer.step()


@each
def test_what_an_earlier_step_left_behind_is_not_counted(make: type[Clip]) -> None:
    optimizer, (first, second) = parameters_with([100.0], [100.0])
    optimizer.step()
    first.grad += 1.0
    assert make(5.0)(optimizer.vector) == 1.0
    optimizer.step()
    assert (float(first.value[0]), float(second.value[0])) == (-101.0, -100.0)


@each
def test_parameters_that_moved_are_found_again(make: type[Clip]) -> None:
    first, (parameter,) = parameters_with([1.0])
    SGD([parameter], 1.0)
    parameter.zero_grad()
    parameter.grad += 8.0
    assert make(2.0)(first.vector) == 8.0
    first.step()
    assert parameter.value == -2.0


@each
def test_a_copy_of_the_parameters_is_clipped_alone(make: type[Clip]) -> None:
    _, listed = parameters_with([4.0])
    twins = copy.deepcopy(listed)
    make(1.0)(twins)
    assert listed[0].grad == 4.0
    assert twins[0].grad == 1.0


@each
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_gradient_that_is_not_finite_is_named_and_nothing_is_changed(
    make: type[Clip], bad: float, as_list: bool
) -> None:
    optimizer, found = parameters_with([9.0, 8.0], [[1.0, bad], [bad, 2.0]])
    before = [parameter.grad.copy() for parameter in found]
    with pytest.raises(GradientError, match=rf"{make.__name__}\(1\): .*got {bad} in that of parameter 1, "
                                            r"Parameter\(2, 2\) \(2 of 4 numbers\)"):
        make(1.0)(found if as_list else optimizer.vector)
    for parameter, gradient in zip(found, before, strict=True):
        assert np.array_equal(parameter.grad, gradient, equal_nan=True)


@each
@pytest.mark.parametrize("as_list", [False, True])
def test_clipping_before_backward_is_refused(make: type[Clip], as_list: bool) -> None:
    parameter = Parameter([1.0])
    optimizer = SGD([parameter], 1.0)
    with pytest.raises(CallOrderError, match="no parameter has a gradient"):
        make(1.0)([parameter] if as_list else optimizer.vector)
    with pytest.raises(CallOrderError):
        optimizer.step()


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e30), ("float32", 1e-30), ("float64", 1e200),
                                             ("float64", 1e-200), ("float64", 5e-324)])
def test_norms_whose_squares_are_no_numbers_are_right(dtype: str, size: float) -> None:
    gradient = np.array([3.0, -4.0], dtype) * np.array(size, dtype)
    assert norm(gradient) == pytest.approx(math.hypot(*gradient.tolist()), rel=1e-6, abs=0.0)


@each
def test_huge_gradients_of_float32_are_clipped(make: type[Clip]) -> None:
    optimizer, (parameter,) = parameters_with([3e38, 0.0], dtype="float32")
    assert make(1.0)(optimizer.vector) == pytest.approx(3e38)
    np.testing.assert_allclose(parameter.grad, [1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("make", [ClipGlobalNorm, ClipNorm])
def test_the_norm_of_many_numbers_in_float32_is_exact(make: type[Clip]) -> None:
    optimizer, _ = parameters_with(np.full(3_000_000, 0.1), dtype="float32")
    assert make(1e9)(optimizer.vector) == pytest.approx(float(np.float32(0.1)) * math.sqrt(3_000_000), rel=1e-6)


def test_a_norm_beyond_all_numbers_is_refused() -> None:
    optimizer, _ = parameters_with([1.7e308, 1.7e308])
    with pytest.raises(GradientError, match="finite norm, got inf"):
        ClipGlobalNorm(1.0)(optimizer.vector)


@settings(deadline=None)
@given(arrays(np.float64, (3, 2), elements=st.floats(-1e6, 1e6)), arrays(np.float64, 4, elements=st.floats(-1e6, 1e6)),
       st.floats(1e-3, 1e3))
def test_no_limit_is_exceeded(weight: Array, bias: Array, limit: float) -> None:
    for make in CLIPS:
        optimizer, found = parameters_with(weight, bias)
        make(limit)(optimizer.vector)
        grown = [parameter.grad for parameter in found]
        flat = np.concatenate([gradient.ravel() for gradient in grown])
        measured = {
            ClipValue: float(np.abs(flat).max()),
            ClipNorm: max(float(np.linalg.norm(gradient)) for gradient in grown),
            ClipGlobalNorm: float(np.linalg.norm(flat)),
        }
        assert measured[make] <= limit * (1 + 1e-12)


@pytest.mark.parametrize(("make", "torch_name"), [(ClipGlobalNorm, "clip_grad_norm_"), (ClipValue, "clip_grad_value_")])
def test_agrees_with_pytorch(make: type[Clip], torch_name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=(5, 4)), rng.normal(size=5)]
    optimizer, found = parameters_with(*gradients)
    theirs = [torch.nn.Parameter(torch.zeros(*g.shape, dtype=torch.float64)) for g in gradients]
    for tensor, gradient in zip(theirs, gradients, strict=True):
        tensor.grad = torch.tensor(gradient)
    make(0.5)(optimizer.vector)
    getattr(torch.nn.utils, torch_name)(theirs, 0.5)
    for parameter, tensor in zip(found, theirs, strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-5)  # PyTorch adds 1e-6 to the norm


@each
def test_wrong_limits_are_named(make: type[Clip]) -> None:
    for limit, error in ((0.0, ArgumentError), (-1.0, ArgumentError), (math.nan, ArgumentError), (True, DTypeError)):
        with pytest.raises(error, match=rf"{make.__name__}\(limit\)"):
            make(limit)


@each
def test_what_is_no_parameter_is_refused(make: type[Clip]) -> None:
    with pytest.raises(DTypeError, match="expected Parameter objects"):
        make(1.0)([np.zeros(3)])  # type: ignore[list-item]
