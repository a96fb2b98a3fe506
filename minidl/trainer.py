"""The Trainer, which is the entry point of a run, and the base class of callbacks."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from html import escape
from os import PathLike
from typing import Any, NamedTuple

import numpy.typing as npt

from ._core.arrays import flag, listed, one_of, positive_int
from ._core.configuration import arguments
from ._core.generators import Seed
from ._core.progress import Progress
from ._data import check_ending, check_parts, checked, described, nearest
from ._training.class_weight import ClassWeight, class_weighted, planned_weight
from ._training.compiled_engine import ENGINES, EngineName, make_engine
from ._training.history import History
from ._training.loop import train
from ._training.numpy_engine import Engine, NumpyEngine
from ._training.ranks import Communicator, checked_ranks
from ._training.ranks_engine import RanksEngine
from ._training.run import Plan, Position, Run
from ._training.snapshot import Snapshot
from ._training.sources import ArraySource, Batch, Source, StreamSource
from ._training.validation import Validation, ValidationData, named_metrics
from .errors import ArgumentError, DTypeError
from .layers._structure import one_line
from .layers.base import Layer
from .losses import Loss
from .metrics import Metric
from .optimizers import Optimizer
from .optimizers.clipping import Clip
from .optimizers.penalties import Penalty, checked_penalties

__all__ = ["History", "Trainer"]

METHODS = ("on_train_begin", "on_batches_end", "on_epoch_end", "on_train_end")
"""The methods of a callback that a run calls."""

RENAMED = dict(zip(("begin", "after_batches", "after_epoch", "finish"), METHODS, strict=True))
"""Maps the names that they had in version 0.1 to those of now."""


class Callback:
    """Take part in a run: a subclass overrides one or more of the four methods ``on_...``.

    ``trainer.stop(why)`` ends the run after the batch. ``trainer.position`` says where in the epoch the run stands,
    ``trainer.figures`` which figures an epoch writes into the history.

    `state` returns what a callback must remember over a save, and `restore` takes it back. A callback that has ended a
    run calls ``trainer.stop`` again in `on_train_begin` when the run is resumed. A new fit begins with `reset`.
    """

    every_batches: int | None = None
    """Most batches between two calls of `on_batches_end`; None for the Trainer's own number, a few dozen or more."""

    saves: bool = False
    """Whether it saves the run: it is then called after the others, so that their work is saved."""

    writes: bool = False
    """Whether it writes files: of several ranks only rank 0 calls it."""

    def reset(self) -> None:
        """Forget the last run: a new fit begins, perhaps of another model."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Act before the first batch of a fit or a resume."""

    def on_batches_end(self, trainer: Trainer) -> None:
        """Act between two batches, every few dozen batches."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Act when an epoch is in the history."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Act when the run ends, for any reason."""

    def state(self) -> dict[str, Any]:
        """Return the state to save: plain values, arrays, lists and dicts of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state that `state` returned."""

    def __repr__(self) -> str:
        named = [name for name, argument in arguments(type(self)).items() if argument.kind is not argument.KEYWORD_ONLY]
        values = [getattr(self, name) for name in named if hasattr(self, name)]
        shown = [described(str(value) if isinstance(value, PathLike) else value) for value in values]
        return f"{type(self).__name__}({', '.join(text.removesuffix('.0') for text in shown)})"


