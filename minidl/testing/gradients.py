"""Checks of what backward computes, against derivatives found from the forward pass alone."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.parameter import Buffer, Parameter
from ..layers._parts import named
from .comparison import Pass, compare, same
from .derivatives import Derivative, Differentiated
from .report import SINGLE_PRECISION, Measurement, Rule
from .subject import TRAINS, ComponentSubject, Inputs, Part, gradients

DERIVES = (*TRAINS, "storage", "float64 kept")
"""What must hold before derivatives can be taken by changing the arrays of parameters."""


def gradient_rules(subject: ComponentSubject) -> list[Rule[ComponentSubject]]:
    """List a check for each gradient, and those that build on them."""
    names = subject.names if subject.has_input_gradient else list(subject.part.named_parameters())
    single: list[Rule[ComponentSubject]] = [
        Rule(f"gradient of {name}", partial(gradient, name=name), DERIVES) for name in names
    ]
    return [
        *single,
        Rule("total gradient", total, (*DERIVES, *(rule.name for rule in single))),
        Rule("gradient of inference()", of_inference, ("total gradient", "predict and inference()")),
        Rule("float32 gradients", single_precision, ("total gradient", "float32 kept")),
    ]


def gradient(subject: ComponentSubject, name: str) -> list[Measurement]:
    """Backward gives the derivative of forward."""
    wanted = subject.derivatives.arrays[subject.names.index(name)]
    assert wanted is not None
    return [compare(name, _training(subject).gradients[name], wanted, subject.rows)]


def total(subject: ComponentSubject) -> list[Measurement]:
    """Backward gives the derivative along a random direction, over all inputs and parameters at once."""
    wanted, found = subject.derivatives, _training(subject).gradients
    slope = sum(float(np.sum(found[name] * v)) for name, v in zip(subject.names, wanted.direction, strict=True))
    return [compare("all arrays, in a random direction", np.array(slope), wanted.total, subject.rows)]


def of_inference(subject: ComponentSubject) -> list[Measurement]:
    """The backward of inference() gives the derivative of predict."""
    wanted = subject.differentiated("predict")
    part = subject.prepared()
    inference = part.inference()
    y = subject.forward(inference, _inputs(subject, wanted))
    given = Pass(y, subject.backward(inference, wanted.weights.copy()), gradients(part))
    return _measurements(subject, wanted.arrays, given)


def single_precision(subject: ComponentSubject) -> list[Measurement]:
    """Gradients in float32 are those in float64, up to rounding in float32."""
    part = subject.prepared().astype(np.float32)
    xs = subject.inputs(dtype=np.float32)
    single = _noting_draws(part, np.float32)
    found = subject.trained(single, xs)
    grad = subject.weights(found.output.shape, np.float32).astype(np.float64)
    noted = {name: draws.noted for name, draws in named(single, _Draws).items()}
    double = _noting_draws(part, np.float64, noted)
    exact = subject.trained(double, tuple(x.astype(np.float64) for x in xs), grad)
    same(exact.output, found.output.astype(np.float64), "output of forward in float32", 1e-2)
    sizes = {name: float(np.abs(g).max(initial=0.0)) for name, g in exact.gradients.items()}
    floor = max(1e-2 * max(sizes.values(), default=0.0), 1e-6)
    derivatives = [
        Derivative(np.arange(g.size), g.ravel(), "float64", max(sizes[name], floor))
        for name, g in exact.gradients.items()
    ]
    return _measurements(subject, derivatives, found, SINGLE_PRECISION)


def _training(subject: ComponentSubject) -> Pass:
    """Run forward and backward at the point where the derivatives of forward were found."""
    wanted = subject.derivatives
    return subject.trained(subject.prepared(), _inputs(subject, wanted), wanted.weights)


def _inputs(subject: ComponentSubject, wanted: Differentiated) -> Inputs:
    return tuple(wanted.point[: len(subject.input_names)])


def _measurements(
    subject: ComponentSubject, wanted: Iterable[Derivative | None], found: Pass, method: str = ""
) -> list[Measurement]:
    """Compare the gradients of all inputs and parameters that have a derivative."""
    return [
        compare(name, found.gradients[name], derivative, subject.rows, method)
        for name, derivative in zip(subject.names, wanted, strict=True)
        if derivative is not None
    ]


class _Draws(np.random.Generator):
    """A generator that notes the dtype of each draw.

    ``rng.random(shape, dtype)`` draws other numbers in float32 than in float64. To draw the masks of a pass in float32
    again in a pass in float64, the second generator draws in the dtypes that the first one noted, and casts.

    Args:
        bits: The bit generator.
        dtypes: The dtype of each draw, in order; later draws use the requested dtype.
    """

    def __init__(self, bits: np.random.BitGenerator, dtypes: Iterable[Any] = ()) -> None:
        super().__init__(bits)
        self.noted: list[Any] = []
        self._dtypes = iter(dtypes)

    def _draw(self, draw: Any, size: Any, dtype: Any, out: Any, **options: Any) -> Any:
        self.noted.append(next(self._dtypes, dtype))
        drawn = np.asarray(draw(size if out is None else out.shape, self.noted[-1], **options), dtype)
        if out is None:
            return drawn[()]
        out[...] = drawn
        return out

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return self._draw(super().random, size, dtype, out)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return self._draw(super().standard_normal, size, dtype, out)

    def standard_exponential(
        self, size: Any = None, dtype: Any = np.float64, method: Any = "zig", out: Any = None
    ) -> Any:
        return self._draw(super().standard_exponential, size, dtype, out, method=method)


def _noting_draws(part: Part, dtype: npt.DTypeLike, noted: Mapping[str, Iterable[Any]] = {}) -> Part:
    """Copy a part in one dtype, with generators that note their draws, or repeat those that were noted."""
    generators = named(part, np.random.Generator)
    copies = {id(g): _Draws(copy.deepcopy(g.bit_generator), noted.get(name, ())) for name, g in generators.items()}
    clone: Part = copy.deepcopy(part, copies)  # deepcopy takes what is in the memo for the copy
    for held in named(clone, (Parameter, Buffer)).values():
        held.cast(dtype)
    return clone
