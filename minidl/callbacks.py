"""What a run does besides training: the callbacks to give to `Trainer.fit`."""

from .training.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LogFile,
    Monitor,
    ReduceOnPlateau,
    StopAfter,
)

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "LogFile", "Monitor", "ReduceOnPlateau", "StopAfter"]
