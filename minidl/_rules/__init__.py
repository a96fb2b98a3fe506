"""What each layer computes in prediction, as elementary operations: one rule for every export format."""

from .builder import Builder, Value
from .layers import RULES

__all__ = ["RULES", "Builder", "Value"]
