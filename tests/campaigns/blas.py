"""Which BLAS kernels a measurement uses: those of the machine, whatever the environment asks for."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

CHOSEN_BY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that choose other kernels than those for this machine. OpenBLAS reads them when NumPy is imported."""


def restart_with_own_kernels() -> None:
    """Run this command again without these variables, and exit with its status; do nothing where they are not set."""
    if any(variable in os.environ for variable in CHOSEN_BY):
        environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY}
        raise SystemExit(subprocess.run([sys.executable, *sys.orig_argv[1:]], env=environment, check=False).returncode)


def kernels() -> str:
    """Name the kernels that run, such as "SkylakeX"."""
    return "/".join(sorted({str(pool.get("architecture", "unknown")) for pool in pools()})) or "unknown"


def pools() -> list[dict[str, Any]]:
    """List the BLAS libraries that are loaded, as threadpoolctl describes them; none where it is not installed."""
    if find_spec("threadpoolctl") is None:
        return []
    found = importlib.import_module("threadpoolctl").threadpool_info()
    return [pool for pool in found if pool["user_api"] == "blas"]
