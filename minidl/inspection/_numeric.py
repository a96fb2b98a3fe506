"""Compare the gradients of layers and losses that the user wrote with numeric ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from ..layers._structure import one_line
from ..layers.activations import Activation
from ..layers.base import Component, trait
from ..losses import Loss


def wrong_gradients(
    paths: Mapping[int, tuple[str, Component]],
    seen: Mapping[int, tuple[tuple[Array, ...], Array | None]],
    loss: Loss,
    prediction: Array,
    y: npt.NDArray[Any],
) -> dict[str, float]:
    """Map each layer, merge and loss of the user's to the relative difference of its gradient to a numeric one.

    Args:
        paths: Path and part, by the id of the part.
        seen: Inputs and error of each part in a training pass, by the same id.
        loss: The loss.
        prediction: A prediction.
        y: Its target.
    """
    found = {}
    for key, (inputs, error) in seen.items():
        path, part = paths[key]
        if error is not None and trait(part, "has_input_gradient") and _is_own(part):
            found[f'{one_line(part)} at "{path}"'] = _difference(part, inputs, (), (error,))
    if _is_own(loss):
        found[repr(loss)] = _difference(loss, (prediction,), (y,), ())
    return found


def _is_own(part: object) -> bool:
    """Whether the user wrote the derivative of a part."""
    return isinstance(part, Activation) or not type(part).__module__.startswith("minidl.")


def _difference(
    part: Any, inputs: tuple[Array, ...], target: tuple[Array, ...], error: tuple[Array, ...]
) -> float:
    """Return the largest relative difference along one direction for each input and parameter; 0 if it cannot be told.

    The direction is that of the gradient, plus a random one that shows a gradient of 0 too. A loss has a target, and
    a layer the error of its output.
    """

    def learned(own: Any) -> list[Any]:
        return [p for p in own.parameters() if not p.frozen] if error else []

    def value(own: Any, arrays: list[Array]) -> float:
        return float(np.vdot(error[0] if error else 1.0, own.forward(*arrays, *target)).real)

    try:
        own = copy.deepcopy(part)
        for parameter in learned(own):
            parameter.zero_grad()
        size = abs(value(own, [*inputs]))
        made = own.backward(*error)
        claimed = [*(made if isinstance(made, tuple) else (made,)), *[p.grad for p in learned(own)]]
        points = [*inputs, *[p.value for p in learned(own)]]
        worst, rng = 0.0, np.random.default_rng(0)
        for k, (point, gradient) in enumerate(zip(points, claimed, strict=True)):
            random = rng.normal(size=point.shape)
            direction = gradient / (np.linalg.norm(gradient) or 1.0) + random / np.linalg.norm(random)
            step = float(np.finfo(point.dtype).eps ** (1 / 3) * (np.linalg.norm(point) or 1.0))
            ends = []
            for sign in (1.0, -1.0):
                moved, other = [*inputs], copy.deepcopy(part)
                shifted = (point + sign * step * direction).astype(point.dtype)
                if k < len(inputs):
                    moved[k] = shifted
                else:
                    learned(other)[k - len(inputs)].value = shifted
                ends.append(value(other, moved))
            numeric, said = (ends[0] - ends[1]) / (2.0 * step), float(np.vdot(gradient, direction).real)
            largest, noise = max(abs(numeric), abs(said)), 1e3 * np.finfo(point.dtype).eps * size / step
            if largest > noise:
                worst = max(worst, abs(numeric - said) / largest)
    except Exception:  # A layer of the user's may refuse numbers that it does not meet in the run.
        return 0.0
    return worst
