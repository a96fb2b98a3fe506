"""The Trainer: it owns all that a run is."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._core.arrays import all_finite, positive_int
from ._core.generators import Seed
from ._core.interrupts import Interrupts
from ._core.progress import Progress
from ._data import check_ending, check_parts
from ._training.compiled import CompiledEngine, EngineName, check_engine, make_engine
from ._training.divergence import explain
from ._training.engine import NumpyEngine
from ._training.history import History
from ._training.run import Plan, Position, Run
from ._training.snapshot import Snapshot
from ._training.sources import ArraySource, Batch, Source, StreamSource, check_length
from ._training.validation import Validation, ValidationData, named_metrics
from .callbacks import Callback, check_callbacks
from .errors import ArgumentError, DTypeError
from .layers.base import Layer
from .losses import Loss
from .metrics import Metric
from .optimizers import Optimizer
from .optimizers.clipping import Clip
from .optimizers.penalties import Penalty, checked_penalties
from .schedules import Epochs

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["History", "Trainer"]


class Trainer:
    """Train a model: for each batch forward, loss, backward, step.

    Args:
        model: What to train.
        loss: What to make small.
        optimizer: How; made from the parameters of the model. Those that are frozen are skipped.
        rng: Generator or seed. The rows that a fraction holds out depend on it, and the order of each epoch. From a
            Generator one number is drawn, here.
        penalties: Terms such as `L2` that are added to the loss of each batch, and so to the loss in the history. What
            `evaluate` and the validation compute is the loss alone.
        clip: How gradients are made smaller before each step, such as ``ClipGlobalNorm(1.0)``.
        engine: What runs the batches: ``"numpy"``; ``"compiled"``, machine code made by Numba, for chains of built-in
            layers; or ``"auto"``, which compiles where that is possible and the fit is long enough.

    Raises:
        StructureError: the model ends in Sigmoid or Softmax, and the loss expects logits.
        ArgumentError: the optimizer holds no parameter of this model, or a penalty holds one of another.

    Attributes:
        history: What happened so far, over all calls of `fit`.
        figures: Maps the name of each figure that an epoch writes into the history (``"loss"``, ``"validation_loss"``
            where there is validation data, and the metrics) to its direction: ``"min"`` or ``"max"`` is best, or None
            where a metric declares nothing. Empty before the first fit.
        interrupted: Whether the last fit ended before its time.
        engine: The engine that was asked for: ``"auto"``, ``"numpy"`` or ``"compiled"``.
        last_engine: The engine that ran the last fit: ``"numpy"`` or ``"compiled"``; None before the first fit.

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
    ) -> None:
        check_parts("Trainer", model=(model, Layer), loss=(loss, Loss), optimizer=(optimizer, Optimizer))
        check_ending("Trainer", model, loss)
        owned = {id(parameter) for parameter in optimizer.vector.parameters}
        learned = model.parameters()
        if not any(id(parameter) in owned for parameter in learned):
            raise ArgumentError(
                "Trainer(optimizer): expected parameters of this model, got none of them; "
                "make the optimizer after the model: SGD(model.parameters(), …)"
            )
        self.model: Layer = model
        self.loss: Loss = loss
        self.optimizer: Optimizer = optimizer
        self.penalties: tuple[Penalty, ...] = checked_penalties(penalties, learned)
        if clip is not None and not isinstance(clip, Clip):
            raise DTypeError(f"Trainer(clip): expected a Clip such as ClipGlobalNorm(1.0), got {clip!r}")
        self.clip = clip
        self.engine: EngineName = check_engine(engine)
        self.last_engine: str | None = None
        self.history: History = History()
        self.figures: dict[str, str | None] = {}
        self.interrupted: bool = False
        self._run = Run(rng)

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
            x: Input, ``(rows, features)``; may be memory-mapped (a ``validation`` fraction with ``shuffle`` copies it).
            y: Target, ``(rows, outputs)``, or integer labels where the loss takes them; ``(rows,)`` for one output.
            epochs: Passes over the data.
            batch_size: Rows of one update.
            shuffle: Whether each epoch goes through the rows in an order of its own.
            sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``.
            validation: (x, y) or (x, y, sample_weight) on which loss and metrics are computed after each epoch, or
                the fraction of the rows, in (0, 1), that is held out for that. With ``shuffle`` they are random rows,
                the same in each fit of this Trainer to the same data, and each class has its share of them where the
                loss knows classes; else they are the last rows.
            metrics: Functions of (prediction, target), as in `minidl.metrics`; a mapping gives them names of your own.
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
        size = positive_int(batch_size, "fit(batch_size)")
        plan = Plan(
            positive_int(epochs, "fit(epochs)") + len(self.history),
            size,
            bool(shuffle),
            None if micro_batch_size is None else positive_int(micro_batch_size, "fit(micro_batch_size)"),
        )
        acting = check_callbacks(callbacks)
        data = self._validation(metrics)
        arrays = data.split(x, y, sample_weight, validation, self._run.generator(0) if shuffle else None)
        self._run.start(plan, acting)
        source = ArraySource(arrays, size, plan.shuffle)
        self._run.check_data(source)
        return self._go(source, data, progress)

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
        """Go ``epochs`` times through batches that come from elsewhere: a file too large for memory, a simulation.

        Args:
            stream: A function without arguments that gives the batches of one epoch, or a container of them; each
                batch is (x, y) or (x, y, sample_weight). For a resume it must give the same batches again.
            epochs: Passes over the stream.
            validation: (x, y) or (x, y, sample_weight) on which loss and metrics are computed after each epoch.
            metrics: As in `fit`; they need validation data here.
            callbacks: As in `fit`.
            micro_batch_size: As in `fit`.
            progress: As in `fit`.

        Returns:
            The history, as from `fit`.
        """
        micro = None if micro_batch_size is None else positive_int(micro_batch_size, "fit_batches(micro_batch_size)")
        data = self._validation(metrics)
        data.hold_out(validation)
        plan = Plan(positive_int(epochs, "fit_batches(epochs)") + len(self.history), None, False, micro)
        source = StreamSource(stream, self.model, self.loss)
        check_length(source, self.optimizer.learning_rate)
        self._run.start(plan, check_callbacks(callbacks))
        self._run.check_data(source)
        return self._go(source, data, progress)

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

        Given what the fit was given, the result equals that of an uninterrupted run bit for bit.

        Args:
            x: The same input.
            y: The same target.
            sample_weight: The same sample_weight.
            validation: The same validation data or fraction.
            metrics: The same metrics.
            callbacks: Callbacks made as before, in the same order; None goes on with those of the interrupted fit.
            progress: A bar: True, False, or None for one on a terminal.

        Raises:
            CallOrderError: there is nothing to resume.
            DataError: the data is not that of the fit.
            ArgumentError: other callbacks than those of the fit.
        """
        plan = self._run.plan_to_resume(streamed=False)
        data = self._validation(metrics)
        arrays = data.split(x, y, sample_weight, validation, self._run.generator(0) if plan.shuffle else None)
        assert plan.batch_size is not None
        source = ArraySource(arrays, plan.batch_size, plan.shuffle)
        self._run.check_data(source)
        self._run.take_callbacks(callbacks)
        return self._go(source, data, progress)

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
        self._run.plan_to_resume(streamed=True)
        data = self._validation(metrics)
        data.hold_out(validation)
        source = StreamSource(stream, self.model, self.loss)
        check_length(source, self.optimizer.learning_rate)
        self._run.check_data(source)
        self._run.take_callbacks(callbacks)
        return self._go(source, data, progress)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole run to a file: the model, and all that `restore` needs to go on bit for bit.

        The file is a model file as well: `minidl.load` reads the model in it.

        Args:
            path: A ``.safetensors`` file; an existing one is replaced whole or not at all.
        """
        from ._training.checkpoint import save_run

        save_run(self, path)

    def restore(self, path: str | PathLike[str]) -> None:
        """Put this Trainer, built by the same code, where the saved run stood.

        Args:
            path: A file that `save` or a `Checkpoint` wrote.

        Raises:
            FileFormatError: the file is damaged, no file of a run, or of minidl 0.1.
            ArgumentError: the run had another optimizer, loss, or other parameters; nothing is changed.
        """
        from ._training.checkpoint import restore_run

        restore_run(self, path)

    def stop(self, why: str) -> None:
        """End the run after the current batch; ``history.stopped_by`` becomes ``why``. For callbacks."""
        self._run.why_stop = self._run.why_stop or why

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
            sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``; they count in the loss, not in the metrics.
            metrics: As in `fit`. Where the loss works on logits they see probabilities.

        Returns:
            The loss, without penalties, as ``"loss"``, and each metric under its name.

        Raises:
            ShapeError, DTypeError, DataError: the data does not fit.
            ArgumentError: a metric that cannot be used.
        """
        data = Validation(self.model, self.loss, named_metrics(metrics))
        data.hold_out((x, y, sample_weight))
        return data.figures(self.model.predict)

    def _go(self, source: Source, data: Validation, progress: bool | None) -> History:
        """Go from the current position to the end of the plan."""
        run = self._run
        assert run.plan is not None
        self._warn_of_idle_parameters()
        numpy = NumpyEngine(
            self.model, self.loss, self.optimizer, self.penalties, self.clip, run.plan.micro_batch_size
        )
        engine = make_engine(check_engine(self.engine), numpy, run.plan, source)
        self.last_engine = engine.name
        self.optimizer.vector.gather()
        for parameter in self.model.parameters():
            parameter.zero_grad()
        snapshot = Snapshot(self.model, self.optimizer)
        self.figures = data.directions()
        run.why_stop, self.interrupted, self.history.stopped_by = "", True, ""
        bar = Progress(run.plan.epochs - len(self.history), "fit", progress)
        self._count_epochs(source)
        for callback in self._run.callbacks:
            callback.on_train_begin(self)
        try:
            # What is not finite is found below and named; NumPy's warnings on the way there would only be noise.
            with bar, Interrupts() as interrupts, np.errstate(all="ignore"):
                while len(self.history) < run.plan.epochs and not run.why_stop:
                    self._count_epochs(source)
                    if self._epoch(engine, source, data, snapshot, interrupts):
                        bar.advance(f"loss {self.history.loss[-1]:.4g}")
            self.interrupted = interrupts.received is not None
            self.history.stopped_by = interrupts.received or run.why_stop or "epochs"
        finally:
            for callback in self._run.callbacks:
                callback.on_train_end(self)
        return self.history

    def _validation(self, metrics: Iterable[Metric] | Mapping[str, Metric]) -> Validation:
        """Return what computes loss and metrics after an epoch, once it is clear that there is something to learn."""
        if all(parameter.frozen for parameter in self.optimizer.vector.parameters):
            raise ArgumentError("fit: every parameter of the optimizer is frozen; unfreeze() those that are to learn")
        return Validation(self.model, self.loss, named_metrics(metrics))

    def _warn_of_idle_parameters(self) -> None:
        """Say which parameters will not be learned, though they are not frozen."""
        owned = {id(parameter) for parameter in self.optimizer.vector.parameters}
        named = self.model.named_parameters().items()
        idle = [path for path, parameter in named if id(parameter) not in owned and not parameter.frozen]
        if idle:
            more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
            warnings.warn(
                f"fit: the optimizer does not hold {', '.join(idle[:3])}{more}, so that they are not learned; make the "
                "optimizer from model.parameters(), or freeze() them if that is meant",
                stacklevel=4,
            )

    def _count_epochs(self, source: Source) -> None:
        """Tell the optimizer at which step the current epoch began, its number, and how many steps it has."""
        count, first_step = source.steps_per_epoch(), self.optimizer.steps - self._run.position.batch
        self.optimizer.epochs = None if count is None else Epochs(first_step, len(self.history), count)

    def _epoch(self, engine: NumpyEngine | CompiledEngine, source: Source, data: Validation, snapshot: Snapshot,
               interrupts: Interrupts) -> bool:
        """Train to the end of the epoch, or until something stops the run; return whether the epoch ended."""
        began = time.perf_counter()
        here = self._run.position
        source.begin_epoch(self._run.generator(len(self.history) + 1))
        engine.enter(source, here.batch)
        steps = [callback.every_batches for callback in self._run.callbacks if callback.every_batches]
        ended = False
        while not ended:
            snapshot.take()
            source.mark()
            before = Position(here.batch, here.rows, here.loss)
            to_callback = [step - here.batch % step for step in steps]
            try:
                outcome = engine.run(min([engine.at_once, source.most_at_once(), *to_callback]), here.loss, interrupts)
            except BaseException:
                # Some of the batches are in the weights, and the position is before them: go back to where both agree.
                snapshot.restore()
                raise
            here.batch += outcome.batches
            here.rows += outcome.rows
            here.loss = outcome.loss
            ended = outcome.ended
            if not (outcome.finite and all_finite(self.optimizer.vector.values)):
                self._run.position = before
                parts = self.model, self.loss, self.optimizer, self.penalties
                batches = islice(source.replay(before.batch), outcome.batches + (not outcome.finite))
                explain(*parts, snapshot, engine.update, batches, len(self.history), before)
            if not ended:
                for callback in self._run.callbacks:
                    callback.on_batches_end(self)
            if interrupts.received:
                self.stop(interrupts.received)
            if self._run.why_stop and not ended:
                return False
        self._close_epoch(engine, data, source, time.perf_counter() - began)
        return True

    def _close_epoch(self, engine: NumpyEngine | CompiledEngine, data: Validation, source: Source,
                     seconds: float) -> None:
        """Write the epoch into the history, and let the callbacks act on it."""
        history, here = self.history, self._run.position
        began = time.perf_counter()
        figures = data.after_epoch(source, engine.predict)
        seconds += time.perf_counter() - began
        history.add(here.loss / here.rows, self.optimizer.last_rate, seconds, figures)
        self._run.position = Position()
        for callback in self._run.callbacks:
            callback.on_epoch_end(self)
