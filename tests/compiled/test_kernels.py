"""Each kernel alone, compiled in both dtypes, against the NumPy path; the elementary functions against mpmath."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from minidl import (
    ELU,
    GELU,
    SGD,
    Activation,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Dropout,
    HalfSquaredError,
    Huber,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Parameter,
    PReLU,
    ReLU,
    RMSNorm,
    Sigmoid,
    SigmoidCrossEntropy,
    SiLU,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
)
from minidl._compiled.cache import jitted
from minidl._compiled.chain import linked
from minidl._compiled.kernels import LAYERS, ONE_ROW, ONE_ROW_DESCENT, elementary
from minidl._compiled.kernels.data import fetch_rows, fetch_sample_weight, fetch_targets
from minidl._compiled.kernels.gradients import CLIPS, penalty_backward, penalty_value
from minidl._compiled.kernels.language import Kernel, Needs, Real, Vector
from minidl._compiled.kernels.losses import LOSSES
from minidl._compiled.kernels.optimizers import OPTIMIZERS, step_of
from minidl._compiled.kernels.rows import sum_of_products, sum_of_rows
from minidl._compiled.source import module_source, parameters_of
from minidl._core.parameter import Buffer
from minidl.errors import GradientError
from minidl.layers._parts import children
from minidl.layers.base import trait
from minidl.layers.scaling import Rescale, Standardize
from minidl.losses import ElementwiseLoss, GaussianNLL, Pinball, PoissonLoss
from minidl.optimizers import (
    L1,
    L2,
    Adagrad,
    Clip,
    ClipGlobalNorm,
    ClipNorm,
    ClipValue,
    NAdam,
    Optimizer,
    ParameterVector,
    RMSProp,
)

DTYPES = ["float64", "float32"]
TOLERANCE = {"float64": 1e-13, "float32": 3e-6}
WIDTH = 11



def square(x: Any) -> Any:
    return x * x


def double(x: Any) -> Any:
    return x + x


EXAMPLES: list[Layer] = [
    Activation(square, double),
    BatchNorm(WIDTH, momentum=0.3),
    Dense(WIDTH, 7).initialize(0),
    Dense(WIDTH, 4).initialize(1),
    Dense(WIDTH, 4, bias=False).initialize(1),
    Dropout(0.4).initialize(0),
    ELU(0.7),
    GELU(),
    Identity(),
    LayerNorm(WIDTH),
    LeakyReLU(0.2),
    PReLU(0.3),
    PReLU(0.3, features=WIDTH),
    ReLU(),
    RMSNorm(WIDTH),
    SiLU(),
    Sigmoid(),
    Softmax(),
    Softplus(),
    Standardize.of(np.random.default_rng(3).normal(2.0, 3.0, (9, WIDTH))),
    Rescale.of(np.random.default_rng(4).normal(2.0, 3.0, (9, WIDTH))),
    Tanh(),
]


@cache
def compiled(kernel: Kernel, dtype: str) -> Callable[..., Any]:
    """Compile one kernel as a program would."""
    namespace: dict[str, Any] = {}
    path = f"<{kernel.__name__} {dtype}>"
    exec(compile(module_source([kernel], np.dtype(dtype)), path, "exec"), namespace)
    inner = namespace[kernel.__name__]
    # The kernel has no wrapper for calls from Python: compile its function again, with the same options of arithmetic.
    options = {name: inner.targetoptions[name] for name in ("error_model", "fastmath")}
    ready: Callable[..., Any] = numba.njit(inner.py_func, **options)
    return ready


def call(kernel: Kernel, dtype: str, known: dict[str, Any], owner: object, row: Needs) -> Any:
    """Call a kernel with what its parameters name; what is not known yet is memory for its results."""
    given = []
    for name, annotation in parameters_of(kernel).items():
        value = known[name] if name in known else declared(row, name, known, owner)
        if annotation == Real:
            value = np.dtype(dtype).type(value)
        elif annotation == Vector:
            value = value.reshape(-1)
        given.append(value)
    return compiled(kernel, dtype)(*given)


def declared(row: Needs, name: str, known: dict[str, Any], owner: object) -> Any:
    argument = row.arguments(owner)[name]
    match argument.kind:
        case "parameter":
            return argument.value.value
        case "gradient":
            known[name] = np.full_like(argument.value.value, np.nan)
        case "buffer":
            known[name] = np.array(argument.value.value, ndmin=1)
        case "function":
            return jitted(argument.value)
        case "sequence":
            known[name] = argument.owner._momentum_products(1)[0]
        case "array":
            return np.array(argument.value, known["gradient"].dtype)
        case "memory":
            sizes = dict(zip(("rows", "features"), known["x"].shape, strict=True))
            known[name] = np.full([sizes[dimension] for dimension in argument.shape], np.nan, known["x"].dtype)
        case _:
            return argument.value
    return known[name]


def close(found: Any, wanted: Any, dtype: str) -> bool:
    """Whether two arrays agree to rounding, measured by their largest number."""
    wanted = np.asarray(wanted)
    scale = max(1.0, float(np.abs(wanted).max()))
    return np.shape(found) == wanted.shape and bool(np.abs(found - wanted).max() <= TOLERANCE[dtype] * scale)


def test_there_is_an_example_of_every_layer_that_is_compiled() -> None:
    assert {type(layer) for layer in EXAMPLES} == set(LAYERS) == set(ONE_ROW)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "rows"), [(layer, rows) for layer in EXAMPLES for rows in (1, 6)], ids=repr)
def test_a_kernel_computes_what_its_layer_does(layer: Layer, rows: int, dtype: str) -> None:
    if rows < trait(layer, "smallest_batch"):
        pytest.skip("the layer takes no single row")
    rng = np.random.default_rng(7)
    reference = copy.deepcopy(layer)
    for parameter in reference.parameters():
        parameter.value += 0.1 * rng.normal(size=parameter.shape)
    own = reference.astype(dtype)
    x = (2.0 * rng.normal(size=(rows, WIDTH))).astype(dtype)
    generator = copy.deepcopy(getattr(own, "rng", None))
    if isinstance(reference, Dropout):
        reference = own
    y = reference.forward(x.astype(float) if reference is not own else x)
    grad = rng.normal(size=y.shape).astype(dtype)
    dx = reference.backward(grad.astype(float) if reference is not own else grad)

    kernels = linked(own, ONE_ROW if rows == 1 else LAYERS)[0].kernels
    known: dict[str, Any] = {"x": x, "y": np.empty_like(y, dtype), "grad": grad, "dx": np.empty_like(x)}
    if generator is not None:
        known["uniform"] = generator.random(x.shape, dtype=x.dtype.type)
    call(kernels.forward, dtype, known, own, kernels)
    assert close(known["y"], y, dtype)
    call(kernels.backward, dtype, known, own, kernels)
    assert close(known["dx"], dx, dtype)
    for name, part in children(reference):
        if isinstance(part, Parameter):
            assert close(known.pop(f"{name}_grad"), part.grad, dtype), name
        if isinstance(part, Buffer) and name in known:
            assert close(known[name], np.atleast_1d(part.value), dtype), name
    if kernels.backward_parameters is not None:
        call(kernels.backward_parameters, dtype, known, own, kernels)
        for name, part in children(reference):
            if isinstance(part, Parameter):
                assert close(known[f"{name}_grad"], part.grad, dtype), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 4, 7])
def test_a_descent_is_a_backward_and_a_step_of_sgd(outputs: int, dtype: str) -> None:
    assert set(ONE_ROW_DESCENT) == {Dense}
    rng = np.random.default_rng(2)
    reference = Dense(WIDTH, outputs).initialize(3)
    x, grad = rng.normal(size=(1, WIDTH)).astype(dtype), rng.normal(size=(1, outputs)).astype(dtype)
    row = ONE_ROW_DESCENT[Dense]
    for kernel in row.backward, row.backward_parameters:
        assert kernel is not None
        own = reference.astype(dtype)
        known: dict[str, Any] = {"x": x, "grad": grad, "dx": np.full_like(x, np.nan), "learning_rate": 0.3}
        call(kernel, dtype, known, own, row)
        if "dx" in parameters_of(kernel):
            assert close(known["dx"][0], grad[0] @ reference.weight.value, dtype)
        assert close(own.weight.value, reference.weight.value - 0.3 * np.outer(grad, x), dtype)
        assert close(own.bias.value, reference.bias.value - 0.3 * grad[0], dtype)


@pytest.mark.parametrize("order", [np.array([4, 0, 2, 2, 1, 3]), np.empty(0, int)])
def test_a_batch_is_fetched_by_its_order(order: Any) -> None:
    rows, labels, weights = np.arange(18.0).reshape(6, 3), np.array([0, 2, 1, 1, 0, 2]), np.arange(6.0)
    chosen = (order if len(order) else np.arange(6))[2:5]
    x, target, one_hot, own, ones = np.ones((3, 3)), np.ones((3, 3)), np.ones((3, 3)), np.ones(3), np.zeros(3)
    for kernel, source, out in (
        (fetch_rows, rows, x), (fetch_targets, rows, target), (fetch_targets, labels, one_hot),
        (fetch_sample_weight, weights, own), (fetch_sample_weight, weights[:0], ones),
    ):
        compiled(kernel, "float64")(source, order, 2, out)
    assert np.array_equal(x, rows[chosen])
    assert np.array_equal(target, rows[chosen])
    assert np.array_equal(one_hot, np.eye(3)[labels[chosen]])
    assert np.array_equal(own, weights[chosen])
    assert np.array_equal(ones, np.ones(3))


@pytest.mark.parametrize("rows", [1, 128, 129, 5000])
def test_sums_of_more_than_128_rows_are_rounded_once(rows: int) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, rows, 30)).astype(np.float32)
    cases: list[tuple[Callable[..., None], Any, Any]] = [(sum_of_rows, (a,), a), (sum_of_products, (a, b), a * b)]
    for function, given, terms in cases:
        total, wanted = np.empty(30, np.float32), terms.sum(axis=0, dtype=np.float64)
        function(*given, total)
        np.testing.assert_allclose(total, wanted, rtol=0, atol=1e-4)
        assert rows <= 128 or (total == wanted.astype(np.float32)).all()


def test_dropout_draws_the_bits_of_the_numpy_path() -> None:
    x = np.random.default_rng(0).normal(size=(5, WIDTH))
    layer = Dropout(0.3).initialize(2)
    known = {"x": x, "y": np.empty_like(x), "uniform": copy.deepcopy(layer.rng).random(x.shape)}
    call(LAYERS[Dropout].forward, "float64", known, layer, LAYERS[Dropout])
    assert np.array_equal(known["y"], layer.forward(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layer", [ELU(0.7), GELU(), LeakyReLU(0.2), PReLU(0.3), ReLU(), SiLU(), Sigmoid(), Softplus(), Tanh()], ids=repr
)
def test_tails_and_nan_are_those_of_the_numpy_path(layer: Layer, dtype: str) -> None:
    own = layer.astype(dtype)
    x = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, -1e4, 1e4, -85.0, 85.0, -720.0, 1e-30]], dtype)
    known = {"x": x, "y": np.empty_like(x), "grad": np.ones_like(x), "dx": np.empty_like(x)}
    kernels = LAYERS[type(layer)]
    call(kernels.forward, dtype, known, own, kernels)
    call(kernels.backward, dtype, known, own, kernels)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(known["y"], own.forward(x), rtol=1e-5, atol=float(np.finfo(dtype).tiny))
        np.testing.assert_allclose(known["dx"][:, 1:], own.backward(np.ones_like(x))[:, 1:], rtol=1e-5, atol=1e-30)
    assert np.isnan(known["y"][0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["decay", "sigmoid", "tanh", "decay_less_one"])
def test_elementary_functions_are_right_to_the_last_bits(name: str, dtype: str) -> None:
    mpmath = pytest.importorskip("mpmath")
    exact = {
        "decay": mpmath.exp,
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
        "tanh": mpmath.tanh,
        "decay_less_one": mpmath.expm1,
    }[name]
    limit = 700.0 if dtype == "float64" else 80.0
    x = -np.concatenate([np.geomspace(1e-30, limit, 400), np.linspace(0, 3, 400)]).astype(dtype)
    if name in ("sigmoid", "tanh"):
        x = np.concatenate([x, -x])
    function: Any = compiled(getattr(elementary, name), dtype)
    found = np.array([function(value) for value in x], dtype)
    with mpmath.workdps(40):
        wanted = [exact(mpmath.mpf(float(value))) for value in x]
        error = [abs(mpmath.mpf(float(a)) - b) for a, b in zip(found, wanted, strict=True)]
    assert str(function.nopython_signatures[0].return_type) == dtype
    assert max(np.array(error, float) / np.spacing(np.abs(found))) <= 4.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_decay_goes_to_zero_through_the_numbers_without_full_precision(dtype: str) -> None:
    decay = compiled(elementary.decay, dtype)
    real = np.dtype(dtype).type
    least = np.finfo(dtype).smallest_subnormal
    for x in np.linspace(-650, -800, 301) if dtype == "float64" else np.linspace(-80, -120, 301):
        assert abs(float(decay(real(x))) - np.exp(float(real(x)))) <= 2 * max(least, np.exp(x) * 1e-6)
    assert decay(real(-np.inf)) == 0.0
    assert np.isnan(decay(real(np.nan)))


LOSS_EXAMPLES: list[Loss] = [
    BinaryCrossEntropy(),
    CrossEntropy(),
    HalfSquaredError(),
    Huber(0.4),
    MeanAbsoluteError(),
    MeanSquaredError(),
    SigmoidCrossEntropy(),
    SoftmaxCrossEntropy(),
    BinaryCrossEntropy(label_smoothing=0.2),
    CrossEntropy(label_smoothing=0.2),
    SigmoidCrossEntropy(label_smoothing=0.2),
    SoftmaxCrossEntropy(label_smoothing=0.2),
    ElementwiseLoss(lambda a, y: (a - y) ** 4, lambda a, y: 4 * (a - y) ** 3),
    GaussianNLL(),
    Pinball([0.1, 0.3, 0.5, 0.7, 0.9, 0.95]),
    PoissonLoss(),
]


def test_there_is_an_example_of_every_loss_that_is_compiled() -> None:
    assert {type(loss) for loss in LOSS_EXAMPLES} == set(LOSSES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSS_EXAMPLES, ids=repr)
def test_a_loss_kernel_computes_what_its_loss_does(loss: Loss, dtype: str) -> None:
    rng = np.random.default_rng(3)
    probabilities = isinstance(loss, (BinaryCrossEntropy, CrossEntropy))
    prediction = (rng.random((9, 6)) if probabilities else 3.0 * rng.normal(size=(9, 6))).astype(dtype)
    target = rng.dirichlet(np.ones(6), 9)[:, : loss.target_features(6)].astype(dtype)
    weights = rng.random(9).astype(dtype)
    gradient = np.empty_like(prediction)
    known = {"prediction": prediction, "target": target, "sample_weight": weights, "gradient": gradient,
             "flat_gradient": gradient.reshape(-1)}
    row = LOSSES[type(loss)]
    found = call(row.kernel, dtype, known, loss, row)
    wanted = loss.forward(prediction.astype(float), target.astype(float), weights.astype(float))
    assert found == pytest.approx(wanted, rel=10 * TOLERANCE[dtype])
    assert close(gradient, loss.backward(), dtype)


@pytest.mark.parametrize("logit", [0.0, 40.0, 800.0, 1e30])
def test_a_sure_row_costs_what_it_should(logit: float) -> None:
    prediction = np.array([[logit, 0.0, -logit]])
    gradient = np.empty_like(prediction)
    known = {"prediction": prediction, "target": np.eye(3)[:1], "sample_weight": np.ones(1),
             "gradient": gradient, "flat_gradient": gradient.reshape(-1)}
    row = LOSSES[SoftmaxCrossEntropy]
    found = call(row.kernel, "float64", known, SoftmaxCrossEntropy(), row)
    assert found == pytest.approx(np.log1p(np.exp(-logit) + np.exp(-2 * logit)), rel=1e-12)
    assert gradient[0, 1] == pytest.approx(np.exp(-logit) / (1 + np.exp(-logit) + np.exp(-2 * logit)), rel=1e-12)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [([20.0, -1.0], 7.582560425170398e-10), ([1e3, 970.0], 9.35762296883973e-14), ([1e16, 1e16], 0.6931471805599453)],
)
def test_the_loss_of_a_sure_row_is_not_rounded_away(logits: list[float], expected: float) -> None:
    prediction = np.array([logits])
    known = {"prediction": prediction, "target": np.eye(2)[:1], "sample_weight": np.ones(1)}
    known["gradient"] = prediction.copy()
    known["flat_gradient"] = known["gradient"].reshape(-1)
    row = LOSSES[SoftmaxCrossEntropy]
    found = call(row.kernel, "float64", known, SoftmaxCrossEntropy(), row)
    assert found == pytest.approx(expected, rel=1e-12)


def optimizer_examples(parameters: list[Parameter]) -> list[Optimizer]:
    return [
        SGD(parameters, 0.1),
        SGD(parameters, 0.1, weight_decay=0.3),
        SGD(parameters, 0.1, momentum=0.8, weight_decay=0.3),
        SGD(parameters, 0.1, momentum=0.8, nesterov=True),
        Adam(parameters, 0.1),
        Adam(parameters, 0.1, beta1=0.7, weight_decay=0.3),
        AdamW(parameters, 0.1, beta2=0.9),
        AdamW(parameters, 0.1, weight_decay=0.0),
        SGD(parameters, 0.1, momentum=0.8).set_group(parameters[:1], rate_factor=0.5),
        AdamW(parameters, 0.1).set_group(parameters[-1:], rate_factor=2.0, weight_decay=0.2),
        NAdam(parameters, 0.1, weight_decay=0.3),
        NAdam(parameters, 0.1, beta1=0.7, momentum_decay=0.5),
        Adagrad(parameters, 0.1, epsilon=0.1),
        RMSProp(parameters, 0.1, weight_decay=0.3),
        RMSProp(parameters, 0.1, rho=0.8, momentum=0.6, epsilon=0.1),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(15))
def test_optimizer_kernels_take_the_steps_of_the_optimizer(number: int, dtype: str) -> None:
    rng = np.random.default_rng(5)
    start = [rng.normal(size=(3, 4)), rng.normal(size=3)]
    wanted = optimizer_examples([Parameter(value) for value in start])[number]
    found = optimizer_examples([Parameter(value, dtype=dtype) for value in start])[number]
    assert set(OPTIMIZERS) == {type(o) for o in optimizer_examples([Parameter(1.0)])}
    for step in range(1, 6):
        gradients = rng.normal(size=15)
        for parameter, gradient in zip(wanted.vector.parameters, np.split(gradients, [12]), strict=True):
            parameter.grad += gradient.reshape(parameter.shape)
        wanted.step()
        found.vector.gradients[:] = gradients
        known: dict[str, Any] = {
            "values": found.vector.values, "gradients": found.vector.gradients, "learning_rate": 0.1, "step": step
        }
        for row in step_of(found):
            call(row.kernel, dtype, known, found, row)
        found.steps = step
        found.restore_numbers({name: float(known[name]) for name in found.changing})
    assert found.numbers() == {**wanted.numbers(), "last_rate": 0.0}
    assert close(found.vector.values, wanted.vector.values, dtype)
    assert found.slots().keys() == wanted.slots().keys()
    for name, slot in found.slots().items():
        assert close(slot, wanted.slots()[name], dtype), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_kernels_add_the_penalties_and_their_gradients(dtype: str) -> None:
    parameter = Parameter(np.array([-2.0, 0.0, -0.0, 3.0, 1e-30]), dtype=dtype)
    l1, l2 = np.full((2, 5), [[0.3], [0.7]], dtype)
    gradients = np.ones(5, dtype)
    parameter.grad += 1.0
    penalties = [L1(0.3, [parameter]), L2(0.7, [parameter])]
    for penalty in penalties:
        penalty.backward()
    found = compiled(penalty_value, dtype)(parameter.value, l1, l2)
    assert found == pytest.approx(0.3 * 5 + 0.35 * 13, rel=1e-6)
    compiled(penalty_backward, dtype)(parameter.value, gradients, l1, l2)
    assert close(gradients, parameter.grad, dtype)
    parameter.value[0] = np.nan
    compiled(penalty_backward, dtype)(parameter.value, gradients, l1, 0.0 * l2)
    assert np.isnan(gradients).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 1e-44, 1e-3, 1.0, 1e30, 1e200, 1e306, np.inf, np.nan])
@pytest.mark.parametrize("clip", [ClipValue(0.5), ClipNorm(0.8), ClipGlobalNorm(1e-3)], ids=repr)
def test_clip_kernels_do_what_the_clips_do(clip: Clip, scale: float, dtype: str) -> None:
    assert set(CLIPS) == {ClipValue, ClipNorm, ClipGlobalNorm}
    parameters = [Parameter(np.zeros((3, 2)), dtype=dtype), Parameter(np.zeros(4), dtype=dtype)]
    vector = ParameterVector(parameters)
    parameters[0].grad += np.arange(6.0).reshape(3, 2) / 10
    parameters[1].grad += 0.1
    with np.errstate(all="ignore"):
        vector.gradients[1:8:3] *= vector.gradients.dtype.type(scale)
    found = vector.gradients.copy()
    places = np.array([(0, 10)] if clip.joined else [(0, 6), (6, 10)])
    wrong = call(CLIPS[type(clip)].kernel, dtype, {"gradients": found, "places": places}, clip, CLIPS[type(clip)])
    try:
        clip(vector)
    except GradientError:
        assert not np.isfinite(wrong)
    else:
        assert wrong == 0.0
        np.testing.assert_allclose(found, vector.gradients, rtol=TOLERANCE[dtype])
