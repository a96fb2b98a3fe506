"""The checks that layers and merges have in common."""

from __future__ import annotations

import numpy as np

from . import passes, persistence, prediction, purity, shapes
from .gradients import Gradients
from .report import Checks
from .subject import Subject

RUNS = ("deepcopy", "forward", "repeatable")
"""What must hold before anything else can be asked."""

TRAINS = (*RUNS, "backward")

DERIVES = (*TRAINS, "storage")
"""What must hold before derivatives can be taken by changing the arrays of parameters."""


def add_common(checks: Checks, subject: Subject) -> None:
    """Add the checks that a layer and a merge share.

    Args:
        checks: Where to add them.
        subject: The layer or merge.
    """
    checks.add("deepcopy", lambda: persistence.deepcopy(subject))
    checks.add("forward", lambda: passes.forward_runs(subject), "deepcopy")
    checks.add("repeatable", lambda: passes.repeatable(subject), "deepcopy", "forward")
    checks.add("backward", lambda: passes.backward_runs(subject), *RUNS)
    checks.add("parts are found", lambda: persistence.parts_found(subject))
    checks.add("storage", lambda: persistence.storage(subject), *TRAINS)
    _add_gradients(checks, subject)
    checks.add("gradients add up", lambda: passes.gradients_add_up(subject), *TRAINS)
    checks.add("backward again", lambda: passes.backward_again(subject), *TRAINS)
    checks.add("last forward counts", lambda: passes.last_forward_counts(subject), *TRAINS)
    checks.add("backward before forward", lambda: passes.backward_before_forward(subject), *TRAINS)
    checks.add("arguments unmodified", lambda: purity.arguments_unmodified(subject), *TRAINS)
    checks.add("no aliasing", lambda: purity.no_aliasing(subject), *TRAINS)
    checks.add("layouts", lambda: purity.layouts(subject), *TRAINS)
    checks.add("batch sizes", lambda: shapes.batch_sizes(subject), *TRAINS)
    checks.add("batches that are too small", lambda: shapes.below_smallest_batch(subject), *TRAINS)
    checks.add("output_features", lambda: shapes.output_features_agree(subject), *RUNS)
    checks.add("float64 kept", lambda: shapes.dtype_kept(subject, np.float64), *TRAINS)
    checks.add("float32 kept", lambda: shapes.dtype_kept(subject, np.float32), *TRAINS)
    checks.add("predict and inference()", lambda: prediction.agrees_with_inference(subject), *TRAINS)
    checks.add("predict leaves the state", lambda: prediction.leaves_the_state(subject), *RUNS)
    checks.add("predict before backward", lambda: prediction.between_forward_and_backward(subject), *TRAINS)
    checks.add("rows are alone in prediction", lambda: prediction.rows_alone(subject), *RUNS)
    checks.add("threads", lambda: prediction.threads_agree(subject), *RUNS, "predict leaves the state")
    if subject.picklable:
        checks.add("pickle", lambda: persistence.pickled(subject), *TRAINS)
    else:
        checks.add("declared: does not pickle", lambda: persistence.does_not_pickle(subject), *RUNS)
    checks.add("config", lambda: persistence.config_round_trip(subject), *TRAINS)
    checks.add("initialize", lambda: persistence.initialize(subject), *RUNS)


def declared(subject: Subject) -> list[str]:
    """List what a layer or a merge may declare, where it does."""
    return [] if subject.picklable else ["picklable = False: it is not taken through pickle"]


def _add_gradients(checks: Checks, subject: Subject) -> None:
    derivatives = Gradients(subject)
    inputs = subject.input_names if subject.has_input_gradient else ()
    for name in (*inputs, *subject.part.named_parameters()):
        checks.add(f"gradient of {name}", lambda name=name: derivatives.of(name), *DERIVES)  # type: ignore[misc]
    checks.add("total gradient", derivatives.total, *DERIVES)
    checks.add("gradient of inference()", derivatives.of_inference, *DERIVES, "predict and inference()")
    checks.add("float32 gradients", derivatives.single_precision, *DERIVES)
