"""One look at a run: a training pass and an update of a copy with a few rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from ..layers.dropout import Dropout
from ..losses import GaussianNLL, Loss, PoissonLoss
from ._figures import Look, Part, Scale
from ._numeric import wrong_gradients
from ._rows import grouped, rare_weight

FLAT = 0.05
"""Share of the steepest slope of an activation below which its slope counts as flat."""

FREE = 10.0
"""A last layer gives any number that a loss may want if its outputs reach from -FREE to FREE."""

PIECE = 1024
"""Rows that go through the model at a time when the scales of all rows are measured."""

GRID = np.concatenate([[-1e6, -50.0], np.linspace(-8.0, 8.0, 65), [50.0, 1e6]])[:, None]
"""Inputs that show the range of an activation, its steepest slope, and whether it is flat at its ends."""


@dataclass
class Seen:
    """The arrays of one training pass through a part, and whether its input depends on no weights."""

    inputs: tuple[Array, ...]
    y: Array
    is_data: bool
    error: Array | None = None


def copy_of(run: Run) -> Run:
    """Copy a run with its model, loss and optimizer, so that nothing reaches the run itself."""
    own = copy.copy(vars(run))
    copied: Run = object.__new__(Run)
    names = ("model", "loss", "optimizer", "penalties", "clip")
    vars(copied).update(own, **dict(zip(names, copy.deepcopy([own[name] for name in names]), strict=True)))
    for parameter in copied.model.parameters():
        parameter.zero_grad()
    copied.optimizer.vector.use_up()
    return copied


def look(run: Run, data: tuple[Array, npt.NDArray[Any]], rows: int, weight: float, first: dict[str, Array]) -> Look:
    """Make one training pass and one update with a copy of a run, and return the figures; the run stays as it is.

    Args:
        run: The run.
        data: x and y, checked, in random order.
        rows: How many of them to use; but the scales of the first look are those of all.
        weight: The sample weight of each row in the update.
        first: The weights at the first look, by their paths; empty at the first look.
    """
    (all_x, all_y), x, y = data, data[0][:rows], data[1][:rows]
    copied = copy_of(run)
    model, loss, optimizer = copied.model, copied.loss, copied.optimizer
    batch = (run.plan.batch_size or 0) if run.plan else 0
    size = min(batch or len(x), len(x))
    begin = optimizer.steps * size % max(len(x) - size, 1)
    with np.errstate(all="ignore"):
        scales = {} if first else _scales_of_inputs(model, loss, all_x, all_y)
        prediction = model.predict(x)
        seen = training_pass(model, loss, x, y)
        wrong = wrong_gradients(_paths(model), {key: (part.inputs, part.error) for key, part in seen.items()},
                                loss, prediction, y)
        for parameter in model.parameters():
            parameter.zero_grad()
        optimizer.vector.use_up()
        before = {id(parameter): parameter.value.copy() for parameter in model.parameters()}
        moved = distance(weights_of(model), first)
        update(copied, x[begin : begin + size], y[begin : begin + size], weight)
        held = set(map(id, optimizer.vector.parameters))
        parts = [_figures(*found, before, held, scales) for found in _leaves(model, seen)]
        values = y.ndim == prediction.ndim and not loss.from_logits and not first
        reach = None if first else _reach(model, prediction)
        free = loss.from_logits or isinstance(loss, (PoissonLoss, GaussianNLL))
        return Look(
            step=run.optimizer.steps, rate=optimizer.last_rate, momentum=momentum_of(optimizer),
            loss=loss(prediction, y), shuffled=shuffled_loss(loss, prediction, y), after=loss(model.predict(x), y),
            moved=moved, parts=parts, wrong=wrong,
            targets=_scale_of_targets(loss, all_y, prediction) if values and not loss.from_probabilities else None,
            one_target=not first and bool((all_y == all_y[0]).all()),
            outside=_outside(reach, y) if values and reach else 0.0,
            capped=free and reach is not None and (reach[0] > -FREE or reach[1] < FREE),
            batch=min(batch, (run.plan and run.plan.micro_batch_size) or batch),
            grouped=0.0 if first else grouped(run), rare_weight=1.0 if first else rare_weight(run),
        )


def update(copied: Run, x: Array, y: npt.NDArray[Any], weight: float) -> None:
    """Make one update of a copy, as the run does."""
    NumpyEngine(copied, ()).update((x, y, np.full(len(x), weight, x.dtype)))


def shuffled_loss(loss: Loss, prediction: Array, y: npt.NDArray[Any]) -> float:
    """Return the mean loss with the targets of other rows: of the next ones, as the rows are in random order."""
    return float(np.mean([loss(prediction, np.roll(y, k, axis=0)) for k in range(1, max(2, min(5, len(y))))]))


def momentum_of(optimizer: Any) -> float:
    """Return the momentum of an optimizer; 0 where it has none."""
    return float(getattr(optimizer, "momentum", getattr(optimizer, "beta1", 0.0)))


def _scales_of_inputs(model: Layer, loss: Loss, x: Array, y: npt.NDArray[Any]) -> dict[int, Scale]:
    """Map the id of each part with weights that is fed with data to the scale of its inputs."""
    found: dict[int, list[Array]] = {}
    for rows in np.array_split(np.arange(len(x)), -(-len(x) // PIECE)):
        for key, seen in training_pass(model, loss, x[rows], y[rows]).items():
            if seen.is_data:
                found.setdefault(key, []).append(seen.inputs[0])
    paths = _paths(model)
    return {key: _scale(np.concatenate(arrays)) for key, arrays in found.items() if _weights(paths[key][1])}


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
            seen[id(part)] = Seen(arrays, result, is_data)
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


def _paths(model: Layer) -> dict[int, tuple[str, Component]]:
    """Map the id of each layer and merge to its path and itself."""
    return {id(part): (path, part) for path, part in [*walk(model), ("", model)] if isinstance(part, Component)}


def _leaves(model: Layer, seen: dict[int, Seen]) -> list[tuple[str, Component, Seen]]:
    """List path, part and arrays of each part that holds no other, or holds parameters itself, as they were run."""
    paths = _paths(model)
    found = [(*paths[key], arrays) for key, arrays in seen.items()]
    return [(path, part, arrays) for path, part, arrays in found if _own(part) or len(_components(part)) == 1]


def _figures(
    path: str, part: Component, seen: Seen, before: dict[int, Array], held: set[int], scales: dict[int, Scale]
) -> Part:
    own, weights = _own(part), _weights(part)
    flat, dead, two_ended = _flatness(part, seen)
    size = _norm(*[before[id(p)] for p in weights])
    is_held = any(id(p) in held for p in own)
    idle = "frozen" if all(p.frozen for p in own) else None if is_held else "not held by the optimizer"
    keeps_shape = seen.inputs[0].shape == seen.y.shape and flat is None and not weights
    return Part(
        path=path, name=one_line(part), output=_rms(seen.y), error=None if seen.error is None else _rms(seen.error),
        flat=flat, dead=dead, two_ended=two_ended,
        kept=_different(seen.y) / _different(seen.inputs[0]) if scales and keeps_shape else None,
        dropped=part.rate if isinstance(part, Dropout) else None,
        mixes_rows=bool(trait(part, "couples_rows")),
        alike=any(_alike(before[id(p)]) for p in weights),
        weights=_rms(np.concatenate([before[id(p)].ravel() for p in weights])) if weights else None,
        update=_norm(*[p.value - before[id(p)] for p in weights]) / size if weights and size else None,
        idle=idle if own else None,
        inputs=scales.get(id(part)),
    )


def _different(rows: Array) -> int:
    """Count different rows, to a hundredth of the largest number."""
    flat = rows.reshape(len(rows), -1)
    return len(np.unique(np.round(flat / (np.abs(flat).max() or 1.0), 2), axis=0))


def _alike(weight: Array) -> bool:
    """Whether all rows of a weight, or all columns, are the same up to rounding."""
    most = 1e-9 * np.abs(weight).max(initial=0.0)
    return any(weight.shape[axis] > 1 and np.ptp(weight, axis=axis).max() <= most for axis in (0, 1))


def _flatness(part: Component, seen: Seen) -> tuple[float | None, float | None, bool]:
    """Return the figures ``flat``, ``dead`` and ``two_ended``, of a function of each number alone."""
    x, nothing = seen.inputs[0], (None, None, False)
    if not isinstance(part, Layer) or x.ndim != 2 or seen.y.shape != x.shape or _weights(part):
        return nothing
    try:
        slopes, grid = _slopes(part, x), _slopes(part, np.repeat(GRID, x.shape[1], axis=1).astype(x.dtype))
    except Exception:  # A layer of the user's may refuse numbers that it does not meet in the run.
        return nothing
    if slopes is None or grid is None or grid[[0, -1]].max() > 2.0 * grid[1:-1].max():
        return nothing  # Without a steepest slope, as x² has none, no slope is flat.
    low = FLAT * grid.max(axis=0)
    flat = slopes < low
    return float(flat.mean()), float(flat.all(axis=0).mean()), bool((grid[[1, -2]] < low).all())


def _slopes(part: Layer, x: Array) -> Array | None:
    """Return abs(f′(x)) of a layer y = f(x): what its backward makes of ones; None if it mixes numbers of a row."""
    clean = part.inference()
    clean.forward(x)
    slopes, ramp = clean.backward(np.ones_like(x)), 1.0 + np.arange(x.size, dtype=x.dtype).reshape(x.shape) % 2
    alone = np.allclose(clean.backward(ramp), slopes * ramp, equal_nan=True)
    return np.abs(slopes) if alone and np.isfinite(slopes).all() else None


def _reach(model: Layer, prediction: Array) -> tuple[float, float] | None:
    """Return the smallest and largest output of the last layer; None if it is no function of each number alone."""
    last = last_part(model)
    grid = np.repeat(GRID, prediction.shape[1], axis=1).astype(prediction.dtype)
    try:
        if not isinstance(last, Layer) or last.parameters() or _slopes(last, grid) is None:
            return None
        reached = last.predict(grid)
    except Exception:  # As above.
        return None
    return float(np.nanmin(reached)), float(np.nanmax(reached))


def _outside(reach: tuple[float, float], y: npt.NDArray[Any]) -> float:
    """Return the share of targets that the last layer cannot give."""
    rounding = 0.01 * np.abs(y).max()
    return float(np.mean((y < reach[0] - rounding) | (y > reach[1] + rounding)))


def _scale_of_targets(loss: Loss, y: npt.NDArray[Any], prediction: Array) -> Scale:
    """Return the scale of targets; a distance counts by the gradient of the loss, which Huber for one holds small."""
    scale = _scale(y)
    if y.shape[1:] != prediction.shape[1:]:
        return replace(scale, far=[0.0])
    loss.forward(np.tile(np.median(y, axis=0).astype(prediction.dtype), (len(y), 1)), y)
    return replace(scale, far=_scale(loss.backward()).far)


def _scale(columns: npt.NDArray[Any]) -> Scale:
    flat = columns.reshape(len(columns), -1).astype(np.float64)
    size = np.sqrt(np.mean(flat**2, axis=0))
    low, middle, high = np.quantile(flat, [0.25, 0.5, 0.75], axis=0)
    distance = np.abs(flat - middle)
    farthest = flat[distance.argmax(axis=0), np.arange(flat.shape[1])]
    between = high - low
    return Scale(
        size.tolist(), np.where(size > 0, np.std(flat, axis=0) / np.where(size > 0, size, 1.0), 1.0).tolist(),
        np.where(between > 0, distance.max(axis=0) / np.where(between > 0, between, 1.0), 0.0).tolist(),
        farthest.tolist(), np.sum(flat == farthest, axis=0).tolist(),
    )


def _norm(*arrays: Array) -> float:
    return float(np.sqrt(sum([float(np.vdot(array, array)) for array in arrays])))


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