class Trainer:
    """Train a model: for each batch forward, loss, backward, step.

    Args:
        model: What to train.
        loss: What to make small.
        optimizer: How; made from the parameters of the model. Those that are frozen are skipped.
        rng: Generator or seed. The rows that a fraction holds out depend on it, and the order of each epoch. From a
            Generator one number is drawn, here. It does not seed the layers: ``model.initialize(rng)`` does, Dropout
            included.
        penalties: Terms such as `L2` that are added to the loss of each batch, and so to the loss in the history. What
            `evaluate` and the validation compute is the loss alone.
        clip: How gradients are made smaller before each step, such as ``ClipGlobalNorm(1.0)``.
        engine: What runs the batches: ``"numpy"``; ``"compiled"``, machine code made by Numba, for chains of built-in
            layers; or ``"auto"``, which compiles where that is possible and the fit is long enough.
        ranks: Processes that train this model together: ``MPI.COMM_WORLD`` of mpi4py, or another object with the
            methods ``Get_rank()``, ``Get_size()`` and ``Allreduce(send, receive)``. Every process runs the same program
            with the same data and seeds, and computes a part of each batch. Rank 0 alone writes files. With two or more
            ranks ``"auto"`` takes NumPy.

    Raises:
        StructureError: the model ends in Sigmoid or Softmax, and the loss expects logits.
        ArgumentError: the optimizer holds no parameter of this model, or a penalty holds one of another.

    Attributes:
        engine: The engine that was asked for: ``"auto"``, ``"numpy"`` or ``"compiled"``.

    Example:
        >>> import numpy as np
        >>> from minidl import SGD, Dense, HalfSquaredError, Sequential
        >>> x = np.linspace(0, 1, 50)[:, None]
        >>> model = Sequential(Dense(1, 1)).initialize(rng=0)
        >>> trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.5), rng=0)
        >>> history = trainer.fit(x, 2 * x + 1, epochs=100, batch_size=10)
        >>> bool(history.loss[-1] < 1e-6)
        True
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        rng: Seed = None,
        penalties: Iterable[Penalty] = (),
        clip: Clip | None = None,
        engine: EngineName = "auto",
        ranks: Communicator | None = None,
    ) -> None:
        check_parts("Trainer", model=(model, Layer), loss=(loss, Loss), optimizer=(optimizer, Optimizer))
        check_ending("Trainer", model, loss)
        owned = {id(parameter) for parameter in optimizer.vector.parameters}
        learned = model.parameters()
        if not any(id(parameter) in owned for parameter in learned):
            raise ArgumentError(
                "Trainer(optimizer): expected parameters of this model, got only others; "
                "make the optimizer after the model: SGD(model.parameters(), …)"
            )
        if clip is not None and not isinstance(clip, Clip):
            raise DTypeError(f"Trainer(clip): expected a Clip such as ClipGlobalNorm(1.0), got {clip!r}")
        one_of(engine, ENGINES, "Trainer(engine)")
        self.engine: EngineName = engine
        others = None if ranks is None else checked_ranks(ranks)
        self._run = Run(model, loss, optimizer, checked_penalties(penalties, learned), clip, rng, others)

    def __repr__(self) -> str:
        model = one_line(self.model).replace("…", "...")
        return f"Trainer({model}, {self.loss!r}, {self.optimizer!r}, {len(self.history)} epochs)"

    def _repr_html_(self) -> str:
        """Show the model, the other parts and the history in a notebook."""
        return f"<div><code>{escape(repr(self))}</code>{self.model._repr_html_()}{self.history._repr_html_()}</div>"

    @property
    def model(self) -> Layer:
        """What is trained."""
        return self._run.model

    @property
    def loss(self) -> Loss:
        """What is made small."""
        return self._run.loss

    @property
    def optimizer(self) -> Optimizer:
        """What moves the parameters."""
        return self._run.optimizer

    @property
    def penalties(self) -> Sequence[Penalty]:
        """What is added to the loss of each batch."""
        return self._run.penalties

    @property
    def clip(self) -> Clip | None:
        """What makes gradients smaller before each step."""
        return self._run.clip

    @property
    def history(self) -> History:
        """What happened so far, over all calls of `fit`."""
        return self._run.history

    @property
    def figures(self) -> dict[str, str | None]:
        """Maps the name of each figure that an epoch writes into the history to its direction.

        The names are ``"loss"``, ``"validation_loss"`` where there is validation data, and the metrics. The direction
        is ``"min"`` or ``"max"``, or None if a metric declares nothing. Empty before the first fit.
        """
        return self._run.figures

    @property
    def interrupted(self) -> bool:
        """Whether a signal or an error ended the last fit, rather than its last epoch or a callback."""
        return self._run.interrupted

    @property
    def last_engine(self) -> str | None:
        """The engine that ran the last fit: ``"numpy"`` or ``"compiled"``; None before the first fit."""
        return self._run.engine

    @property
    def ranks(self) -> Communicator | None:
        """The processes that train this model together; None if this one trains it alone."""
        return None if self._run.ranks is None else self._run.ranks.communicator

    @property
    def position(self) -> Position:
        """Where in the current epoch the run stands: ``batch``, ``rows``, and ``loss``, the sum over the rows."""
        return replace(self._run.position)

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
        validation: ValidationData | float | None = None,
        metrics: Iterable[Metric] | Mapping[str, Metric] = (),
        callbacks: Iterable[Callback] = (),
        micro_batch_size: int | None = None,
        progress: bool | None = None,
    ) -> History:
        """Go through the data ``epochs`` times.

        Ctrl-C and SIGTERM end the run after the current batch; `resume` goes on from there. A second Ctrl-C stops at
        once.

        Args:
            x: Input, ``(rows, features)``. More than 64 MB of memory-mapped data is read by pieces, and shuffled by
                blocks of rows and within pieces (a ``validation`` fraction with ``shuffle`` copies all of it).
            y: Target, ``(rows, outputs)``, or integer labels where the loss takes them; ``(rows,)`` for one output.
            epochs: Passes over the data.
            batch_size: Rows of one update.
            shuffle: Whether each epoch goes through the rows in an order of its own.
            sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``; not all 0.
            class_weight: By what wᵢ is multiplied in training, but not in validation and metrics: a mapping from labels
                to numbers, in which a class that is left out has 1; or ``"balanced"``, so that each class counts the
                same: n / (k n꜀) with n rows, k classes, and n꜀ rows of class c. `resume` goes on with it.
            validation: (x, y) or (x, y, sample_weight) on which loss and metrics are computed after each epoch, or
                the fraction of the rows, in (0, 1), that is held out for that. With ``shuffle`` they are random rows,
                the same in each fit of this Trainer to the same data, and each class has its share of them where the
                loss knows classes; else they are the last rows.
            metrics: Functions of (prediction, target), as in `minidl.metrics`, or a mapping from names of your own to
                them. After each epoch they are computed on the validation data, or without any on the training data;
                before the first they are tried on it. One with an argument ``sample_weight`` is given the weights.
            callbacks: What else to do, as in `minidl.callbacks`.
            micro_batch_size: Rows that go through the model at a time, where a whole batch does not fit into memory;
                the gradients add up to those of the batch.
            progress: A bar: True, False, or None for one on a terminal.

        Returns:
            The history of this and of the earlier calls; ``history.stopped_by`` says why it ended.

        Raises:
            ShapeError, DTypeError, DataError: the data does not fit; found before anything is changed.
            ArgumentError: a number, a metric or a callback that cannot be used.
            DivergenceError: a loss, a gradient or a weight is not finite; the last finite weights stand.
        """
        plan = self._plan("fit", epochs, positive_int(batch_size, "fit(batch_size)"), flag(shuffle, "fit(shuffle)"),
                          micro_batch_size)
        if class_weight is not None:
            plan.class_weight = planned_weight(class_weight)
        return self._train(plan, Arrays(x, y, sample_weight), validation, metrics, callbacks, progress)

    def fit_batches(
        self,
        stream: Callable[[], Iterable[Batch]] | Iterable[Batch],
        *,
        epochs: int,
        validation: ValidationData | None = None,
        metrics: Iterable[Metric] | Mapping[str, Metric] = (),
        callbacks: Iterable[Callback] = (),
        micro_batch_size: int | None = None,
        progress: bool | None = None,
    ) -> History:
        """Train for ``epochs`` epochs on batches from a function or a container, such as a file too large for memory.

        Args:
            stream: A function without arguments that returns the batches of one epoch, or a list or other container of
                them; each batch is (x, y) or (x, y, sample_weight). Weights of classes belong into sample_weight. A
                batch whose weights are all 0 has the loss 0 and gradients of 0; an epoch of such batches only is an
                error. A schedule in epochs needs a stream with a length. For a resume it must give the same batches
                again.
            epochs: Passes over the stream.
            validation: (x, y) or (x, y, sample_weight) on which loss and metrics are computed after each epoch.
            metrics: As in `fit`; they need validation data here.
            callbacks: As in `fit`.
            micro_batch_size: As in `fit`.
            progress: As in `fit`.

        Returns:
            The history, as from `fit`.
        """
        plan = self._plan("fit_batches", epochs, None, False, micro_batch_size)
        return self._train(plan, stream, validation, metrics, callbacks, progress)

    def resume(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        validation: ValidationData | float | None = None,
        metrics: Iterable[Metric] | Mapping[str, Metric] = (),
        callbacks: Iterable[Callback] | None = None,
        progress: bool | None = None,
    ) -> History:
        """Finish a `fit` that was interrupted or restored, from the batch at which it stands.

        With the arguments of the fit, the result equals that of an uninterrupted run bit for bit.

        Args:
            x: The same input.
            y: The same target.
            sample_weight: The same sample_weight.
            validation: The same validation data or fraction.
            metrics: The same metrics; compared are their names and directions.
            callbacks: Callbacks made as before, in the same order; None goes on with those of the interrupted fit.
            progress: A bar: True, False, or None for one on a terminal.

        Raises:
            CallOrderError: no fit has begun, or it was fed from a stream. A finished fit returns its history.
            DataError: the data, for training or for validation, is not that of the fit.
            ArgumentError: other metrics or callbacks than those of the fit.
        """
        return self._train(None, Arrays(x, y, sample_weight), validation, metrics, callbacks, progress)

    def resume_batches(
        self,
        stream: Callable[[], Iterable[Batch]] | Iterable[Batch],
        *,
        validation: ValidationData | None = None,
        metrics: Iterable[Metric] | Mapping[str, Metric] = (),
        callbacks: Iterable[Callback] | None = None,
        progress: bool | None = None,
    ) -> History:
        """Finish a `fit_batches` as `resume` finishes a `fit`; the stream must give the same batches again."""
        return self._train(None, stream, validation, metrics, callbacks, progress)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole run to a file: the model, and all that `restore` needs to go on bit for bit.

        The file is a model file as well: `minidl.load` reads the model in it.

        Args:
            path: A ``.safetensors`` file; an existing one is replaced whole or not at all. Of several ranks only rank 0
                writes it.
        """
        from ._training.checkpoint import save_run

        if self._run.ranks is None or self._run.ranks.rank == 0:
            save_run(self._run, path)

    def restore(self, path: str | PathLike[str]) -> None:
        """Put this Trainer, built by the same code, where the saved run stood.

        Args:
            path: A file that `save` or a `Checkpoint` wrote.

        Raises:
            FileFormatError: the file is damaged, no file of a run, or of minidl 0.1.
            ArgumentError: the run had another optimizer, loss, or other parameters; nothing is changed.
        """
        from ._training.checkpoint import restore_run

        restore_run(self._run, path)

    def stop(self, why: str) -> None:
        """End the run after the current batch; ``history.stopped_by`` becomes ``why``. For callbacks.

        Raises:
            DTypeError: a reason that is no text.
        """
        if not isinstance(why, str) or not why:
            raise DTypeError(f'Trainer.stop(why): expected a text such as "loss below 0.1", got {described(why)}')
        self._run.stop(why)

    def evaluate(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        metrics: Iterable[Metric] | Mapping[str, Metric] = (),
    ) -> dict[str, float]:
        """Compute loss and metrics of ``model.predict(x)``; change nothing.

        Args:
            x: Input, ``(rows, features)``.
            y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
            sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``; they weight the loss, and the metrics that take
                them.
            metrics: As in `fit`. Where the loss works on logits they see probabilities.

        Returns:
            The loss, without penalties, as ``"loss"``, and each metric under its name.

        Raises:
            ShapeError, DTypeError, DataError: the data does not fit.
            ArgumentError: a metric that cannot be used.
        """
        data = Validation(self.model, self.loss, named_metrics(metrics))
        return data.evaluate(x, y, sample_weight)

    def _plan(self, where: str, epochs: int, size: int | None, shuffle: bool, micro_batch_size: int | None) -> Plan:
        """Return the plan of a new fit."""
        start = len(self._run.history.loss)
        micro = None if micro_batch_size is None else positive_int(micro_batch_size, f"{where}(micro_batch_size)")
        return Plan(start + positive_int(epochs, f"{where}(epochs)"), size, shuffle, micro, start)

    def _train(
        self,
        plan: Plan | None,
        feed: Any,
        validation: Any,
        metrics: Iterable[Metric] | Mapping[str, Metric],
        callbacks: Iterable[Callback] | None,
        progress: bool | None,
    ) -> History:
        """Follow a plan, and tell other ranks of an error.

        Args:
            plan: That of a new fit; None for the one at which the run stands.
            feed: Arrays, or the stream.
            validation: As in `fit`.
            metrics: As in `fit`.
            callbacks: As in `fit`; None for those of the run.
            progress: As in `fit`.
        """
        run = self._run
        run.refuse_while_running("fit")
        if run.ranks is not None:
            run.ranks.enter()
            progress = progress if run.ranks.rank == 0 else False
        try:
            if plan is None:
                plan = run.plan_to_resume(streamed=not isinstance(feed, Arrays))
            acting = run.callbacks if callbacks is None else check_callbacks(callbacks)
            data = Validation(run.model, run.loss, named_metrics(metrics))
            source: Source
            if not isinstance(feed, Arrays):
                data.hold_out(validation)
                source = StreamSource(feed, run.model, run.loss, run.optimizer.learning_rate)
            else:
                assert plan.batch_size is not None
                rng = run.generator(0) if plan.shuffle and validation is not None else None
                arrays = data.split(*feed, validation, rng)
                if plan.class_weight is not None:
                    arrays = class_weighted(run.loss, arrays, plan.class_weight, run.optimizer.vector.values.dtype)
                check = partial(checked, run.model, run.loss, zeros=True)
                source = ArraySource(arrays, plan.batch_size, plan.shuffle, check)
            source.held_out = data.arrays
            bar = Progress(plan.epochs - len(run.history.loss), "fit", progress)
            engine, snapshot = self._begin(plan, acting, source, data.directions())
            return train(run, engine, snapshot, source, data, self._notify, bar)
        except BaseException as error:
            if run.ranks is not None:
                run.ranks.fail(error)
            raise
        finally:
            run.source = run.optimizer.epochs = None

    def _begin(
        self, plan: Plan, callbacks: Sequence[Callback], source: Source, figures: dict[str, str | None]
    ) -> tuple[Engine, Snapshot]:
        """Start a fit, or go on with one; if anything is refused, leave the run and its callbacks as they were."""
        run = self._run
        before = [(part, vars(part).copy()) for part in (run, run.history, *callbacks)]
        snapshot = Snapshot(run.model, run.optimizer)
        _check_parameters(snapshot)
        try:
            if plan is run.plan:
                run.go_on(source, callbacks, figures)
            else:
                run.start(plan, callbacks)
            one_of(self.engine, ENGINES, "Trainer(engine)")
            ranks, numpy = run.ranks, NumpyEngine(run, snapshot.not_held.values())
            if ranks is not None:
                numpy = RanksEngine(run, snapshot.not_held.values(), ranks)
            engine = make_engine(self.engine, numpy, plan, source)
            run.engine, run.figures = engine.name, figures
            run.why_stop, run.interrupted, run.history.stopped_by = "", True, ""
            run.count_epochs(source)
            run.source = source
            for callback in callbacks:
                if ranks is None or ranks.rank == 0 or not callback.writes:
                    callback.on_train_begin(self)
            if isinstance(numpy, RanksEngine):
                numpy.start(run)
        except BaseException:
            for part, state in before:
                vars(part).clear()
                vars(part).update(state)
            snapshot.restore()
            raise
        snapshot.clear_gradients()
        return engine, snapshot

    def _notify(self, method: str) -> None:
        """Call one method of each callback; those after one that raises an error are called too."""
        ranks = self._run.ranks
        with ExitStack() as stack:
            for callback in reversed(self._run.callbacks):
                if ranks is None or ranks.rank == 0 or not callback.writes:
                    stack.callback(getattr(callback, method), self)


