"""See what a model computes: every number of one training step, with the line of code that made it."""

from ._lines import Line, Value
from ._record import trace
from ._steps import PartTrace, Step
from ._trace import Trace

__all__ = ["Line", "PartTrace", "Step", "Trace", "Value", "trace"]
