"""Record one training step on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, flag
from .._core.parameter import Parameter
from .._data import check_ending, check_parts, checked
from .._trace import not_too_deep, pass_methods, shadowed
from ..errors import ArgumentError, DTypeError, GradientError
from ..layers._parts import named
from ..layers.base import Component, Layer, forget
from ..losses import Loss
from ..optimizers import Optimizer
from ..optimizers.clipping import Clip
from ..optimizers.penalties import Penalty, checked_penalties
from ._lines import Line, Value, added, kept_value, noted
from ._recorder import Recorder, samples
from ._steps import Step
from ._trace import Trace


@not_too_deep("trace")
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
    recorder = Recorder(Trace(*shown, optimizer, len(batch[0])), lines)
    with np.errstate(all="ignore"):
        _run(recorder, model, loss, batch, terms, clip)
    return recorder.trace


def _run(
    recorder: Recorder, model: Layer, loss: Loss, batch: tuple[Array, ...], penalties: Sequence[Penalty],
    clip: Clip | None,
) -> None:  # fmt: skip
    """Make the training step on a copy of the model."""
    found, parameters = recorder.trace, model.named_parameters()
    for parameter in parameters.values():
        parameter.zero_grad()
        recorder.values[id(parameter)] = parameter.value.copy()
    recorder.add("data", "data", None, (), batch)
    with shadowed(pass_methods(model), recorder.recorded):
        prediction = model.forward(batch[0])
        found.error = recorder.note("loss", "loss", loss, loss.forward, (prediction, *batch[1:]))
        terms = [recorder.note("loss", f"penalties.{place}", p, p.value) for place, p in enumerate(penalties)]
        found.error += sum(terms)
        model.backward(recorder.note("backward", "loss", loss, loss.backward))
    for place, penalty in enumerate(penalties):
        held = {path: own for path, own in parameters.items() if any(own is other for other in penalty.parameters)}
        recorder.note("backward", f"penalties.{place}", penalty, penalty.backward, parameters=held)
    _update(recorder, parameters, clip)
    for parameter in parameters.values():
        parameter.value = recorder.values[id(parameter)]
    _find_slopes(recorder)


def _update(recorder: Recorder, parameters: Mapping[str, Parameter], clip: Clip | None) -> None:
    """Clip the gradients, and let the optimizer make its step, as a Trainer does."""
    found, optimizer = recorder.trace, recorder.trace.optimizer
    found.gradients = {path: added(parameter, {}) for path, parameter in parameters.items()}
    if not np.isfinite(found.error):
        return
    if clip is not None:
        try:
            size = clip(list(parameters.values()) if optimizer is None else optimizer.vector)
        except GradientError:
            return
        found.gradients = {path: added(parameter, {}) for path, parameter in parameters.items()}
        recorder.add("update", "clip", clip, (), (np.asarray(size),), gradients=found.gradients)
    if optimizer is None:
        return
    vector, lines = optimizer.vector, list[Line]()
    for parameter in vector.parameters:
        if parameter._shared and not parameter.frozen:
            parameter.grad += 0.0  # With p.grad[rows] += g a layer may have added only zeros.

    def keep(array: Array) -> Any:
        whole = array.shape == vector.values.shape
        return [kept_value(part) for part in vector.split(array)] if whole else kept_value(array)

    with noted(optimizer, lines, {}, keep) if recorder.lines else nullcontext():
        optimizer.step()
    paths = {id(parameter): path for path, parameter in parameters.items()}
    for place, parameter in enumerate(vector.parameters):
        path = paths.get(id(parameter))
        if path is not None and not parameter.frozen:
            own = [replace(line, read=_at(place, line.read), made=_at(place, line.made)) for line in lines]
            given = recorder.values[id(parameter)], found.gradients[path]
            step = Step(len(found.steps), "update", path, optimizer, given, (parameter.value.copy(),), (None, None))
            step.rate = optimizer.last_rate * optimizer._factors.get(parameter, 1.0)
            step.finite, step.lines = bool(np.isfinite(parameter.value).all()), own
            found.steps.append(step)


def _find_slopes(recorder: Recorder) -> None:
    """Find O′ of each layer that is a function of each number alone: what its backward makes of ones."""
    for seen in recorder.trace.parts.values():
        passed = recorder.passes.get(seen.path)
        shapes = [] if passed is None else [x.shape for x in (*passed.inputs, *passed.outputs)]
        matrix = any(value.ndim > 1 for value in seen.parameters.values()) if passed is not None else True
        if passed is None or passed.inner or matrix or len(shapes) != 2 or shapes[0] != shapes[1]:
            continue
        probe = 1.0 + np.arange(passed.outputs[0].size, dtype=passed.outputs[0].dtype).reshape(shapes[0])
        with suppress(Exception):  # A layer of the user's may refuse a second backward.
            layer: Any = passed.part
            slope, mixed = [layer.backward(grad) for grad in (np.ones_like(probe), probe)]
            if slope.shape == probe.shape and np.allclose(probe * slope, mixed, 1e-5, 0.0):
                (seen.slope,) = samples((slope,))


def _at(place: int, values: Mapping[str, Any]) -> dict[str, Value]:
    """Take what belongs to one parameter from the values of a line of an optimizer."""
    return {name: value[place] if isinstance(value, list) else value for name, value in values.items()}
