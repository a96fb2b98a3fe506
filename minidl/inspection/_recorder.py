"""Record the calls of layers and merges as the steps of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from .._core.arrays import Array
from .._core.parameter import Parameter
from ..layers._parts import children, named
from ..layers.base import Component
from ._lines import Line, Value, added, kept_value, noted
from ._steps import PartTrace, Step
from ._trace import Trace

Arrays: TypeAlias = tuple[Any, ...]
"""Arrays as the pass has them."""

SAMPLES = 8
"""Rows of a batch that are kept."""


@dataclass(eq=False)
class Call:
    """A call of a layer or merge that runs or has run.

    Attributes:
        inner: The calls of the parts in it.
    """

    path: str
    part: Component
    phase: str
    inputs: Arrays
    outputs: Arrays = ()
    inner: list[Call] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


class Recorder:
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
        self.running: list[Call] = []
        self.passes: dict[str, Call] = {}

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
        return Step(number, phase, path, part, samples(inputs), samples(outputs), sources, finite=finite, **more)

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
            this = Call(path, part, phase, inputs)
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
        self, call: Call, array: Any, value: Any, inputs: Arrays = (), own: Mapping[str, Any] | None = None
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

    def own_lines(self, call: Call, array: Any, terms: Arrays) -> list[Line]:
        """Return the lines in which a container made an array: of a sum those that add, else those up to it."""
        made = [next(reversed(line.made.values())) for line in call.lines]
        ends = [place for place, value in enumerate(made) if _is(array, value)]
        if not ends:
            return []
        sums = list(accumulate(terms, np.add))[1:]
        handed = [y for inner in call.inner for y in inner.outputs]
        found = [line for line, value in zip(call.lines[: ends[-1] + 1], made, strict=False)
                 if any(_is(total, value) for total in sums) or not (sums or any(_is(y, value) for y in handed))
                 or any(name.endswith(".grad") for name in line.made)]
        call.lines[:] = [line for line in call.lines if all(line is not one for one in found)]  # None is shown twice.
        return found

    def terms(self, call: Call, array: Any, value: Any) -> Arrays:
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


def samples(arrays: Arrays) -> Arrays:
    """Copy the first rows of arrays."""
    return tuple([np.array(array[:SAMPLES] if np.ndim(array) else array) for array in arrays])


def _is(array: Any, value: Value) -> bool:
    """Whether a line made an array."""
    return value.shape == array.shape and bool(np.array_equal(kept_value(array).numbers, value.numbers, equal_nan=True))
