"""The conformance kit: one call says whether a layer, merge, activation, loss or optimizer is right.

Each ``check_…`` is a plain function that returns a `Report`, or raises one `ConformanceError` that lists every check
that failed with its worst element. Each ``…_checks`` lists the same checks by name, for a test framework to run one
by one.
"""

from .layers import check_layer, layer_checks
from .merges import check_merge, merge_checks

__all__ = [
    "check_layer",
    "check_merge",
    "layer_checks",
    "merge_checks",
]
