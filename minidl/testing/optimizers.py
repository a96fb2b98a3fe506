"""All that an optimizer promises, as named checks."""

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
from .pickling import through_pickle
from .report import Check, CheckError, Checks, Report, conclude, described

Make: TypeAlias = "Callable[[list[Parameter]], Optimizer]"
"""Makes the optimizer of some parameters: ``lambda parameters: SGD(parameters, learning_rate=0.1)``."""

STEPS = 7
"""Steps of the runs that are compared bit for bit."""


def check_optimizer(make: Make, *, steps: int = 1000, picklable: bool = True, seed: int = 0) -> Report:
    """Check everything that an optimizer promises: it learns, keeps to its storage, and repeats bit for bit.

    Args:
        make: Makes the optimizer of some parameters, with all that it needs:
            ``lambda parameters: SGD(parameters, learning_rate=0.1)``.
        steps: In which it is to bring a parabola of curvatures between ½ and 2 to a hundredth of where it starts,
            about 1 from its minimum.
        picklable: Whether pickle must take it; False for a learning rate that is a lambda.
        seed: Of values and gradients.

    Returns:
        The report, where every check passed.

    Raises:
        ConformanceError: at least one failed; its text names every one.

    Example:
        >>> from minidl import SGD
        >>> check_optimizer(lambda parameters: SGD(parameters, learning_rate=0.1)).failed
        ()
    """
    checks = optimizer_checks(make, steps=steps, picklable=picklable, seed=seed)
    declared = [] if picklable else ["picklable = False: it is not taken through pickle"]
    return conclude(checks, checks[0].subject, declared)


def optimizer_checks(make: Make, *, steps: int = 1000, picklable: bool = True, seed: int = 0) -> list[Check]:
    """List the checks that `check_optimizer` makes, for ``pytest.mark.parametrize("check", …, ids=str)``.

    Args:
        make: As for `check_optimizer`.
        steps: As for `check_optimizer`.
        picklable: As for `check_optimizer`.
        seed: As for `check_optimizer`.
    """
    subject = _Subject(make, seed)
    checks = Checks(type(subject.run().optimizer).__name__)
    checks.add("step", partial(_step, subject))
    checks.add("same bits again", partial(_same_bits, subject), "step")
    checks.add("storage", partial(_storage, subject), "step")
    checks.add("gradients used up", partial(_gradients_used_up, subject), "step", "same bits again", "storage")
    steps_well = [check.name for check in checks.found]
    checks.add("learns the parabola", partial(_learns_the_parabola, subject, steps), *steps_well)
    checks.add("regathered parameters", partial(_regathered, subject), *steps_well)
    checks.add("deepcopy", partial(_copied, subject, copy.deepcopy, "copy.deepcopy"), *steps_well)
    if picklable:
        checks.add("pickle", partial(_copied, subject, through_pickle, "pickle"), *steps_well)
    else:
        checks.add("declared: does not pickle", partial(_does_not_pickle, subject), *steps_well)
    checks.add("slots", partial(_slots, subject), *steps_well)
    checks.add("no gradient refused", partial(_refuses_no_gradient, subject), *steps_well)
    checks.add("gradients unmodified", partial(_gradients_unmodified, subject), *steps_well)
    checks.add("missing gradient is zero", partial(_missing_gradient_is_zero, subject), *steps_well)
    checks.add("shared parameter once", partial(_shared_once, subject), *steps_well)
    checks.add("float32 kept", partial(_dtype_kept, subject), "step", "slots")
    return checks.found


class _Run:
    """Some parameters, an optimizer of them, and gradients that are the same in every run."""

    def __init__(self, make: Make, parameters: list[Parameter], seed: int) -> None:
        self.parameters = parameters
        self.optimizer = make(parameters)
        if not isinstance(self.optimizer, Optimizer):
            raise DTypeError(f"check_optimizer(make): expected it to return an Optimizer, got {self.optimizer!r}")
        self._seed = seed

    def steps(self, first: int, last: int) -> None:
        """Take the steps of these numbers, each with gradients of its own."""
        for number in range(first, last):
            for parameter, gradient in zip(self.parameters, self.gradients(number), strict=True):
                parameter.grad += gradient
            self.optimizer.step()

    def gradients(self, number: int) -> list[Array]:
        """Make the gradients of a step."""
        rng = np.random.default_rng([self._seed, number])
        return [rng.standard_normal(p.shape).astype(p.dtype) for p in self.parameters]

    def values(self) -> Array:
        """Copy all values."""
        return np.concatenate([p.value.ravel() for p in self.parameters])


