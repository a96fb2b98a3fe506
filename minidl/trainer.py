"""The Trainer, which fits a model, and the History of its runs."""

from .training.history import History
from .training.trainer import Trainer

__all__ = ["History", "Trainer"]
