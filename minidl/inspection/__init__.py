"""See a network at work: watch a run, and draw what a model has learned."""

from ._diagnosis import Finding
from ._plots import plot_confusion, plot_decision, plot_fit
from ._watch import Watch

__all__ = ["Finding", "Watch", "plot_confusion", "plot_decision", "plot_fit"]
