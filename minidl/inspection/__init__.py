"""See a network at work: every number of one training step, why it does not learn, and what it has learned."""

from ._diagnosis import Finding
from ._lines import Line, Value
from ._plots import plot_confusion, plot_decision, plot_fit
from ._record import trace
from ._steps import PartTrace, Step
from ._trace import Trace
from ._watch import Watch

__all__ = [
    "Finding",
    "Line",
    "PartTrace",
    "Step",
    "Trace",
    "Value",
    "Watch",
    "plot_confusion",
    "plot_decision",
    "plot_fit",
    "trace",
]
