"""One look at a run: a training pass and an update of a copy with a few rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Parameter
from .._data import last_part
from .._trace import pass_methods, shadowed
from .._training.numpy_engine import NumpyEngine
from .._training.run import Run
from ..layers._parts import children, walk
from ..layers._structure import one_line
from ..layers.base import Component, Layer, trait
from ..losses import Loss
from ._figures import Look, Part, Scale

FLAT = 0.05
"""Share of the steepest slope of an activation below which its slope counts as flat."""

GRID = np.concatenate([[-1e6, -50.0], np.linspace(-8.0, 8.0, 65), [50.0, 1e6]])[:, None]
"""Inputs that show the range of an activation, its steepest slope, and whether it is flat at its ends."""


@dataclass
class Seen:
    """The arrays of one training pass through a part, and whether its input depends on no weights."""

    x: Array
    y: Array
    is_data: bool
    error: Array | None = None


def look(run: Run, x: Array, y: npt.NDArray[Any], batch: int, first: dict[str, Array]) -> Look:
    """Make one training pass and one update with a copy of a run, and return the figures; the run stays as it is.

    Args:
        run: The run.
        x: Input, checked.
        y: Target, checked.
        batch: Rows of the update.
        first: The weights at the first look, by their paths; empty at the first look.
    """
    own = copy.copy(vars(run))
    copied: Run = object.__new__(Run)
    names = ("model", "loss", "optimizer", "penalties", "clip")
    vars(copied).update(own, **dict(zip(names, copy.deepcopy([own[name] for name in names]), strict=True)))
    model, loss, optimizer = copied.model, copied.loss, copied.optimizer
    begin = optimizer.steps * batch % max(len(x) - batch, 1)
    with np.errstate(all="ignore"):
        prediction = model.predict(x)
        error, shuffled = loss(prediction, y), loss(prediction, np.roll(y, max(len(y) // 2, 1), axis=0))
        seen = training_pass(model, loss, x, y)
        for parameter in model.parameters():
            parameter.zero_grad()
        optimizer.vector.use_up()
        before = {id(parameter): parameter.value.copy() for parameter in model.parameters()}
        moved = distance(weights_of(model), first)
        NumpyEngine(copied, ()).update((x[begin : begin + batch], y[begin : begin + batch]))
        after = loss(model.predict(x), y)
        held = set(map(id, optimizer.vector.parameters))
        parts = [_figures(*found, before, held, not first) for found in _leaves(model, seen)]
    values = y.ndim == prediction.ndim and not loss.from_logits
    counts = np.zeros(1) if first else np.unique(y, axis=0, return_counts=True)[1]
    return Look(
        step=run.optimizer.steps, rate=optimizer.last_rate, loss=error, shuffled=shuffled, after=after, moved=moved,
        parts=parts, targets=_scale(y) if values and not loss.from_probabilities and not first else None,
        commonest=float(counts.max() / len(y)), outside=_outside(model, y, prediction) if values and not first else 0.0,
    )


def weights_of(model: Layer) -> dict[str, Array]:
    """Map the path of each weight that learns to its value; of a model without weights, of each parameter."""
    learned = {path: parameter.value for path, parameter in model.named_parameters().items() if not parameter.frozen}
    return {path: value for path, value in learned.items() if value.ndim >= 2} or learned


def distance(now: dict[str, Array], first: dict[str, Array]) -> float:
    """Return how far weights are from the first ones, as a share of the size of the first ones."""
    kept = [path for path in first if path in now and now[path].shape == first[path].shape]
    return _norm(*[now[path] - first[path] for path in kept]) / (_norm(*[first[path] for path in kept]) or 1.0)


def training_pass(model: Layer, loss: Loss, x: Array, y: npt.NDArray[Any]) -> dict[int, Seen]:
    """Run forward and backward once; map the id of each part to its arrays, in the order in which they were made."""
    seen: dict[int, Seen] = {}
    weighted = {id(part) for part in _components(model) if any(map(_weights, _components(part)))}
    learned: set[int] = set()  # The arrays that depend on weights.

    def noting(method: Callable[..., Any], path: str, part: Any, name: str) -> Callable[..., Any]:
        def forward(*arrays: Array) -> Array:
            result: Array = method(*arrays)
            is_data = learned.isdisjoint(map(id, arrays))
            if id(part) in weighted or not is_data:
                learned.add(id(result))
            seen[id(part)] = Seen(arrays[0], result, is_data)
            return result

        def backward(error: Array) -> Any:
            if id(part) in seen:
                seen[id(part)].error = error
            return method(error)

        return forward if name == "forward" else backward

    with shadowed(pass_methods(model), noting):
        loss.forward(model.forward(x), y)
        model.backward_parameters(loss.backward())
    return seen


def _components(part: Component) -> list[Component]:
    """List a part and all layers and merges in it."""
    return [part, *(child for _, child in walk(part) if isinstance(child, Component))]


def _own(part: Component) -> list[Parameter]:
    return [child for _, child in children(part) if isinstance(child, Parameter)]


def _weights(part: Component) -> list[Parameter]:
    """List what a part multiplies its input by; the rows of a table that codes select are none."""
    return [p for p in _own(part) if len(p.shape) >= 2] if trait(part, "has_input_gradient") else []


def _leaves(model: Layer, seen: dict[int, Seen]) -> list[tuple[str, Component, Seen]]:
    """List path, part and arrays of each part that holds no other, or holds parameters itself, as they were run."""
    paths = {id(part): (path, part) for path, part in [*walk(model), ("", model)] if isinstance(part, Component)}
    found = [(*paths[key], arrays) for key, arrays in seen.items()]
    return [(path, part, arrays) for path, part, arrays in found if _own(part) or len(_components(part)) == 1]


def _figures(
    path: str, part: Component, seen: Seen, before: dict[int, Array], held: set[int], scales: bool
) -> Part:
    own, weights = _own(part), _weights(part)
    flat, dead, two_ended = _flatness(part, seen)
    size = _norm(*[before[id(p)] for p in weights])
    is_held = any(id(p) in held for p in own)
    idle = "frozen" if all(p.frozen for p in own) else None if is_held else "not held by the optimizer"
    return Part(
        path=path, name=one_line(part), output=_rms(seen.y), error=None if seen.error is None else _rms(seen.error),
        flat=flat, dead=dead, two_ended=two_ended,
        alike=any(_alike(before[id(p)]) for p in weights),
        weights=_rms(np.concatenate([before[id(p)].ravel() for p in weights])) if weights else None,
        update=_norm(*[p.value - before[id(p)] for p in weights]) / size if weights and size else None,
        idle=idle if own else None,
        inputs=_scale(seen.x) if scales and weights and seen.is_data else None,
    )


def _alike(weight: Array) -> bool:
    """Whether all rows of a weight, or all columns, are the same up to rounding."""
    most = 1e-9 * np.abs(weight).max(initial=0.0)
    return any(weight.shape[axis] > 1 and np.ptp(weight, axis=axis).max() <= most for axis in (0, 1))


def _flatness(part: Component, seen: Seen) -> tuple[float | None, float | None, bool]:
    """Return the figures ``flat``, ``dead`` and ``two_ended``, of a function of each number alone."""
    x, nothing = seen.x, (None, None, False)
    if not isinstance(part, Layer) or x.ndim != 2 or seen.y.shape != x.shape or _weights(part):
        return nothing
    try:
        slopes, grid = _slopes(part, x), _slopes(part, np.repeat(GRID, x.shape[1], axis=1).astype(x.dtype))
    except Exception:  # A layer of the user's may refuse numbers that it does not meet in the run.
        return nothing
    if slopes is None or grid is None:
        return nothing
    low = FLAT * grid.max(axis=0)
    flat = slopes < low
    return float(flat.mean()), float(flat.all(axis=0).mean()), bool((grid[[1, -2]] < low).all())


def _slopes(part: Layer, x: Array) -> Array | None:
    """Return abs(f′(x)) of a layer y = f(x): what its backward makes of ones; None if it mixes numbers of a row."""
    clean = part.inference()
    clean.forward(x)
    slopes, ramp = clean.backward(np.ones_like(x)), 1.0 + np.arange(x.size, dtype=x.dtype).reshape(x.shape) % 2
    alone = np.allclose(clean.backward(ramp), slopes * ramp, equal_nan=True)
    return np.where(np.isfinite(slopes), np.abs(slopes), 0.0) if alone else None


def _outside(model: Layer, y: npt.NDArray[Any], prediction: Array) -> float:
    """Return the share of targets that the last layer cannot give, if it is a fixed function of each number alone."""
    last = last_part(model)
    grid = np.repeat(GRID, prediction.shape[1], axis=1).astype(prediction.dtype)
    try:
        if not isinstance(last, Layer) or last.parameters() or _slopes(last, grid) is None:
            return 0.0
        reached = last.predict(grid)
    except Exception:  # As above.
        return 0.0
    rounding = 0.01 * np.abs(y).max()
    return float(np.mean((y < np.nanmin(reached) - rounding) | (y > np.nanmax(reached) + rounding)))


def _scale(columns: npt.NDArray[Any]) -> Scale:
    flat = columns.reshape(len(columns), -1).astype(np.float64)
    size = np.sqrt(np.mean(flat**2, axis=0))
    return Scale(size.tolist(), np.where(size > 0, np.std(flat, axis=0) / np.where(size > 0, size, 1.0), 1.0).tolist())


def _norm(*arrays: Array) -> float:
    return float(np.sqrt(sum([float(np.vdot(array, array)) for array in arrays])))


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
