"""See a model at work: its parts, a picture, and every number of one training step."""

from ._diagram import Diagram, diagram
from ._lines import Line, Value
from ._record import trace
from ._steps import PartTrace, Step
from ._summary import Row, Summary, summary
from ._trace import Trace

__all__ = ["Diagram", "Line", "PartTrace", "Row", "Step", "Summary", "Trace", "Value", "diagram", "summary", "trace"]
