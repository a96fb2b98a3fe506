"""Checks of forward, backward and predict of layers and merges: results, and what they depend on."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from .._core.arrays import Array
from ..errors import CallOrderError
from ..layers._container import call_order_error
from ..layers.base import Layer
from .common import check_unchanged, undisturbed
from .comparison import check_shape, explained, gradients_of, same, same_arrays, shape_of
from .persistence import rebuilt
from .report import CheckError, Rules, described_error, expect
from .state import fingerprint
from .subject import RUNS, TRAINS, ComponentSubject, Inputs, Part, gradients, rewinding

CHECKS: Rules[ComponentSubject] = Rules()

EXTREMES = (0.0, 1e-300, 1e-7, 1.0, 30.0, 88.0, 104.0, 709.0, 745.0, 1e4)
"""Sizes at which exponentials, their sums and their reciprocals overflow, underflow or cancel."""


@CHECKS("forward", "deepcopy", "parts are found")
def forward_runs(subject: ComponentSubject) -> None:
    """Forward returns a finite floating array with the rows of its input."""
    rows = len(subject.inputs()[0])
    y = subject.original().astype(np.float64).forward(*subject.inputs())
    expect(isinstance(y, np.ndarray), f"expected forward to return an array, got {type(y).__name__}")
    expect(
        y.ndim == 2 and len(y) == rows, f"expected an output of shape ({rows}, features) for {rows} rows, got {y.shape}"
    )
    expect(y.dtype.kind == "f", f"expected a floating output, got dtype {y.dtype}")
    expect(np.isfinite(y).all(), "expected finite numbers for ordinary input, got NaN or infinity")


@CHECKS("backward", *RUNS)
def backward_runs(subject: ComponentSubject) -> None:
    """Backward returns one array for each input, of its shape."""
    xs = subject.inputs()
    part = subject.prepared()
    result = part.backward(subject.weights(part.forward(*xs).shape))
    one = isinstance(part, Layer)
    expect(
        not one or isinstance(result, np.ndarray),
        f"expected backward to return an array like x, got {type(result).__name__}",
    )
    if not one and not (isinstance(result, tuple) and len(result) == len(xs)):
        wanted = f"a tuple of {len(xs)} arrays, one for each input"
        raise CheckError(f"expected backward to return {wanted}, got {shape_of(result)}")
    for name, x, dx in zip(subject.input_names, xs, result if isinstance(result, tuple) else (result,), strict=True):
        check_shape(dx, x.shape, f"gradient of {name}")


@CHECKS("gradients add up", *TRAINS)
def gradients_add_up(subject: ComponentSubject) -> None:
    """Two passes give twice the gradient, and a gradient that is there already stays in the sum."""
    once = subject.usual()
    grad = subject.weights(once.output.shape)

    def earlier(part: Part) -> None:
        for parameter in part.parameters():
            parameter.grad += np.random.default_rng(5).standard_normal(parameter.shape)

    for use, what in ((subject.trained, "after two passes"), (earlier, "on top of a gradient that was there")):
        part = subject.prepared(use)
        before = gradients(part)
        part.forward(*subject.inputs())
        subject.backward(part, grad.copy())
        wanted = {name: before[name] + g for name, g in once.parameters.items()}
        same_arrays(gradients_of(wanted), gradients_of(gradients(part)), what)


@CHECKS("backward_parameters", *TRAINS, "gradients add up", when=lambda subject: isinstance(subject.part, Layer))
def backward_parameters(subject: ComponentSubject) -> None:
    """`backward_parameters` gives the gradients of `backward`, from zero and on top of others."""
    once = subject.usual()
    part = subject.prepared()
    assert isinstance(part, Layer)
    rewind = rewinding(part)
    for times in (1, 2):
        rewind()
        part.backward_parameters(subject.weights(part.forward(*subject.inputs()).shape))
        wanted = gradients_of({name: times * g for name, g in once.parameters.items()})
        same_arrays(wanted, gradients_of(gradients(part)), f"of backward_parameters called {times}×")


@CHECKS("backward before forward", *TRAINS)
def backward_before_forward(subject: ComponentSubject) -> None:
    """Backward before any forward lacks an attribute of forward; containers turn that into a `CallOrderError`."""
    grad = subject.weights(subject.usual().output.shape)
    problem = "got a result; let backward read something that forward has kept"
    for make in (subject.original, lambda: rebuilt(subject.original())):  # the original may have been used before
        try:
            make().backward(grad)
        except Exception as error:
            if isinstance(error, CallOrderError) or call_order_error(error) is not None:
                return
            problem = described_error(error)
    raise CheckError(
        f"expected a missing attribute, or CallOrderError, for a backward before forward; {problem}\n"
        "forward keeps what backward needs in attributes that start with _, and __init__ does not make them"
    )


@CHECKS("rows are alone in training", *TRAINS, when=lambda subject: not subject.couples_rows)
def rows_alone_in_training(subject: ComponentSubject) -> None:
    """A change of one row changes nothing of the others."""
    if found := _changed_elsewhere(subject, axis=0, place=0):
        raise CheckError(
            f"a change of row 0 changed row {found}; if that is meant, say so in the class: couples_rows = True"
        )


@CHECKS("declared: rows are coupled in training", *TRAINS, when=lambda subject: subject.couples_rows)
def rows_coupled_as_declared(subject: ComponentSubject) -> None:
    """The output of a row depends on other rows, as it is declared."""
    expect(
        _changed_elsewhere(subject, axis=0, place=0),
        "couples_rows is declared, but a change of one row changes nothing of the others",
    )


@CHECKS("each number alone", *TRAINS, when=lambda subject: subject.largest is not None)
def each_number_alone(subject: ComponentSubject) -> None:
    """The output has the shape of x, and each of its numbers depends only on the number of x in its place."""
    (x,) = subject.inputs()
    y = subject.usual().output
    expect(y.shape == x.shape, f"expected an output of the shape of x, {x.shape}, got {y.shape}")
    for column in range(x.shape[1]):
        if found := _changed_elsewhere(subject, axis=1, place=column):
            raise CheckError(f"a change of column {column} of x changed column {found}")


def _changed_elsewhere(subject: ComponentSubject, axis: int, place: int) -> str:
    """Change one row or column of the inputs, and find another that changes with it: of the output, or of ∂e/∂x."""
    xs = subject.inputs()
    line = (slice(None),) * axis + (place,)
    for x, other in zip(xs, subject.inputs(number=1), strict=True):
        x[line] = other[line]
    first, second = subject.usual(), subject.trained(subject.prepared(), xs)
    before = {"the output": first.output, **{f"the gradient of {name}": dx for name, dx in first.inputs.items()}}
    for (name, a), b in zip(before.items(), (second.output, *second.inputs.values()), strict=True):
        same = np.isclose(a, b, rtol=1e-9, atol=1e-12)
        same[line] = True
        changed = ~np.moveaxis(same, axis, 0).reshape(same.shape[axis], -1).all(axis=1)
        if changed.any():
            return f"{np.argmax(changed)} of {name}"
    return ""


@CHECKS("extremes", *RUNS, when=lambda subject: subject.largest is not None)
def extremes(subject: ComponentSubject) -> None:
    """Function and derivative are finite at 0, at tiny and at large numbers, without a floating-point warning."""
    hint = (
        "\nwrite it so that nothing overflows and nothing is divided by zero, "
        "or give the largest number that it is meant for: largest=…"
    )
    sizes = [size for size in EXTREMES if size <= (subject.largest or 0)]
    for value in (*(-size for size in reversed(sizes)), *sizes):
        x = np.full(subject.inputs()[0].shape, value)
        for method in ("forward", "backward", "predict"):
            part = subject.prepared()
            given = np.ones_like(part.forward(x)) if method == "backward" else x
            with explained(f"{method} at x = {value:g}: ", hint), np.errstate(all="raise", under="ignore"):
                result = getattr(part, method)(given)
            expect(
                np.isfinite(result).all(), f"{method} at x = {value:g}: expected a finite number, got {result.flat[0]}"
            )


# Prediction.

PREDICTS = (*RUNS, "predict leaves the state")

THREADS = 4


@CHECKS("predict leaves the state", *RUNS)
def leaves_the_state(subject: ComponentSubject) -> None:
    """`predict` and `inference` change nothing on the object: no attribute, no statistic, no generator."""
    for train in (False, True):
        part = subject.prepared()
        if train:
            part.forward(*subject.inputs())
        before = fingerprint(part)
        part.predict(*subject.others())
        check_unchanged(part, before, "predict")
        part.inference()
        check_unchanged(part, before, "inference()")


@CHECKS("predict and layer(x)", *PREDICTS, when=lambda subject: isinstance(subject.part, Layer))
def agrees_with_call(subject: ComponentSubject) -> None:
    """`layer.predict(x)` gives what `layer(x)` gives, which containers and the Trainer use."""
    part = subject.prepared()
    assert isinstance(part, Layer)
    try:
        same(part(*subject.inputs()), subject.predicted(part), "predict(x) against layer(x)")
    except CheckError as failure:
        kinds = type(part).__mro__
        names = [next(kind.__name__ for kind in kinds if method in vars(kind)) for method in ("predict", "forward")]
        raise CheckError(
            f"{failure}\npredict is that of {names[0]}, forward that of {names[1]}: override predict as well, "
            "or write compute(x) in the place of predict"
        ) from None


@CHECKS("predict and inference()", *TRAINS, "predict leaves the state", "predict and layer(x)")
def agrees_with_inference(subject: ComponentSubject) -> None:
    """`predict` gives what `inference().forward` gives, before and after training passes."""
    part = subject.prepared()
    wanted = subject.predicted(part)
    same(wanted, part.inference().forward(*subject.inputs()), "inference().forward against predict")
    used = subject.prepared(lambda part: subject.trained(part, subject.others()))
    same(wanted, subject.predicted(used), "predict after a training pass of other rows")
    owned = {id(parameter) for parameter in part.parameters()}
    for name, parameter in part.inference().named_parameters().items():
        expect(
            id(parameter) in owned, f"inference() has a parameter {name} of its own; it must share those of the layer"
        )


@CHECKS("predict before backward", *TRAINS, "predict leaves the state")
def between_forward_and_backward(subject: ComponentSubject) -> None:
    """A predict between forward and backward does not disturb the training pass."""
    undisturbed(subject, lambda part: part.predict(*subject.others()), "predict")
    undisturbed(subject, lambda part: part.inference().forward(*subject.others()), "inference().forward")


@CHECKS("rows are alone in prediction", *PREDICTS, "batch sizes")
def rows_alone(subject: ComponentSubject) -> None:
    """The prediction of a row does not depend on the other rows."""
    part = subject.prepared()
    xs = subject.inputs()
    together = subject.predicted(part, xs)
    for row in range(subject.rows):
        alone = subject.predicted(part, tuple(x[row : row + 1] for x in xs))
        same(together[row : row + 1], alone, f"predict of row {row} alone against the same row in a batch")


@CHECKS("threads", *PREDICTS)
def threads_agree(subject: ComponentSubject) -> None:
    """Threads that predict with one object at once get the same results as one thread alone."""
    part = subject.prepared()
    batches = [subject.inputs(rows=subject.rows + k, number=k) for k in range(THREADS)]
    wanted = [subject.predicted(part, xs) for xs in batches]
    start = Barrier(THREADS)

    def work(xs: Inputs) -> list[Array]:
        start.wait()
        return [subject.predicted(part, xs) for _ in range(25)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(work, batches))
    finally:
        sys.setswitchinterval(interval)
    for expected, results in zip(wanted, found, strict=True):
        for result in results:
            same(expected, result, f"predict in {THREADS} threads at once")
