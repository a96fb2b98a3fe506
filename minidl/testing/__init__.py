"""The conformance kit: one call says whether a layer, merge, activation, loss or optimizer is right.

Each ``check_…`` is a plain function that returns a `Report`, or raises one `ConformanceError` that lists every check
that failed with its worst element. Each ``…_checks`` lists the same checks by name, for a test framework to run one
by one.
"""

from .layers import activation_checks, check_activation, check_layer, check_merge, layer_checks, merge_checks
from .losses import check_loss, loss_checks
from .optimizers import check_optimizer, optimizer_checks
from .report import Check, ConformanceError, Measurement, Outcome, Report

__all__ = [
    "Check",
    "ConformanceError",
    "Measurement",
    "Outcome",
    "Report",
    "activation_checks",
    "check_activation",
    "check_layer",
    "check_loss",
    "check_merge",
    "check_optimizer",
    "layer_checks",
    "loss_checks",
    "merge_checks",
    "optimizer_checks",
]
