"""A callback that looks at a run some sixty times, and says what is wrong with it."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from .._core.arrays import Array, dense, positive_int
from .._data import check_lengths, checked
from .._drawing.tables import text_table
from .._training.sources import ArraySource
from ..errors import MinidlError
from ..trainer import Callback, Trainer
from ._case import LIMITS, Finding
from ._diagnosis import diagnose
from ._end import end_of
from ._figures import End, Look, look_from
from ._look import look, weights_of
from ._looks_plot import plot_looks

MOST = 100_000
"""Rows by which data and the end of a run are judged, at most."""


class Watch(Callback):
    """Look at a run, and say in plain words what is wrong with it.

    It looks before the first update, and then about ``looks`` times in equal distances. Each look makes one training
    pass and one update of a copy, with rows of its own, so the run keeps every bit. The data is judged before the run
    and what was learned at its end, on all rows or 100,000 of them. It costs a few training passes, and if little was
    learned some hundred updates of the copy.

    Args:
        x: Input, ``(rows, features)``: the training data, or some of it.
        y: Target, as in `Trainer.fit`.
        rows: How many rows a look uses at most; they are drawn once, by a fixed seed.
        looks: About how many looks at a run.

    Attributes:
        looks: The figures of each look, the first one before the first update.

    Raises:
        ShapeError, DTypeError, DataError: data that does not fit the model; when the run begins.

    Example:
        >>> import numpy as np
        >>> from minidl import SGD, HalfSquaredError, Tanh, Trainer, mlp
        >>> from minidl.inspection import Watch
        >>> x = np.linspace(-1, 1, 200)[:, None]
        >>> model = mlp([1, 20, 1], activation=Tanh, rng=0)
        >>> trainer, watch = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e-7), rng=0), Watch(x, x**2)
        >>> history = trainer.fit(x, x**2, epochs=20, callbacks=[watch])
        >>> watch.diagnosis()[0].what
        'learning rate too small'
    """

    def __init__(self, x: npt.ArrayLike, y: npt.ArrayLike, *, rows: int = 256, looks: int = 60) -> None:
        count, self._most = positive_int(rows, "Watch(rows)"), positive_int(looks, "Watch(looks)")
        x, y = dense(x, "Watch(x)"), dense(y, "Watch(y)")
        total = check_lengths(x=x, y=y)
        self._rows = min(count, total)
        chosen = np.random.default_rng(0).choice(total, min(MOST, total), replace=False)  # In random order.
        self.x: npt.NDArray[Any] = x[chosen]
        self.y: npt.NDArray[Any] = y[chosen]
        self.reset()

    @override
    def reset(self) -> None:
        self.looks: list[Look] = []
        self._first: dict[str, Array] = {}
        self._due = 0.0
        self._end: End | None = None

    @override
    def on_train_begin(self, trainer: Trainer) -> None:
        run = trainer._run
        try:
            x, y = checked(run.model, run.loss, self.x, self.y)
        except MinidlError as error:
            error.add_note("in the data of Watch(x, y)")
            raise
        self._data = x, y
        assert run.plan is not None
        arrays = run.source.arrays if isinstance(run.source, ArraySource) else ()
        self._weight = float(arrays[2].mean()) if len(arrays) == 3 else 1.0
        self._fair = len(arrays) < 3 or bool((arrays[2] == arrays[2][0]).all())
        # Without a known number of batches it looks after epochs only.
        steps = 1 if run.optimizer.epochs is None else run.optimizer.epochs.steps_per_epoch
        self._steps, self._start = steps, run.plan.start
        self._between = max(1.0, (run.plan.epochs - run.plan.start) * steps / self._most)
        self.every_batches: int | None = int(self._between) if self._between < steps else None
        if not self.looks:
            self._look(trainer)

    @override
    def on_batches_end(self, trainer: Trainer) -> None:
        if trainer.optimizer.epochs is not None:
            self._look_if_due(trainer)

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        self._look_if_due(trainer)

    @override
    def on_train_end(self, trainer: Trainer) -> None:
        if self.looks and not trainer._run.interrupted:
            self._end = end_of(trainer._run, self._data, self._weight, self._fair, self.looks, LIMITS)

    def _look_if_due(self, trainer: Trainer) -> None:
        done = (len(trainer.history) - self._start) * self._steps + trainer.position.batch
        if done >= self._due:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        run = trainer._run
        self.looks.append(look(run, self._data, self._rows, self._weight, self._first))
        self._first = self._first or {path: value.copy() for path, value in weights_of(run.model).items()}
        self._due += self._between

    @override
    def state(self) -> dict[str, Any]:
        return {"looks": [look.to_dict() for look in self.looks], "first": self._first, "due": self._due}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self.looks = [look_from(plain) for plain in state["looks"]]
        self._first, self._due = state["first"], state["due"]

    def diagnosis(self) -> list[Finding]:
        """Return what is wrong, the likeliest cause first; an empty list for a healthy run.

        What a cause explains is left out: mend the first, and run again.
        """
        return diagnose(self.looks, self._end)

    def table(self) -> str:
        """Return the figures of the last look, a line for each layer.

        Columns: root mean square of output and error; the share of flat outputs and of dead units of an activation;
        what one update changes of the weights, as a share of their size.
        """
        rows = [["layer", "", "output", "error", "flat", "dead", "update"]]
        for part in self.looks[-1].parts if self.looks else []:
            shares = ["" if share is None else f"{share:.0%}" for share in (part.flat, part.dead)]
            sizes = ["" if size is None else f"{size:.2g}" for size in (part.output, part.error, part.update)]
            rows.append([part.path, part.name, *sizes[:2], *shares, sizes[2]])
        return "\n".join(text_table(rows, 2))

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw loss, errors, updates and flat outputs over the updates; needs Matplotlib.

        Args:
            path: File of the picture; None only returns the figure.

        Returns:
            The Matplotlib figure.

        Raises:
            ImportError: Matplotlib is not installed.
        """
        return plot_looks(self.looks, path)