@dataclass(frozen=True)
class _Subject:
    """How the optimizer is made."""

    make: Make
    seed: int

    def run(self, dtype: Any = np.float64) -> _Run:
        """Make a run from the start."""
        rng = np.random.default_rng(self.seed)
        shapes: list[tuple[int, ...]] = [(4, 3), (4,), ()]
        return _Run(self.make, [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in shapes], self.seed)

    def reference(self) -> Array:
        """Return the values after an undisturbed run."""
        run = self.run()
        run.steps(0, STEPS)
        return run.values()


def _step(subject: _Subject) -> None:
    """A step changes the parameters, counts itself and says its learning rate."""
    run = subject.run()
    before = run.values()
    run.steps(0, 2)
    if np.array_equal(before, run.values()):
        raise CheckError("two steps changed no parameter; update must write into values: values -= …")
    if not np.isfinite(run.values()).all():
        raise CheckError("two steps with ordinary gradients gave NaN or infinity")
    if run.optimizer.steps != 2:
        raise CheckError(f"expected steps to be 2 after two steps, got {run.optimizer.steps}")


def _learns_the_parabola(subject: _Subject, steps: int) -> None:
    """The error of a parabola, the sum of c (w - m)² / 2, goes to a hundredth."""
    run = subject.run()
    rng = np.random.default_rng([subject.seed, 3])
    minimum = [p.value + rng.choice([-1.0, 1.0], p.shape) for p in run.parameters]
    curvature = [rng.uniform(0.5, 2.0, p.shape) for p in run.parameters]

    def error() -> float:
        return float(
            sum(
                0.5 * np.sum(c * (p.value - m) ** 2) for p, m, c in zip(run.parameters, minimum, curvature, strict=True)
            )
        )

    start = error()
    with np.errstate(all="ignore"):
        for _ in range(steps):
            for parameter, m, c in zip(run.parameters, minimum, curvature, strict=True):
                parameter.grad += c * (parameter.value - m)
            run.optimizer.step()
    if not error() <= 0.01 * start:
        direction = "away from" if not error() < start else "too slowly towards"
        raise CheckError(
            f"after {steps} steps the parabola is at {error():.4g} of {start:.4g} at the start, expected at most "
            f"{0.01 * start:.4g}: it goes {direction} the minimum; is the sign right, and the learning rate?"
        )


def _same_bits(subject: _Subject) -> None:
    """The same values and gradients give the same bits."""
    _equal(subject.reference(), subject.reference(), "a second run with the same values and gradients")


def _storage(subject: _Subject) -> None:
    """Values and gradients stay in the two vectors of the optimizer, and the parameters are views of them."""
    run = subject.run()
    vector = run.optimizer.vector
    values, gradients = vector.values, vector.gradients
    run.steps(0, 2)
    if vector.values is not values or vector.gradients is not gradients:
        raise CheckError(
            "a step put another array in the place of vector.values or vector.gradients; write into the array"
        )
    if not all(np.shares_memory(p.value, values) for p in run.parameters):
        raise CheckError("after a step a parameter lies outside of vector.values; write into the array that is there")


def _regathered(subject: _Subject) -> None:
    """Parameters that something else has moved between two steps are found again."""
    run = subject.run()
    run.steps(0, 3)
    kept = ParameterVector(run.parameters)
    run.steps(3, STEPS)
    _equal(subject.reference(), run.values(), "a run whose parameters another vector gathered between two steps")
    if any(np.shares_memory(p.value, kept.values) for p in run.parameters):
        raise CheckError("after a step the parameters still lie where another vector had gathered them")


def _copied(subject: _Subject, duplicate: Callable[[Any], Any], how: str) -> None:
    """A copy of parameters and optimizer goes on as the original does, and neither disturbs the other."""
    run = subject.run()
    run.steps(0, 3)
    try:
        parameters, optimizer = duplicate((run.parameters, run.optimizer))
    except Exception as error:
        raise CheckError(
            f"{how} refuses it: {described(error)}\nfor a learning rate that is a lambda: "
            "check_optimizer(…, picklable=False)"
        ) from error
    if optimizer is run.optimizer:
        raise CheckError(f"{how} gave the optimizer itself")
    again = copy.copy(run)
    again.parameters, again.optimizer = parameters, optimizer
    again.steps(3, STEPS)
    run.steps(3, STEPS)
    _equal(subject.reference(), again.values(), f"a run that went on with what came out of {how}")
    _equal(subject.reference(), run.values(), f"the original, after a copy by {how} went on")


def _does_not_pickle(subject: _Subject) -> None:
    """It does not pickle, as it is declared."""
    try:
        through_pickle(subject.run().optimizer)
    except Exception:
        return
    raise CheckError("picklable=False is given, but pickle takes it; leave it out")


