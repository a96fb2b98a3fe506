"""The loop of a run over epochs and batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from math import isfinite

import numpy as np

from .._core.blas import one_blas_thread
from .._core.interrupts import Interrupts
from .._core.progress import Progress
from ..errors import StructureError
from ..layers.base import forget
from .divergence import explain
from .history import History
from .numpy_engine import Engine
from .run import Position, Run
from .snapshot import Snapshot
from .sources import Source
from .validation import Validation


def train(
    run: Run,
    engine: Engine,
    snapshot: Snapshot,
    source: Source,
    validation: Validation,
    notify: Callable[[str], None],
    progress: Progress,
) -> History:
    """Train from the position of a run to the end of its plan, or until something stops it.

    Args:
        run: The run, after `on_train_begin` of its callbacks.
        engine: Runs the batches.
        snapshot: The state of model and optimizer; it is taken again before each call of the engine.
        source: Gives the batches.
        validation: Computes the figures of an epoch.
        notify: Calls one method of each callback.
        progress: The bar.
    """
    assert run.plan is not None
    plan, history, may_grow, ranks = run.plan, run.history, snapshot.may_grow, run.ranks
    steps = [callback.every_batches for callback in run.callbacks if callback.every_batches]
    together = engine.runs_epochs and not (run.callbacks or len(run.figures) > 1)  # Nothing acts between epochs.
    run.interrupted = True
    try:
        # The code below finds and reports numbers that are not finite, so NumPy's warnings are switched off.
        with (
            progress as bar,
            Interrupts() as interrupts,
            np.errstate(all="ignore"),
            one_blas_thread(source.batch_rows * run.optimizer.vector.largest),
        ):
            if ranks is not None:
                run.why_stop = ranks.agree(run.optimizer.vector.values, interrupts)
            while (epoch := len(history.loss)) < plan.epochs and not run.why_stop:
                began = time.perf_counter()
                run.count_epochs(source)
                if together and not run.position.batch:
                    found = run_together(run, engine, snapshot, source)
                    seconds = (time.perf_counter() - began) / max(len(found), 1)
                    for loss, rate in found:
                        history.add(loss, rate, seconds, {})
                        bar.advance(f"loss {loss:.4g}")
                    if interrupts.received:
                        run.stop(interrupts.received)
                    together = bool(found)
                    continue
                source.begin_epoch(run.generator(epoch + 1))
                engine.enter(source, run.position.batch)
                ended = False
                while not ended and not run.why_stop:
                    here = run.position
                    if run.callbacks:
                        snapshot.find_parts()
                    snapshot.take()
                    most = min([engine.at_once, source.mark(), *[step - here.batch % step for step in steps]])
                    try:
                        outcome = engine.run(1 if may_grow else most, here.loss, interrupts)
                        if may_grow:
                            refuse_new_parameters(snapshot)
                    except BaseException:
                        # Some batches have changed the weights, but the position is before them: restore it.
                        snapshot.restore()
                        raise
                    if not (outcome.finite and snapshot.finite()):
                        batches = islice(source.replay(here.batch), outcome.batches + (not outcome.finite))
                        explain(run, snapshot, engine.update, batches)
                    run.position = Position(here.batch + outcome.batches, here.rows + outcome.rows, outcome.loss)
                    may_grow, ended = False, outcome.ended
                    if not ended:
                        notify("on_batches_end")
                    if interrupts.received:
                        run.stop(interrupts.received)
                    if ranks is not None and not ended:
                        run.why_stop = ranks.agree(run.optimizer.vector.values, interrupts)
                if ended:
                    figures = validation.after_epoch(engine.predict)
                    loss, seconds = run.position.loss / run.position.rows, time.perf_counter() - began
                    history.add(loss, run.optimizer.last_rate, seconds, figures)
                    run.position = Position()
                    notify("on_epoch_end")
                    if ranks is not None:
                        run.why_stop = ranks.agree(run.optimizer.vector.values, interrupts)
                    bar.advance(f"loss {loss:.4g}")
            if ranks is not None:
                ranks.end()
        signal = interrupts.received if ranks is None else ranks.signal
        run.interrupted = bool(signal)
        history.stopped_by = signal or run.why_stop or "epochs"
    except BaseException as error:
        history.stopped_by = history.stopped_by or type(error).__name__
        raise
    finally:
        try:
            if history.stopped_by != "epochs":
                run.know_data()
        finally:  # The data may no longer be readable; the run has ended all the same.
            run.source = None
            forget(snapshot.holders)
            notify("on_train_end")
    return history


def run_together(run: Run, engine: Engine, snapshot: Snapshot, source: Source) -> list[tuple[float, float]]:
    """Run some epochs in one call of the engine; return loss and last learning rate of each.

    If a number is not finite, the result is empty and nothing has changed: one epoch after the other then shows where.
    """
    assert run.plan is not None
    epochs = range(len(run.history), run.plan.epochs)
    snapshot.take()
    try:
        found = engine.run_epochs(source, epochs, lambda epoch: run.generator(epoch + 1))
    except BaseException:
        snapshot.restore()
        raise
    if not (all(isfinite(loss) for loss, _ in found) and snapshot.finite()):
        snapshot.restore()
        return []
    return found


def refuse_new_parameters(snapshot: Snapshot) -> None:
    """Refuse parameters that `forward` has made in the first batch, because the optimizer does not hold them.

    Raises:
        StructureError: there are such parameters; the message names them.
    """
    known = set(snapshot.parameters.values())
    snapshot.find_parts()
    new = [path for path, own in snapshot.not_held.items() if own not in known and not own.frozen]
    if new:
        raise StructureError(
            f"fit: expected an optimizer that holds every parameter, but forward made {', '.join(new)} in the first "
            "batch; run the model once before making the optimizer: model.forward(x[:2]), then SGD(model.parameters())"
        )