class Arrays(NamedTuple):
    """The data of a fit that is not fed from a stream."""

    x: npt.ArrayLike
    y: npt.ArrayLike
    sample_weight: npt.ArrayLike | None


def _check_parameters(snapshot: Snapshot) -> None:
    """Refuse a fit that would learn nothing; warn of parameters that will not be learned, though they are not frozen.

    Raises:
        ArgumentError: no parameter that the optimizer holds can learn.
    """
    parameters, not_held = snapshot.parameters, snapshot.not_held
    if all(path in not_held or parameter.frozen for path, parameter in parameters.items()):
        raise ArgumentError(
            "fit: the optimizer holds no parameter of this model that learns; make it from model.parameters(), or "
            "unfreeze() those that are to learn"
        )
    idle = [path for path, parameter in not_held.items() if not parameter.frozen]
    if idle:
        more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
        warnings.warn(
            f"fit: the optimizer does not hold {', '.join(idle[:3])}{more}, so that they are not learned; freeze() "
            "them if that is meant, else make the optimizer from model.parameters()",
            stacklevel=5,
        )


def check_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return callbacks, those that save last, so that they save what the others have just done.

    Raises:
        DTypeError: something that is not a callback.
        ArgumentError: a callback with a method ``on_...`` that no run calls, or without one that a run calls.
    """
    if isinstance(callbacks, Callback):
        raise DTypeError(f"fit(callbacks): expected a list of callbacks, got one; write callbacks=[{callbacks!r}]")
    found = listed(callbacks, "fit(callbacks)", "callbacks")
    for callback in found:
        if not isinstance(callback, Callback):
            hint = f"; did you forget the parentheses of {callback.__name__}?" if isinstance(callback, type) else ""
            raise DTypeError(f"fit(callbacks): expected Callback objects, got {callback!r}{hint}")
        _check_methods(callback)
    return sorted(found, key=lambda callback: callback.saves)


def _check_methods(callback: Callback) -> None:
    """Refuse a callback with methods that a run would never call."""
    where, known = f"fit(callbacks): {type(callback).__name__}", ", ".join(METHODS)
    for name in dir(callback):
        if name in RENAMED and _is_hook(name, getattr(callback, name)):
            raise ArgumentError(f"{where}: the method {name} is called {RENAMED[name]} now; rename it")
        if name.startswith("on_") and name not in METHODS:
            hint = nearest(name, METHODS, 0.87)
            raise ArgumentError(f"{where}: there is no method {name} that a run calls; the four are {known}{hint}")
    if all(getattr(getattr(callback, name), "__func__", None) is vars(Callback)[name] for name in METHODS):
        raise ArgumentError(f"{where}: expected at least one of the methods {known}, got none: it would never act")


def _is_hook(name: str, method: object) -> bool:
    """Return whether a run of version 0.1 would call a method; ``begin`` and ``finish`` may be helpers of the user."""
    if name.startswith("after_"):
        return callable(method)
    return inspect.ismethod(method) and list(inspect.signature(method).parameters) == ["trainer"]
