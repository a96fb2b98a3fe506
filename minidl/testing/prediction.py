"""Checks of predict and inference: what they compute, alone, in a batch and in threads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from .._core.arrays import Array
from ..layers.base import Layer
from .common import check_unchanged, undisturbed
from .comparison import same
from .report import CheckError, Rules, expect
from .state import fingerprint
from .subject import RUNS, TRAINS, ComponentSubject, Inputs

CHECKS: Rules[ComponentSubject] = Rules()

PREDICTS = (*RUNS, "predict leaves the state")

THREADS = 4


@CHECKS("predict leaves the state", *RUNS)
def leaves_the_state(subject: ComponentSubject) -> None:
    """`predict` and `inference` change nothing on the object: no attribute, no statistic, no generator."""
    for train in (False, True):
        part = subject.prepared()
        if train:
            part.forward(*subject.inputs())
        before = fingerprint(part)
        part.predict(*subject.others())
        check_unchanged(part, before, "predict")
        part.inference()
        check_unchanged(part, before, "inference()")


@CHECKS("predict and layer(x)", *PREDICTS, when=lambda subject: isinstance(subject.part, Layer))
def agrees_with_call(subject: ComponentSubject) -> None:
    """`layer.predict(x)` gives what `layer(x)` gives, which containers and the Trainer use."""
    part = subject.prepared()
    assert isinstance(part, Layer)
    try:
        same(part(*subject.inputs()), subject.predicted(part), "predict(x) against layer(x)")
    except CheckError as failure:
        kinds = type(part).__mro__
        names = [next(kind.__name__ for kind in kinds if method in vars(kind)) for method in ("predict", "forward")]
        raise CheckError(
            f"{failure}\npredict is that of {names[0]}, forward that of {names[1]}: override predict as well, "
            "or write compute(x) in the place of predict"
        ) from None


@CHECKS("predict and inference()", *TRAINS, "predict leaves the state", "predict and layer(x)")
def agrees_with_inference(subject: ComponentSubject) -> None:
    """`predict` gives what `inference().forward` gives, before and after training passes."""
    part = subject.prepared()
    wanted = subject.predicted(part)
    same(wanted, part.inference().forward(*subject.inputs()), "inference().forward against predict")
    used = subject.prepared(lambda part: subject.trained(part, subject.others()))
    same(wanted, subject.predicted(used), "predict after a training pass of other rows")
    owned = {id(parameter) for parameter in part.parameters()}
    for name, parameter in part.inference().named_parameters().items():
        expect(
            id(parameter) in owned, f"inference() has a parameter {name} of its own; it must share those of the layer"
        )


@CHECKS("predict before backward", *TRAINS, "predict leaves the state")
def between_forward_and_backward(subject: ComponentSubject) -> None:
    """A predict between forward and backward does not disturb the training pass."""
    undisturbed(subject, lambda part: part.predict(*subject.others()), "predict")
    undisturbed(subject, lambda part: part.inference().forward(*subject.others()), "inference().forward")


@CHECKS("rows are alone in prediction", *PREDICTS, "batch sizes")
def rows_alone(subject: ComponentSubject) -> None:
    """The prediction of a row does not depend on the other rows."""
    part = subject.prepared()
    xs = subject.inputs()
    together = subject.predicted(part, xs)
    for row in range(subject.rows):
        alone = subject.predicted(part, tuple(x[row : row + 1] for x in xs))
        same(together[row : row + 1], alone, f"predict of row {row} alone against the same row in a batch")


@CHECKS("threads", *PREDICTS)
def threads_agree(subject: ComponentSubject) -> None:
    """Threads that predict at once with one object each get what they would get alone."""
    part = subject.prepared()
    batches = [subject.inputs(rows=subject.rows + k, number=k) for k in range(THREADS)]
    wanted = [subject.predicted(part, xs) for xs in batches]
    start = Barrier(THREADS)

    def work(xs: Inputs) -> list[Array]:
        start.wait()
        return [subject.predicted(part, xs) for _ in range(25)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(work, batches))
    finally:
        sys.setswitchinterval(interval)
    for expected, results in zip(wanted, found, strict=True):
        for result in results:
            same(expected, result, f"predict in {THREADS} threads at once")
