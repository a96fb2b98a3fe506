"""Checks of what forward and backward are to one another: repeatable, adding up, in any order of calls."""

from __future__ import annotations

import numpy as np

from ..errors import CallOrderError
from ..layers._container import call_order_error
from ..layers.base import Layer
from .agreement import same, same_gradients, same_passes, shape_of
from .persistence import rebuilt
from .report import CheckError, described
from .subject import Rewound, Subject, backward, gradients


def forward_runs(subject: Subject) -> None:
    """Forward gives a finite floating array with the rows of its input."""
    xs = subject.inputs()
    y = subject.original().astype(np.float64).forward(*xs)
    if not isinstance(y, np.ndarray):
        raise CheckError(f"expected forward to return an array, got {type(y).__name__}")
    if y.ndim != 2 or len(y) != len(xs[0]):
        raise CheckError(f"expected an output of shape ({len(xs[0])}, features) for {len(xs[0])} rows, got {y.shape}")
    if y.dtype.kind != "f":
        raise CheckError(f"expected a floating output, got dtype {y.dtype}")
    if not np.isfinite(y).all():
        raise CheckError("expected finite numbers for ordinary input, got NaN or infinity")


def repeatable(subject: Subject) -> None:
    """The same state and input give the same bits: whatever is random is drawn from a generator of the part."""
    for method in ("forward", "predict"):
        part = subject.prepared()
        rewind = Rewound(part)
        first = getattr(part, method)(*subject.inputs()).copy()
        rewind()
        if not np.array_equal(first, getattr(part, method)(*subject.inputs()), equal_nan=True):
            raise CheckError(
                f"{method} gave another output for the same input and state; what is random must come from a "
                "numpy.random.Generator that is an attribute"
            )


def backward_runs(subject: Subject) -> None:
    """Backward gives one array for each input, of its shape."""
    xs = subject.inputs()
    part = subject.prepared()
    y = part.forward(*xs)
    result = part.backward(subject.weights(y.shape))
    if isinstance(part, Layer) and not isinstance(result, np.ndarray):
        raise CheckError(f"expected backward to return an array like x, got {type(result).__name__}")
    if not isinstance(part, Layer) and not (isinstance(result, tuple) and len(result) == len(xs)):
        raise CheckError(
            f"expected backward to return a tuple of {len(xs)} arrays, one for each input, got {shape_of(result)}"
        )
    for name, x, dx in zip(subject.input_names, xs, result if isinstance(result, tuple) else (result,), strict=True):
        if shape_of(dx) != str(x.shape):
            raise CheckError(f"expected a gradient of {name} of shape {x.shape} like {name}, got {shape_of(dx)}")


def gradients_add_up(subject: Subject) -> None:
    """Two passes give twice the gradient, and a gradient that is there already stays in the sum."""
    part = subject.prepared()
    rewind = Rewound(part)
    xs = subject.inputs()
    once = subject.trained(part, xs)
    grad = subject.weights(once.output.shape)
    rewind()
    part.forward(*subject.inputs())
    backward(part, grad.copy())
    same_gradients({name: 2 * g for name, g in once.parameters.items()}, gradients(part), "after two passes")
    earlier = {name: np.random.default_rng(5).standard_normal(p.shape) for name, p in part.named_parameters().items()}
    for name, parameter in part.named_parameters().items():
        parameter.zero_grad()
        parameter.grad += earlier[name]
    rewind()
    part.forward(*subject.inputs())
    backward(part, grad.copy())
    same_gradients(
        {name: g + earlier[name] for name, g in once.parameters.items()},
        gradients(part),
        "on top of a gradient that was there",
    )


def backward_again(subject: Subject) -> None:
    """A second backward gives the same gradient: the first used nothing up."""
    part = subject.prepared()
    once = subject.trained(part, subject.inputs())
    again = backward(part, subject.weights(once.output.shape))
    for name, first, second in zip(subject.input_names, once.inputs, again, strict=True):
        same(first, second, f"gradient of {name} of a second backward")


def last_forward_counts(subject: Subject) -> None:
    """Backward belongs to the last forward, whatever ran before it."""
    wanted = subject.trained(subject.prepared(), subject.inputs())
    part = subject.prepared()
    rewind = Rewound(part)
    part.forward(*subject.inputs(rows=subject.rows + 2, number=1))
    rewind()
    same_passes(subject, wanted, subject.trained(part, subject.inputs()), "after another forward before it")


def backward_before_forward(subject: Subject) -> None:
    """Backward before any forward misses what forward keeps, which containers make a `CallOrderError`."""
    width = subject.prepared().forward(*subject.inputs()).shape[1]
    grad = subject.weights((subject.rows, width))
    problem = "got a result; let backward read something that forward has kept"
    for make in (subject.original, lambda: rebuilt(subject.original())):  # the original may have been used before
        try:
            backward(make(), grad)
        except Exception as error:
            if isinstance(error, CallOrderError) or call_order_error(error) is not None:
                return
            problem = described(error)
    raise CheckError(
        f"expected a missing attribute, or CallOrderError, for a backward before forward; {problem}\n"
        "forward keeps what backward needs in attributes that start with _, and __init__ does not make them"
    )


def backward_parameters(subject: Subject) -> None:
    """`backward_parameters` gives the gradients of `backward`, from zero and on top of others."""
    wanted = subject.trained(subject.prepared(), subject.inputs()).parameters
    part = subject.prepared()
    assert isinstance(part, Layer)
    rewind = Rewound(part)
    for times in (1, 2):
        rewind()
        y = part.forward(*subject.inputs())
        part.backward_parameters(subject.weights(y.shape))
        same_gradients(
            {name: times * g for name, g in wanted.items()}, gradients(part), f"of backward_parameters called {times}×"
        )
