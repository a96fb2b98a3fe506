"""The checks that layers and merges have in common."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import passes, persistence, prediction, purity, shapes
from .gradients import Gradients
from .report import Checks
from .subject import Subject

RUNS = ("deepcopy", "parts are found", "forward", "repeatable")
"""What must hold before anything else can be asked."""

TRAINS = (*RUNS, "backward")

DERIVES = (*TRAINS, "storage", "float64 kept")
"""What must hold before derivatives can be taken by changing the arrays of parameters."""

PREDICTS = (*RUNS, "predict leaves the state")


def add_common(checks: Checks, subject: Subject) -> None:
    """Add the checks that a layer and a merge share.

    One fault should fail one check: each check needs those without which it would only repeat what they say.

    Args:
        checks: Where to add them.
        subject: The layer or merge.
    """
    checks.add("deepcopy", partial(persistence.deepcopy, subject))
    checks.add("parts are found", partial(persistence.parts_found, subject), "deepcopy")
    checks.add("forward", partial(passes.forward_runs, subject), "deepcopy", "parts are found")
    checks.add("repeatable", partial(passes.repeatable, subject), "deepcopy", "parts are found", "forward")
    checks.add("backward", partial(passes.backward_runs, subject), *RUNS)
    checks.add("predict leaves the state", partial(prediction.leaves_the_state, subject), *RUNS)
    checks.add(
        "predict and inference()",
        partial(prediction.agrees_with_inference, subject),
        *TRAINS,
        "predict leaves the state",
    )
    checks.add("storage", partial(persistence.storage, subject), *TRAINS)
    checks.add("float64 kept", partial(shapes.dtype_kept, subject, np.float64), *TRAINS)
    checks.add("float32 kept", partial(shapes.dtype_kept, subject, np.float32), *TRAINS, "storage")
    _add_gradients(checks, subject)
    checks.add("gradients add up", partial(passes.gradients_add_up, subject), *TRAINS)
    checks.add("backward again", partial(passes.backward_again, subject), *TRAINS)
    checks.add("last forward counts", partial(passes.last_forward_counts, subject), *TRAINS)
    checks.add("backward before forward", partial(passes.backward_before_forward, subject), *TRAINS)
    checks.add("arguments unmodified", partial(purity.arguments_unmodified, subject), *TRAINS)
    checks.add("no aliasing", partial(purity.no_aliasing, subject), *TRAINS)
    checks.add("layouts", partial(purity.layouts, subject), *TRAINS, "arguments unmodified")
    checks.add("batch sizes", partial(shapes.batch_sizes, subject), *TRAINS)
    checks.add("output_features", partial(shapes.output_features_agree, subject), *TRAINS, "batch sizes")
    between = "predict before backward"
    checks.add(between, partial(prediction.between_forward_and_backward, subject), *TRAINS, "predict leaves the state")
    checks.add("rows are alone in prediction", partial(prediction.rows_alone, subject), *PREDICTS, "batch sizes")
    checks.add("threads", partial(prediction.threads_agree, subject), *PREDICTS)
    if subject.picklable:
        checks.add("pickle", partial(persistence.pickled, subject), *TRAINS, "predict leaves the state")
    else:
        checks.add("declared: does not pickle", partial(persistence.does_not_pickle, subject), *RUNS)
    checks.add(
        "config", partial(persistence.config_round_trip, subject), *TRAINS, "predict leaves the state", "storage"
    )
    checks.add("initialize", partial(persistence.initialize, subject), *RUNS)


def _add_gradients(checks: Checks, subject: Subject) -> None:
    derivatives = Gradients(subject)
    inputs = subject.input_names if subject.has_input_gradient else ()
    names = [f"gradient of {name}" for name in (*inputs, *subject.part.named_parameters())]
    for name in names:
        wanted = name.removeprefix("gradient of ")
        checks.add(name, partial(derivatives.of, wanted), *DERIVES)
    checks.add("total gradient", derivatives.total, *DERIVES, *names)
    checks.add("gradient of inference()", derivatives.of_inference, "total gradient", "predict and inference()")
    checks.add("float32 gradients", derivatives.single_precision, "total gradient", "float32 kept")


def declared(subject: Subject) -> list[str]:
    """List what a layer or a merge may declare, where it does."""
    return [] if subject.picklable else ["picklable = False: it is not taken through pickle"]
