"""The Trainer: it owns all that a run is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..arrays import generator, positive_int
from ..errors import ArgumentError, DivergenceError, DTypeError, StructureError
from ..layers.activation import Sigmoid, Softmax
from ..layers.layer import Layer
from ..layers.sequential import Sequential
from ..losses import Loss
from ..optimizers import Optimizer
from ..running import Progress
from .batches import Rows, slices
from .data import checked
from .diagnosis import NotFiniteError, watched
from .history import History
from .snapshot import Snapshot

if TYPE_CHECKING:
    from ..arrays import Seed

EVALUATED = 4096
"""Rows that `evaluate` predicts at a time."""

SNAPSHOT_EVERY = 64
"""Batches between two snapshots: taking one costs about a step of the smallest networks."""


class Trainer:
    """Train a model: for each batch forward, loss, backward, step.

    Args:
        model: What to train.
        loss: What to make small.
        optimizer: How; made from the parameters of the model, or from those that are to be learned.
        rng: Generator or seed of the shuffles.

    Raises:
        StructureError: the model ends in Sigmoid or Softmax, and the loss expects logits.
        ArgumentError: the optimizer holds no parameter of this model.

    Attributes:
        history: What happened so far, over all calls of `fit`.

    Example:
        >>> x = np.linspace(0, 1, 50)[:, None]
        >>> model = Sequential(Dense(1, 1)).initialize(rng=0)
        >>> trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.5), rng=0)
        >>> history = trainer.fit(x, 2 * x + 1, epochs=100, batch_size=10)
        >>> bool(history.loss[-1] < 1e-6)
        True
    """

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer, *, rng: Seed = None) -> None:
        for name, value, kind in (("model", model, Layer), ("loss", loss, Loss), ("optimizer", optimizer, Optimizer)):
            if not isinstance(value, kind):
                hint = f"; did you forget the parentheses of {value.__name__}()?" if isinstance(value, type) else ""
                raise DTypeError(f"Trainer({name}): expected a {kind.__name__}, got {value!r}{hint}")
        _refuse_double_activation(model, loss)
        owned = {id(parameter) for parameter in optimizer.vector.parameters}
        learned = model.parameters()
        if not any(id(parameter) in owned for parameter in learned):
            raise ArgumentError(
                "Trainer(optimizer): expected parameters of this model, got none of them; "
                "make the optimizer after the model: SGD(model.parameters(), …)"
            )
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.history = History()
        self._frozen = [parameter for parameter in learned if id(parameter) not in owned]
        self._rng = generator(rng, "trainer")

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: npt.ArrayLike | None = None,
        validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        progress: bool | None = None,
    ) -> History:
        """Go through the data ``epochs`` times.

        Args:
            x: Input, ``(rows, features)``.
            y: Target, ``(rows, outputs)``, or integer labels where the loss takes them.
            epochs: Passes over the data.
            batch_size: Rows of one update.
            shuffle: Whether each epoch goes through the rows in an order of its own.
            sample_weight: wᵢ ≥ 0 of each row, ``(rows,)``.
            validation: (x, y) on which the loss is computed after each epoch.
            progress: A bar: True, False, or None for one on a terminal.

        Returns:
            The history of this and of the earlier calls.

        Raises:
            ShapeError, DTypeError, DataError: the data does not fit; found before anything is changed.
            DivergenceError: a loss, a gradient or a weight is not finite; the last finite weights stand.
        """
        arrays = checked(self.model, self.loss, x, y, sample_weight)
        held_out = None if validation is None else checked(self.model, self.loss, *validation)
        epochs = positive_int(epochs, "fit(epochs)")
        size = positive_int(batch_size, "fit(batch_size)")
        bar = Progress(epochs, "fit", progress)
        self.optimizer.vector.gather()
        snapshot = Snapshot(self.model, self.optimizer)
        for parameter in self.model.parameters():
            parameter.zero_grad()
        # What is not finite is found below and named; NumPy's warnings on the way there would only be noise.
        with bar, np.errstate(all="ignore"):
            for _ in range(epochs):
                began = time.perf_counter()
                order = self._rng.permutation(len(arrays[0])) if shuffle else None
                mean = self._epoch(arrays, order, size, snapshot)
                self.history.loss.append(mean)
                self.history.learning_rate.append(self.optimizer.last_rate)
                if held_out is not None:
                    self.history.validation_loss.append(self._mean_loss(held_out))
                self.history.seconds.append(time.perf_counter() - began)
                bar.advance(f"loss {mean:.4g}")
        return self.history

    def evaluate(self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the loss of the model's predictions for ``x``, changing nothing."""
        return self._mean_loss(checked(self.model, self.loss, x, y, sample_weight))

    def _epoch(self, arrays: tuple[Rows, ...], order: npt.NDArray[np.intp] | None, size: int,
               snapshot: Snapshot) -> float:
        model, loss, optimizer, frozen = self.model, self.loss, self.optimizer, self._frozen
        total = 0.0
        taken = 0
        for number, batch in enumerate(slices(arrays, order, size)):
            if number % SNAPSHOT_EVERY == 0:
                if not np.isfinite(optimizer.vector.values).all():
                    self._explain(arrays, order, size, snapshot, taken)
                snapshot.take()
                taken = number
            error = loss.forward(model.forward(batch[0]), *batch[1:])
            if error - error != 0.0:
                self._explain(arrays, order, size, snapshot, taken)
            total += error * len(batch[0])
            model.backward_parameters(loss.backward())
            optimizer.step()
            for parameter in frozen:
                parameter.zero_grad()
        if not np.isfinite(optimizer.vector.values).all():
            self._explain(arrays, order, size, snapshot, taken)
        return total / len(arrays[0])

    def _explain(self, arrays: tuple[Rows, ...], order: npt.NDArray[np.intp] | None, size: int,
                 snapshot: Snapshot, start: int) -> None:
        """Replay from the snapshot with every array looked at, and raise `DivergenceError`."""
        snapshot.restore()
        rate, number, found = self.optimizer.current_rate(), start, NotFiniteError("", self.model, "forward")
        try:
            with watched(self.model):
                for number, batch in enumerate(slices(arrays, order, size, start), start):  # noqa: B007
                    snapshot.take()
                    rate = self.optimizer.current_rate()
                    error = self.loss.forward(self.model.forward(batch[0]), *batch[1:])
                    gradient = self.loss.backward()
                    if not (np.isfinite(error) and np.isfinite(gradient).all()):
                        raise NotFiniteError("", self.loss, "loss")
                    self.model.backward_parameters(gradient)
                    self.optimizer.step()
                    for path, parameter in self.model.named_parameters().items():
                        if not np.isfinite(parameter.value).all():
                            raise NotFiniteError(path, parameter, "update")
        except NotFiniteError as problem:
            found = problem
        snapshot.restore()
        epoch = len(self.history)
        place = f'"{found.path}" {type(found.part).__name__}' if found.path else repr(found.part).split("\n")[0]
        raise DivergenceError(
            f"training diverged in epoch {epoch}, batch {number}, at learning rate {rate:g}: the first number that "
            f"is not finite came up in the {found.phase} of {place}. The weights from before that update stand. "
            "Try a smaller learning rate, inputs scaled to about 1, or gradient clipping",
            epoch=epoch, batch=number, learning_rate=rate, layer=found.path, phase=found.phase,
        )

    def _mean_loss(self, arrays: tuple[Rows, ...]) -> float:
        total = 0.0
        for batch in slices(arrays, None, EVALUATED):
            total += self.loss(self.model.predict(batch[0]), *batch[1:]) * len(batch[0])
        return total / len(arrays[0])


def _refuse_double_activation(model: Layer, loss: Loss) -> None:
    """Refuse Sigmoid or Softmax under a loss that contains it: the gradient would be right, the model wrong."""
    last = model
    while isinstance(last, Sequential):
        last = last[-1]
    if loss.from_logits and isinstance(last, (Sigmoid, Softmax)):
        raise StructureError(
            f"Trainer: {loss!r} expects logits, but the model ends in {last!r}, which the loss contains already; "
            "leave the last layer out for training and predict with it: Sequential(model, Softmax())"
        )
