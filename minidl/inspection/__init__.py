"""See a model at work: tables and pictures."""

from ._diagram import Diagram, diagram
from ._summary import Row, Summary, summary

__all__ = ["Diagram", "Row", "Summary", "diagram", "summary"]
