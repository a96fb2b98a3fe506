"""What happened in a run, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """One number for each epoch of a run.

    Attributes:
        loss: Mean of the loss over the training rows, as met during the epoch.
        validation_loss: Loss on the validation data after the epoch; empty without validation data.
        learning_rate: Rate of the last step of the epoch.
        seconds: Time that the epoch took, validation included.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        last = f", loss {self.loss[0]:.4g} → {self.loss[-1]:.4g}" if self.loss else ""
        return f"History({len(self)} epochs{last})"
