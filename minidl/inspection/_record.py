"""Record one training step on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, flag
from .._core.parameter import Parameter
from .._data import check_ending, check_parts, checked
from .._trace import pass_methods, shadowed
from ..errors import ArgumentError, DTypeError, GradientError
from ..layers._parts import children, named
from ..layers.base import Component, Layer, forget
from ..losses import Loss
from ..optimizers import Optimizer
from ..optimizers.clipping import Clip
from ..optimizers.penalties import Penalty, checked_penalties
from ._lines import Line, Value, gradient_of, kept_value, noted
from ._steps import PartTrace, Step
from ._trace import Trace

Arrays: TypeAlias = tuple[Any, ...]
"""Arrays as the pass has them."""

SAMPLES = 8
"""Rows of a batch that are kept."""


def trace(
    model: Layer,
    loss: Loss,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    optimizer: Optimizer | None = None,
    penalties: Iterable[Penalty] = (),
    clip: Clip | None = None,
    lines: bool = True,
) -> Trace:
    """Record every number of one training step; model, loss and optimizer stay as they are.

    The step is made on a copy, and has the same bits as that of a `Trainer`. Unlike it, the backward pass computes
    ∂e/∂x of the first layer too, and continues if a number is not finite.

    Args:
        model: The model.
        loss: The loss.
        x: Input, ``(rows, features)``. Of more than 8 rows the first 8 are kept; error and gradients are of all.
        y: Target, as in ``Trainer.fit``.
        sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``.
        optimizer: Made from the parameters of the model: its step is recorded too.
        penalties: As in `Trainer`.
        clip: As in `Trainer`.
        lines: Whether to note the lines of code with their numbers. While they are noted, a debugger does not stop
            in the layers, and coverage does not count their lines.

    Returns:
        The `Trace`.

    Raises:
        ShapeError, DTypeError, DataError, StructureError: what a Trainer refuses, with the same messages.
        ArgumentError: an optimizer or a penalty of another model.

    Example:
        >>> from minidl import Dense, HalfSquaredError, Sequential, Sigmoid
        >>> model = Sequential(Dense(2, 2), Sigmoid(), Dense(2, 1)).initialize(rng=0)
        >>> t = trace(model, HalfSquaredError(), [[0.35, 0.7]], [[1.0]])
        >>> t.dW[1].shape
        (2, 2)
    """
    check_parts("trace", model=(model, Layer), loss=(loss, Loss))
    check_ending("trace", model, loss)
    terms = checked_penalties(penalties, model.parameters(), "trace")
    if clip is not None and not isinstance(clip, Clip):
        raise DTypeError(f"trace(clip): expected a Clip such as ClipGlobalNorm(1.0), got {clip!r}")
    if optimizer is not None:
        check_parts("trace", optimizer=(optimizer, Optimizer))
        owned = set(map(id, optimizer.vector.parameters))
        if not any(id(parameter) in owned for parameter in model.parameters()):
            raise ArgumentError("trace(optimizer): expected parameters of this model, got only others")
    flag(lines, "trace(lines)")
    # One copy makes the step, and keeps all rows. The other is what the trace shows; it is asked for its widths too.
    shown = copy.deepcopy((model, loss))
    model, loss, optimizer, terms, clip = copy.deepcopy((model, loss, optimizer, terms, clip))
    batch = checked(*shown, x, y, sample_weight, zeros=True)
    forget([shown[0], *named(shown[0], Component).values()])
    for parameter in shown[0].parameters():
        parameter.zero_grad()
    recorder = _Recorder(Trace(*shown, optimizer, len(batch[0])), lines)
    with np.errstate(all="ignore"):
        recorder.run(model, loss, batch, terms, clip)
    return recorder.trace


@dataclass(eq=False)
class _Call:
    """A call of a layer or merge that runs or has run.

    Attributes:
        inner: The calls of the parts in it.
    """

    path: str
    part: Component
    phase: str
    inputs: Arrays
    outputs: Arrays = ()
    inner: list[_Call] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


class _Recorder:
    """Makes the steps of a trace.

    Attributes:
        makers: Maps the id of each array to it and to the numbers of the steps that made it. It keeps them alive, so
            that no id comes twice.
        running: The calls that run, the innermost last.
        shown: Maps each path to the layer or merge of the copy that stays as it is.
        passes: Maps each path to the last call of ``forward``.
    """

    def __init__(self, trace: Trace, lines: bool) -> None:
        self.trace, self.lines = trace, lines
        self.shown = {"": trace.model, **named(trace.model, Component)}
        self.values: dict[int, Array] = {}
        self.makers: dict[int, tuple[Any, list[int]]] = {}
        self.running: list[_Call] = []
        self.passes: dict[str, _Call] = {}

    def run(
        self, model: Layer, loss: Loss, batch: tuple[Array, ...], penalties: Sequence[Penalty], clip: Clip | None
    ) -> None:
        """Make the training step on a copy of the model."""
        found, parameters = self.trace, model.named_parameters()
        for parameter in parameters.values():
            parameter.zero_grad()
            self.values[id(parameter)] = parameter.value.copy()
        self.add("data", "data", None, (), batch)
        with shadowed(pass_methods(model), self.recorded):
            prediction = model.forward(batch[0])
            found.error = self.note("loss", "loss", loss, loss.forward, (prediction, *batch[1:]))
            for place, penalty in enumerate(penalties):
                found.error += self.note("loss", f"penalties.{place}", penalty, penalty.value)
            model.backward(self.note("backward", "loss", loss, loss.backward))
        for place, penalty in enumerate(penalties):
            held = {path: own for path, own in parameters.items() if any(own is other for other in penalty.parameters)}
            self.note("backward", f"penalties.{place}", penalty, penalty.backward, parameters=held)
        self.update(parameters, clip)
        for parameter in parameters.values():
            parameter.value = self.values[id(parameter)]
        self.find_slopes()

    def add(self, phase: str, path: str, part: Any, inputs: Arrays, outputs: Arrays, **more: Any) -> Step:
        """Add a step."""
        step = self.step(phase, path, part, inputs, outputs, **more)
        self.trace.steps.append(step)
        for array in outputs:
            self.makers.setdefault(id(array), (array, []))[1].append(step.number)
        return step

    def step(self, phase: str, path: str, part: Any, inputs: Arrays, outputs: Arrays, **more: Any) -> Step:
        """Make a step with copies of the first rows of the arrays."""
        sources = tuple([self.maker(array, path if isinstance(part, Component) else None) for array in inputs])
        finite = all(bool(np.isfinite(array).all()) for array in (*outputs, *more.get("gradients", {}).values()))
        number = len(self.trace.steps)
        return Step(number, phase, path, part, _samples(inputs), _samples(outputs), sources, finite=finite, **more)

    def maker(self, array: Any, reader: str | None) -> int | None:
        """Return the number of the step that made an array, for the part that is given it, at a path."""
        if id(array) not in self.makers:
            return None
        numbers = self.makers[id(array)][1]
        # An error that a layer hands on as it is has several: take the layer that read the output of this one.
        if len(numbers) > 1 and reader in self.passes:
            y = self.passes[reader].outputs[0]
            for number in numbers:
                maker = self.trace.steps[number]
                passed = self.passes.get(maker.path) if isinstance(maker.part, Component) else None
                if passed is not None and any(x is y for x in passed.inputs):
                    return number
        return numbers[-1]

    def note(
        self, phase: str, path: str, part: Any, method: Callable[..., Any], inputs: Arrays = (),
        parameters: Mapping[str, Parameter] | None = None,
    ) -> Any:  # fmt: skip
        """Call a method of a loss or a penalty, and add its step."""
        lines: list[Line] = []
        result, more = self.observed(part, lines, phase, parameters or {}, method, inputs)
        outputs = () if result is None else (result if isinstance(result, np.ndarray) else np.asarray(result),)
        self.add(phase, path, self.trace.loss if path == "loss" else part, inputs, outputs, lines=lines, **more)
        return result

    def observed(
        self, part: Any, lines: list[Line], phase: str, own: Mapping[str, Parameter], method: Callable[..., Any],
        inputs: Arrays,
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        """Call a method; return its result, and the values and gradients of the parameters that belong to its part."""
        before = {id(p): p._memory().copy() for p in own.values() if phase == "backward" and p.has_grad}
        with noted(part, lines, before) if self.lines else nullcontext():
            result = method(*inputs)
        more: dict[str, Any] = {"parameters": {name: self.values.get(id(p)) for name, p in own.items()}}
        if phase == "backward":
            more["gradients"] = {name: added(parameter, before) for name, parameter in own.items()}
        return result, more

    def recorded(self, method: Callable[..., Any], path: str, part: Component, name: str) -> Callable[..., Any]:
        """Return a function that calls a method of a part and records it."""
        phase, parts = name.removesuffix("_parameters"), children(part)
        own = {name: child for name, child in parts if isinstance(child, Parameter)}
        leaf = not any(isinstance(child, Component) for _, child in parts)
        seen = self.trace.parts.setdefault(path, PartTrace(path, self.shown[path]))

        def call(*inputs: Any) -> Any:
            above = self.running[-1] if self.running else None
            if above is not None and above.path == path and above.phase == phase:
                return method(*inputs)  # `backward_parameters` that calls `backward`.
            this = _Call(path, part, phase, inputs)
            if above is not None:
                y = self.passes[path].outputs[0] if phase == "backward" and path in self.passes else None
                for array in inputs:
                    self.own_step(above, array, y)
            self.running.append(this)
            try:
                result, more = self.observed(part, this.lines, phase, own, method, inputs)
            finally:
                self.running.pop()
            this.outputs = result if isinstance(result, tuple) else () if result is None else (result,)
            more["depth"] = len(self.running)
            if phase == "forward":
                self.passes[path] = this
            if leaf:
                step = self.add(phase, path, seen.part, inputs, this.outputs, lines=this.lines, **more)
            else:
                xs = self.passes[path].inputs if phase == "backward" and path in self.passes else this.outputs
                for array, x in zip(this.outputs, xs, strict=False):
                    self.own_step(this, array, x, inputs, own=more)
                step = self.step(phase, path, seen.part, inputs, this.outputs, **more)
            if phase == "forward":
                seen.forward = step
            else:
                seen.backward = step
            if above is not None:
                above.inner.append(this)
            return result

        return call

    def own_step(
        self, call: _Call, array: Any, value: Any, inputs: Arrays = (), own: Mapping[str, Any] | None = None
    ) -> None:
        """Add the step in which a container made an array itself; none if a part has made it.

        Args:
            call: The call of the container.
            array: What it made.
            value: In the backward pass, the value of the forward pass of which ``array`` is the error.
            inputs: What went in, where ``array`` is not a sum of what its parts made.
            own: The parameters of the container itself.
        """
        if id(array) in self.makers and not (own and own["parameters"]):
            return
        terms = self.terms(call, array, value)
        lines = self.own_lines(call, array, terms)
        more = own or {"depth": len(self.running) - 1}
        self.add(call.phase, call.path, self.shown[call.path], terms or inputs, (array,), lines=lines,
                 is_sum=bool(terms), **more)

    def own_lines(self, call: _Call, array: Any, terms: Arrays) -> list[Line]:
        """Return the lines in which a container made an array: of a sum those that add, else those up to it."""
        made = [next(reversed(line.made.values())) for line in call.lines]
        ends = [place for place, value in enumerate(made) if _is(array, value)]
        if not ends:
            return []
        sums = list(accumulate(terms, np.add))[1:]
        handed = [y for inner in call.inner for y in inner.outputs]
        return [line for line, value in zip(call.lines[: ends[-1] + 1], made, strict=False)
                if any(_is(total, value) for total in sums) or not (sums or any(_is(y, value) for y in handed))]

    def terms(self, call: _Call, array: Any, value: Any) -> Arrays:
        """Return the arrays whose sum is an array that a container made; none if it is not such a sum."""
        used = {id(x) for inner in call.inner for x in inner.inputs}
        unused = [y for inner in call.inner for y in inner.outputs if id(y) not in used]
        # In the backward pass: what the parts that read the value have made of its error.
        readers = [dx for inner in call.inner if call.phase == "backward" and inner.path in self.passes
                   for x, dx in zip(self.passes[inner.path].inputs, inner.outputs, strict=False) if x is value]
        for terms in (readers, [*call.inputs, *readers], unused, [*call.inputs, *unused]):
            fits = len(terms) > 1 and all(term.shape == array.shape for term in terms)
            if fits and np.array_equal(reduce(np.add, terms), array, equal_nan=True):
                return tuple(terms)
        return ()

    def update(self, parameters: Mapping[str, Parameter], clip: Clip | None) -> None:
        """Clip the gradients, and let the optimizer make its step, as a Trainer does."""
        found, optimizer = self.trace, self.trace.optimizer
        found.gradients = {path: added(parameter, {}) for path, parameter in parameters.items()}
        if not np.isfinite(found.error):
            return
        if clip is not None:
            try:
                size = clip(list(parameters.values()) if optimizer is None else optimizer.vector)
            except GradientError:
                return
            found.gradients = {path: added(parameter, {}) for path, parameter in parameters.items()}
            self.add("update", "clip", clip, (), (np.asarray(size),), gradients=found.gradients)
        if optimizer is None:
            return
        vector, lines = optimizer.vector, list[Line]()
        for parameter in vector.parameters:
            if parameter._shared and not parameter.frozen:
                parameter.grad += 0.0  # With p.grad[rows] += g a layer may have added only zeros.

        def keep(array: Array) -> Any:
            whole = array.shape == vector.values.shape
            return [kept_value(part) for part in vector.split(array)] if whole else kept_value(array)

        with noted(optimizer, lines, {}, keep) if self.lines else nullcontext():
            optimizer.step()
        paths = {id(parameter): path for path, parameter in parameters.items()}
        for place, parameter in enumerate(vector.parameters):
            path = paths.get(id(parameter))
            if path is not None and not parameter.frozen:
                own = [replace(line, read=_at(place, line.read), made=_at(place, line.made)) for line in lines]
                given = self.values[id(parameter)], found.gradients[path]
                step = Step(len(found.steps), "update", path, optimizer, given, (parameter.value.copy(),), (None, None))
                step.finite, step.lines = bool(np.isfinite(parameter.value).all()), own
                found.steps.append(step)

    def find_slopes(self) -> None:
        """Find O′ of each layer that is a function of each number alone: what its backward makes of ones."""
        for seen in self.trace.parts.values():
            passed = self.passes.get(seen.path)
            shapes = [] if passed is None else [x.shape for x in (*passed.inputs, *passed.outputs)]
            matrix = any(value.ndim > 1 for value in seen.parameters.values()) if passed is not None else True
            if passed is None or passed.inner or matrix or len(shapes) != 2 or shapes[0] != shapes[1]:
                continue
            probe = 1.0 + np.arange(passed.outputs[0].size, dtype=passed.outputs[0].dtype).reshape(shapes[0])
            with suppress(Exception):  # A layer of the user's may refuse a second backward.
                layer: Any = passed.part
                slope, mixed = [layer.backward(grad) for grad in (np.ones_like(probe), probe)]
                if slope.shape == probe.shape and np.allclose(probe * slope, mixed, 1e-5, 0.0):
                    (seen.slope,) = _samples((slope,))


def added(parameter: Parameter, before: Mapping[int, Array]) -> Array:
    """Return what was added to a gradient, zeros for nothing."""
    found = gradient_of(parameter, before)
    return np.zeros_like(parameter.value) if found is None else found


def _samples(arrays: Arrays) -> Arrays:
    """Copy the first rows of arrays."""
    return tuple([np.array(array[:SAMPLES] if np.ndim(array) else array) for array in arrays])


def _is(array: Any, value: Value) -> bool:
    """Whether a line made an array."""
    return value.shape == array.shape and bool(np.array_equal(kept_value(array).numbers, value.numbers, equal_nan=True))


def _at(place: int, values: Mapping[str, Any]) -> dict[str, Value]:
    """Take what belongs to one parameter from the values of a line of an optimizer."""
    return {name: value[place] if isinstance(value, list) else value for name, value in values.items()}
