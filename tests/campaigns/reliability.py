"""Test the promises about runs and files: ``python -m tests.campaigns.reliability --size 1``.

Prints the number of resume points and of those that were equal, kills while saving and files lost, hostile files and
refusals, mutated files and unexpected exceptions, and the cost of the check for divergence. ``--size 0.01`` takes a
minute, 1 about an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

COMMANDS: list[tuple[str, str, int]] = [
    ("tests.campaigns.resume_points", "--points", 200),
    ("tests.campaigns.kills", "--kills", 500),
    ("tests.campaigns.refusals", "", 0),
    ("tests.campaigns.fuzz_files", "--files", 1_000_000),
    ("tests.campaigns.divergence_cost", "--rounds", 41),
]
"""Each module with the option that sets its size, and its full size."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.0, help="share of the full size")
    size = parser.parse_args().size
    failed = []
    for module, option, full in COMMANDS:
        count = [option, str(max(round(size * full), 5))] if option else []
        # One thread of BLAS: these are small matrices, and threads that wait for one another only add noise.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if subprocess.run([sys.executable, "-m", module, *count], check=False, env=environment).returncode:
            failed.append(module)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
