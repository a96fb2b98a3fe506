"""Checks of predict and inference: what they compute, and that they leave the part alone."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from .._core.arrays import Array
from .agreement import same, same_passes
from .report import CheckError
from .state import difference, fingerprint
from .subject import Inputs, Rewound, Subject, backward, gradients, predicted

THREADS = 4


def agrees_with_inference(subject: Subject) -> None:
    """`predict` gives what `inference().forward` gives, before and after training passes."""
    xs = subject.inputs()
    part = subject.prepared()
    wanted = predicted(part, xs)
    same(wanted, part.inference().forward(*subject.inputs()), "inference().forward against predict")
    rewind = Rewound(part)
    subject.trained(part, subject.inputs(rows=subject.rows + 2, number=1))
    rewind()
    same(wanted, predicted(part, xs), "predict after a training pass of other rows")
    owned = {id(parameter) for parameter in part.parameters()}
    for name, parameter in part.inference().named_parameters().items():
        if id(parameter) not in owned:
            raise CheckError(f"inference() has a parameter {name} of its own; it must share those of the layer")


def leaves_the_state(subject: Subject) -> None:
    """`predict` and `inference` change nothing on the object: no attribute, no statistic, no generator."""
    for trained in (False, True):
        part = subject.prepared()
        if trained:
            part.forward(*subject.inputs())
        before = fingerprint(part)
        part.predict(*subject.inputs(rows=subject.rows + 1, number=1))
        changed = difference(before, fingerprint(part))
        if changed:
            raise CheckError(f"predict changed {_readable(changed)}; keep for backward only what forward computes")
        part.inference()
        changed = difference(before, fingerprint(part))
        if changed:
            raise CheckError(f"inference() changed {_readable(changed)}")


def between_forward_and_backward(subject: Subject) -> None:
    """A predict between forward and backward does not disturb the training pass."""
    wanted = subject.trained(subject.prepared(), subject.inputs())
    for method in ("predict", "inference().forward"):
        part = subject.prepared()
        y = part.forward(*subject.inputs())
        others = subject.inputs(rows=subject.rows + 2, number=1)
        part.predict(*others) if method == "predict" else part.inference().forward(*others)
        given = backward(part, subject.weights(y.shape))
        found = type(wanted)(y, given, gradients(part))
        same_passes(subject, wanted, found, f"with a {method} between forward and backward")


def threads_agree(subject: Subject) -> None:
    """Threads that predict at once with one object each get what they would get alone."""
    part = subject.prepared()
    batches = [subject.inputs(rows=subject.rows + k, number=k) for k in range(THREADS)]
    wanted = [predicted(part, xs) for xs in batches]
    start = Barrier(THREADS)

    def work(xs: Inputs) -> list[Array]:
        start.wait()
        return [predicted(part, xs) for _ in range(25)]

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


def rows_alone(subject: Subject) -> None:
    """Each row alone is given what it is given in a batch."""
    part = subject.prepared()
    xs = subject.inputs()
    together = predicted(part, xs)
    for row in range(subject.rows):
        alone = predicted(part, tuple(x[row : row + 1] for x in xs))
        same(together[row : row + 1], alone, f"predict of row {row} alone against the same row in a batch")


def _readable(paths: str) -> str:
    return ", ".join(path.lstrip(".") for path in paths.split(", "))
