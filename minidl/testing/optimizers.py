"""Check an optimizer: the public functions and the checks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array
from .._core.parameter import Parameter
from .._core.vector import ParameterVector
from ..errors import CallOrderError, DTypeError
from ..optimizers import Optimizer
from .comparison import REFUSED, WriteGuard, attempt, explained, refused, same
from .report import Check, CheckError, Report, Rules, checks_of, conclude, expect
from .state import through_pickle

Make: TypeAlias = "Callable[[list[Parameter]], Optimizer]"
"""Makes the optimizer of some parameters: ``lambda parameters: SGD(parameters, learning_rate=0.1)``."""

STEPS = 7
"""Steps of the runs that are compared bit for bit."""


def check_optimizer(make: Make, *, steps: int = 1000, picklable: bool = True, seed: int = 0) -> Report:
    """Check an optimizer: it learns, writes into its vectors, and gives the same bits again.

    Args:
        make: Makes an optimizer of some parameters: ``lambda parameters: SGD(parameters, learning_rate=0.1)``.
        steps: Steps after which the error of a parabola must be a hundredth of the first one. The parabola has
            curvatures between ½ and 2, and each parameter starts 1 from its minimum.
        picklable: Whether pickle must accept it; False for a learning rate that is a lambda.
        seed: Seed of values and gradients.

    Returns:
        The report; every check has passed.

    Raises:
        ConformanceError: at least one check failed; the text lists all that failed.

    Example:
        >>> from minidl import SGD
        >>> check_optimizer(lambda parameters: SGD(parameters, learning_rate=0.1)).failed
        ()
    """
    checks = optimizer_checks(make, steps=steps, picklable=picklable, seed=seed)
    declared = [] if picklable else ["picklable = False: it is not pickled"]
    return conclude(checks, checks[0].subject, declared)


def optimizer_checks(make: Make, *, steps: int = 1000, picklable: bool = True, seed: int = 0) -> list[Check]:
    """List the checks that `check_optimizer` makes, for ``pytest.mark.parametrize("check", …, ids=str)``.

    Args:
        make: As for `check_optimizer`.
        steps: As for `check_optimizer`.
        picklable: As for `check_optimizer`.
        seed: As for `check_optimizer`.

    Example:
        >>> for check in optimizer_checks(lambda parameters: SGD(parameters, learning_rate=0.01)):
        ...     check()
    """
    subject = OptimizerSubject(make, steps, picklable, seed)
    return checks_of(subject, type(subject.run().optimizer).__name__, CHECKS)


@dataclass(frozen=True)
class OptimizerSubject:
    """The optimizer to check: how to make it, and what is declared about it."""

    make: Make
    steps: int
    picklable: bool
    seed: int

    def run(self, steps: int = 0, dtype: npt.DTypeLike = np.float64) -> Descent:
        """Start a new run and take some steps."""
        rng = np.random.default_rng(self.seed)
        shapes: list[tuple[int, ...]] = [(4, 3), (4,), ()]
        parameters = [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
        return self.run_of(parameters).to(steps)

    def run_of(self, parameters: list[Parameter]) -> Descent:
        """Make a run of other parameters."""
        optimizer = self.make(parameters)
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(f"check_optimizer(make): expected it to return an Optimizer, got {optimizer!r}")
        return Descent(parameters, optimizer, self.seed)

    def check_end(self, run: Descent, what: str) -> None:
        """Require that a run ends with the same bits as an undisturbed run."""
        same(self.run(STEPS).values(), run.values(), what, 0.0)


@dataclass
class Descent:
    """Some parameters, an optimizer of them, and gradients that are the same in every run."""

    parameters: list[Parameter]
    optimizer: Optimizer
    seed: int
    taken: int = 0

    def to(self, last: int) -> Descent:
        """Take steps until their number is ``last``, each with its own gradients; return the run."""
        while self.taken < last:
            self.add_gradients()
            self.optimizer.step()
            self.taken += 1
        return self

    def add_gradients(self, share: float = 1.0) -> None:
        """Add the gradients of the next step."""
        for parameter, gradient in zip(self.parameters, self.gradients(), strict=True):
            parameter.grad += share * gradient

    def gradients(self) -> list[Array]:
        """Make the gradients of the next step."""
        rng = np.random.default_rng([self.seed, self.taken])
        return [rng.standard_normal(p.shape).astype(p.dtype) for p in self.parameters]

    def values(self) -> Array:
        """Copy all values."""
        return np.concatenate([p.value.ravel() for p in self.parameters])


CHECKS: Rules[OptimizerSubject] = Rules()

STEPS_WELL = ("step", "same bits again", "storage", "gradients used up")


@CHECKS("step")
def step(subject: OptimizerSubject) -> None:
    """A step changes the parameters and counts itself."""
    run = subject.run()
    before = run.values()
    run.to(2)
    expect(
        not np.array_equal(before, run.values()),
        "two steps changed no parameter; update must write into values: values -= …",
    )
    expect(np.isfinite(run.values()).all(), "two steps with ordinary gradients gave NaN or infinity")
    expect(run.optimizer.steps == 2, f"expected steps to be 2 after two steps, got {run.optimizer.steps}")


@CHECKS("same bits again", "step")
def same_bits(subject: OptimizerSubject) -> None:
    """The same values and gradients give the same bits."""
    subject.check_end(subject.run(STEPS), "a second run with the same values and gradients")


@CHECKS("storage", "step")
def storage(subject: OptimizerSubject) -> None:
    """Values and gradients stay in the two vectors of the optimizer; parameters are views of them."""
    run = subject.run()
    vector = run.optimizer.vector
    values, gradients = vector.values, vector.gradients
    run.to(2)
    expect(
        vector.values is values and vector.gradients is gradients,
        "a step put another array in the place of vector.values or vector.gradients; write into the array",
    )
    expect(
        all(np.shares_memory(p.value, values) for p in run.parameters),
        "after a step a parameter lies outside of vector.values; write into the array that is there",
    )


@CHECKS("gradients used up", "step", "same bits again", "storage")
def gradients_used_up(subject: OptimizerSubject) -> None:
    """A step uses the gradients that were added since the last step, and clears them."""
    run = subject.run(1)
    expect(
        not any(parameter.grad.any() for parameter in run.parameters),
        "after a step a parameter's gradient is not zero; step must use the gradients up",
    )
    run.add_gradients(0.5)
    run.add_gradients(0.5)
    run.optimizer.step()
    run.taken = 2
    subject.check_end(run.to(STEPS), "a run with one gradient added in two halves")


@CHECKS("learns the parabola", *STEPS_WELL)
def learns_the_parabola(subject: OptimizerSubject) -> None:
    """The error of a parabola, the sum of c (w - m)² / 2, decreases to a hundredth."""
    run = subject.run()
    rng = np.random.default_rng([subject.seed, 3])
    minimum = [p.value + rng.choice([-1.0, 1.0], p.shape) for p in run.parameters]
    curvature = [rng.uniform(0.5, 2.0, p.shape) for p in run.parameters]
    terms = list(zip(run.parameters, minimum, curvature, strict=True))

    def error() -> float:
        return float(sum(0.5 * np.sum(c * (p.value - m) ** 2) for p, m, c in terms))

    start = error()
    with np.errstate(all="ignore"):
        for _ in range(subject.steps):
            for parameter, m, c in terms:
                parameter.grad += c * (parameter.value - m)
            run.optimizer.step()
    if not error() <= 0.01 * start:
        direction = "away from" if not error() < start else "too slowly towards"
        raise CheckError(
            f"after {subject.steps} steps the parabola is at {error():.4g} of {start:.4g} at the start, expected at "
            f"most {0.01 * start:.4g}: it goes {direction} the minimum; is the sign right, and the learning rate?"
        )


@CHECKS("regathered parameters", *STEPS_WELL)
def regathered(subject: OptimizerSubject) -> None:
    """Parameters that another vector has moved between two steps are moved back."""
    run = subject.run(3)
    kept = ParameterVector(run.parameters)
    subject.check_end(run.to(STEPS), "a run whose parameters another vector gathered between two steps")
    expect(
        not any(np.shares_memory(p.value, kept.values) for p in run.parameters),
        "after a step the parameters still lie where another vector had gathered them",
    )


@CHECKS("pickle", *STEPS_WELL, when=lambda subject: subject.picklable, duplicate=through_pickle, how="pickle")
@CHECKS("deepcopy", *STEPS_WELL, duplicate=copy.deepcopy, how="copy.deepcopy")
def copied(subject: OptimizerSubject, duplicate: Callable[[Any], Any], how: str) -> None:
    """A copy of parameters and optimizer continues as the original does, and neither changes the other."""
    run = subject.run(3)
    hint = "\nfor a learning rate that is a lambda: check_optimizer(…, picklable=False)"
    with explained(f"{how} refuses it: ", hint):
        parameters, optimizer = duplicate((run.parameters, run.optimizer))
    expect(optimizer is not run.optimizer, f"{how} gave the optimizer itself")
    again = Descent(parameters, optimizer, subject.seed, taken=3).to(STEPS)
    run.to(STEPS)
    subject.check_end(again, f"a run that went on with what came out of {how}")
    subject.check_end(run, f"the original, after a copy by {how} went on")


@CHECKS("declared: does not pickle", *STEPS_WELL, when=lambda subject: not subject.picklable)
def does_not_pickle(subject: OptimizerSubject) -> None:
    """Pickle refuses it, as it is declared."""
    expect(
        attempt(partial(through_pickle, subject.run().optimizer), Exception, "pickle") is REFUSED,
        "picklable=False is given, but pickle accepts it; leave it out",
    )


@CHECKS("slots", *STEPS_WELL)
def slots(subject: OptimizerSubject) -> None:
    """`slots` and `numbers` hold all that an optimizer keeps from step to step."""
    run = subject.run(3)
    kept = {name: slot.copy() for name, slot in run.optimizer.slots().items()}
    numbers = run.optimizer.numbers()
    again = subject.run_of([Parameter(p.value) for p in run.parameters])
    made = again.optimizer.slots()
    expect(
        set(made) == set(kept),
        f"a new optimizer has the slots {sorted(made)}, one that has taken steps has {sorted(kept)}; "
        "make each in __init__: self.slot()",
    )
    for name, slot in made.items():
        slot[...] = kept[name]
    again.optimizer.restore_numbers(numbers)
    again.taken = 3
    hint = "vectors that are remembered must come from self.slot(), numbers must be in `changing`"
    subject.check_end(again.to(STEPS), f"a run that went on from the slots; {hint}")


@CHECKS("no gradient refused", *STEPS_WELL)
def no_gradient_refused(subject: OptimizerSubject) -> None:
    """A step without any gradient raises `CallOrderError` and changes nothing."""
    for taken, when in ((0, "before any gradient"), (1, "after a step has used the gradients up")):
        run = subject.run(taken)
        before = run.values()
        refused(run.optimizer.step, CallOrderError, f"a step {when}", got="a step")
        same(before, run.values(), f"a refused step {when}", 0.0)


@CHECKS("gradients unmodified", *STEPS_WELL)
def gradients_unmodified(subject: OptimizerSubject) -> None:
    """An update does not change the vector of gradients."""
    run = subject.run(2)
    run.add_gradients()
    optimizer, vector = run.optimizer, run.optimizer.vector
    vector.complete()
    guard = WriteGuard({"the gradients": vector.gradients}, "which must stay as they are; work on a copy")
    optimizer.update(vector.values, vector.gradients, optimizer.current_rate())
    guard.check("update")


@CHECKS("missing gradient is zero", *STEPS_WELL)
def missing_gradient_is_zero(subject: OptimizerSubject) -> None:
    """A parameter that has no gradient in a step is updated as with a gradient of zero."""
    ends = []
    for explicit in (True, False):
        run = subject.run(2)
        run.parameters[0].grad += run.gradients()[0]
        for parameter in run.parameters[1:] if explicit else ():
            parameter.grad += 0.0
        run.optimizer.step()
        ends.append(run.values())
    same(ends[0], ends[1], "a step in which two parameters have no gradient", 0.0)


@CHECKS("shared parameter once", *STEPS_WELL)
def shared_once(subject: OptimizerSubject) -> None:
    """A parameter that is passed twice is updated once."""
    parameters = [Parameter(parameter.value.copy()) for parameter in subject.run().parameters]
    optimizer = subject.make([*parameters, parameters[0]])
    twice = Descent(parameters, optimizer, subject.seed).to(STEPS)
    subject.check_end(twice, "a run in which the first parameter was given twice")


@CHECKS("float32 kept", "step", "slots")
def dtype_kept(subject: OptimizerSubject) -> None:
    """Parameters in float32 stay float32, and so do the slots."""
    run = subject.run(3, np.float32)
    arrays: dict[str, npt.NDArray[Any]] = {f"slot {name}": slot for name, slot in run.optimizer.slots().items()}
    arrays |= {"vector.values": run.optimizer.vector.values}
    arrays |= {f"parameter {place}": p.value for place, p in enumerate(run.parameters)}
    for what, array in arrays.items():
        expect(array.dtype == np.float32, f"{what}: expected float32 like the parameters, got {array.dtype}")
