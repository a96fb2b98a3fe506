"""See a network at work: its parts and picture, one training step, why it does not learn, what it has learned."""

from ._case import Finding
from ._diagram import Diagram, diagram
from ._lines import Line, Value
from ._plots import plot_confusion, plot_decision, plot_fit
from ._record import trace
from ._steps import PartTrace, Step
from ._summary import Row, Summary, summary
from ._trace import Trace
from ._watch import Watch

__all__ = [
    "Diagram",
    "Finding",
    "Line",
    "PartTrace",
    "Row",
    "Step",
    "Summary",
    "Trace",
    "Value",
    "Watch",
    "diagram",
    "plot_confusion",
    "plot_decision",
    "plot_fit",
    "summary",
    "trace",
]
