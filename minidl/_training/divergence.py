"""Find the first layer that produces a number that is not finite: run again and check every array."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from .._core.parameter import Buffer, Parameter
from .._trace import pass_methods, shadowed
from ..errors import DivergenceError
from ..layers._parts import children, named
from ..layers._structure import one_line
from ..layers.base import Component, Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ..optimizers.penalties import Penalty
from .run import Run
from .snapshot import Snapshot
from .sources import Batch


class NotFiniteError(Exception):
    """The part at ``path`` produced a number that is not finite, in ``phase``."""

    def __init__(self, path: str, part: object, phase: str) -> None:
        super().__init__(path)
        self.path, self.part, self.phase = path, part, phase


def explain(run: Run, snapshot: Snapshot, update: Callable[[Batch], float], batches: Iterable[Batch]) -> NoReturn:
    """Replay some batches from the snapshot before them, and check every array.

    At the end, model, optimizer and position of the run are in the state before the update that failed.

    Args:
        run: The run; its position is before the first of the batches.
        snapshot: The state at that position.
        update: Makes one update.
        batches: The batches up to the failed one.

    Raises:
        DivergenceError: always.
    """
    model, loss, optimizer, position, epoch = run.model, run.loss, run.optimizer, run.position, len(run.history)
    snapshot.restore()
    rate, found = optimizer.current_rate(), None
    batch: Batch = ()
    try:
        with watched(model, loss, run.penalties):
            for batch in batches:
                snapshot.take()
                rate = optimizer.current_rate()
                error = update(batch)
                if not np.isfinite(error):
                    raise NotFiniteError("", loss, "loss")
                for path, changed in named(model, (Parameter, Buffer)).items():
                    if changed.value.dtype.kind == "f" and not np.isfinite(changed.value).all():
                        raise NotFiniteError(path, changed, "update")
                if not snapshot.finite():
                    raise NotFiniteError("", optimizer, "update")
                position.batch += 1
                position.rows += len(batch[0])
                position.loss += error * len(batch[0])
    except NotFiniteError as problem:
        found = problem
    snapshot.restore()
    where = f"training diverged in epoch {epoch}, batch {position.batch}, at learning rate {rate:g}"
    what = "a replay of the same batches found nothing: does a layer give other results in each call?"
    path, phase, spoiled = "", "loss", ""
    if found is not None:
        part = found.part if isinstance(found.part, (Component, Loss, Penalty, Parameter, Buffer, Optimizer)) else model
        name, path, phase = one_line(part) if isinstance(part, Component) else repr(part), found.path, found.phase
        place = f'{name} at "{path}"' if path else name
        what = f"the first number that is not finite appeared in the {phase} of {place}"
        if phase in ("forward", "loss"):
            spoiled = ", but with them the loss of that batch is not finite"
    if run.ranks is not None:  # The number may have appeared in another rank's part of the batch.
        own = found is not None and found.part is not loss
        shared = run.ranks.share(json.dumps([what, path, phase, spoiled]) if own else "")
        what, path, phase, spoiled = json.loads(shared) if shared else (what, path, phase, spoiled)
    run.history.stopped_by = "divergence"
    raise DivergenceError(
        f"{where}: {what}. The model has the weights from before that update{spoiled}. "
        "Try a smaller learning rate, inputs and targets of about 1 (layers.Standardize, layers.Rescale), or clipping",
        epoch=epoch, batch=position.batch, learning_rate=rate, layer=path, phase=phase,
        data=tuple([array.copy() for array in batch]),
    )


@contextmanager
def watched(model: Layer, loss: Loss, penalties: Sequence[Penalty]) -> Iterator[None]:
    """Within this context, let model, loss and penalties raise `NotFiniteError` if a result is not finite."""
    of_loss = [(loss, "forward"), (loss, "backward"), *((penalty, "value") for penalty in penalties)]
    with shadowed([*pass_methods(model), *(("", part, name) for part, name in of_loss)], _watching):
        yield


def _watching(method: Callable[..., Any], path: str, part: object, name: str) -> Callable[..., Any]:
    phase = name.removesuffix("_parameters") if isinstance(part, Component) else "loss"

    def call(*arguments: Any) -> Any:
        result = method(*arguments)
        arrays = list(result) if isinstance(result, tuple) else [result]
        if phase == "backward" and isinstance(part, Component):
            arrays += [child.grad for _, child in children(part) if isinstance(child, Parameter)]
        if not all(array is None or np.isfinite(array).all() for array in arrays):
            raise NotFiniteError(path, part, phase)
        return result

    return call
