"""The history of a run, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, nan
from os import PathLike
from typing import Any

from .._core.picture import picture


@dataclass
class History:
    """One number for each finished epoch of a run.

    Attributes:
        loss: Mean of the loss over the training rows, computed during the epoch, penalties included.
        validation_loss: Loss on the validation data after the epoch; empty without validation data.
        metrics: For each metric its values after the epochs, on the validation data if there is any, else on the
            training data.
        learning_rate: Rate of the last step of the epoch.
        seconds: Time that the epoch took, validation included.
        stopped_by: Why the last `fit` ended: ``"epochs"`` if all were done, ``"SIGINT"`` or ``"SIGTERM"`` after an
            interrupt, ``"divergence"``, the reason of the callback that stopped it, or the name of the error that ended
            it, such as ``"RuntimeError"``; empty before and during a fit.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped_by: str = ""

    def add(self, loss: float, learning_rate: float, seconds: float, figures: dict[str, float]) -> None:
        """Add the numbers of one more epoch; NaN stands for a number that only other epochs have.

        Args:
            loss: Training loss.
            learning_rate: Rate of the last step.
            seconds: Time taken.
            figures: The validation loss under ``"loss"``, if any, and the metrics.
        """
        before = len(self.loss)
        self.loss.append(loss)
        self.learning_rate.append(learning_rate)
        self.seconds.append(seconds)
        for name in filter("loss".__ne__, figures):
            self.metrics.setdefault(name, [])
        for name, numbers in [("loss", self.validation_loss), *self.metrics.items()]:
            if name in figures or numbers:
                numbers += [nan] * (before - len(numbers))
                numbers.append(figures.get(name, nan))

    def series(self) -> dict[str, list[float]]:
        """Map the name of each series that is not empty to its numbers; metrics are included."""
        named = {"loss": self.loss, "validation_loss": self.validation_loss, **self.metrics,
                 "learning_rate": self.learning_rate, "seconds": self.seconds}
        return {name: numbers for name, numbers in named.items() if numbers}

    def last(self) -> dict[str, float]:
        """Map each name to its number in the last epoch."""
        return {name: numbers[-1] for name, numbers in self.series().items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or a data frame: a list for each name of `series`, and the text `stopped_by`.

        All lists have the same length, so ``pandas.DataFrame(history.to_dict())`` has a row for each epoch.
        """
        numbers = {"loss": self.loss, "learning_rate": self.learning_rate, "seconds": self.seconds, **self.series()}
        return {"stopped_by": self.stopped_by, **{name: list(column) for name, column in numbers.items()}}

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the losses by epoch, mark the best epoch, and draw each metric below.

        Losses that span more than a factor of 10 are on a logarithmic scale. It needs Matplotlib. A notebook shows the
        figure.

        Args:
            path: File of the picture; None only returns the figure.

        Returns:
            The Matplotlib figure.

        Raises:
            ImportError: Matplotlib is not installed.
        """
        epochs, data = range(1, len(self) + 1), "validation" if self.validation_loss else "training"
        judged = self.validation_loss or self.loss
        known = [(value, epoch) for epoch, value in zip(epochs, judged, strict=True) if isfinite(value)]
        dots = {"marker": "."} if len(self) == 1 else {}
        count = len(self.metrics)
        with picture("history.plot", 6.5, 3.4 + 1.8 * count, path) as figure:
            axes = figure.subplots(1 + count, 1, sharex=True, squeeze=False, height_ratios=[3] + [2] * count)[:, 0]
            axes[0].plot(epochs, self.loss, label="training loss", **dots)
            if self.validation_loss:
                axes[0].plot(epochs, self.validation_loss, label="validation loss", **dots)
            if known:
                best, at = min(known)
                axes[0].plot([at], [best], "k*", ms=10, label=f"best {data} loss: {best:.3g} in epoch {at}")
            drawn = [value for value in [*self.loss, *self.validation_loss] if isfinite(value)]
            if drawn and min(drawn) > 0.0 and max(drawn) > 10.0 * min(drawn):
                axes[0].set_yscale("log")
            axes[0].set_ylabel("loss")
            for axis, (name, numbers) in zip(axes[1:], self.metrics.items(), strict=True):
                axis.plot(epochs, numbers, label=f"{data} {name}", **dots)
                axis.set_ylabel(name)
            for axis in axes:
                axis.legend()
            axes[-1].set_xlabel("epoch")
            axes[-1].set_xlim(0.5, max(len(self), 1) + 0.5)
            axes[-1].locator_params("x", integer=True, min_n_ticks=1)
        return figure

    def _repr_html_(self) -> str:
        """Show the losses in a notebook."""
        from .._drawing.curves import html_of_run

        return html_of_run(repr(self), {"loss": self.loss, "validation loss": self.validation_loss})

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        last = f", loss {self.loss[0]:.4g} -> {self.loss[-1]:.4g}" if self.loss else ""
        why = f", stopped by {self.stopped_by}" if self.stopped_by else ""
        return f"History({len(self)} epochs{last}{why})"