def _slots(subject: _Subject) -> None:
    """`slots` and `numbers` are all that an optimizer remembers from step to step."""
    run = subject.run()
    run.steps(0, 3)
    kept = {name: slot.copy() for name, slot in run.optimizer.slots().items()}
    numbers = run.optimizer.numbers()
    again = _Run(subject.make, [Parameter(p.value) for p in run.parameters], subject.seed)
    if set(again.optimizer.slots()) != set(kept):
        raise CheckError(
            f"a new optimizer has the slots {sorted(again.optimizer.slots())}, one that has taken steps has "
            f"{sorted(kept)}; make each in __init__: self.slot()"
        )
    for name, slot in again.optimizer.slots().items():
        slot[...] = kept[name]
    again.optimizer.restore_numbers(numbers)
    again.steps(3, STEPS)
    _equal(
        subject.reference(),
        again.values(),
        "a run that went on from the slots; vectors that are remembered must come from self.slot(), "
        "numbers must be in `changing`",
    )


def _refuses_no_gradient(subject: _Subject) -> None:
    """A step without any gradient is a `CallOrderError`, and changes nothing."""
    run = subject.run()
    for when in ("before any gradient", "after a step has used the gradients up"):
        before = run.values()
        try:
            run.optimizer.step()
        except CallOrderError:
            _equal(before, run.values(), f"a refused step {when}")
            run.steps(0, 1)
            continue
        except Exception as error:
            raise CheckError(f"expected CallOrderError for a step {when}; {described(error)}") from error
        raise CheckError(f"expected CallOrderError for a step {when}, got a step")


def _gradients_used_up(subject: _Subject) -> None:
    """The gradients of a step are those since the last one."""
    run = subject.run()
    run.steps(0, 1)
    for parameter, gradient in zip(run.parameters, run.gradients(1), strict=True):
        if parameter.grad.any():
            raise CheckError("after a step a parameter's gradient is not zero; step must use the gradients up")
        parameter.grad += gradient / 2
        parameter.grad += gradient / 2
    run.optimizer.step()
    run.steps(2, STEPS)
    _equal(subject.reference(), run.values(), "a run with one gradient added in two halves")


def _gradients_unmodified(subject: _Subject) -> None:
    """An update leaves the vector of gradients as it was."""
    run = subject.run()
    run.steps(0, 2)
    optimizer = run.optimizer
    for parameter, gradient in zip(run.parameters, run.gradients(2), strict=True):
        parameter.grad += gradient
    optimizer.vector.complete()
    before = optimizer.vector.gradients.copy()
    optimizer.update(optimizer.vector.values, optimizer.vector.gradients, optimizer.current_rate())
    if not np.array_equal(before, optimizer.vector.gradients):
        raise CheckError("update wrote into the gradients; work on a copy, or in an array of your own")


def _missing_gradient_is_zero(subject: _Subject) -> None:
    """A parameter without a gradient in this step is treated as one with a gradient of zero."""
    runs = [subject.run(), subject.run()]
    for run, explicit in zip(runs, (True, False), strict=True):
        run.steps(0, 2)
        run.parameters[0].grad += run.gradients(2)[0]
        if explicit:
            for parameter in run.parameters[1:]:
                parameter.grad += 0.0
        run.optimizer.step()
    _equal(runs[0].values(), runs[1].values(), "a step in which two parameters have no gradient")


def _shared_once(subject: _Subject) -> None:
    """A parameter that is given twice is one parameter."""
    run = subject.run()
    values = [parameter.value.copy() for parameter in run.parameters]
    shared = [Parameter(value) for value in values]
    twice = _Run(lambda parameters: subject.make([*parameters, parameters[0]]), shared, subject.seed)
    twice.steps(0, STEPS)
    _equal(subject.reference(), twice.values(), "a run in which the first parameter was given twice")


def _dtype_kept(subject: _Subject) -> None:
    """Parameters in float32 stay so, and so do the slots."""
    run = subject.run(np.float32)
    run.steps(0, 3)
    arrays: dict[str, npt.NDArray[Any]] = {f"slot {name}": slot for name, slot in run.optimizer.slots().items()}
    arrays |= {"vector.values": run.optimizer.vector.values}
    arrays |= {f"parameter {place}": p.value for place, p in enumerate(run.parameters)}
    for what, array in arrays.items():
        if array.dtype != np.float32:
            raise CheckError(f"{what}: expected float32 like the parameters, got {array.dtype}")


def _equal(wanted: Array, found: Array, what: str) -> None:
    """Refuse a single bit of difference."""
    if not np.array_equal(wanted, found):
        place = int(np.argmax(wanted != found))
        raise CheckError(
            f"{what}: expected the same bits, got {float(found[place])} for {float(wanted[place])} at number {place}"
        )
