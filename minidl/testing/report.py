"""Checks with names, what came of them, and the report that a person reads."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ..errors import MinidlError

COMPLEX_STEP, CENTRAL_DIFFERENCES, SINGLE_PRECISION = "complex step", "central differences", "float32"

TOLERANCES = {COMPLEX_STEP: 1e-10, CENTRAL_DIFFERENCES: 1e-6, SINGLE_PRECISION: 2e-3}
"""The greatest relative error of a derivative, by the method that it was compared with."""


class CheckError(AssertionError):
    """A check does not hold; the message says what was expected and what came."""


@dataclass(frozen=True)
class Measurement:
    """How far a derivative was from what one of the methods found, relative to its greatest element."""

    method: str
    error: float


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        name: The check.
        about: What it asks for, in a sentence.
        failure: What is wrong; empty where nothing is.
        needs: The check that failed before this one could be run; empty where it was run.
        measurements: Errors of the derivatives that were compared.
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


Run: TypeAlias = "Callable[[], Iterable[Measurement] | None]"


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

    def __init__(self, subject: str, name: str, run: Run, needs: Sequence[Check] = ()) -> None:
        self.subject: str = subject
        self.name: str = name
        self.about: str = _first_line(run)
        self._run, self._needs = run, needs
        self._outcome: Outcome | None = None

    def outcome(self) -> Outcome:
        """Run the check, once, and return what came of it."""
        if self._outcome is None:
            self._outcome = self._found()
        return self._outcome

    def _found(self) -> Outcome:
        outcome = Outcome(self.name, self.about)
        for check in self._needs:
            if not check.outcome().passed:
                return replace(outcome, needs=check.outcome().needs or check.name)
        try:
            return replace(outcome, measurements=tuple(self._run() or ()))
        except CheckError as failure:
            return replace(outcome, failure=str(failure))
        except Exception as error:
            return replace(outcome, failure=described(error))

    def __call__(self) -> None:
        """Raise `ConformanceError` where the check does not hold."""
        outcome = self.outcome()
        if not outcome.passed:
            raise ConformanceError(Report(self.subject, (outcome,)))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Check({self.name!r} of {self.subject})"


@dataclass
class Checks:
    """A growing list of checks of one subject, each of which may build on earlier ones by name."""

    subject: str
    found: list[Check] = field(default_factory=list)

    def add(self, name: str, run: Run, *needs: str) -> None:
        """Add a check that is run only where the checks that it needs hold."""
        named = {check.name: check for check in self.found}
        self.found.append(Check(self.subject, name, run, [named[need] for need in needs]))


@dataclass(frozen=True)
class Report:
    """What came of all checks of one subject; ``print(report)`` is made for reading.

    Attributes:
        subject: What was checked.
        outcomes: One for each check, in the order in which they were run.
        declared: What the subject declares about itself, a line each.
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
                first, *others = outcome.failure.split("\n")
                lines += ["", f"  failed: {outcome.name}"] + ([f"      {outcome.about}"] if outcome.about else [])
                lines += [f"    -> {first}", *(f"      {line}" for line in others)]
        if self.not_run:
            lines.append("")
        for needed in dict.fromkeys(outcome.needs for outcome in self.outcomes if outcome.needs):
            names = [outcome.name for outcome in self.outcomes if outcome.needs == needed]
            lines.append(f"  not run until {needed!r} holds: {len(names)} ({', '.join(names)})")
        lines += [""] if self.declared or self._figures() else []
        lines += [f"  declared: {line}" for line in self.declared]
        lines += self._figures()
        return "\n".join(lines)

    def _headline(self) -> str:
        total = len(self.outcomes)
        if not self.failed:
            return f"{self.subject}: all {total} checks passed"
        return f"{self.subject}: {len(self.failed)} of {total} checks failed, {len(self.passed)} passed"

    def _figures(self) -> list[str]:
        return [
            f"  worst relative error against {method}: {worst:.1e} (at most {limit:.0e})"
            for method, limit in TOLERANCES.items()
            if (worst := self.worst(method)) is not None
        ]


class ConformanceError(MinidlError, AssertionError):
    """Something does not keep its contract.

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


def described(error: BaseException) -> str:
    """Describe an error that came where none should: its type, its message, and the line that it came from."""
    text = f"raised {type(error).__name__}: {str(error).strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(place) for place in _NOT_YOURS)]
    if own:
        last = own[-1]
        text += f"\nin {last.name}, line {last.lineno} of {Path(last.filename).name}: {last.line}"
    return text


_NOT_YOURS = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix) / "lib", Path("<frozen"))
"""Where code lies that whoever reads a report has not written: this package, others, the standard library."""


def _first_line(run: Run) -> str:
    """Return the first line of a docstring, that of the function where only arguments were added to it."""
    text = inspect.getdoc(getattr(run, "func", run)) or ""
    return text.split("\n")[0]
