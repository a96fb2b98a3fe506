"""Print the figures of the conformance kit: ``python -m tests.campaigns.conformance``."""

from __future__ import annotations

import sys

from minidl.testing import Report
from tests.support.conformance_table import TABLE, missing_parts
from tests.support.planted.faults import FAULTS

LIMITS = {"complex step": 1e-10, "central differences": 1e-6, "float32": 2e-3}


def main() -> int:
    """Run the kit over every built-in and over every planted fault; return 1 if anything is wrong."""
    reports = {name: Report(name, tuple(check.outcome() for check in checks())) for name, checks in TABLE.items()}
    broken = [report for report in reports.values() if report.failed]
    checks = sum(len(report.outcomes) for report in reports.values())
    print(f"{checks} checks of {len(TABLE)} objects, {sum(len(report.failed) for report in broken)} failed")
    for report in broken:
        print(report)
    within = True
    for method, limit in LIMITS.items():
        errors = {name: worst for name, report in reports.items() if (worst := report.worst(method)) is not None}
        name = max(errors, key=lambda name: errors[name])
        within = within and errors[name] <= limit
        print(f"worst relative error, {method:<19}  {errors[name]:.1e}  (at most {limit:.0e}; {name})")
    missed = [fault.name for fault in FAULTS if not fault.caught()]
    print(
        f"planted faults caught: {len(FAULTS) - len(missed)} of {len(FAULTS)}{': not ' if missed else ''}"
        f"{', '.join(missed)}"
    )
    missing = missing_parts()
    print(f"public classes missing from the table: {', '.join(missing) or 'none'}")
    return int(bool(broken or missed or missing) or not within)


if __name__ == "__main__":
    sys.exit(main())
