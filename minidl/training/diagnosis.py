"""Find the first layer that produces a number that is not finite, by running it again with every array looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ..errors import DivergenceError
from ..layers.component import Component
from ..layers.layer import Layer
from ..layers.structure import brief
from ..losses import Loss
from ..optimizers import Optimizer
from ..parameter import Parameter
from ..penalties import Penalty
from .snapshot import Snapshot
from .sources import Batch, Source


class NotFiniteError(Exception):
    """A number that is not finite came up in the part at ``path``, in ``phase``."""

    def __init__(self, path: str, part: object, phase: str) -> None:
        super().__init__(path)
        self.path, self.part, self.phase = path, part, phase


def explain(
    model: Layer,
    loss: Loss,
    optimizer: Optimizer,
    penalties: Sequence[Penalty],
    snapshot: Snapshot,
    update: Callable[[Batch], float],
    source: Source,
    epoch: int,
    first: int,
) -> NoReturn:
    """Replay from the snapshot, taken before batch ``first``, with every array looked at.

    Raises:
        DivergenceError: always; the weights from before the update that failed stand.
    """
    snapshot.restore()
    rate, number, found = optimizer.current_rate(), first, NotFiniteError("", model, "forward")
    try:
        with watched(model, loss, penalties):
            for batch in source.replay(first):
                snapshot.take()
                rate = optimizer.current_rate()
                error = update(batch)
                if not np.isfinite(error):
                    raise NotFiniteError("", loss, "loss")
                for path, parameter in model.named_parameters().items():
                    if not np.isfinite(parameter.value).all():
                        raise NotFiniteError(path, parameter, "update")
                number += 1
    except NotFiniteError as problem:
        found = problem
    snapshot.restore()
    part = found.part if isinstance(found.part, (Component, Loss, Penalty, Parameter)) else model
    name = brief(part) if isinstance(part, Component) else repr(part)
    place = f'{name} at "{found.path}"' if found.path else name
    raise DivergenceError(
        f"training diverged in epoch {epoch}, batch {number}, at learning rate {rate:g}: the first number that is not "
        f"finite came up in the {found.phase} of {place}. The weights from before that update stand. "
        "Try a smaller learning rate, inputs scaled to about 1, or gradient clipping",
        epoch=epoch, batch=number, learning_rate=rate, layer=found.path, phase=found.phase,
    )


@contextmanager
def watched(model: Layer, loss: Loss, penalties: Sequence[Penalty]) -> Iterator[None]:
    """Within this context model, loss and penalties raise `NotFiniteError` where a result is not finite."""
    parts: list[tuple[str, Any]] = [("", model)]
    parts += [(path, part) for path, part in model.walk() if isinstance(part, Component)]
    methods = [(path, part, name) for path, part in parts for name in ("forward", "backward", "backward_parameters")]
    methods += [("", loss, "forward"), ("", loss, "backward"), *(("", penalty, "value") for penalty in penalties)]
    try:
        for path, part, name in methods:
            if hasattr(part, name):
                phase = name.removesuffix("_parameters") if isinstance(part, Component) else "loss"
                vars(part)[name] = _watching(getattr(part, name), path, part, phase)
        yield
    finally:
        for _, part, name in methods:
            vars(part).pop(name, None)


def _watching(method: Callable[..., Any], path: str, part: object, phase: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        result = method(*arguments)
        arrays = list(result) if isinstance(result, tuple) else [result]
        if phase == "backward" and isinstance(part, Component):
            arrays += [child.grad for _, child in part.children() if isinstance(child, Parameter)]
        if not all(array is None or np.isfinite(array).all() for array in arrays):
            raise NotFiniteError(path, part, phase)
        return result

    return call
