"""Checks, their outcomes, and the report."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import MinidlError

COMPLEX_STEP, CENTRAL_DIFFERENCES, SINGLE_PRECISION = "complex step", "central differences", "float32"

TOLERANCES = {COMPLEX_STEP: 1e-10, CENTRAL_DIFFERENCES: 1e-6, SINGLE_PRECISION: 2e-3}
"""The greatest relative error of a derivative, by the method that it was compared with."""


S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
Function = TypeVar("Function", bound=Callable[..., Any])


class CheckError(AssertionError):
    """A check failed; the message says what was expected and what came."""


def expect(holds: object, failure: str) -> None:
    """Raise a `CheckError` where something does not hold."""
    if not holds:
        raise CheckError(failure)


@dataclass(frozen=True)
class Measurement:
    """The error of a derivative against that of one method, relative to its largest element.

    Example:
        >>> from minidl.testing import check_layer
        >>> report = check_layer(Tanh(), features=3)
        >>> sorted({found.method for outcome in report.outcomes for found in outcome.measurements})
        ['complex step', 'float32']
    """

    method: str
    error: float


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        name: The check.
        about: What it asks for, in a sentence.
        failure: What is wrong; empty where nothing is.
        needs: The check that failed before this one could be run; empty where it was run.
        measurements: Errors of the derivatives that were compared.

    Example:
        >>> from minidl.testing import check_layer
        >>> report = check_layer(Tanh(), features=3)
        >>> report.outcomes[0].name, report.outcomes[0].failure
        ('deepcopy', '')
    """

    name: str
    about: str = ""
    failure: str = ""
    needs: str = ""
    measurements: tuple[Measurement, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the check was run and holds."""
        return not (self.failure or self.needs)


CheckFunction: TypeAlias = "Callable[..., Iterable[Measurement] | None]"
"""Raises where something does not hold; may return measurements."""


class Check:
    """One check with a name; calling it raises `ConformanceError` where it does not hold.

    Made for ``pytest.mark.parametrize``::

        @pytest.mark.parametrize("check", layer_checks(ScaledTanh(), features=5), ids=str)
        def test_scaled_tanh(check: Check) -> None:
            check()

    Args:
        subject: What is checked, in one line.
        name: What must hold.
        run: Raises where it does not; may return measurements. Its docstring says what it asks for.
        needs: Checks without which this one says nothing.
    """

    def __init__(self, subject: str, name: str, run: CheckFunction, needs: Sequence[Check] = ()) -> None:
        self.subject: str = subject
        self.name: str = name
        # Of a partial, its own docstring is that of every partial: read that of the function.
        self.about: str = (inspect.getdoc(getattr(run, "func", run)) or "").split("\n")[0]
        self._run, self._needs = run, needs

    def outcome(self) -> Outcome:
        """Run the check, once, and return what came of it."""
        return self._outcome

    @cached_property
    def _outcome(self) -> Outcome:
        outcome = Outcome(self.name, self.about)
        for check in self._needs:
            if not check.outcome().passed:
                return replace(outcome, needs=check.outcome().needs or check.name)
        try:
            return replace(outcome, measurements=tuple(self._run() or ()))
        except Exception as error:
            return replace(outcome, failure=str(error) if isinstance(error, CheckError) else described_error(error))

    def __call__(self) -> None:
        """Raise `ConformanceError` where the check does not hold."""
        if not self._outcome.passed:
            raise ConformanceError(Report(self.subject, (self._outcome,)))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Check({self.name!r} of {self.subject})"


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks of one subject; ``print(report)`` shows them.

    Attributes:
        subject: What was checked.
        outcomes: One for each check, in the order in which they were run.
        declared: What the subject declares about itself, a line each.

    Example:
        >>> from minidl.testing import check_layer
        >>> report = check_layer(Tanh(), features=3)
        >>> report.failed
        ()
        >>> report.worst("complex step") < 1e-12
        True
    """

    subject: str
    outcomes: tuple[Outcome, ...]
    declared: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that do not hold."""
        return tuple(outcome.name for outcome in self.outcomes if outcome.failure)

    @property
    def not_run(self) -> tuple[str, ...]:
        """Names of the checks that could not be run, because one that they need does not hold."""
        return tuple(outcome.name for outcome in self.outcomes if outcome.needs)

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the checks that hold."""
        return tuple(outcome.name for outcome in self.outcomes if outcome.passed)

    def worst(self, method: str) -> float | None:
        """Return the greatest relative error among the derivatives compared by one method; None for no derivative."""
        errors = [m.error for outcome in self.outcomes for m in outcome.measurements if m.method == method]
        return max(errors, default=None)

    def __str__(self) -> str:
        lines = [self._headline()]
        for outcome in self.outcomes:
            if outcome.failure:
                about = [f"      {outcome.about}"] if outcome.about else []
                failure = outcome.failure.replace("\n", "\n      ")
                lines += ["", f"  failed: {outcome.name}", *about, f"    -> {failure}"]
        lines += [""] if self.not_run else []
        for needed in dict.fromkeys(outcome.needs for outcome in self.outcomes if outcome.needs):
            names = [outcome.name for outcome in self.outcomes if outcome.needs == needed]
            lines.append(f"  not run until {needed!r} holds: {len(names)} ({', '.join(names)})")
        facts = [f"  declared: {line}" for line in self.declared]
        for method, limit in TOLERANCES.items():
            if (worst := self.worst(method)) is not None:
                facts.append(f"  worst relative error against {method}: {worst:.1e} (at most {limit:.0e})")
        return "\n".join(lines + ([""] if facts else []) + facts)

    def _headline(self) -> str:
        total = len(self.outcomes)
        if not self.failed:
            return f"{self.subject}: all {total} checks passed"
        return f"{self.subject}: {len(self.failed)} of {total} checks failed, {len(self.passed)} passed"


class ConformanceError(MinidlError, AssertionError):
    """A layer, loss or optimizer does not keep its contract.

    Attributes:
        report: All that was found; its text is the message.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        return str(self.report)


def conclude(checks: Sequence[Check], subject: str, declared: Sequence[str] = ()) -> Report:
    """Run all checks and return the report.

    Raises:
        ConformanceError: at least one of them does not hold.
    """
    report = Report(subject, tuple(check.outcome() for check in checks), tuple(declared))
    if report.failed:
        raise ConformanceError(report)
    return report


@dataclass(frozen=True)
class Rule(Generic[S_contra]):
    """A check for every subject of one kind; `checks_of` makes it a check of one subject.

    Attributes:
        name: Of the check.
        run: The check, called with the subject.
        needs: Names of the checks without which this one says nothing.
        when: Whether it is asked of a subject.
    """

    name: str
    run: CheckFunction
    needs: tuple[str, ...] = ()
    when: Callable[[S_contra], object] = lambda subject: True


class Rules(list[Rule[S]]):
    """A list of rules that decorates the functions to put into it.


    ::

        @CHECKS("backward again", *TRAINS)
        def backward_again(subject: ComponentSubject) -> None: ...
    """

    def __call__(
        self, name: str, *needs: str, when: Callable[[S], object] = lambda subject: True, **arguments: Any
    ) -> Callable[[Function], Function]:
        """Return a decorator that adds a function to the list.

        Args:
            name: Of the check.
            needs: Names of checks before it without which it says nothing: one fault should fail one check.
            when: Whether it is asked of a subject.
            arguments: What else the function is called with.
        """

        def add(run: Function) -> Function:
            self.append(Rule(name, partial(run, **arguments), needs, when))
            return run

        return add


def checks_of(subject: S, name: str, rules: Iterable[Rule[S]]) -> list[Check]:
    """Make the checks of one subject; a check does not depend on rules that do not apply to the subject."""
    asked = {rule.name: rule for rule in rules if rule.when(subject)}
    found: dict[str, Check] = {}

    def check(rule: Rule[S]) -> Check:
        if rule.name not in found:
            needs = [check(asked[need]) for need in rule.needs if need in asked]
            found[rule.name] = Check(name, rule.name, partial(rule.run, subject), needs)
        return found[rule.name]

    return [check(rule) for rule in asked.values()]


def described_error(error: BaseException) -> str:
    """Describe an unexpected error: its type, its message, and the line that raised it."""
    text = f"raised {type(error).__name__}: {str(error).strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(place) for place in _NOT_YOURS)]
    if own:
        text += f"\nin {own[-1].name}, line {own[-1].lineno} of {Path(own[-1].filename).name}: {own[-1].line}"
    return text


_NOT_YOURS = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix) / "lib", Path("<frozen"))
"""Folders of code that the reader of a report has not written: this package, others, the standard library."""
