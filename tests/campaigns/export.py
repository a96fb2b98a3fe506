"""Export every kind of layer to C, JavaScript and NumPy, compile and run it: ``python -m tests.campaigns.export``.

Each language computes all models in one program. The results are compared with `predict` in float64.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import Array, Layer, Tanh, mlp
from minidl.export import to_c, to_javascript, to_numpy
from minidl.solvers import lbfgs
from tests.support.conformance_table import layers

LIMITS = {"float32": 1e-6, "float64": 1e-14}
"""The largest relative error that is allowed."""

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]
"""Options of the compiler."""

Models = dict[str, tuple[Layer, Array]]


def models(dtype: npt.DTypeLike) -> Models:
    """Map names to a model and rows for it, in one dtype: every layer and merge, and the network of the article."""
    found = {name: (layer.astype(dtype), np.asarray(x, dtype)) for name, (layer, x) in layers().items()}
    model, x = sine()
    return found | {"1-20-20-1": (model.astype(dtype), x.astype(dtype))}


@cache
def sine() -> tuple[Layer, Array]:
    """Train a 1-20-20-1 network on the sine, and return it with points."""
    x = np.linspace(-3, 3, 50)[:, None]
    model = mlp([1, 20, 20, 1], activation=Tanh, rng=0)
    lbfgs(model, x, np.sin(x), max_iterations=100)
    return model, x


def features(x: Array) -> int | tuple[int, ...]:
    """Return what the argument of this name gets."""
    return x.shape[1] if x.ndim == 2 else x.shape[1:]


def in_c(cases: Models, dtype: npt.DTypeLike) -> dict[str, Array]:
    """Compile all models as one library, and compute each row."""
    kind = np.dtype(dtype)
    names = {name: f"model{place}" for place, name in enumerate(cases)}
    sources = [to_c(model, name=names[name], features=features(x), dtype=kind) for name, (model, x) in cases.items()]
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder, "models.c"), Path(folder, "models.so")
        code.write_text("\n".join(sources), "utf-8")
        subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", code, "-o", library, "-lm"], check=True)
        loaded = ctypes.CDLL(str(library))
        return {name: _rows(getattr(loaded, names[name]), model.predict(x), x) for name, (model, x) in cases.items()}


def _rows(function: Any, like: Array, x: Array) -> Array:
    """Call a function of C for each row."""
    y = np.full(like.shape, np.nan, like.dtype)
    for given, out in zip(np.ascontiguousarray(x), y, strict=True):
        function(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    return y


AS_TEXT = "(_, v) => typeof v === 'number' ? String(v) : v"
"""Writes numbers as text, because JSON has neither NaN nor infinity."""


def in_javascript(cases: Models, dtype: npt.DTypeLike) -> dict[str, Array]:
    """Compute all rows by node, in one module for each model."""
    with tempfile.TemporaryDirectory() as folder:
        lines = ["const found = [];"]
        for place, (model, x) in enumerate(cases.values()):
            Path(folder, f"{place}.mjs").write_text(to_javascript(model, features=features(x)), "utf-8")
            rows = json.dumps(x.reshape(len(x), -1).tolist())
            lines[:0] = [f"import {{predict as p{place}}} from './{place}.mjs';"]
            lines.append(f"found.push({rows}.map(x => p{place}(x)));")
        lines.append(f"console.log(JSON.stringify(found, {AS_TEXT}));")
        Path(folder, "all.mjs").write_text("\n".join(lines), "utf-8")
        run = subprocess.run(["node", Path(folder, "all.mjs")], check=True, capture_output=True, text=True)
    return {name: np.array(rows, np.float64) for name, rows in zip(cases, json.loads(run.stdout), strict=True)}


def in_numpy(cases: Models, dtype: npt.DTypeLike) -> dict[str, Array]:
    """Run the source of each model."""
    found = {}
    for name, (model, x) in cases.items():
        space: dict[str, Any] = {}
        exec(to_numpy(model, features=features(x)), space)
        found[name] = space["predict"](x.reshape(len(x), -1))
    return found


LANGUAGES: dict[str, tuple[str, Callable[[Models, npt.DTypeLike], dict[str, Array]]]] = {
    "C": ("gcc", in_c),
    "JavaScript": ("node", in_javascript),
    "NumPy": ("", in_numpy),
}
"""Maps each language to the program that it needs, and to what computes all models."""


def missing(language: str) -> str:
    """Return the sentence that says why a language cannot be tried here, or nothing."""
    program = LANGUAGES[language][0]
    return f"{language} needs {program}, which is not installed" if program and which(program) is None else ""


def errors(language: str, dtype: npt.DTypeLike) -> dict[str, float]:
    """Map each model to the largest error, as a share of its largest output."""
    cases = models(dtype)
    found = LANGUAGES[language][1](cases, dtype)
    # The prediction in float32 has rounding errors of its own, so the numbers of float32 are computed in float64.
    exact = {name: model.astype(np.float64).predict(x.astype(np.float64)) for name, (model, x) in cases.items()}
    return {name: relative_error(found[name], exact[name]) for name in cases}


def relative_error(found: Array, wanted: Array) -> float:
    """Return the largest difference as a share of the largest number; infinite for another shape, and for NaN."""
    if found.shape != wanted.shape or np.isnan(found).any():
        return np.inf
    return float(np.max(np.abs(found - wanted)) / max(float(np.max(np.abs(wanted))), 1e-30))


def sizes(model: Layer, x: Array) -> dict[str, float]:
    """Measure a model as code: the sources, the machine code of C, the time of a row in it; x is float32."""
    code = to_c(model)
    found: dict[str, float] = {
        "bytes of C": len(code),
        "bytes of JavaScript": len(to_javascript(model)),
        "bytes of NumPy": len(to_numpy(model)),
    }
    if not missing("C"):
        with tempfile.TemporaryDirectory() as folder:
            source, built = Path(folder, "model.c"), Path(folder, "model.o")
            loop = "\nvoid many(int n, const float *x, float *y) { for (int i = 0; i < n; i++) predict(x, y); }\n"
            source.write_text(code, "utf-8")
            subprocess.run(["gcc", *FLAGS, "-Os", "-c", source, "-o", built], check=True)
            printed = subprocess.run(["size", built], check=True, capture_output=True, text=True).stdout
            found["bytes of machine code and weights"] = int(printed.split("\n")[1].split()[0])
            source.write_text(code + loop, "utf-8")
            subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", source, "-o", built, "-lm"], check=True)
            many, y, turns = ctypes.CDLL(str(built)).many, np.zeros(model.predict(x[:1]).size, np.float32), 100_000
            began = time.perf_counter()
            many(turns, ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
            found["microseconds of a row in C"] = (time.perf_counter() - began) / turns * 1e6
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the largest error in each language, and the sizes."""
    argparse.ArgumentParser(prog="python -m tests.campaigns.export", description=__doc__).parse_args(arguments)
    failed = 0
    print("| language | dtype | models | largest error | model | must be |\n|---|---|---:|---:|---|---:|")
    for language in LANGUAGES:
        if missing(language):
            print(f"| {language} | skipped: {missing(language)} | | | | |")
            continue
        for name, limit in LIMITS.items():
            found = errors(language, name)
            worst = max(found, key=lambda model: found[model])
            failed += not found[worst] <= limit
            print(f"| {language} | {name} | {len(found)} | {found[worst]:.1e} | {worst} | {limit:g} |", flush=True)
    print("\n| 1-20-20-1 in float32 | |\n|---|---:|")
    for name, figure in sizes(*models(np.float32)["1-20-20-1"]).items():
        print(f"| {name} | {figure:,.4g} |")
    return failed


if __name__ == "__main__":
    sys.exit(main())
